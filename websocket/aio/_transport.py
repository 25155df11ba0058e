"""A stream socket in an event loop, without TLS: the transport of plain connections.

It does what the loop's own transport does, with fewer steps between the socket and the
protocol, and never copies what waits to be sent. Loops that can't watch sockets, and TLS, have
to do with the loop's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import warnings
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice, takewhile
from typing import Any, Final, cast

from .._accel import send_bytes
from .._protocol.sending import FrameParts
from ._fast_path import FastPath

# What one system call is handed at most (systems refuse more than 1024), and how many of them
# follow one another.
_MOST_BUFFERS: Final = 64
_MOST_WRITES: Final = 16

_HIGH: Final = 64 * 1024


class SocketTransport(asyncio.Transport):
    """See the module's text.

    Parameters:
        loop: the running loop.
        sock: connected and non-blocking; the transport's own from now on.
        protocol: what it reads for. If it has a ``receive_from``, that is called with the file
            descriptor where something can be read: see ``Driver``.

    Attributes:
        fast_path: for a protocol to start; it is asked first when something can be read. None
            where the socket may receive and send in ways of its own.

    Raises:
        NotImplementedError: the loop can't watch sockets. The socket is as it was.
    """

    __slots__ = (
        "_closing",
        "_fd",
        "_full",
        "_high",
        "_loop",
        "_lost",
        "_low",
        "_on_readable",
        "_pending",
        "_pending_size",
        "_protocol",
        "_reading",
        "_receive_from",
        "_send",
        "_sock",
        "fast_path",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        protocol: asyncio.BufferedProtocol,
    ) -> None:
        self._closing = self._lost = True
        # The addresses are asked for now, as programs want to know them when it has ended, too.
        super().__init__({"socket": sock, **_addresses(sock)})
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._send: Callable[[Any], int] = sock.send
        self._on_readable: Any = self._readable
        self.fast_path: FastPath | None = None
        if type(sock) is socket.socket:
            self._send = partial(send_bytes, self._fd)
            self._on_readable = self.fast_path = FastPath(self._fd, self._readable, self._unsent)
        # What waits for room; a queue costs memory, and most connections never need one.
        self._pending: deque[memoryview | FrameParts] | None = None
        self._pending_size = 0
        self._high, self._low = _HIGH, _HIGH // 4
        self._full = False
        self._reading = True
        self.set_protocol(protocol)
        if not hasattr(sock, "sendmsg"):
            raise NotImplementedError
        loop.add_reader(self._fd, self._on_readable)
        self._closing = self._lost = False
        self._note_room()
        protocol.connection_made(self)

    def __repr__(self) -> str:
        state = "closed" if self._lost else "closing" if self._closing else "open"
        return f"<{type(self).__name__} fd={self._fd} {state}>"

    def __del__(self) -> None:
        if not self._lost:
            warnings.warn(
                f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2
            )
            self._sock.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol: Any = protocol
        self._receive_from: Callable[[int], int] | None = None
        if self.fast_path is not None:
            # It was another protocol's.
            self.fast_path.room = None
            self._receive_from = getattr(protocol, "receive_from", None)

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def is_closing(self) -> bool:
        return self._closing

    # Receiving

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        if self.is_reading():
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        if not (self._reading or self._closing):
            self._reading = True
            self._loop.add_reader(self._fd, self._on_readable)

    def _readable(self, read: Any = None) -> None:
        """Something can be read, unless the fast path has done so: then see there."""
        try:
            if isinstance(read, BaseException):
                raise read
            if read is not None:
                count = read[0]
                if count:
                    self._protocol.received_messages(*read)
            elif self._receive_from is not None:
                count = self._receive_from(self._fd)
            else:
                count = self._sock.recv_into(self._protocol.get_buffer(-1))
                if count:
                    self._protocol.buffer_updated(count)
            if not count:
                self._read_all()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._fail(error)
        except Exception as error:
            self._report(error)

    def _read_all(self) -> None:
        """The stream has ended."""
        if self._protocol.eof_received():
            self.pause_reading()
        else:
            self.close()

    # Sending

    def write(self, data: Any) -> None:
        """Send bytes, now or when there is room. They must not change any more."""
        if self._pending:
            self._wait_with(memoryview(data), len(data))
        elif not self._closing:
            try:
                sent = self._send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._unsent(data, error)
                return
            if sent < len(data):
                self._unsent(memoryview(data)[sent:], None)

    def _unsent(self, data: Any, error: OSError | None) -> None:
        """So much of what was to be sent at once is left; the error says that nothing goes."""
        if error is not None:
            self._fail(error)
            return
        self._loop.add_writer(self._fd, self._writable)
        self._wait_with(memoryview(data), len(data))

    def _note_room(self) -> None:
        """Something waits to be sent, or nothing does any more, or nothing may."""
        if self.fast_path is not None:
            self.fast_path.sends = not (self._pending or self._closing)

    def write_parts(self, parts: FrameParts) -> None:
        """``write`` of bytes that are made when there is room for them."""
        while parts.left and not self._pending and not self._closing:
            self.write(next(parts))
        if parts.left and self._pending:
            self._wait_with(parts, parts.left)

    def _wait_with(self, data: memoryview | FrameParts, size: int) -> None:
        """Something more has to wait for room."""
        if not size:
            return
        if not self._pending:
            self._pending = deque()
        self._pending.append(data)
        self._note_room()
        self._pending_size += size
        if self._pending_size > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def _writable(self) -> None:
        try:
            # Not for ever: others have a right to their turn.
            for _ in range(_MOST_WRITES):
                buffers = self._next_buffers()
                sent = self._sock.sendmsg(buffers)
                self._sent(sent)
                if not self._pending or sent < sum(map(len, buffers)):
                    break
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._fail(error)
            return
        if not self._pending:
            self._pending = None
            self._loop.remove_writer(self._fd)
            if self._closing:
                self._finish(None)
                return
            self._note_room()
        if self._full and self._pending_size <= self._low:
            self._full = False
            self._protocol.resume_writing()

    def _next_buffers(self) -> list[memoryview]:
        """What is to be sent next, at least a byte of it."""
        pending = self._pending
        assert pending
        first = pending[0]
        if isinstance(first, memoryview):
            ready = takewhile(lambda data: isinstance(data, memoryview), pending)
            return cast("list[memoryview]", list(islice(ready, _MOST_BUFFERS)))
        part = memoryview(next(first))
        if not first.left:
            pending.popleft()
        pending.appendleft(part)
        return [part]

    def _sent(self, count: int) -> None:
        """So many of the bytes of the last ``_next_buffers`` have been sent."""
        pending = self._pending
        assert pending
        self._pending_size -= count
        while count:
            first = cast("memoryview", pending.popleft())
            if count < len(first):
                pending.appendleft(first[count:])
                return
            count -= len(first)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = _HIGH if low is None else 4 * low
        self._high, self._low = high, high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return self._pending_size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    # The end

    def close(self) -> None:
        """Read no more, send what is pending, and then give the socket back."""
        if not self._closing:
            self._stop_reading()
            if not self._pending:
                self._loop.call_soon(self._finish, None)

    def abort(self) -> None:
        """Give the socket back now; what is pending is lost."""
        self._fail(None)

    def _report(self, error: Exception) -> None:
        self._loop.call_exception_handler(
            {
                "message": "An error in the protocol of a connection, which is closed therefore",
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )
        self._fail(error)

    def _stop_reading(self) -> None:
        self.pause_reading()
        self._closing = True
        self._note_room()

    def _fail(self, error: Exception | None) -> None:
        if self._pending:
            self._pending = None
            self._pending_size = 0
            self._loop.remove_writer(self._fd)
        elif self._closing:
            # It is under way.
            return
        self._stop_reading()
        self._loop.call_soon(self._finish, error)

    def _finish(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        try:
            self._protocol.connection_lost(error)
        finally:
            self._sock.close()
            # The protocol and the fast path hold this object, too: cycles.
            self._protocol = self._receive_from = self._on_readable = None
            if self.fast_path is not None:
                self.fast_path.end()


def _addresses(sock: socket.socket) -> dict[str, Any]:
    """Those that the system tells: a peer may have gone already."""
    found: dict[str, Any] = {}
    for name in ("sockname", "peername"):
        with contextlib.suppress(OSError):
            found[name] = getattr(sock, f"get{name}")()
    return found
