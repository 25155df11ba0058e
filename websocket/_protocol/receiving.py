"""The receiving half of a connection: from bytes to events.

RFC 6455 sections 5.2 to 5.6 and 8.1. The parsing of a header is in ``frames``, what messages are
made of in ``messages``.
"""

from __future__ import annotations

import enum
import sys
from collections import deque
from collections.abc import Callable
from typing import Final

from .._accel import mask, scan
from .._exceptions import (
    WebSocketArgumentException,
    WebSocketPayloadException,
    WebSocketProtocolException,
)
from .buffer import LargePayload, ReceiveBuffer
from .counts import Counts
from .extensions import Codec
from .frames import OP_CLOSE, OP_PING, FrameHeader, parse_header
from .messages import Close, Fragment, Frame, MessageAssembler, Piece, Ping, Pong, parse_close
from .sending import LARGE

# Of a streamed message, so much at a time. Compressed data can become 1032 times as large.
_MOST_STREAMED: Final = 64 * 1024
_MOST_ENCODED: Final = 2 * 1024

# A message is str or bytes; an exception stands where the stream broke or ended.
Event = str | bytes | Fragment | Piece | Ping | Pong | Close | Exception


class Role(enum.Enum):
    """Which end of the connection this is; ANY takes masked and unmasked frames alike."""

    CLIENT = "client"
    SERVER = "server"
    ANY = "any"


