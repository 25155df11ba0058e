"""Bytes out, bytes in, awaited: what comes before the WebSocket stream on a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from .._exceptions import WebSocketConnectionClosedException
from .._socket import CONNECTION_LOST
from ._waiters import Waiters

if TYPE_CHECKING:
    from ._driver import Driver

# What a peer sends before it was asked must not fill our memory.
_MAX_PENDING: Final = 256 * 1024

# Handshakes are small. The stream itself is not read through this.
_READ_SIZE: Final = 4 * 1024

_A_DAY: Final = 86400.0


class Exchange(asyncio.BufferedProtocol):
    """The protocol of a connection until its ``Driver`` takes over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.transport: Any = None
        self._loop = loop
        self._scratch = memoryview(bytearray(_READ_SIZE))
        self._pending = bytearray()
        self._paused = False
        self._ended = False
        self._lost = False
        self._error: Exception | None = None
        self._abandoned = False
        self._waiters = Waiters(loop)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        self._pending += self._scratch[:nbytes]
        if len(self._pending) > _MAX_PENDING and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self._waiters.wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._waiters.wake()
        # What came before the end may want an answer. TLS can't give one any more.
        return self.transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._ended = True
        self._error = None if self._abandoned else exc
        self._waiters.wake()
        if self.transport is not None:
            # Transports of TLS keep their protocol, which holds them: a cycle.
            self.transport.set_protocol(asyncio.BufferedProtocol())

    # What is done with it

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    async def receive(self, seconds: float | None = None, size: int = _MAX_PENDING) -> bytes:
        """What has come, at least a byte; empty at the end of the stream.

        Parameters:
            seconds: how long to wait, None for no limit.
            size: the most bytes to take; the rest stays for the next step.

        Raises:
            WebSocketTimeoutException: nothing came in time.
            WebSocketConnectionClosedException: the connection was lost.
        """
        until = None if seconds is None else self._loop.time() + seconds
        while not self._pending:
            if self._error is not None:
                raise WebSocketConnectionClosedException(CONNECTION_LOST) from self._error
            if self._ended:
                return b""
            await self._waiters.wait(until)
        return self._taken(size)

    def _taken(self, size: int) -> bytes:
        data = bytes(self._pending[:size])
        del self._pending[:size]
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        return data

    async def start_tls(self, context: Any, server_hostname: str, seconds: float | None) -> None:
        """Go on in TLS.

        Parameters:
            seconds: for the TLS handshake; None for no limit.
        """
        self.transport = await self._loop.start_tls(
            self.transport,
            self,
            context,
            server_hostname=server_hostname,
            # The loop's own limit is a minute, and its words are others than the caller's.
            ssl_handshake_timeout=_A_DAY if seconds is None else seconds + 60,
        )

    def abandon(self) -> None:
        """End the connection. Why it ends is told elsewhere: kept here as well, the error would
        hold itself, by the frames that it passes."""
        self._abandoned = True
        self._error = None
        self.transport.abort()

    def hand_over(self, driver: Driver, rest: bytes, announce: Callable[[], None]) -> None:
        """From now on ``driver`` is the protocol of the connection.

        Parameters:
            rest: what was received of its stream already.
            announce: called before anything of that is looked at.
        """
        transport = cast("asyncio.Transport", self.transport)
        transport.set_protocol(driver)
        driver.connection_made(transport)
        announce()
        driver.feed(rest + self._taken(len(self._pending)))
        if self._lost:
            driver.connection_lost(self._error)
        elif self._ended:
            driver.eof_received()
            transport.close()
