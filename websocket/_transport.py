"""How a connection reads and writes its socket: with deadlines, with TLS, from many threads.

A transport moves bytes and maps errors; it knows no frames. Three kinds: real sockets, TLS
sockets, and objects that merely look like a socket (test doubles).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import socket
import threading
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any, Protocol

from ._deadline import Deadline, check_timeout
from ._exceptions import (
    WebSocketConnectionClosedException,
    WebSocketTimeoutException,
    WebSocketWouldBlockException,
)
from ._socket import map_io_error, shut_down, wait_ready
from ._ssl_compat import HAVE_SSL, SSLWantReadError, SSLWantWriteError, ssl

_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)


class Transport(Protocol):
    """What the faces need of a socket. ``deadline`` None means: the timeout that is set."""

    @property
    def plain(self) -> Any:
        """The socket, if its own ``recv_into`` and ``send`` do what the transport's do without
        a deadline, but for the errors, which go to ``mapped``. Else None."""
        ...

    def mapped(self, action: str, error: Exception) -> BaseException:
        """What an error of the ``plain`` socket means."""
        ...

    @property
    def keeps_writes(self) -> bool:
        """Whether a write that timed out may have begun, so that the same bytes must follow."""
        ...

    @property
    def timeout(self) -> float | None:
        """Seconds that a read or write may take where it is given no deadline."""
        ...

    @timeout.setter
    def timeout(self, value: float | None) -> None: ...

    def recv_into(self, view: memoryview, deadline: Deadline | None = None) -> int:
        """Read what is there, 0 at the end of the stream."""
        ...

    def send(self, data: bytes | memoryview, deadline: Deadline | None = None) -> int:
        """Write a part of ``data``, return its size."""
        ...

    def pending(self) -> bool:
        """Whether bytes wait inside the transport, where a selector can't see them."""
        ...

    def readable(self) -> bool:
        """Whether a read would return at once, as far as can be told."""
        ...

    def wait_for_room(self, deadline: Deadline | None = None) -> bool:
        """Wait until something can be read or written; True if it can be read.

        Raises:
            WebSocketTimeoutException: neither came in time.
        """
        ...

    def shutdown(self) -> None:
        """End both directions now: a read that is blocked in another thread returns."""
        ...

    def close(self) -> None: ...


def wait_for(sock: Any, events: int, deadline: Deadline | None) -> bool:
    """Wait until the socket can be read or written; False when the deadline came first."""
    return wait_ready(sock, events, None if deadline is None else deadline.left())


def is_readable(sock: Any) -> bool:
    try:
        return wait_ready(sock, EVENT_READ, 0)
    except (OSError, ValueError):
        return False  # it was closed meanwhile, as the next read will find


def wait_for_either(sock: Any, deadline: Deadline) -> bool:
    """See ``Transport.wait_for_room``."""
    try:
        if not wait_for(sock, EVENT_READ | EVENT_WRITE, deadline):
            raise timed_out("The receive", deadline, None)
        return wait_ready(sock, EVENT_READ, 0)
    except (OSError, ValueError) as error:
        raise (map_io_error(error) or error) from error


def timed_out(
    action: str,
    deadline: Deadline | None,
    timeout: float | None,
    would_block: type[WebSocketWouldBlockException] = WebSocketWouldBlockException,
) -> Exception:
    limit = deadline.timeout if deadline is not None else timeout
    kind = would_block if limit == 0 else WebSocketTimeoutException
    return kind(f"{action} timed out after {limit or 0:g} s")


class _WantRead(WebSocketWouldBlockException, SSLWantReadError):
    pass


class _WantWrite(WebSocketWouldBlockException, SSLWantWriteError):
    pass


