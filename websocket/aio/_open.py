"""From a URL to an open connection: dial, shake hands, follow redirects, awaited."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

from .._exceptions import WebSocketConnectionClosedException, WebSocketException
from .._handshake import _BODY_WAIT, Opening, bad_status, handshake_response
from .._logging import dump
from .._open import Destination
from .._protocol.handshake import ClientRequest
from .._protocol.http11 import ResponseHead
from .._socket import Deadline
from .._tls_cache import keep_session
from ._dial import dial
from ._driver import Driver
from ._exchange import Exchange
from ._options import Settings
from ._timeout import before


class Opened(NamedTuple):
    """What the opening handshake came to."""

    request: ClientRequest
    response: handshake_response
    exchange: Exchange

    def hand_over(self, driver: Driver, announce: Callable[[], None] = lambda: None) -> None:
        """From now on ``driver`` is what the connection is driven by.

        Args:
            announce: called when messages can be sent, before any is received.
        """
        self.exchange.hand_over(driver, self.response.rest, announce)


async def open_connection(url: str, settings: Settings) -> Opened:
    """Open a connection, wherever redirects lead.

    Args:
        url: where to begin.
        settings: how.

    Raises:
        what ``connect`` raises. Nothing is left open then.
    """
    deadline = Deadline(settings.timeout)
    there = Destination(url, settings.dial, settings.sockets)
    while True:
        exchange: Exchange | None = None
        try:
            opening = Opening(there.target, there.options)
            exchange = await dial(there, settings.sockets, deadline)
            async with before(deadline):
                exchange.send(opening.request.data)
                head = await _read_head(opening, exchange)
            response = await _judge(opening, exchange, head, deadline)
            if not there.redirected(response):
                keep_session(exchange.transport.get_extra_info("ssl_object"))
                return Opened(opening.request, response, exchange)
            exchange.transport.abort()
        except BaseException:
            # What the program handed over is the connection's from the beginning.
            if exchange is not None:
                exchange.transport.abort()
            elif hasattr(there.prepared, "close"):
                there.prepared.close()
            raise


async def _judge(
    opening: Opening, exchange: Exchange, head: ResponseHead, deadline: Deadline
) -> handshake_response:
    if not opening.noted(head):
        # The status is known: a body that stalls must not hide it.
        await _read_body(opening, exchange, deadline.sooner(_BODY_WAIT))
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


async def _read_body(opening: Opening, exchange: Exchange, limit: Deadline) -> None:
    """Read what explains a refusal, as far as it comes."""
    reader = opening.reader
    with contextlib.suppress(WebSocketException, OSError):
        while not reader.done:
            data = await exchange.receive(limit.remaining())
            if data:
                reader.feed(data)
            else:
                reader.feed_eof()
