"""Messages in pieces, for those that should not be in memory as a whole.

Receiving: an iterator over what arrives of one message. Sending: a message from an iterable or
a file, as fragments (RFC 6455 section 5.4), with control frames going out in between.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from ._deadline import Deadline
from ._exceptions import (
    WebSocketArgumentException,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketTimeoutException,
)
from ._protocol.connection import Event
from ._protocol.frames import CLOSE_INTERNAL_ERROR, OP_BINARY, OP_TEXT
from ._protocol.messages import Close, Piece
from ._protocol.sending import Payload, as_bytes
from ._stream import LINGER, Stream

# Long enough to cost little per byte, short enough to keep memory small and others waiting
# for no more than a moment.
PIECE_SIZE: Final = 64 * 1024


class MessageReader:
    """The pieces of one message as they arrive; see ``WebSocket.recv_stream``."""

    def __init__(
        self,
        stream: Stream,
        next_event: Callable[[Deadline | None], Event],
        timeout: float | None,
    ) -> None:
        self._stream = stream
        self._next_event = next_event
        self._timeout = timeout
        self._begun = False
        self._empty = True
        self._finished = False

    def __iter__(self) -> Iterator[str | bytes]:
        return self

    def __next__(self) -> str | bytes:
        if self._finished:
            raise StopIteration
        deadline = None if self._timeout is None else Deadline(self._timeout)
        while True:
            event = self._receive(deadline)
            if isinstance(event, (str, bytes)):
                # It was here as a whole before anybody asked for pieces.
                self._finished = True
                return event
            if isinstance(event, Piece):
                if not (self._begun or event.first):
                    continue  # the rest of a message that was left in the middle
                self._begun, self._finished = True, event.fin
                if event.data or (event.fin and self._empty):
                    self._empty = False
                    return event.data
                if event.fin:
                    raise StopIteration
            elif isinstance(event, Close):
                self._finished = True
                if self._begun:
                    raise WebSocketConnectionClosedException(
                        "The server closed the connection in the middle of a message."
                    )
                raise StopIteration

    def _receive(self, deadline: Deadline | None) -> Event:
        if not self._begun:
            self._stream.stream_next()
        try:
            return self._next_event(deadline)
        except BaseException:
            if not self._begun:
                # The message that comes some time is for whoever asks then, in his own way.
                self._stream.stream_next(False)
            raise


class MessageWriter:
    """Sends one message in pieces.

    Parameters:
        stream: the connection.
        write: the outer road: sends a frame with this first byte and payload.
    """

    def __init__(self, stream: Stream, write: Callable[[int, Any], Any] | None) -> None:
        self._stream = stream
        self._lock: Any = stream._lock
        self._write = write
        self._thread = threading.get_ident()
        self._writing = False
        self._over: threading.Condition | None = None

    def send(self, source: Any, opcode: int | None) -> int:
        """See ``WebSocket.send_stream``."""
        pieces = _cut(source)
        # Nothing is sent yet if this fails.
        first = next(pieces, None)
        if opcode is None:
            opcode = _opcode_of(first)
        self._begin(opcode)
        size = 0
        try:
            piece = first
            while piece is not None:
                if piece:
                    size += self._send(piece, fin=False)
                piece = next(pieces, None)
            size += self._send(b"", fin=True)
        except WebSocketConnectionClosedException:
            raise  # it is closed, or being closed by another thread
        except BaseException as error:
            self._give_up(error)
            raise
        finally:
            self._end()
        return size

    def _begin(self, opcode: int) -> None:
        core = self._stream.core
        with self._lock:
            core.begin_message(opcode)
            if hasattr(self._lock, "_is_owned"):
                self._over = threading.Condition(self._lock)
            core.turn = self._await_end

    def _await_end(self) -> bool:
        """What others do who have a data frame to send; they hold the lock."""
        if self._writing:
            return True  # it is our own frame, on the outer road
        if self._over is None or self._thread == threading.get_ident():
            raise WebSocketException(
                "This thread is sending a message in pieces: another message can't begin before"
                " its end (RFC 6455 section 5.4)"
            )
        core = self._stream.core
        while core.turn == self._await_end:
            self._over.wait()
        return False

    def _end(self) -> None:
        core = self._stream.core
        with self._lock:
            core.turn = None
            core.end_message()
            if self._over is not None:
                self._over.notify_all()

    def _send(self, piece: Payload, fin: bool) -> int:
        stream = self._stream
        try:
            with self._lock:
                if self._write is not None:
                    return self._send_outer(piece, fin)
                frame = stream.core.encode_piece(piece, fin)
                stream.write(frame)
                stream.core.counts.messages_sent += fin
                return len(frame)
        finally:
            stream._flush_queued(None)
            # Who waits for the lock to send a ping or a Close gets it now.
            time.sleep(0)

    def _send_outer(self, piece: Payload, fin: bool) -> int:
        assert self._write is not None
        self._writing = True
        try:
            size: int = self._write(*self._stream.core.frame_piece(piece, fin))
        finally:
            self._writing = False
        return size

    def _give_up(self, error: BaseException) -> None:
        """Half a message is out: the peer must not take it for a whole one."""
        stream = self._stream
        if not isinstance(error, WebSocketTimeoutException):
            with contextlib.suppress(WebSocketException):
                deadline = Deadline(LINGER)
                stream.send_close(CLOSE_INTERNAL_ERROR, b"", deadline)
                stream._await_end(deadline)
        stream.shutdown()


def _opcode_of(first: Payload | None) -> int:
    if first is None:
        raise WebSocketArgumentException(
            "There is no piece that could tell text from binary: give the opcode"
        )
    return OP_TEXT if isinstance(first, str) else OP_BINARY


def _cut(source: Any) -> Iterator[Payload]:
    """The pieces of ``source``, none longer than PIECE_SIZE (of str: than so many characters)."""
    if isinstance(source, (str, bytes, bytearray, memoryview)):
        raise TypeError(
            "send_stream takes an iterable of pieces or a file, not a single str or bytes:"
            " send a message that is in memory with send or send_bytes"
        )
    for chunk in _chunks(source.read) if hasattr(source, "read") else source:
        yield from _parts(chunk if isinstance(chunk, str) else as_bytes(chunk))


def _parts(chunk: Any) -> Iterator[Payload]:
    if len(chunk) <= PIECE_SIZE:
        yield chunk
    else:
        for start in range(0, len(chunk), PIECE_SIZE):
            yield chunk[start : start + PIECE_SIZE]


def _chunks(read: Callable[[int], Any]) -> Iterator[Any]:
    """What a file holds; the last chunk, an empty one, tells text from binary in any case."""
    while True:
        chunk = read(PIECE_SIZE)
        if chunk is None:
            raise BlockingIOError("The file has nothing to read now, and send_stream can't wait")
        yield chunk
        if not chunk:
            return
