"""Messages for which there is no connection at the moment: kept, bounded, sent in their order.

What a socket has taken is never sent again: whether it has arrived, nobody can know. What the
peer's TCP had not acknowledged when a connection was lost is reported instead.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from ._exceptions import (
    WebSocketArgumentException,
    WebSocketConnectionClosedException,
    WebSocketOutboxFullException,
    WebSocketTimeoutException,
)
from ._protocol.frames import OP_CLOSE
from ._protocol.sending import Payload
from ._socket import unacknowledged

_WHEN_FULL: Final = ("raise", "drop_oldest", "block")


@dataclass(frozen=True)
class Outbox:
    """What is done with messages that are sent while there is no connection. Immutable.

    Parameters:
        max_messages: how many are kept.
        max_bytes: how many bytes they may have together; a str counts its characters.
        when_full: "raise" WebSocketOutboxFullException, "drop_oldest", or "block" until there
            is room. In the thread that makes the connections (that of ``run_forever``, or the
            one that iterates), where nobody else could make room, "block" raises.
        on_uncertain(messages): called for a connection that was lost, with a list of the
            messages that the socket had taken and the peer's TCP had not acknowledged. They may
            or may not have arrived. Only on systems that tell (Linux).
        on_dropped(messages): called, in the thread that sends, with a list of the messages that
            have made room for its own ("drop_oldest").

    Raises:
        WebSocketArgumentException: a value that makes no sense.
    """

    max_messages: int = 1000
    max_bytes: int = 16 * 1024 * 1024
    when_full: Literal["raise", "drop_oldest", "block"] = "raise"
    on_uncertain: Callable[[list[Payload]], Any] | None = None
    on_dropped: Callable[[list[Payload]], Any] | None = None

    def __post_init__(self) -> None:
        if self.max_messages < 1 or self.max_bytes < 1:
            raise WebSocketArgumentException("max_messages and max_bytes must be 1 or more")
        if self.when_full not in _WHEN_FULL:
            raise WebSocketArgumentException(
                f"when_full must be one of {', '.join(_WHEN_FULL)}, not {self.when_full!r}"
            )


class _Message(NamedTuple):
    payload: Payload
    opcode: int


class Sender:
    """Sends through one connection after the other, and keeps what none takes.

    Parameters:
        outbox: the limits.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        # Reentrant, as a signal handler may send what its own thread is about to.
        self._room = threading.Condition(threading.RLock())
        self._waiting: deque[_Message] = deque()
        self._size = 0
        self._ws: Any = None
        self._open = False  # the messages that waited have been sent
        self._ended = False
        self._maker: int | None = None  # the thread that makes the connections
        self._written = 0
        self._tells = False  # whether the system tells what the peer has acknowledged
        # What the socket has taken: the bytes written with it, and the message.
        self._taken: deque[tuple[int, Payload]] = deque()

    @property
    def waiting(self) -> int:
        """How many messages wait for a connection."""
        return len(self._waiting)

    def send(self, payload: Payload, opcode: int) -> None:
        """Send now, or keep.

        Raises:
            WebSocketOutboxFullException: there is no room.
            what ``WebSocket.send`` raises, but for a connection that is lost.
        """
        dropped: list[Payload] = []
        with self._room:
            direct = self._open or threading.get_ident() == self._maker
            if direct and self._ws is not None and self._through(payload, opcode):
                return
            if opcode >= OP_CLOSE:
                raise WebSocketConnectionClosedException("Connection is already closed.")
            self._keep(_Message(_kept(payload), opcode), dropped)
        # Without the lock: it may send.
        if dropped and self._outbox.on_dropped is not None:
            self._outbox.on_dropped(dropped)

    def _through(self, payload: Payload, opcode: int) -> bool:
        """Send on the connection of now; False where that is lost."""
        try:
            size = self._ws.send(payload, opcode)
        except WebSocketTimeoutException:
            raise
        except WebSocketConnectionClosedException:
            # Of this frame, the socket has not taken all: the peer never saw a whole message.
            return False
        self._written += size
        if self._tells and opcode < OP_CLOSE:
            self._taken.append((self._written, _kept(payload)))
            self.measure()
        return True

    def _keep(self, message: _Message, dropped: list[Payload]) -> None:
        outbox, size = self._outbox, len(message.payload)
        if size > outbox.max_bytes:
            raise WebSocketOutboxFullException(
                f"A message of {size} bytes is larger than the outbox: max_bytes is"
                f" {outbox.max_bytes}",
                len(self._waiting),
                self._size,
            )
        while self._waiting and (
            len(self._waiting) >= outbox.max_messages or self._size + size > outbox.max_bytes
        ):
            if outbox.when_full == "drop_oldest":
                oldest = self._waiting.popleft().payload
                self._size -= len(oldest)
                dropped.append(oldest)
            elif outbox.when_full == "block" and threading.get_ident() != self._maker:
                if self._ended:
                    raise WebSocketConnectionClosedException("Connection is already closed.")
                self._room.wait()
            else:
                raise WebSocketOutboxFullException(
                    f"The outbox is full: {len(self._waiting)} messages of {self._size} bytes wait"
                    " for a connection",
                    len(self._waiting),
                    self._size,
                )
        # Room has come with a connection, while this thread waited for either.
        if self._open and self._through(*message):
            return
        self._waiting.append(message)
        self._size += size

    # What the maker of connections says

    def begin(self, ws: Any) -> None:
        """There is a connection; for now, only this thread sends on it."""
        with self._room:
            self._ws = ws
            self._open = self._ended = False
            self._maker = threading.get_ident()
            self._written = 0
            self._taken.clear()
            told = unacknowledged(ws._stream.sock) is not None
            self._tells = told and self._outbox.on_uncertain is not None

    def flush(self) -> None:
        """Send what waits, and from now on all at once."""
        while True:
            with self._room:
                if self._ws is None:
                    return
                if not self._waiting:
                    self._open = True
                    return
                if not self._through(*self._waiting[0]):
                    return
                self._size -= len(self._waiting.popleft().payload)
                self._room.notify_all()

    def lost(self) -> list[Payload]:
        """There is no connection any more; return what may not have arrived."""
        with self._room:
            self.measure()
            self._ws, self._open = None, False
            uncertain = [payload for _, payload in self._taken]
            self._taken.clear()
            return uncertain

    def end(self) -> None:
        """There will be no connection: whoever waits for room comes back."""
        with self._room:
            self._ended = True
            self._maker = None
            self._room.notify_all()

    def measure(self) -> None:
        """Forget what the peer has acknowledged; to be done before a lost socket is closed."""
        stream = None if self._ws is None else self._ws._stream
        queued = None if stream is None or not self._tells else unacknowledged(stream.sock)
        if queued is None:
            return
        # Control frames and TLS add bytes that were not counted: at worst, one too many is
        # reported.
        while self._taken and self._taken[0][0] <= self._written - queued:
            self._taken.popleft()


def _kept(payload: Payload) -> str | bytes:
    # The program may go on to change a buffer of its own.
    return payload if isinstance(payload, (str, bytes)) else bytes(payload)
