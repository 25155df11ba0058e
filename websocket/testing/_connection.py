"""One connection of the test server after its opening handshake."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator

from .._deadline import Deadline
from .._exceptions import WebSocketConnectionClosedException, WebSocketException
from .._pong import PongWaiter
from .._protocol.connection import Connection, Role
from .._protocol.extensions import Codec
from .._protocol.frames import OP_BINARY, OP_CONT, OP_TEXT
from .._protocol.http11 import RequestHead
from .._protocol.messages import Close
from .._protocol.sending import Payload, close_payload
from .._stats import Stats, stats_of
from .._stream import Stream


class ServerConnection:
    """The server's end of one connection, as a handler gets it.

    Pings are answered while receiving. Several threads may send at the same time.

    Attributes:
        request: the client's opening handshake: ``method``, ``target``, ``version`` and
            ``headers``.
        subprotocol: the subprotocol agreed on, or None.
    """

    def __init__(
        self,
        sock: socket.socket,
        request: RequestHead,
        subprotocol: str | None = None,
        *,
        max_size: int | None,
        codec: Codec | None = None,
        received: bytes = b"",
    ) -> None:
        self.request = request
        self.subprotocol = subprotocol
        self._sock = sock
        self._core = Connection(Role.SERVER, max_size=max_size, codec=codec)
        self._lock = threading.RLock()
        self._stream = Stream(sock, self._core, self._lock, threading.RLock())
        self._core.feed(received)

    @property
    def close_code(self) -> int | None:
        """The code of the client's Close frame (1005 if it had none), None before it."""
        return self._core.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason of the client's Close frame, None before it."""
        close = self._core.close_received
        return None if close is None else close.reason

    @property
    def stats(self) -> Stats:
        """What has gone over the connection so far, seen from the server."""
        return stats_of(self._core, self._sock)

    def recv(self, timeout: float | None = None) -> str | bytes:
        """The next message: str for text, bytes for binary.

        Parameters:
            timeout: seconds, None for no limit.

        Raises:
            WebSocketConnectionClosedException: the client closed the connection (then
                ``close_code`` tells how), or it was lost.
            WebSocketTimeoutException: no message came in time.
            WebSocketProtocolException, WebSocketPayloadException: the client broke the
                protocol; the connection was closed with the code that says so.
        """
        deadline = None if timeout is None else Deadline(timeout)
        while True:
            event = self._stream.next_event(deadline)
            if isinstance(event, (str, bytes)):
                return event
            if isinstance(event, Close):
                self._stream.answer_close(event)
                # The server is the end that closes TCP first (RFC 6455 section 7.1.1).
                self._stream.shutdown()
                raise WebSocketConnectionClosedException(
                    f"The client closed the connection with code {self.close_code}."
                )
            if isinstance(event, Exception):
                self._stream.fail(event)
                try:
                    raise event
                finally:
                    # An exception that is held by a frame of its own is never freed at once.
                    del event

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield messages until the connection is closed or lost."""
        while True:
            try:
                message = self.recv()
            except WebSocketConnectionClosedException:
                return
            yield message

    def send(self, message: Payload) -> None:
        """Send a message: str as text, bytes as binary.

        Raises:
            WebSocketConnectionClosedException: the connection is closed.
        """
        self._stream.send(OP_TEXT if isinstance(message, str) else OP_BINARY, message)

    def send_fragments(self, pieces: Iterable[str | bytes]) -> None:
        """Send one message in as many frames as there are pieces (RFC 6455 section 5.4).

        The first piece decides between text and binary. Bytes after a first str may cut a
        character in two. No other thread's frame comes between; a generator of pieces may
        itself call ``ping`` or ``send_raw`` before it yields the next one.

        Raises:
            ValueError: there is no piece.
            WebSocketConnectionClosedException: the connection is closed.
        """
        with self._lock:
            source = iter(pieces)
            try:
                piece = next(source)
            except StopIteration:
                raise ValueError("A message has at least one piece, but there is none.") from None
            opcode = OP_TEXT if isinstance(piece, str) else OP_BINARY
            for following in source:
                self._stream.write(self._core.encode(opcode, piece, fin=False))
                opcode, piece = OP_CONT, following
            self._stream.write(self._core.encode(opcode, piece))
            self._core.counts.messages_sent += 1

    def ping(self, payload: str | bytes = b"") -> PongWaiter:
        """Send a ping of at most 125 bytes.

        Returns:
            an object whose ``wait(timeout)`` returns the round-trip time in seconds once the
            pong has come.
        """
        data = payload.encode() if isinstance(payload, str) else bytes(payload)
        return self._stream.ping(data, self._stream.send)

    def send_raw(self, data: bytes) -> None:
        """Write bytes to the stream as they are, to see how a client takes what is wrong."""
        with self._lock:
            self._stream.write(data)

    def close(self, code: int | None = 1000, reason: str | bytes = b"", timeout: float = 3) -> None:
        """The closing handshake, then the end of the socket. Closing again does nothing.

        Parameters:
            code: 1000 to 1003, 1007 to 1014 or 3000 to 4999, or None for a Close without one.
            reason: at most 123 bytes of UTF-8.
            timeout: seconds to wait for the client's Close frame; messages that come before
                it are dropped.

        Raises:
            WebSocketArgumentException: the code or the reason can't be sent.
        """
        close_payload(code, reason)  # what can't be sent leaves the connection as it is
        deadline = Deadline(timeout)
        try:
            with contextlib.suppress(WebSocketException):
                self.send_close(code, reason, timeout)
                while self._core.close_received is None:
                    event = self._stream.next_event(deadline)
                    if isinstance(event, Exception):
                        break
                    if isinstance(event, Close):
                        self._core.close_received = event
        finally:
            self._stream.shutdown()

    def send_close(
        self, code: int | None = 1000, reason: str | bytes = b"", timeout: float | None = None
    ) -> None:
        """Send a Close frame and do nothing else; receiving goes on.

        Parameters:
            code, reason: see ``close``.
            timeout: seconds that sending may take, None for no limit.
        """
        self._stream.send_close(code, reason, Deadline(timeout))

    def shutdown(self) -> None:
        """End the connection at once, without a closing handshake."""
        self._stream.shutdown()

    def abort(self) -> None:
        """End the connection with a TCP reset, without a closing handshake."""
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            # Closed before it is shut down: a FIN ahead of the reset would look like an end.
            self._sock.close()
        self._stream.shutdown()
