"""What every connection of the asyncio face has, however it hands messages over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from .._handshake import handshake_response
from .._protocol.frames import OP_PONG
from .._protocol.handshake import ClientRequest
from .._protocol.http11 import Headers, RequestHead, RequestReader, ResponseHead
from .._stats import Stats
from ._driver import Driver


class Endpoint:
    """The client's end of an open connection. Use it in the thread of its loop only."""

    __slots__ = ()

    # Subclasses have the room for them.
    if TYPE_CHECKING:
        _driver: Driver
        _request: ClientRequest
        _response: handshake_response

    # What was agreed on

    @property
    def request(self) -> RequestHead:
        """The head of the request that the server accepted."""
        reader = RequestReader()
        reader.feed(self._request.data)
        assert reader.head is not None
        return reader.head

    @property
    def response(self) -> ResponseHead:
        """The head of the server's answer."""
        head = self._response.head
        assert head is not None
        return head

    @property
    def status(self) -> int:
        """The HTTP status of the opening handshake, 101."""
        return self.response.status

    @property
    def headers(self) -> Headers:
        """The headers of the server's answer."""
        return self.response.headers

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server chose."""
        return self._response.subprotocol

    @property
    def compressed(self) -> bool:
        """Whether the server has agreed to compression."""
        return self._driver.core.compressed

    @property
    def local_address(self) -> Any:
        """Our end's address, as ``socket.getsockname`` has it."""
        return self.get_extra_info("sockname")

    @property
    def remote_address(self) -> Any:
        """The address of the server, or of the proxy, as ``socket.getpeername`` has it."""
        return self.get_extra_info("peername")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport knows, see ``asyncio.BaseTransport.get_extra_info``."""
        transport = self._driver.transport
        if name == "sslcontext":
            # The transport may have been given a stand-in.
            tls = transport.get_extra_info("ssl_object")
            return default if tls is None else tls.context
        return transport.get_extra_info(name, default)

    # How it goes

    @property
    def connected(self) -> bool:
        """Whether messages can be sent: no Close was sent or received, nothing was lost."""
        return self._driver.end is None and self._driver.core.close_sent is None

    @property
    def close_code(self) -> int | None:
        """The code of the server's Close frame (1005 if it had none), None before it."""
        return self._driver.core.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason of the server's Close frame, None before it."""
        close = self._driver.core.close_received
        return None if close is None else close.reason

    @property
    def closed_by(self) -> Literal["client", "server"] | None:
        """Who sent the first Close frame; None as long as it is open, or if it was lost."""
        return self._driver.closed_by

    @property
    def latency(self) -> float | None:
        """Seconds between the last ping that was answered and its pong, None before."""
        return self._driver.pongs.latency

    @property
    def stats(self) -> Stats:
        """What has gone over the connection so far."""
        return self._driver.stats

    # Control frames

    async def ping(self, payload: str | bytes | None = None) -> asyncio.Future[float]:
        """Send a ping (RFC 6455 section 5.5.2).

        Parameters:
            payload: at most 125 bytes; str is sent as UTF-8. Four random bytes by default.

        Returns:
            a future: ``await`` it for the round-trip time in seconds. It raises
            WebSocketConnectionClosedException if the connection ends first, and
            WebSocketException if reading is paused and nobody receives for ten seconds: the
            pong is behind what waits to be received, if it has come.

        Raises:
            WebSocketConnectionClosedException: the connection is closed or closing.
            WebSocketArgumentException: the payload is too long.
        """
        await self._driver.turn(control=True)
        return self._driver.ping(payload)

    async def pong(self, payload: str | bytes = b"") -> None:
        """Send a pong (section 5.5.3). Pings are answered without it."""
        await self._driver.turn(control=True)
        self._driver.send(OP_PONG, payload)

    # Closing

    def send_close(self, code: int | None = 1000, reason: str | bytes = b"") -> None:
        """Send a Close frame, unless one was sent, and don't wait; receiving goes on.

        Raises:
            WebSocketArgumentException: the code must not be sent, or the reason is not UTF-8
                or longer than 123 bytes.
        """
        self._driver.send_close(code, reason)

    async def close(self, code: int | None = 1000, reason: str | bytes = b"") -> None:
        """Close the connection and wait until it is. Closing it again only waits.

        What arrived before stays there to be received; what arrives from now on is dropped.
        The server has ``close_timeout`` seconds for its own Close, and half a second more for
        ending the TCP connection. If this is cancelled, closing goes on without it.

        Parameters:
            code: 1000 to 1003, 1007 to 1014 or 3000 to 4999, or None.
            reason: at most 123 bytes of UTF-8.

        Raises:
            WebSocketArgumentException: the code must not be sent, or the reason is not UTF-8
                or too long; the connection stays as it is.
        """
        self._driver.close(code, reason)
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, whoever ends it and why."""
        while not self._driver.closed:
            await self._driver.closers.wait()

    def abort(self) -> None:
        """End the connection at once, without a closing handshake."""
        self._driver.abort()
