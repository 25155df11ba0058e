"""``connect`` and ``connect_listener``: the ways into the asyncio face."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Coroutine, Generator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .._exceptions import WebSocketConnectionClosedException, WebSocketException
from .._observe import tell_ended, tell_lost, tell_opened
from .._reconnect import Attempts, Backoff, Reason, policy_of
from .._stats import Stats, Tally
from ._connection import Connection
from ._listener import Listener
from ._observed import connection_ended
from ._open import open_connection
from ._options import Options, Settings, settle

if TYPE_CHECKING:
    from typing_extensions import Unpack

_L = TypeVar("_L", bound=Listener)
_T = TypeVar("_T")


class connect:
    """Connect to ``url`` (``ws://`` or ``wss://``) and do the opening handshake.

    ::

        async with connect(url) as ws:  # closed at the end of the block
            ...
        ws = await connect(url)  # close it yourself
        async for ws in connect(url):  # a new one whenever this one is lost
            ...

    The loop gives each connection to its body, closes it afterwards, and connects again by the
    same policy as ``WebSocketApp``: it ends at a Close for good (1000, for instance), and raises
    the last error where the policy gives up. Catch WebSocketConnectionClosedException in the
    body and go on. A callable ``header`` is asked anew for each connection.

    Parameters:
        url: where to connect.
        reconnect: for the loop: a ``Backoff``, a number of seconds between attempts, True for
            no end, False for a single connection; None for the default policy.
        **options: see ``Options``, and the documentation's page on asyncio.

    Raises:
        TypeError: there is no such option.
        WebSocketURLException, WebSocketArgumentException: nothing was sent.
        WebSocketAddressException, OSError, WebSocketProxyException: no connection.
        WebSocketTimeoutException: the time was over first.
        WebSocketBadStatusException: the server refused (status, headers and body are in
            the exception).
        WebSocketHandshakeException: the server's answer is no opening handshake.
    """

    def __init__(
        self,
        url: str,
        *,
        reconnect: Backoff | float | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.url = url
        self._settings = settle(options)
        self._policy = policy_of(reconnect)
        self._connection: Connection | None = None
        self._tally = Tally()
        self._opened = 0
        self._end: tuple[Exception | None, int | None] = None, None

    async def _connect(self, timeout: float | None = None) -> Connection:
        began = time.monotonic()
        settings = self._settings
        if settings.timeout is None and timeout is not None:
            settings = replace(settings, timeout=timeout)
        opened = await open_connection(self.url, settings)
        connection = Connection(opened, settings)
        self._opened += 1
        tell_opened(settings.observer, self._opened, time.monotonic() - began)
        opened.hand_over(connection._driver)
        self._tally.begin(connection)
        return connection

    async def _connect_once(self) -> Connection:
        connection = await _or_end(self._settings, self._connect())
        driver = connection._driver
        if driver.closed:
            connection_ended(driver)
        else:
            driver.on_end = connection_ended
        return connection

    @property
    def stats(self) -> Stats:
        """What has gone over all connections of the loop so far together."""
        return self._tally.stats

    async def __aiter__(self) -> AsyncGenerator[Connection, None]:
        connections = self._connections()
        try:
            async for connection in connections:
                yield connection
        finally:
            await connections.aclose()
            tell_ended(self._settings.observer, *self._end)
            self._end = None, None

    async def _connections(self) -> AsyncGenerator[Connection, None]:
        attempts = Attempts(self._policy)
        while True:
            limit = attempts.policy.timeout if attempts.policy and attempts.made else None
            lasted: float | None = None
            try:
                connection = await self._connect(limit)
            except (WebSocketException, OSError) as error:
                reason: Reason = error
                self._end = error, None
            else:
                began = time.monotonic()
                try:
                    yield connection
                finally:
                    reason = _reason(connection)
                    await connection.close()
                    self._tally.end()
                    self._end = connection._driver.mishap, connection.close_code
                lasted = time.monotonic() - began
            following = attempts.after(reason, lasted)
            if following is None:
                if isinstance(reason, int) or (lasted is not None and self._policy is None):
                    return
                try:
                    raise reason
                finally:
                    # An exception that is kept in a variable of its own frame is never freed.
                    del reason
            attempts = following
            self._tally.lost()
            number, delay = attempts.next(reason, random.random(), time.time())
            tell_lost(self._settings.observer, _error(reason), number, delay)
            await asyncio.sleep(delay)

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._connect_once().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self._connect_once()
        return self._connection

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            await self._connection.close()


def _reason(connection: Connection) -> Reason:
    """Why the program has done with a connection: a loss, unless the server closed it."""
    if connection.closed_by == "server" and connection.close_code is not None:
        return connection.close_code
    return connection._driver.mishap or connection._driver.closed_error()


def _error(reason: Reason) -> Exception:
    if isinstance(reason, Exception):
        return reason
    return WebSocketConnectionClosedException(
        f"The server closed the connection with code {reason}."
    )


async def connect_listener(listener: _L, url: str, **options: Unpack[Options]) -> _L:
    """Connect, and have the methods of ``listener`` called from then on.

    Parameters:
        listener: an object of your subclass of ``Listener``.
        url, **options: as for ``connect``; ``max_queue`` and ``max_queue_size`` have no
            meaning, as there is no queue.

    Returns:
        the listener, connected. ``on_open`` and messages that came along with the handshake
        were handed to it already.

    Raises:
        as ``connect`` does.
    """
    listener._check_new()
    settings = settle(options)
    began = time.monotonic()
    opened = await _or_end(settings, open_connection(url, settings))
    listener._open(opened, settings)
    tell_opened(settings.observer, 1, time.monotonic() - began)
    listener._driver.on_end = connection_ended
    opened.hand_over(listener._driver, listener._opened)
    return listener


async def _or_end(settings: Settings, connecting: Coroutine[Any, Any, _T]) -> _T:
    """The connection that is all of a run; where there is none, the run has ended."""
    try:
        return await connecting
    except BaseException as error:
        tell_ended(settings.observer, error, None)
        raise
