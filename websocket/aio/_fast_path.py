"""The way of most messages through an event loop: ``FastPath``, in Python and in C."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._accel import CFastPath, encode_masked, scan


class PyFastPath:
    """Whole messages between a socket and a program: what is usual, in the fewest steps.

    Calling it receives once; so it is what an event loop calls when there is something to read.
    What is not usual goes another way. It hands nothing over before ``start``, or while
    ``room`` is None, and sends nothing while ``sends`` is False.

    Parameters:
        fd: the socket's, which never waits. Not on Windows.
        unusual: called with None in place of receiving; with what has come if that is not
            whole messages alone, as the number of bytes in ``room`` (0 at the end of the
            stream), where the messages at their front end, and those; with what receiving, or
            one of the functions of ``start``, has raised.
        unsent: called with what there is no room for of a frame, and with the error of a
            socket that does not send any more, or None.

    Attributes:
        room: memory to receive into. It must hold whatever an unusual read leaves there.
        sends: whether a message may be sent: nothing stands before it.
        bytes_received, messages_received, bytes_sent, messages_sent: what has gone this way.
        received_at: when something came, as ``time.time()`` has it.
    """

    __slots__ = (
        "_delivered",
        "_failed",
        "_fd",
        "_limit",
        "_method",
        "_most",
        "_sink",
        "_unsent",
        "_unusual",
        "bytes_received",
        "bytes_sent",
        "messages_received",
        "messages_sent",
        "received_at",
        "room",
        "sends",
    )

    def __init__(
        self,
        fd: int,
        unusual: Callable[[Any], object],
        unsent: Callable[[bytes, OSError | None], object],
        /,
    ) -> None:
        self._fd = fd
        self._unusual: Callable[[Any], object] | None = unusual
        self._unsent: Callable[[bytes, OSError | None], object] | None = unsent
        self.sends = False
        self.room: bytearray | None = None
        self._sink: Any = None
        self._method = ""
        self._delivered: Callable[[int], object] | None = None
        self._failed: Callable[[BaseException, list[str | bytes]], object] | None = None
        self._limit = self._most = 0
        self.bytes_received = self.messages_received = 0
        self.bytes_sent = self.messages_sent = 0
        self.received_at = 0.0

    def start(
        self,
        sink: Any,
        method: str,
        delivered: Callable[[int], object] | None,
        failed: Callable[[BaseException, list[str | bytes]], object] | None,
        limit: int,
        most: int,
        /,
    ) -> None:
        """Hand messages over from now on.

        Parameters:
            sink, method: each message is given to the method of that name.
            delivered: called with the number of bytes when the messages of a read were given.
            failed: called with what that method has raised, and the messages that were to
                follow. Without it, that is ``unusual``, and they are lost.
            limit: of a message that is received, see ``scan``.
            most: send no message that has more bytes or characters.
        """
        self._sink, self._method = sink, method
        self._delivered, self._failed = delivered, failed
        self._limit, self._most = limit, most

    def end(self) -> None:
        """Hold nothing any more; what was counted stays."""
        self.sends = False
        self.room = self._sink = self._delivered = self._failed = None
        self._unusual = self._unsent = None

    def __call__(self) -> None:
        if self.room is None or self._sink is None:
            self._leave(None)
            return
        try:
            self._receive(self.room)
        except BaseException as error:
            self._leave(error)

    def _receive(self, room: bytearray) -> None:
        try:
            count = os.readv(self._fd, (room,))
        except (BlockingIOError, InterruptedError):
            return
        start, messages = scan(room, 0, count, self._limit)
        if start != count or count == len(room) or not count:
            self._leave((count, start, messages))
            return
        self.received_at = time.time()
        self.bytes_received += count
        self.messages_received += len(messages)
        self._hand_over(messages, count)

    def _hand_over(self, messages: list[str | bytes], count: int) -> None:
        sink, method = self._sink, self._method
        done = 0
        try:
            for message in messages:
                done += 1
                getattr(sink, method)(message)
        except BaseException as error:
            if self._failed is None:
                raise
            self._failed(error, messages[done:])
            return
        if self._delivered is not None:
            self._delivered(count)

    def _leave(self, what: Any) -> None:
        """Let the unusual way have it."""
        if self._unusual is not None:
            self._unusual(what)

    def send(self, message: object, /) -> bool:
        """Send a message if that is usual: whole, as str or bytes and no subclass of them.

        Returns:
            whether it was. If not, nothing has happened.
        """
        kind = message.__class__
        if not self.sends or not (kind is str or kind is bytes) or len(message) > self._most:  # type: ignore[arg-type]
            return False
        try:
            frame = encode_masked(0x81 if kind is str else 0x82, message)  # type: ignore[arg-type]
        except UnicodeEncodeError:
            return False
        sent, error = 0, None
        try:
            sent = os.write(self._fd, frame)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as raised:
            error = raised
        self.bytes_sent += len(frame)
        self.messages_sent += 1
        if sent < len(frame) and self._unsent is not None:
            self._unsent(frame[sent:], error)
        return True


if TYPE_CHECKING:
    FastPath = PyFastPath
else:
    FastPath = CFastPath or PyFastPath