class ReceivingHalf:
    """What a connection has received.

    Parameters:
        role: which end this is.
        max_size: bytes that a received message may have, None for no limit.
        fragments: hand over the pieces of fragmented messages as ``Fragment`` events.
        check_text: refuse text that is not UTF-8.
        codec: the extension that was negotiated, or None.

    Attributes:
        buffer: where the driver puts what it receives.
        events: what was received, in the order of arrival.
        controls: the Ping and Pong events of which the driver has not taken note yet.
        scans: whether messages are looked for by ``scan`` at all.
        scan_limit: the most bytes that one may have which is found so.
        ended: nothing that comes after this point of the stream is looked at.
        counts: what was received and sent so far.
    """

    def __init__(
        self,
        role: Role,
        max_size: int | None,
        fragments: bool,
        check_text: bool,
        codec: Codec | None,
    ) -> None:
        if max_size is not None and max_size < 0:
            raise WebSocketArgumentException(f"max_size must not be negative, but is {max_size}")
        self.buffer = ReceiveBuffer()
        self.events: deque[Event] = deque()
        self.controls: deque[Ping | Pong] = deque()
        self.ended = False
        self.counts = Counts()
        self._check_text = check_text
        self._codec = codec
        self._rsv = 0 if codec is None else codec.rsv
        self._expect_mask = {Role.CLIENT: False, Role.SERVER: True, Role.ANY: None}[role]
        self._messages = MessageAssembler(max_size, fragments, check_text, codec)
        self.scan_limit = sys.maxsize if max_size is None else max_size
        self.scans = role is Role.CLIENT
        self._scans_again = False  # once a message that is streamed has ended
        self._decodes = self.scans and codec is not None and not fragments
        self._header: FrameHeader | None = None
        self._checked = 0  # bytes of an incomplete text frame that were checked already
        # The payload of a large frame goes past the buffer.
        self._large: LargePayload | None = None
        # One that goes to its message part by part: so much of it is to come.
        self._left = 0

    def writable(self) -> memoryview:
        """Memory for what is received next. Release the view before the next call."""
        return self.buffer.writable() if self._large is None else self._large.writable()

    @property
    def between_frames(self) -> bool:
        """Whether all that was received has been parsed to its end."""
        return self._header is None and self.buffer.start == self.buffer.end

    def received(self, count: int, more: Callable[[], bool] | None = None) -> None:
        """Parse ``count`` bytes that were written into ``writable()``.

        Never raises for what the peer sent: an error is the last event.

        Parameters:
            more: asked, while a text frame is incomplete, whether more can be read at once.
                If so, what came of it is checked together with that. Nothing that came is
                left unchecked when the driver begins to wait; and where nobody has to wait,
                text is decoded once, not twice.
        """
        self.counts.bytes_received += count
        (self._large or self.buffer).wrote(count)
        self.go_on(more)

    def received_messages(self, count: int, start: int, messages: list[str | bytes]) -> None:
        """``received`` for what has been received into ``resting()``, and what ``scan`` of that
        has returned."""
        self.counts.bytes_received += count
        self.counts.messages_received += len(messages)
        self.events.extend(messages)
        buffer = self.buffer
        buffer.start = buffer.end = 0
        buffer.wrote(count)
        buffer.start = start
        self.go_on()

    def resting(self) -> bytearray | None:
        """The memory to receive into next, if that may go past the buffer's books: nothing is
        pending, and what comes next is the beginning of a message. None otherwise.

        It stays like that for as long as ``scans`` is true and each ``scan`` of such memory
        finds a message at the end of what has come.
        """
        buffer = self.buffer
        if (
            self.scans
            and self._header is None
            and not self._messages.opcode
            and not self.ended
            and buffer.small
        ):
            return buffer.data
        return None

    def go_on(self, more: Callable[[], bool] | None = None) -> None:
        """Parse what is here: what came last, or what was left while the driver had events.

        See ``streaming``.
        """
        try:
            self._parse(more)
            if self.ended:
                self._forget_pending()
        except (WebSocketProtocolException, WebSocketPayloadException) as error:
            self.ended = True
            # Without tracebacks the queued error holds no frame, and so no buffer, alive.
            if error.__cause__ is not None:
                error.__cause__.__traceback__ = None
            self.events.append(error.with_traceback(None))
            self._forget_pending()

    def _forget_pending(self) -> None:
        self.buffer.clear()
        self._large = None
        self._left = 0

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """``received`` for bytes that the driver holds itself."""
        view = memoryview(data)
        while view and not self.ended:
            count = self._copy_in(view)
            self.received(count)
            view = view[count:]

    def store(self, data: bytes | bytearray | memoryview) -> None:
        """Put bytes into the buffer for ``next_frame``, without parsing them."""
        view = memoryview(data)
        while view:
            count = self._copy_in(view)
            (self._large or self.buffer).wrote(count)
            view = view[count:]

    def _copy_in(self, view: memoryview) -> int:
        with self.writable() as free:
            count = min(len(free), len(view))
            free[:count] = view[:count]
        return count

    def _parse(self, more: Callable[[], bool] | None) -> None:
        buffer = self.buffer
        while not self.ended:
            if self.scans and self._header is None and not self._messages.opcode:
                buffer.start, messages = scan(
                    buffer.data, buffer.start, buffer.end, self.scan_limit
                )
                self.events.extend(messages)
                self.counts.messages_received += len(messages)
                if self._decodes and self._take_encoded():
                    continue
                if buffer.start == buffer.end:
                    return
            elif self._messages.streaming:
                if self.events:
                    return
            elif self._scans_again:
                self.scans, self._scans_again = True, False
                continue
            if self._left:
                if not self._take_part():
                    return
                continue
            frame = self.next_frame(strict=True, more=more)
            if frame is not None:
                self.accept(frame)
            elif not self._left:
                return

    def _take_encoded(self) -> bool:
        """Let the codec take the messages that it can take by itself; True if there is one."""
        assert self._codec is not None
        buffer = self.buffer
        start = buffer.start
        # Not the events' own length: another thread may be taking some.
        messages: list[str | bytes] = []
        try:
            buffer.start = self._codec.take(
                buffer.data, start, buffer.end, self._messages, messages.append
            )
        finally:
            self.events.extend(messages)
            self.counts.messages_received += len(messages)
        return buffer.start != start

    def next_frame(
        self, strict: bool = False, more: Callable[[], bool] | None = None
    ) -> Frame | None:
        """Take one frame out of the buffer; None while it is incomplete.

        Parameters:
            strict: check the order of data frames already by the header, and let those that
                can go to their message while they arrive. ``accept`` checks the order in any
                case.
            more: see ``received``.

        Raises:
            WebSocketProtocolException, WebSocketPayloadException: what RFC 6455 forbids.
        """
        buffer = self.buffer
        header = self._header
        if header is None:
            header = parse_header(
                buffer.data,
                buffer.start,
                buffer.end,
                expect_mask=self._expect_mask,
                allowed_rsv=self._rsv,
            )
            if header is None:
                return None
            if header.opcode < OP_CLOSE:
                length = header.length
                if self._codec is not None:
                    length = self._messages.length_ahead(header, strict)
                if strict:
                    self._messages.check_start(header.opcode, length)
                else:
                    self._messages.check_size(length)
            buffer.start += header.size
            self._header = header
            self._checked = 0
            incomplete = buffer.start + header.length > buffer.end
            if strict and self._messages.takes_parts(header, incomplete):
                self._left = header.length
                return None
            if incomplete and header.length > LARGE:
                with memoryview(buffer.data) as view, view[buffer.start : buffer.end] as part:
                    self._large = LargePayload(header.length, part)
                buffer.start = buffer.end
        payload = self._take_payload(header)
        if payload is None:
            self._check_partial(header, more)
            return None
        self._header = None
        return Frame(header.fin, header.rsv, header.opcode, payload)

    def _take_payload(self, header: FrameHeader) -> bytes | None:
        """The payload of the frame that has begun, None while it is incomplete."""
        buffer = self.buffer
        if self._large is not None:
            if self._large.missing:
                return None
            payload = self._large.take()
            self._large = None
            return payload if header.mask_key is None else mask(header.mask_key, payload)
        stop = buffer.start + header.length
        if stop > buffer.end:
            return None
        with memoryview(buffer.data) as view, view[buffer.start : stop] as body:
            payload = bytes(body) if header.mask_key is None else mask(header.mask_key, body)
        buffer.start = stop
        return payload

    def _take_part(self) -> bool:
        """Give what came of a frame to its message; False where nothing did."""
        buffer, header = self.buffer, self._header
        assert header is not None
        size = min(self._left, len(buffer))
        if self._messages.streaming:
            encoded = self._messages.encoded(header)
            size = min(size, _MOST_ENCODED if encoded else _MOST_STREAMED)
        if not size:
            return False
        stop = buffer.start + size
        last = header.fin and size == self._left
        with memoryview(buffer.data) as view, view[buffer.start : stop] as part:
            if header.mask_key is None:
                message = self._messages.add_part(header, part, last)
            else:
                turn = (header.length - self._left) % 4
                key = header.mask_key[turn:] + header.mask_key[:turn]
                message = self._messages.add_part(header, mask(key, part), last)
        buffer.start = stop
        self._left -= size
        if not self._left:
            self._header = None
        if message is not None:
            self._hand_over(message)
        return True

    def _hand_over(self, data: str | bytes | Fragment | Piece) -> None:
        """A message, or a piece of one, is here."""
        self.events.append(data)
        if isinstance(data, (str, bytes)) or data.fin:
            self.counts.messages_received += 1

    def stream(self, wanted: bool = True, *, parts: bool = True) -> None:
        """Hand over the next message, or what is left of one that has begun, as ``Piece``s.

        Parameters:
            wanted: False takes that back, unless the message has begun.
            parts: take frames part by part; only for drivers that call ``received``.
        """
        messages, header = self._messages, self._header
        if not wanted:
            messages.streaming = messages.streaming and bool(messages.opcode)
            return
        if messages.streaming:
            return
        messages.streaming = True
        self.scans, self._scans_again = False, self.scans or self._scans_again
        piece = messages.take_kept()
        if piece is not None:
            self.events.append(piece)
        if parts and header is not None and header.opcode < OP_CLOSE and not self._left:
            self._left = header.length
            if self._large is not None:
                beginning, self._large = self._large, None
                with beginning.view(0) as view:
                    self.store(view)

    @property
    def streaming(self) -> bool:
        """Whether a message is handed over in pieces.

        Nothing is parsed then while there are events: the driver takes them first, and calls
        ``go_on`` before it reads again.
        """
        return self._messages.streaming

    def _check_partial(self, header: FrameHeader, more: Callable[[], bool] | None) -> None:
        """Text is checked while it arrives: a bad byte fails at once (section 8.1)."""
        buffer = self.buffer
        if header.mask_key is not None or not self._messages.is_text(header.opcode):
            return
        if self._messages.encoded(header):
            return
        if more is not None and more():
            return
        if self._large is not None:
            with self._large.view(self._checked) as data:
                self._check_text_part(header.opcode, data)
        elif buffer.start + self._checked < buffer.end:
            fresh = buffer.start + self._checked
            with memoryview(buffer.data) as view, view[fresh : buffer.end] as data:
                self._check_text_part(header.opcode, data)

    def _check_text_part(self, opcode: int, data: memoryview) -> None:
        self._messages.check_partial(opcode, data, first=not self._checked)
        self._checked += len(data)

    def missing(self) -> int:
        """How many bytes the frame that has begun needs at least, 0 if it is complete."""
        if self._large is not None:
            return self._large.missing
        if self._left:
            return max(self._left - len(self.buffer), 0)
        have = len(self.buffer)
        if self._header is not None:
            return max(self._header.length - have, 0)
        if have < 2:
            return 2 - have
        second = self.buffer.data[self.buffer.start + 1]
        size = 2 + {126: 2, 127: 8}.get(second & 0x7F, 0) + (4 if second & 0x80 else 0)
        return max(size - have, 0)

    def accept(self, frame: Frame) -> None:
        """Append the events that a whole frame brings.

        Raises:
            WebSocketProtocolException, WebSocketPayloadException: what RFC 6455 forbids.
        """
        if frame.opcode < OP_CLOSE:
            data = self._messages.add(frame)
            if data is not None:
                self._hand_over(data)
        elif frame.opcode == OP_CLOSE:
            self.events.append(parse_close(frame.payload, self._check_text))
            # Section 5.5.1: there is nothing to look at behind a Close frame.
            self.ended = True
        else:
            control: Ping | Pong
            if frame.opcode == OP_PING:
                control = Ping(frame.payload)
                self.counts.pings_received += 1
            else:
                control = Pong(frame.payload)
                self.counts.pongs_received += 1
            self.controls.append(control)
            self.events.append(control)
