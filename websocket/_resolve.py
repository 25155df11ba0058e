"""From names to addresses, before a deadline."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

from ._deadline import Deadline
from ._exceptions import (
    WebSocketAddressException,
    WebSocketArgumentException,
    WebSocketTimeoutException,
)
from ._protocol.uri import ascii_hostname

AddrInfo = tuple[Any, Any, int, str, Any]
"""What ``socket.getaddrinfo`` returns a list of."""

_T = TypeVar("_T")


def lookup(
    hostname: str,
    port: int,
    whose: str = "server",
    *,
    deadline: Deadline | None = None,
    resolver: Callable[[str, int], Iterable[Any]] | None = None,
) -> list[AddrInfo]:
    """The addresses of a name, as ``socket.getaddrinfo`` has them.

    Args:
        hostname: the name, in any script, or an address.
        port: becomes part of the addresses.
        whose: "server" or "proxy", for sentences.
        deadline: the system's resolver can't be interrupted, so where there is one, even one
            without a limit, it runs in a thread of its own, and is left to itself when the
            time is over, the operation is called off, or Ctrl-C ends it.
        resolver: see ``Dialing``.

    Raises:
        WebSocketAddressException: the name has no address.
        WebSocketTimeoutException: the deadline has passed.
    """
    name = ascii_hostname(hostname)
    if resolver is None and _is_numeric(name):
        deadline = None

    def resolve() -> list[AddrInfo]:
        if resolver is None:
            return _getaddrinfo(name, port)
        return _from_resolver(resolver(name, port), port)

    try:
        found = _in_time(resolve, deadline)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise WebSocketAddressException(
            f"The name of the {whose} could not be resolved: {hostname!r} ({reason})"
        ) from error
    if found is None:
        assert deadline is not None
        raise WebSocketTimeoutException(
            f"The operation timed out after {deadline.timeout:g} seconds: the name of the "
            f"{whose} was not resolved, {hostname!r}."
        )
    if not found:
        raise WebSocketAddressException(f"The name of the {whose} has no address: {hostname!r}")
    return found


def _getaddrinfo(name: str, port: int) -> list[AddrInfo]:
    found: list[AddrInfo] = list(
        socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    )
    return found


def _is_numeric(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()


def _from_resolver(found: Iterable[Any], port: int) -> list[AddrInfo]:
    addresses: list[AddrInfo] = []
    for entry in found:
        if isinstance(entry, str):
            flags = socket.AI_NUMERICHOST
            addresses += socket.getaddrinfo(
                entry, port, 0, socket.SOCK_STREAM, socket.IPPROTO_TCP, flags
            )
        elif isinstance(entry, tuple) and len(entry) == 5:  # pyright: ignore[reportUnknownArgumentType]
            addresses.append(cast("AddrInfo", entry))
        else:
            raise WebSocketArgumentException(
                "resolver must return addresses as str, or what socket.getaddrinfo returns, not "
                f"{entry!r}"
            )
    return addresses


def _in_time(function: Callable[[], _T], deadline: Deadline | None) -> _T | None:
    """What ``function`` returns or raises, None where it takes longer than that."""
    if deadline is None:
        return function()
    # Unlike an Event, it may be written by a signal handler of the thread that waits for it.
    done: SimpleQueue[None] = SimpleQueue()
    values: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            values.append(function())
        except BaseException as error:
            errors.append(error)
        done.put(None)

    if deadline.call_off is not None:
        deadline.call_off.step(lambda: done.put(None))
    threading.Thread(target=run, name="websocket-resolve", daemon=True).start()
    left = deadline.left()
    with contextlib.suppress(Empty):
        done.get(timeout=None if left is None else min(left, threading.TIMEOUT_MAX))
    if deadline.call_off is not None:
        deadline.call_off.check()
    if errors:
        # Taken out: an exception that is kept by its own frame is never freed.
        raise errors.pop()
    return values[0] if values else None
