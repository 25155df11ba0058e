"""Socket options, the default timeout, bytes in and out of a socket, and what TCP knows of them.

The one place that says what an error of a socket means to the caller is ``map_io_error``.
Deadlines live in ``_deadline``, dialling in ``_http``.
"""

from __future__ import annotations

import _socket
import errno
import math
import select
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar, cast

from ._deadline import Deadline, check_timeout
from ._exceptions import (
    WebSocketArgumentException,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketHandshakeException,
    WebSocketTimeoutException,
)
from ._ssl_compat import (
    HAVE_CONTEXT_CHECK_HOSTNAME,
    HAVE_SSL,
    SSLError,
    SSLWantReadError,
    SSLWantWriteError,
)

__all__ = [
    "DEFAULT_SOCKET_OPTION",
    "HAVE_CONTEXT_CHECK_HOSTNAME",
    "HAVE_SSL",
    "Deadline",
    "check_timeout",
    "getdefaulttimeout",
    "map_io_error",
    "recv",
    "recv_line",
    "send",
    "setdefaulttimeout",
    "sock_opt",
]

_T = TypeVar("_T")

ALREADY_CLOSED = "Connection is already closed."
CONNECTION_LOST = "Connection to remote host was lost."

_MAX_LINE = 65536


def _platform_socket_options() -> list[tuple[int, int, int]]:
    options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ]
    # macOS calls the idle time TCP_KEEPALIVE.
    idle = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"
    for name, value in ((idle, 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return [(int(level), int(option), value) for level, option, value in options]


DEFAULT_SOCKET_OPTION = _platform_socket_options()

_default_timeout: float | None = None


class SocketLike(Protocol):
    """What a connection needs at least: a socket, or a stand-in that a program wrote."""

    def recv(self, bufsize: int, /) -> bytes: ...
    def send(self, data: bytes, /) -> int | None: ...
    def close(self) -> object: ...
    def gettimeout(self) -> float | None: ...


class sock_opt:
    """What a connection wants of its socket.

    Args:
        sockopt: arguments for ``socket.setsockopt``, set on top of DEFAULT_SOCKET_OPTION: an
            iterable of triples, or a single triple. None means none.
        sslopt: TLS options, see ``_tls``. None means none.

    Attributes:
        sockopt: the list of tuples.
        sslopt: the dict.
        timeout: seconds that one blocking call on the socket may take, or None.

    Raises:
        WebSocketArgumentException: one of the two has another form.
    """

    def __init__(
        self,
        sockopt: Iterable[Any] | None,
        sslopt: Mapping[str, Any] | None,
    ) -> None:
        self.sockopt = _normalise_sockopt(sockopt)
        self.sslopt = _normalise_sslopt(sslopt)
        self.timeout: float | None = None


def _normalise_sockopt(sockopt: Any) -> list[tuple[Any, ...]]:
    if sockopt is None:
        return []
    try:
        items: list[Any] = list(sockopt)
    except TypeError:
        raise _bad_sockopt(sockopt) from None
    if items and isinstance(items[0], int):
        items = [items]
    options: list[tuple[Any, ...]] = []
    for item in items:
        # Four values are setsockopt's form (level, name, None, length).
        if not isinstance(item, (tuple, list)):
            raise _bad_sockopt(item)
        option = tuple(cast("Iterable[Any]", item))
        if len(option) not in (3, 4):
            raise _bad_sockopt(option)
        options.append(option)
    return options


def _bad_sockopt(value: object) -> WebSocketArgumentException:
    return WebSocketArgumentException(
        "sockopt must be a sequence of (level, name, value) tuples, such as "
        f"[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]; this is none: {value!r}"
    )


def _normalise_sslopt(sslopt: object) -> dict[str, Any]:
    if sslopt is None:
        return {}
    if isinstance(sslopt, dict):
        return cast("dict[str, Any]", sslopt)
    if isinstance(sslopt, Mapping):
        return dict(cast("Mapping[str, Any]", sslopt))
    hint = "; pass an SSLContext as {'context': it}" if hasattr(sslopt, "wrap_socket") else ""
    raise WebSocketArgumentException(
        f"sslopt must be a dict of TLS options or None, not a {type(sslopt).__name__}{hint}"
    )


def setdefaulttimeout(timeout: float | None) -> None:
    """Set the timeout of connections that are made without one of their own.

    Args:
        timeout: seconds, or None for no limit.

    Raises:
        WebSocketArgumentException: it is negative or no number.
    """
    global _default_timeout
    _default_timeout = check_timeout(timeout)


def getdefaulttimeout() -> float | None:
    """The timeout in seconds that ``setdefaulttimeout`` has set; None, no limit, at first."""
    return _default_timeout


# What the operating system reports when a connection is gone, beyond ConnectionError's own.
# ETIMEDOUT is here as well: in reading or writing, the kernel has given the peer up; a timeout
# of the program's own carries no errno.
_LOST = frozenset(
    {
        errno.EBADF,
        errno.ENOTCONN,
        errno.ENOTSOCK,
        errno.ETIMEDOUT,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EPIPE,
    }
)
_WOULD_BLOCK = (BlockingIOError, SSLWantReadError, SSLWantWriteError)
_TLS_EVENTS: dict[type[BaseException], int] = {
    SSLWantReadError: selectors.EVENT_READ,
    SSLWantWriteError: selectors.EVENT_WRITE,
}


def map_io_error(error: BaseException) -> WebSocketException | None:
    """What an error met in reading from or writing to a connection means.

    Returns:
        The exception to raise ``from error``: WebSocketTimeoutException when a timeout has
        passed or the call would have had to wait on a non-blocking socket,
        WebSocketConnectionClosedException when the connection is gone. None for any other
        error, which is to be raised as it is.
    """
    if isinstance(error, _WOULD_BLOCK):
        return WebSocketTimeoutException("The operation timed out: it would have had to wait.")
    if isinstance(error, TimeoutError) and error.errno != errno.ETIMEDOUT:
        return WebSocketTimeoutException("The operation timed out.")
    if isinstance(error, (EOFError, ConnectionError, SSLError)):
        return WebSocketConnectionClosedException(CONNECTION_LOST)
    if isinstance(error, OSError) and error.errno in _LOST:
        return WebSocketConnectionClosedException(CONNECTION_LOST)
    if isinstance(error, (ValueError, AttributeError)) and _is_closing_race(error):
        return WebSocketConnectionClosedException(CONNECTION_LOST)
    return None


def _is_closing_race(error: ValueError | AttributeError) -> bool:
    """Whether another thread closed the socket under the call that raised ``error``.

    ``ssl`` and ``selectors`` have no exception class for this, only these words.
    """
    text = str(error)
    return (
        "closed or unwrapped SSL socket" in text
        or "file descriptor" in text.lower()
        or "filedescriptor" in text
        or (isinstance(error, AttributeError) and error.obj is None and error.name in _SSL_CALLS)
    )


_SSL_CALLS = ("read", "write")


def wait_ready(sock: Any, events: int, timeout: float | None) -> bool:
    """Wait until the socket can be read or written.

    Args:
        sock: anything with a ``fileno``.
        events: ``selectors.EVENT_READ``, ``EVENT_WRITE`` or both.
        timeout: seconds, or None for no limit.

    Returns:
        False when the timeout has passed first.
    """
    if hasattr(select, "poll"):
        # Unlike epoll and kqueue, poll takes no descriptor of its own; unlike select, any
        # number. Without the selectors module in between, as this is called for each wait.
        poll = select.poll()
        mask = select.POLLIN if events & selectors.EVENT_READ else 0
        poll.register(sock, mask | (select.POLLOUT if events & selectors.EVENT_WRITE else 0))
        return bool(poll.poll(None if timeout is None else math.ceil(timeout * 1000)))
    with selectors.SelectSelector() as selector:
        selector.register(sock, events)
        return bool(selector.select(timeout))


def _retrying(sock: Any, operation: Callable[[], _T], blocked: int) -> _T:
    """Call ``operation``; where the socket says that it is not ready, wait and call again."""
    deadline: Deadline | None = None
    try:
        while True:
            try:
                return operation()
            except _WOULD_BLOCK as error:
                deadline = deadline or Deadline(sock.gettimeout())
                if deadline.timeout == 0 or not hasattr(sock, "fileno"):
                    raise
                # TLS may have to write before it can read, and the other way round.
                events = _TLS_EVENTS.get(type(error), blocked)
                if not wait_ready(sock, events, deadline.remaining()):
                    raise deadline.error() from error
    except Exception as error:
        mapped = map_io_error(error)
        if mapped is None:
            raise
        raise mapped from error


def recv(sock: SocketLike | None, bufsize: int) -> bytes:
    """Receive between 1 and ``bufsize`` bytes.

    Args:
        sock: a socket, or any object with ``recv`` and ``gettimeout``.
        bufsize: the most bytes to take.

    Raises:
        WebSocketConnectionClosedException: there is no socket, or the connection is gone.
        WebSocketTimeoutException: the socket's timeout has passed.
    """
    if sock is None:
        raise WebSocketConnectionClosedException(ALREADY_CLOSED)
    data = _retrying(sock, lambda: sock.recv(bufsize), selectors.EVENT_READ)
    if not data:
        raise WebSocketConnectionClosedException(CONNECTION_LOST)
    return data


def recv_line(sock: SocketLike | None) -> bytes:
    """Receive up to and with the next line feed, byte by byte so that nothing more is taken.

    Raises:
        WebSocketHandshakeException: no line feed came within 65,536 bytes.
        WebSocketConnectionClosedException, WebSocketTimeoutException: as ``recv``.
    """
    line = bytearray()
    while not line.endswith(b"\n"):
        if len(line) >= _MAX_LINE:
            raise WebSocketHandshakeException(
                f"The peer sent a line of more than {_MAX_LINE} bytes: {bytes(line[:40])!r}..."
            )
        line += recv(sock, 1)
    return bytes(line)


def send(sock: SocketLike | None, data: bytes | str) -> int:
    """Send some of ``data``; the caller goes on with the rest.

    Args:
        sock: a socket, or any object with ``send`` and ``gettimeout``.
        data: bytes, or a str that is sent as UTF-8.

    Returns:
        The number of bytes taken.

    Raises:
        WebSocketConnectionClosedException: there is no socket, or the connection is gone.
        WebSocketTimeoutException: the socket's timeout has passed.
    """
    if sock is None:
        raise WebSocketConnectionClosedException(ALREADY_CLOSED)
    payload = data.encode() if isinstance(data, str) else data
    sent = _retrying(sock, lambda: sock.send(payload), selectors.EVENT_WRITE)
    # A stand-in for a socket may return nothing; then it took all.
    return len(payload) if sent is None else sent


def shut_down(sock: Any, how: int = socket.SHUT_RDWR) -> None:
    """End a connection's TCP, so that whoever waits for it comes back.

    ``SSLSocket.shutdown`` would take the TLS layer from under a thread that is in it. This
    leaves it there, also where gevent or eventlet have put classes of their own in place.

    Raises:
        OSError: it has ended already.
    """
    sock = getattr(sock, "outer", sock)
    if isinstance(sock, _socket.socket):
        _socket.socket.shutdown(sock, how)
    elif isinstance(sock, socket.socket) and hasattr(socket.socket, "shutdown"):
        socket.socket.shutdown(sock, how)
    elif hasattr(sock, "shutdown"):
        sock.shutdown(how)


def unacknowledged(sock: Any) -> int | None:
    """The bytes written to a socket that the peer's TCP has not acknowledged yet.

    Returns:
        None where the system does not tell (Linux and Android do, by SIOCOUTQ), or where it is
        no socket any more.
    """
    if not sys.platform.startswith(("linux", "android")):
        return None
    # Not everywhere there, so not at the top of the module.
    import fcntl
    import termios

    try:
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return int.from_bytes(answer, sys.byteorder)


# Where the kernel's struct tcp_info has tcpi_last_data_sent (milliseconds ago), and
# tcpi_bytes_acked.
_LAST_SENT = slice(44, 48)
_BYTES_ACKED = slice(120, 128)


def acknowledged(sock: Any) -> int | None:
    """The bytes that the peer's TCP has acknowledged since the connection began.

    Returns:
        None where the system does not tell (Linux does, by TCP_INFO).
    """
    return _tcp_info(sock, _BYTES_ACKED)


def last_sent_at(sock: Any) -> float | None:
    """When data was sent over a TCP connection last, as ``time.time()`` has it.

    Returns:
        None where the system does not tell (Linux does, by TCP_INFO).
    """
    milliseconds = _tcp_info(sock, _LAST_SENT)
    return None if milliseconds is None else time.time() - milliseconds / 1000


def _tcp_info(sock: Any, place: slice) -> int | None:
    if not sys.platform.startswith(("linux", "android")):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, place.stop)
    except (OSError, AttributeError, TypeError):
        return None
    if not isinstance(info, bytes) or len(info) < place.stop:
        return None
    return int.from_bytes(info[place], sys.byteorder)


def add_note(error: BaseException, text: str) -> None:
    """Add a sentence to an exception's traceback, where this Python can (3.11 and newer)."""
    add: Callable[[str], None] | None = getattr(error, "add_note", None)
    if add is not None:
        add(text)
