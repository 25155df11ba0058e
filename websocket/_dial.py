"""TCP connections: from addresses to a connected socket, before a deadline.

Names are looked up in ``_resolve``. In which order addresses are dialled is decided in
``_happy_eyeballs``; what is done on the connection, TLS and proxies, in ``_http``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, cast

from . import _logging
from ._deadline import Deadline, check_timeout
from ._exceptions import (
    WebSocketAddressException,
    WebSocketArgumentException,
    WebSocketTimeoutException,
)
from ._happy_eyeballs import Race, interleave
from ._resolve import AddrInfo, lookup
from ._socket import DEFAULT_SOCKET_OPTION, add_note, wait_ready

_KEEPALIVE: Final = {
    "idle": ("TCP_KEEPIDLE", "TCP_KEEPALIVE"),
    "interval": ("TCP_KEEPINTVL",),
    "count": ("TCP_KEEPCNT",),
}
_MAX_KEEPALIVE: Final = 32767  # what Linux takes at most
_MAX_OPTION: Final = 2**31 - 1
_ROOM: Final = 0.02  # seconds until a full Unix socket is tried again
# connect_ex on a non-blocking socket: under way.
_UNDER_WAY: Final = {errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", -1)}


@dataclass(frozen=True)
class Dialing:
    """How to make a TCP connection.

    Args:
        sockopt: arguments for ``setsockopt``, set last.
        source_address: local address to connect from, ``(host, port)`` or just the host;
            port 0 lets the system choose.
        keepalive: False switches TCP keepalive off; a dict with ``idle``, ``interval``
            (seconds) and ``count`` sets it. None and True leave the defaults.
        tcp_user_timeout: seconds that sent data may stay unacknowledged before the system
            gives the connection up (RFC 5482; Linux only). None leaves it to the system.
        socket_factory: called as ``socket_factory((host, port), timeout)`` in the place of
            all of this, returns a connected socket.
        resolver: called as ``resolver(host, port)`` in the place of ``socket.getaddrinfo``;
            returns what that returns, or a list of addresses as str.

    Raises:
        WebSocketArgumentException: a value can't be used.
    """

    sockopt: Sequence[Sequence[Any]] = ()
    source_address: tuple[str, int] | str | None = None
    keepalive: bool | Mapping[str, int] | None = None
    tcp_user_timeout: float | None = None
    socket_factory: Callable[[tuple[str, int], float | None], Any] | None = None
    resolver: Callable[[str, int], Iterable[Any]] | None = None

    def __post_init__(self) -> None:
        for name in ("socket_factory", "resolver"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise WebSocketArgumentException(f"{name} must be callable, not {value!r}")
        self.options()
        self.source()

    def options(self) -> list[tuple[int, int, int]]:
        """What ``keepalive`` and ``tcp_user_timeout`` mean for ``setsockopt``."""
        options = _keepalive_options(self.keepalive)
        seconds = check_timeout(self.tcp_user_timeout, "tcp_user_timeout")
        if seconds is not None:
            number = getattr(socket, "TCP_USER_TIMEOUT", None)
            if number is None:
                _logging.warning("tcp_user_timeout was ignored: this system does not have it")
            else:
                options.append((socket.IPPROTO_TCP, number, min(int(seconds * 1000), _MAX_OPTION)))
        return options

    def source(self) -> tuple[str, int] | None:
        """``source_address`` as host and port."""
        given: Any = self.source_address
        if given is None:
            return None
        pair = (given, 0) if isinstance(given, str) else given
        try:
            host, port = pair
        except (TypeError, ValueError):
            host, port = None, None
        if not isinstance(host, str) or not isinstance(port, int) or not 0 <= port < 65536:
            raise WebSocketArgumentException(
                f"source_address must be (host, port) or a host, not {given!r}"
            )
        return host, port


def _keepalive_options(keepalive: Any) -> list[tuple[int, int, int]]:
    if keepalive is None or isinstance(keepalive, bool):
        return [] if keepalive is not False else [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)]
    if not isinstance(keepalive, Mapping):
        raise WebSocketArgumentException(
            f"keepalive must be True, False or a dict, not {keepalive!r}"
        )
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in cast("Mapping[str, Any]", keepalive).items():
        if name not in _KEEPALIVE or not isinstance(value, int) or not 0 < value <= _MAX_KEEPALIVE:
            raise WebSocketArgumentException(
                f"keepalive must have whole numbers from 1 to {_MAX_KEEPALIVE} under the names "
                f"{', '.join(_KEEPALIVE)}; {name!r}: {value!r} is none of them"
            )
        numbers = [getattr(socket, known, None) for known in _KEEPALIVE[name]]
        options += [(socket.IPPROTO_TCP, number, value) for number in numbers if number][:1]
    return options


def dial(host: str, port: int, dialing: Dialing, deadline: Deadline, whose: str = "server") -> Any:
    """A connected socket; its timeout is not defined.

    Raises:
        WebSocketAddressException: the name has no address.
        WebSocketTimeoutException: the deadline has passed.
        OSError: no address could be connected, see ``connect_any``.
    """
    if dialing.socket_factory is not None:
        deadline.check()
        sock = dialing.socket_factory((host, port), deadline.remaining())
        if sock is None:
            raise WebSocketArgumentException("socket_factory returned None instead of a socket")
        return sock
    found = lookup(host, port, whose, deadline=deadline, resolver=dialing.resolver)
    return connect_any(found, dialing, deadline)


def dial_unix(path: str, dialing: Dialing, deadline: Deadline) -> socket.socket:
    """A connected Unix socket.

    Raises:
        WebSocketArgumentException: this system has no Unix sockets, or the path is too long.
        OSError: nobody listens there.
    """
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise WebSocketArgumentException("This system has no Unix sockets")
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        for arguments in dialing.sockopt:
            _set_own(sock, arguments)
        _connect_unix(sock, path, deadline)
    except BaseException as error:
        sock.close()
        if type(error) is OSError and error.errno is None:
            raise WebSocketArgumentException(
                f"{path!r} is no Unix socket's path: {error}"
            ) from error
        raise
    return sock


def _connect_unix(sock: socket.socket, path: str, deadline: Deadline) -> None:
    while True:
        deadline.check()
        try:
            sock.connect(path)
            return
        except BlockingIOError:
            # The listener's queue is full. Nothing tells when there is room in it, but a connect
            # that blocks, which neither a deadline nor another thread could end.
            with deadline.alarm() as waker:
                if waker is None:
                    time.sleep(_ROOM)
                else:
                    wait_ready(waker, selectors.EVENT_READ, _ROOM)


def connect_any(
    addresses: Sequence[AddrInfo], dialing: Dialing, deadline: Deadline
) -> socket.socket:
    """Connect to the address that takes the connection first (RFC 8305 section 5).

    Raises:
        WebSocketTimeoutException: the deadline has passed, or no address answered.
        OSError: no address could be connected. It is the first address's error; the others'
            are in its notes (Python 3.11 and newer) and its ``__context__``.
    """
    order = interleave(addresses, lambda address: address[0])
    with (
        deadline.alarm() as waker,
        contextlib.closing(_Attempts(order, dialing, waker)) as attempts,
    ):
        try:
            while True:
                winner = attempts.go_on(deadline)
                if winner is not None:
                    return winner
        except WebSocketTimeoutException as timeout:
            attempts.explain(timeout)
            raise


class _Attempts:
    """The attempts of one race, blocking: what ``_happy_eyeballs`` decides is done here."""

    def __init__(
        self, addresses: Sequence[AddrInfo], dialing: Dialing, waker: socket.socket | None
    ) -> None:
        self._addresses = addresses
        self._dialing = dialing
        self._waker = waker
        self._race = Race(len(addresses))
        self._pending: dict[socket.socket, int] = {}
        self._errors: dict[int, OSError] = {}

    def go_on(self, deadline: Deadline) -> socket.socket | None:
        """Begin what is due, and wait once; the socket that is connected, if one is."""
        deadline.check()
        number = self._race.begin(time.monotonic())
        if number is not None:
            winner = self._begin(number)
            if winner is not None:
                return winner
        until_next = self._race.until_next(time.monotonic())
        if not self._pending and until_next is None:
            raise _first_of([self._errors[number] for number in sorted(self._errors)])
        left = deadline.remaining()
        waits = [seconds for seconds in (left, until_next) if seconds is not None]
        return self._wait(min(waits) if waits else None)

    def _begin(self, number: int) -> socket.socket | None:
        family, kind, protocol, _, address = self._addresses[number]
        try:
            sock = _prepared(family, kind, protocol, address, self._dialing)
        except OSError as error:
            self._failed(number, error)
            return None
        self._pending[sock] = number
        result = sock.connect_ex(address)
        if result in _UNDER_WAY:
            return None
        return self._finished(sock, result)

    def _wait(self, seconds: float | None) -> socket.socket | None:
        if not self._pending:
            return None
        # Unlike epoll, poll takes no descriptor of its own.
        kind = getattr(selectors, "PollSelector", selectors.SelectSelector)
        with kind() as selector:
            for sock in self._pending:
                selector.register(sock, selectors.EVENT_WRITE)
            if self._waker is not None:
                selector.register(self._waker, selectors.EVENT_READ)
            ready = [cast("socket.socket", key.fileobj) for key, _ in selector.select(seconds)]
        if self._waker in ready:
            # Called off: what has connected in the same moment is not wanted any more.
            return None
        # The preferred address wins where several have answered.
        for sock in sorted(ready, key=lambda sock: self._pending[sock]):
            winner = self._finished(sock, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            if winner is not None:
                return winner
        return None

    def _finished(self, sock: socket.socket, result: int) -> socket.socket | None:
        number = self._pending.pop(sock)
        if result == 0:
            return sock
        sock.close()
        self._failed(number, OSError(result, os.strerror(result)))
        return None

    def _failed(self, number: int, error: OSError) -> None:
        add_note(error, f"This was in connecting to {_show(self._addresses[number][4])}.")
        self._errors[number] = error
        self._race.failed()

    def explain(self, timeout: WebSocketTimeoutException) -> None:
        """Tell a timeout what the addresses did that did answer."""
        for number in sorted(self._pending.values()):
            add_note(timeout, f"No answer came from {_show(self._addresses[number][4])}.")
        for error in self._errors.values():
            add_note(timeout, f"Another address failed: {error}")

    def close(self) -> None:
        for sock in self._pending:
            sock.close()
        self._pending.clear()
        # An exception that is kept by an object of its own frames is never freed.
        self._errors.clear()


def _prepared(
    family: Any, kind: Any, protocol: int, address: Any, dialing: Dialing
) -> socket.socket:
    """A non-blocking socket with its options set."""
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        for option in DEFAULT_SOCKET_OPTION:
            _set_default(sock, option)
        for option in dialing.options():
            sock.setsockopt(*option)
        for arguments in dialing.sockopt:
            _set_own(sock, arguments)
        source = dialing.source()
        if source is not None:
            sock.bind(_source_for(family, *source))
    except BaseException:
        sock.close()
        raise
    return sock


def _source_for(family: Any, host: str, port: int) -> Any:
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    for source_family, _, _, _, address in found:
        if source_family == family:
            return address
    raise OSError(
        errno.EADDRNOTAVAIL, f"The source address {host!r} is of another family than the server's"
    )


def _set_own(sock: socket.socket, arguments: Sequence[Any]) -> None:
    try:
        sock.setsockopt(*arguments)
    except TypeError as error:
        raise WebSocketArgumentException(
            f"sockopt has values that no socket takes: {tuple(arguments)!r} ({error})"
        ) from error


def _set_default(sock: socket.socket, option: tuple[int, int, int]) -> None:
    try:
        sock.setsockopt(*option)
    except OSError as error:
        # A kernel or a sandbox may know the constant and still lack the option.
        _logging.debug(f"Socket option {option} was not set: {error}")


def _show(address: Any) -> str:
    return f"{address[0]} port {address[1]}" if isinstance(address, tuple) else repr(address)


def _first_of(errors: list[OSError]) -> Exception:
    """The first error, which knows of the others."""
    if not errors:
        return WebSocketAddressException("There is no address to connect to")
    first = errors[0]
    for error, following in pairwise(errors):
        error.__context__ = following
        add_note(first, f"Another address failed as well: {following}")
    return first
