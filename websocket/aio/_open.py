"""From a URL to an open connection: dial, shake hands, follow redirects, awaited."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from .._exceptions import WebSocketConnectionClosedException, WebSocketException
from .._handshake import _BODY_WAIT, Opening, bad_status, handshake_response
from .._http import proxy_info
from .._logging import dump
from .._open import Route
from .._protocol.handshake import ClientRequest
from .._protocol.http11 import ResponseHead
from .._socket import Deadline
from ._dial import dial
from ._driver import Driver
from ._exchange import Exchange
from ._options import Settings
from ._timeout import timeout


class Opened(NamedTuple):
    """What the opening handshake came to."""

    request: ClientRequest
    response: handshake_response
    exchange: Exchange

    def hand_over(self, driver: Driver) -> None:
        """From now on ``driver`` is what the connection is driven by."""
        self.exchange.hand_over(driver, self.response.rest)


async def open_connection(url: str, settings: Settings) -> Opened:
    """Open a connection, wherever redirects lead.

    Args:
        url: where to begin.
        settings: how.

    Raises:
        what ``connect`` raises. Nothing is left open then.
    """
    deadline = Deadline(settings.timeout)
    try:
        async with timeout(deadline.timeout):
            return await _follow(Route(url, settings.dial), settings, deadline)
    except TimeoutError as error:
        # An errno is the kernel's: it has given an address up.
        if error.errno is not None or not deadline.expired:
            raise
        raise deadline.error() from error


async def _follow(route: Route, settings: Settings, deadline: Deadline) -> Opened:
    while True:
        opening = Opening(route.target, route.options)
        proxy = proxy_info(**route.options)
        exchange = await dial(route.target, settings.sockets, proxy, route.prepared, deadline)
        try:
            response = await _shake_hands(opening, exchange)
            if not route.redirected(response):
                return Opened(opening.request, response, exchange)
        except BaseException:
            exchange.transport.abort()
            raise
        exchange.transport.abort()


async def _shake_hands(opening: Opening, exchange: Exchange) -> handshake_response:
    exchange.send(opening.request.data)
    head = await _read_head(opening, exchange)
    if not opening.noted(head):
        await _read_body(opening, exchange)
        raise bad_status(head, opening.reader.body)
    return opening.judged(head, opening.reader.rest)


async def _read_head(opening: Opening, exchange: Exchange) -> ResponseHead:
    reader = opening.reader
    while reader.head is None:
        try:
            data = await exchange.receive()
        except WebSocketConnectionClosedException as lost:
            try:
                reader.feed_eof()
            except WebSocketConnectionClosedException as told:
                raise told from lost
            raise
        if data:
            reader.feed(data)
        else:
            reader.feed_eof()
    dump("response header", reader.head.text)
    return reader.head


async def _read_body(opening: Opening, exchange: Exchange) -> None:
    """Read what explains a refusal, as far as it comes."""
    limit = Deadline(_BODY_WAIT)
    # The status is known: a body that stalls or breaks off must not hide it.
    with contextlib.suppress(WebSocketException, OSError):
        while not opening.reader.done:
            data = await exchange.receive(limit.remaining())
            if not data:
                opening.reader.feed_eof()
            opening.reader.feed(data)
