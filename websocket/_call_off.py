"""Connecting, seen from other threads: how one of them ends it while it waits.

``_resolve``, ``_dial``, ``_http`` and ``_tls`` say before each step what would end it; the faces
decide when. What a deadline is stands in ``_deadline``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final

from ._exceptions import WebSocketConnectionClosedException
from ._socket import shut_down

_MESSAGE: Final = "Closed while connecting."


class CallOff:
    """Ends the steps of one operation, the one that waits now and all that would follow.

    Attributes:
        called: whether somebody has called the operation off.
        asked: whether the server has, or may have, our request: then its answer may be worth
            some waiting.
    """

    def __init__(self) -> None:
        self.called = False
        self.asked = False
        self._end: Callable[[], object] | None = None
        self._process = os.getpid()
        # Reentrant, as a signal handler may call off what its own thread is about to begin.
        self._lock = threading.RLock()

    def step(self, end: Callable[[], object], asked: bool = False) -> None:
        """A step begins.

        Args:
            end: makes the step come back, from any thread and from signal handlers, and does
                no harm when it has come back already.
            asked: see above.

        Raises:
            WebSocketConnectionClosedException: the operation was called off.
        """
        with self._lock:
            self._end, self.asked = end, asked
        self.check()

    def waits_for(self, sock: Any, asked: bool = False) -> None:
        """A step begins that waits for this connected socket; see ``step``."""
        self.step(partial(_end, sock), asked)

    @contextlib.contextmanager
    def alarm(self) -> Generator[socket.socket]:
        """A step that waits for several sockets: it has to watch this one as well, which can be
        read as soon as the operation is called off."""
        waker, alarm = socket.socketpair()
        with waker, alarm:
            try:
                self.waits_for(alarm)
                yield waker
            finally:
                # Before the descriptor may become somebody else's.
                self.done()

    def check(self) -> None:
        """Raise if the operation was called off."""
        if self.called:
            raise WebSocketConnectionClosedException(_MESSAGE)

    def explain(self, error: Exception) -> None:
        """Raise in the place of what a step made of its being ended."""
        if self.called and error.args != (_MESSAGE,):
            raise WebSocketConnectionClosedException(_MESSAGE) from error

    def done(self) -> None:
        """The step is over."""
        with self._lock:
            self._end = None

    def call(self) -> None:
        """Call the operation off; from any thread and from signal handlers."""
        with self._lock:
            self.called = True
            # In a child process, what waits is the parent's.
            if self._end is not None and os.getpid() == self._process:
                self._end()


def _end(sock: Any) -> None:
    with contextlib.suppress(OSError):
        shut_down(sock)
