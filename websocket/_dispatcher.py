"""The loops that call back when a connection has something to read.

``Dispatcher`` is the one that ``run_forever`` uses; ``WrappedDispatcher`` adapts a loop that a
program brings along (``rel``, for instance).
"""

from __future__ import annotations

import contextlib
import inspect
import selectors
import socket
from typing import TYPE_CHECKING, Any

from ._socket import send

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Dispatcher", "DispatcherBase", "SSLDispatcher", "WrappedDispatcher"]


class DispatcherBase:
    """What every loop of ours can do.

    Parameters:
        app: the ``WebSocketApp``; the loop ends when its ``keep_running`` is False, unless
            ``going`` says otherwise.
        ping_timeout: seconds between two calls of ``check_callback``, None for none;
            ``until_check`` overrules it.
    """

    def __init__(self, app: Any, ping_timeout: float | None) -> None:
        self.app = app
        self.ping_timeout = ping_timeout
        # Without this object in them: only the collector could free it then.
        self.going: Callable[[], bool] = lambda: bool(app.keep_running)
        self.until_check: Callable[[], float | None] = lambda: ping_timeout
        # Whether something waits to be sent: then ``read_callback`` is called for room, too.
        self.backlog: Callable[[], bool] = lambda: False
        # A socket that wakes the selector: writing to it is safe from any thread and from
        # signal handlers, and costs nothing while nobody does.
        self._waker, self._alarm = socket.socketpair()
        self._waker.setblocking(False)
        self._alarm.setblocking(False)

    def wake(self) -> None:
        """Let a waiting loop look around now; from any thread."""
        # Full: it will wake up anyway. Closed: there is no loop any more.
        with contextlib.suppress(OSError):
            self._alarm.send(b"\0")

    def close(self) -> None:
        """Give the waking sockets back."""
        self._waker.close()
        self._alarm.close()

    def __del__(self) -> None:
        # An interrupt may have come before the sockets were there.
        with contextlib.suppress(AttributeError):
            self.close()

    def send(self, sock: Any, data: str | bytes) -> int:
        """Write to the socket, return how many bytes it took."""
        return send(sock, data)

    def timeout(self, seconds: float | None, callback: Callable[[], Any]) -> None:
        """Wait so many seconds, or until ``wake``, then call ``callback``."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._waker, selectors.EVENT_READ)
            selector.select(seconds)
            self._silence()
        callback()

    def reconnect(self, seconds: float, reconnector: Callable[..., Any]) -> None:
        """Call ``reconnector(reconnecting=True)`` after so many seconds."""
        self.timeout(seconds, lambda: reconnector(reconnecting=True))

    def read(
        self, sock: Any, read_callback: Callable[[], Any], check_callback: Callable[[], Any]
    ) -> None:
        """Call ``read_callback`` whenever there is something to read, until it returns False.

        Parameters:
            sock: the socket to watch.
            check_callback: called at the latest after ``until_check`` seconds, and when woken.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ)
            selector.register(self._waker, selectors.EVENT_READ)
            while self.going():
                if self._readable(sock, selector) and not read_callback():
                    break
                check_callback()

    def _readable(self, sock: Any, selector: selectors.BaseSelector) -> bool:
        pending = getattr(sock, "pending", None)
        waiting = pending is not None and pending() > 0
        readable = waiting
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.backlog() else 0)
        if selector.get_key(sock).events != events:
            selector.modify(sock, events)
        for key, _ in selector.select(0 if waiting else self.until_check()):
            if key.fileobj is self._waker:
                self._silence()
            else:
                readable = True
        return readable

    def _silence(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while len(self._waker.recv(4096)) == 4096:
                pass


class Pause:
    """A wait that any thread and any signal handler may end, before it begins as well."""

    def __init__(self) -> None:
        self._over = False
        self._loop: DispatcherBase | None = None

    def wait(self, seconds: float) -> bool:
        """Wait; False where ``end`` was called."""
        loop = DispatcherBase(None, None)
        try:
            # In this order: whoever ends the wait sees the loop, or is seen here.
            self._loop = loop
            if not self._over and seconds > 0:
                loop.timeout(seconds, lambda: None)
        finally:
            self._loop = None
            loop.close()
        return not self._over

    def end(self) -> None:
        """End the wait, and all that are to come."""
        self._over = True
        loop = self._loop
        if loop is not None:
            loop.wake()


class Dispatcher(DispatcherBase):
    """The loop for plain sockets."""


class SSLDispatcher(DispatcherBase):
    """The loop for TLS sockets, which may hold bytes that a selector can't see."""

    def select(self, sock: Any, sel: selectors.BaseSelector) -> Any:
        """The socket if it can be read, else None; waits ``ping_timeout`` at most."""
        if sock.pending():
            return sock
        ready = sel.select(self.ping_timeout)
        return ready[0][0].fileobj if ready else None


class WrappedDispatcher:
    """A loop that a program brought along.

    Parameters:
        app: the ``WebSocketApp``.
        ping_timeout: see ``DispatcherBase``.
        dispatcher: an object with ``read(sock, callback)`` or ``read(sock, callback,
            check_callback)``, and optionally ``timeout(seconds, callback, *args)``,
            ``signal``, ``abort``, ``reconnect`` and ``buffwrite``.
        handleDisconnect: called when ``buffwrite`` loses the connection.
    """

    def __init__(
        self,
        app: Any,
        ping_timeout: float | None,
        dispatcher: Any,
        handleDisconnect: Callable[..., Any] | None = None,
    ) -> None:
        self.app = app
        self.ping_timeout = ping_timeout
        self.dispatcher = dispatcher
        self.handleDisconnect = handleDisconnect
        if hasattr(dispatcher, "signal") and hasattr(dispatcher, "abort"):
            # Ctrl-C ends such a loop only where somebody asked for it; from another than the
            # main thread nobody can.
            with contextlib.suppress(ValueError):
                dispatcher.signal(2, dispatcher.abort)

    @property
    def has_timers(self) -> bool:
        return hasattr(self.dispatcher, "timeout")

    @property
    def has_writer(self) -> bool:
        return hasattr(self.dispatcher, "buffwrite")

    def read(
        self, sock: Any, read_callback: Callable[[], Any], check_callback: Callable[[], Any]
    ) -> None:
        """Hand the socket to the loop, in the form that its ``read`` has."""
        if _takes_check(self.dispatcher.read):
            self.dispatcher.read(sock, read_callback, check_callback)
        else:
            self.dispatcher.read(sock, read_callback)

    def send(self, sock: Any, data: str | bytes) -> int:
        """Write through the loop where it can, else directly."""
        if not self.has_writer:
            return send(sock, data)
        self.dispatcher.buffwrite(sock, data, send, self.handleDisconnect)
        return len(data)

    def timeout(self, seconds: float, callback: Callable[..., Any], *args: Any) -> None:
        self.dispatcher.timeout(seconds, callback, *args)

    def reconnect(self, seconds: float, reconnector: Callable[..., Any]) -> None:
        if hasattr(self.dispatcher, "reconnect"):
            self.dispatcher.reconnect(seconds, reconnector)
        else:
            self.timeout(seconds, reconnector, True)


def _takes_check(read: Callable[..., Any]) -> bool:
    """Whether ``read`` has a third parameter of its own for the check callback.

    ``*args`` is none: such loops pass on to the callback what they are given there.
    """
    try:
        parameters = inspect.signature(read).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in positional for parameter in parameters) >= 3