class SocketTransport:
    """A plain socket. Waiting is left to the socket's own timeout where no deadline is given."""

    keeps_writes = False

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # A subclass, or an instance of one, may change its methods at any time.
        self.plain = sock if type(sock) is socket.socket else None

    @property
    def timeout(self) -> float | None:
        return self._sock.gettimeout()

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._sock.settimeout(value)

    def recv_into(self, view: memoryview, deadline: Deadline | None = None) -> int:
        try:
            if deadline is not None:
                if _DONTWAIT and deadline.expired and self._sock.gettimeout() is None:
                    return self._sock.recv_into(view, 0, _DONTWAIT)
                if not wait_for(self._sock, EVENT_READ, deadline):
                    raise timed_out("The receive", deadline, None)
            return self._sock.recv_into(view)
        except (OSError, ValueError) as error:
            raise self.mapped("The receive", error, deadline) from error

    def send(self, data: bytes | memoryview, deadline: Deadline | None = None) -> int:
        try:
            while deadline is not None:
                if not wait_for(self._sock, EVENT_WRITE, deadline):
                    raise timed_out("The send", deadline, None)
                with contextlib.suppress(BlockingIOError):
                    return self._sock.send(data, _DONTWAIT)
            return self._sock.send(data)
        except (OSError, ValueError) as error:
            raise self.mapped("The send", error, deadline) from error

    def mapped(
        self, action: str, error: Exception, deadline: Deadline | None = None
    ) -> BaseException:
        # ETIMEDOUT is no timeout of ours: the kernel has given the peer up.
        if isinstance(error, (TimeoutError, BlockingIOError)) and error.errno != errno.ETIMEDOUT:
            return timed_out(action, deadline, self._sock.gettimeout())
        return map_io_error(error) or error

    def pending(self) -> bool:
        return False

    def readable(self) -> bool:
        return is_readable(self._sock)

    def wait_for_room(self, deadline: Deadline | None = None) -> bool:
        return wait_for_either(self._sock, deadline or Deadline(self.timeout))

    def shutdown(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.close()


class TimeoutBeside:
    """What a TLS socket becomes part of: it is non-blocking whatever timeout it is given.

    The timeout is only remembered, for the transport, which waits that long by itself.
    """

    _timeout: float | None

    def gettimeout(self) -> float | None:
        return self._timeout

    def settimeout(self, value: float | None) -> None:
        self._timeout = check_timeout(value)

    def setblocking(self, flag: bool) -> None:
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        return self._timeout != 0


@functools.lru_cache(maxsize=8)
def _with_timeout_beside(kind: type) -> type:
    return type(kind.__name__, (TimeoutBeside, kind), {})


class _NotPlain:
    """What the other transports say to the question for a plain socket."""

    plain = None

    def mapped(self, action: str, error: Exception) -> BaseException:
        return map_io_error(error) or error


# Where Python's TLS sockets raise, those that gevent puts in their place return 0.
_PYTHONS_OWN = not HAVE_SSL or ssl.SSLSocket.__module__ == "ssl"


class TLSTransport(_NotPlain):
    """A TLS socket, kept non-blocking.

    OpenSSL allows one thread at a time in a connection, and a read may have to write (and
    the reverse) when keys are updated. So each call into it is made under a lock and never
    blocks; waiting happens outside the lock.
    """

    # OpenSSL has sealed a record by then, which it sends under the name of the next bytes.
    keeps_writes = True

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._closed = False
        if not isinstance(sock, TimeoutBeside):
            timeout = sock.gettimeout()
            sock.setblocking(False)
            # The object may be the program's own, so it can't be made of another class from
            # the start.
            kind: Any = type(sock)  # pyright: ignore[reportUnknownVariableType]
            sock.__class__ = _with_timeout_beside(kind)
            sock.settimeout(timeout)

    @property
    def timeout(self) -> float | None:
        timeout: float | None = self._sock.gettimeout()
        return timeout

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._sock.settimeout(value)

    def recv_into(self, view: memoryview, deadline: Deadline | None = None) -> int:
        return self._call("The receive", self._sock.recv_into, view, deadline)

    def send(self, data: bytes | memoryview, deadline: Deadline | None = None) -> int:
        send = self._sock.send if _PYTHONS_OWN else self._send_or_raise
        return self._call("The send", send, data, deadline)

    def _send_or_raise(self, data: bytes | memoryview) -> int:
        sent: int = self._sock.send(data)
        if not sent and len(data):
            raise SSLWantWriteError("The operation did not complete (write)")
        return sent

    def _call(
        self,
        action: str,
        operation: Callable[[Any], int],
        argument: bytes | memoryview,
        deadline: Deadline | None,
    ) -> int:
        limit = deadline
        would_block: type[WebSocketWouldBlockException]
        while True:
            with self._lock:
                if self._closed:
                    raise WebSocketConnectionClosedException("Connection is already closed.")
                try:
                    return operation(argument)
                except SSLWantReadError:
                    events, would_block = EVENT_READ, _WantRead
                except SSLWantWriteError:
                    events, would_block = EVENT_WRITE, _WantWrite
                except (OSError, ValueError) as error:
                    raise (map_io_error(error) or error) from error
            if limit is None:
                limit = Deadline(self.timeout)
            try:
                ready = wait_for(self._sock, events, limit)
            except (OSError, ValueError) as error:
                raise (map_io_error(error) or error) from error
            if not ready:
                raise timed_out(action, limit, None, would_block)

    def pending(self) -> bool:
        return not self._closed and self._sock.pending() > 0

    def readable(self) -> bool:
        # An incomplete record makes the socket readable, but is nothing that can be read.
        return self.pending()

    def wait_for_room(self, deadline: Deadline | None = None) -> bool:
        return self.pending() or wait_for_either(self._sock, deadline or Deadline(self.timeout))

    def shutdown(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # Say goodbye if that can be done at once (close_notify, RFC 8446 section 6.1).
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()
            with contextlib.suppress(OSError):
                shut_down(self._sock)

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._sock.close()


class DoubleTransport(_NotPlain):
    """Anything with ``recv(n)`` and ``send(b)``: a test double, a channel of another library."""

    keeps_writes = False

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    @property
    def timeout(self) -> float | None:
        get: Callable[[], float | None] | None = getattr(self._sock, "gettimeout", None)
        return get() if get is not None else None

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        setter = getattr(self._sock, "settimeout", None)
        if setter is not None:
            setter(value)

    def recv(self, size: int) -> bytes:
        try:
            return bytes(self._sock.recv(size))
        except OSError as error:
            raise (map_io_error(error) or error) from error

    def recv_into(self, view: memoryview, deadline: Deadline | None = None) -> int:
        data = self.recv(len(view))
        view[: len(data)] = data
        return len(data)

    def send(self, data: bytes | memoryview, deadline: Deadline | None = None) -> int:
        try:
            sent = self._sock.send(bytes(data))
        except OSError as error:
            raise (map_io_error(error) or error) from error
        return len(data) if sent is None else int(sent)

    def pending(self) -> bool:
        return False

    def readable(self) -> bool:
        return False

    def wait_for_room(self, deadline: Deadline | None = None) -> bool:
        return True

    def shutdown(self) -> None:
        end = getattr(self._sock, "shutdown", None)
        if end is not None:
            with contextlib.suppress(OSError):
                end(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.close()


def is_tls(sock: Any) -> bool:
    """Whether ``sock`` is a TLS connection."""
    return isinstance(sock, TimeoutBeside) or (HAVE_SSL and isinstance(sock, ssl.SSLSocket))


def transport_for(sock: Any) -> Transport:
    """The transport for a socket object, chosen once per connection."""
    # Asked of the class: a mock answers to every name on the instance.
    kind: Any = type(sock)  # pyright: ignore[reportUnknownVariableType]
    if not callable(getattr(kind, "recv_into", None)):
        return DoubleTransport(sock)
    return TLSTransport(sock) if is_tls(sock) else SocketTransport(sock)
