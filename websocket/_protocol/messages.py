"""What a connection tells its driver, and how frames become messages.

Fragmentation: RFC 6455 section 5.4; UTF-8: section 8.1; Close payloads: section 5.5.1. What an
extension has encoded is decoded here, frame by frame.
"""

from __future__ import annotations

import sys
from codecs import utf_8_decode
from io import BytesIO
from typing import Final, NamedTuple

from .._exceptions import (
    WebSocketMessageTooBigException,
    WebSocketPayloadException,
    WebSocketProtocolException,
)
from .extensions import Codec
from .frames import OP_CLOSE, OP_CONT, OP_TEXT, OPCODE_NAMES, FrameHeader, is_wire_close_code

_SMALL_PART: Final = 256


class Frame(NamedTuple):
    """One frame as it arrived, the payload unmasked."""

    fin: bool
    rsv: int
    opcode: int
    payload: bytes


class Fragment(NamedTuple):
    """A piece of a fragmented message, for those who asked for pieces.

    ``opcode`` is the frame's own (text or binary for the first piece, then continuation).
    ``text`` is the piece decoded, where the message is text: a character that the
    fragmentation splits comes with the piece that completes it.
    """

    opcode: int
    payload: bytes
    text: str | None
    fin: bool


class Piece(NamedTuple):
    """A piece of a message that is received as a stream, whatever its frames are.

    ``first`` and ``fin`` mark the beginning and the end of the message.
    """

    data: str | bytes
    first: bool
    fin: bool


class Ping(NamedTuple):
    payload: bytes


class Pong(NamedTuple):
    payload: bytes


class Close(NamedTuple):
    """A Close frame. ``code`` is None where it carried none (it stands for 1005)."""

    code: int | None
    reason: str

    @property
    def payload(self) -> bytes:
        """The frame's payload."""
        if self.code is None:
            return b""
        return self.code.to_bytes(2, "big") + self.reason.encode("utf-8", "surrogateescape")


class Text8:
    """UTF-8 decoded piece by piece: a bad byte is refused as soon as it is seen.

    Parameters:
        check: False to take bad bytes, which become lone surrogates.
    """

    __slots__ = ("_check", "_held", "_position")

    def __init__(self, check: bool = True) -> None:
        self._check = check
        self._held = b""  # the beginning of a character whose end has not come
        self._position = 0  # where in the text it stands

    def feed(self, data: bytes | bytearray | memoryview, final: bool = False) -> str:
        """Decode what ``data`` completes.

        Raises:
            WebSocketPayloadException: these bytes can't be part of UTF-8 text.
        """
        if self._held:
            data = b"".join((self._held, data))
        try:
            text, used = utf_8_decode(data, "strict" if self._check else "surrogateescape", final)
        except UnicodeDecodeError as error:
            raise invalid_text(error, self._position) from error
        self._held = bytes(data[used:])
        self._position += used
        # Python's decoder waits for the third byte of a surrogate, but the second decides.
        if self._check and self._held[:1] == b"\xed" and self._held[1:] >= b"\xa0":
            bad = UnicodeDecodeError("utf-8", self._held, 0, 2, "surrogates not allowed")
            raise invalid_text(bad, self._position) from bad
        return text

    def copy(self) -> Text8:
        """Another one at the same point of the same text."""
        twin = Text8(self._check)
        twin._held = self._held
        twin._position = self._position
        return twin


def invalid_text(error: UnicodeDecodeError, offset: int = 0) -> WebSocketPayloadException:
    bad = bytes(error.object[error.start : error.start + 4])
    return WebSocketPayloadException(
        f"Text is not UTF-8: {error.reason} at byte {offset + error.start} of the message"
        f" ({bad!r}) (RFC 6455 section 8.1)"
    )


def decode_text(payload: bytes | bytearray | memoryview, check: bool) -> str:
    """A whole text message as str.

    Without the check, bytes that are no UTF-8 become lone surrogates, so that
    ``text.encode("utf-8", "surrogateescape")`` gives back what was received.
    """
    if not check:
        return str(payload, "utf-8", "surrogateescape")
    try:
        return str(payload, "utf-8")
    except UnicodeDecodeError as error:
        raise invalid_text(error) from error


def parse_close(payload: bytes, check: bool = True) -> Close:
    """The code and reason of a Close frame (section 5.5.1).

    Raises:
        WebSocketProtocolException: a payload of one byte, or a code that must not be sent.
        WebSocketPayloadException: a reason that is not UTF-8.
    """
    if not payload:
        return Close(None, "")
    if len(payload) == 1:
        raise WebSocketProtocolException(
            f"A Close frame's payload of one byte, {payload!r}, is no code (RFC 6455 section 5.5.1)"
        )
    code = int.from_bytes(payload[:2], "big")
    if not is_wire_close_code(code):
        raise WebSocketProtocolException(
            f"Close code {code} must not be sent (RFC 6455 section 7.4)"
        )
    if not check:
        return Close(code, payload[2:].decode("utf-8", "surrogateescape"))
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError as error:
        raise WebSocketPayloadException(
            f"The close reason is not UTF-8: {error} (RFC 6455 section 5.5.1)"
        ) from error


class TextParts:
    """The decoded pieces of a text message.

    Small ones are joined by the hundred, so that 100,000 fragments of one character are not
    100,000 objects.
    """

    __slots__ = ("_parts", "_small")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._small: list[str] = []

    def add(self, text: str) -> None:
        if len(text) < _SMALL_PART:
            self._small.append(text)
            if len(self._small) < _SMALL_PART:
                return
            text = ""
        self._parts.append("".join(self._small))
        self._small.clear()
        self._parts.append(text)

    def take(self) -> str:
        """The whole text; nothing is kept of it."""
        text = "".join((*self._parts, *self._small))
        self._parts.clear()
        self._small.clear()
        return text


class MessageAssembler:
    """Joins the data frames of one direction into messages.

    Of an unfinished message its bytes or its text are kept, never one object per fragment.

    Parameters:
        max_size: bytes that a message may have; None for no limit.
        fragments: hand over pieces instead of joining them.
        check_text: refuse text that is not UTF-8.
        codec: what decodes marked messages, None where nothing was negotiated.

    Attributes:
        check_text: as given.
        limit: bytes that a message may have; more than there can be for no limit.
        opcode: of the message that is being assembled; 0 between messages.
        streaming: whether the message that is being assembled, or else the next one, is
            handed over as ``Piece``s. ``max_size`` does not count for it.
    """

    __slots__ = (
        "_binary",
        "_codec",
        "_encoded",
        "_fragments",
        "_max_size",
        "_partial",
        "_parts",
        "_size",
        "_text",
        "check_text",
        "limit",
        "opcode",
        "streaming",
    )

    def __init__(
        self,
        max_size: int | None,
        fragments: bool,
        check_text: bool,
        codec: Codec | None = None,
    ) -> None:
        self.opcode = 0
        self.streaming = False
        self._max_size = max_size
        self.limit = sys.maxsize if max_size is None else max_size
        self._fragments = fragments
        self.check_text = check_text
        self._codec = codec
        self._encoded = False  # whether the message that is being assembled is
        self._size = 0  # of what came of the unfinished message, kept or handed over
        self._binary = BytesIO()  # a binary message
        self._parts = TextParts()  # a text message
        self._text: Text8 | None = None  # of the whole frames of a text message
        self._partial: Text8 | None = None  # the same, and what came of the next frame

    def encoded(self, header: FrameHeader) -> bool:
        """Whether the payload of the data frame that comes next is encoded."""
        return self._encoded if header.opcode == OP_CONT else header.rsv != 0

    def takes_parts(self, header: FrameHeader, incomplete: bool) -> bool:
        """Whether the payload of a frame goes to ``add_part`` as it comes, not to ``add``.

        Parameters:
            incomplete: whether some of it has not come yet.
        """
        if header.opcode >= OP_CLOSE or not header.length:
            return False
        if self.streaming or self._fragments:
            return self.streaming
        return incomplete and self.encoded(header)

    def length_ahead(self, header: FrameHeader, strict: bool) -> int:
        """What a frame's header says about the size of its message, for ``check_start``.

        What encoded bytes stand for is counted as it comes out. A frame that has to be kept
        until it is whole may be no larger than what can't be compressed becomes.
        """
        length = header.length
        if not self.encoded(header):
            return length
        kept = self._fragments or not strict
        return max(0, length - 1024 - (self._max_size or 0) // 8) if kept else 0

    def check_start(self, opcode: int, length: int) -> None:
        """Refuse a data frame by its header alone, before its payload is there.

        Raises:
            WebSocketProtocolException: a frame that can't come at this point.
            WebSocketMessageTooBigException: see ``check_size``.
        """
        if opcode == OP_CONT:
            if not self.opcode:
                raise WebSocketProtocolException(
                    "A continuation frame without a message to continue (RFC 6455 section 5.4)"
                )
        elif self.opcode:
            raise WebSocketProtocolException(
                f"A {OPCODE_NAMES[opcode]} frame before the fragmented"
                f" {OPCODE_NAMES[self.opcode]} message was finished (RFC 6455 section 5.4)"
            )
        self.check_size(length)

    def check_size(self, length: int) -> None:
        """Refuse a data frame that makes the message too big.

        Raises:
            WebSocketMessageTooBigException: with the size and the limit.
        """
        size = self._size + length
        if self._max_size is not None and size > self._max_size and not self.streaming:
            raise WebSocketMessageTooBigException(
                f"A message of at least {size} bytes is over the limit of {self._max_size}"
                " (option max_size)",
                size,
                self._max_size,
            )

    def is_text(self, opcode: int) -> bool:
        """Whether the payload of a frame with this opcode is text to be checked."""
        return self.check_text and opcode < OP_CLOSE and OP_TEXT in (opcode, self.opcode)

    def check_partial(self, opcode: int, data: memoryview, first: bool) -> None:
        """Check what arrived of a text frame (``is_text``) whose end has not.

        ``add`` checks it again with its frame: a driver may hand over another payload than
        the one that arrived, or none at all.

        Parameters:
            opcode: the frame's.
            data: what was not checked yet of its payload.
            first: whether this is the beginning of the payload.

        Raises:
            WebSocketPayloadException: these bytes can't be part of UTF-8 text.
        """
        if first or self._partial is None:
            self._partial = Text8() if self._text is None else self._text.copy()
        self._partial.feed(data)

    def add(self, frame: Frame) -> str | bytes | Fragment | Piece | None:
        """Take a whole data frame; return the message or piece that it completes."""
        encoded = self._encoded if frame.opcode == OP_CONT else bool(frame.rsv and self._codec)
        self.check_start(frame.opcode, 0 if encoded else len(frame.payload))
        payload = frame.payload
        if frame.opcode != OP_CONT:
            if frame.fin and not self.streaming:
                if encoded:
                    payload = self._decoded(payload, True)
                if frame.opcode == OP_TEXT:
                    return decode_text(payload, self.check_text)
                return payload
            self.opcode = frame.opcode
            self._encoded = encoded
        if self.streaming or not self._fragments:
            return self._keep(payload, frame.fin, first=frame.opcode != OP_CONT)
        if encoded:
            payload = self._decoded(payload, frame.fin)
        text = self._decode(payload, frame.fin) if self.opcode == OP_TEXT else None
        if frame.fin:
            self._reset()
        return Fragment(frame.opcode, payload, text, frame.fin)

    def add_part(
        self, header: FrameHeader, part: bytes | memoryview, last: bool
    ) -> str | bytes | Piece | None:
        """Take a part of a frame whose header was checked; the message if it ends there.

        Parameters:
            last: whether the part ends the message.
        """
        first = not self.opcode
        if first:
            self.opcode = header.opcode
            self._encoded = header.rsv != 0
        return self._keep(part, last, first)

    def take_kept(self) -> Piece | None:
        """What there is of a message that has begun and whose rest is to be streamed."""
        if not self.opcode:
            return None
        data = self._parts.take() if self.opcode == OP_TEXT else self._binary.getvalue()
        self._binary = BytesIO()
        self._size = 0
        return Piece(data, True, False)

    def _keep(
        self, part: bytes | memoryview, last: bool, first: bool
    ) -> str | bytes | Piece | None:
        if self.streaming:
            return self._streamed(part, last, first)
        if not self._encoded:
            self._store(part, last)
        else:
            assert self._codec is not None
            for decoded in self._codec.decode(part, last):
                self.check_size(len(decoded))
                self._store(decoded, False)
            if last:
                self._store(b"", True)
        if not last:
            return None
        text = self.opcode == OP_TEXT
        message = self._parts.take() if text else self._binary.getvalue()
        self._reset()
        return message

    def _store(self, part: bytes | memoryview, last: bool) -> None:
        self._size += len(part)
        if self.opcode == OP_TEXT:
            self._parts.add(self._decode(part, last))
        else:
            self._binary.write(part)

    def _streamed(self, part: bytes | memoryview, last: bool, first: bool) -> Piece:
        if self._encoded:
            part = self._decoded(part, last)
        data = self._decode(part, last) if self.opcode == OP_TEXT else bytes(part)
        if last:
            self._reset()
        return Piece(data, first, last)

    def _decoded(self, payload: bytes | memoryview, last: bool) -> bytes:
        assert self._codec is not None
        parts: list[bytes] = []
        size = 0
        for part in self._codec.decode(payload, last):
            size += len(part)
            self.check_size(size)
            parts.append(part)
        return b"".join(parts)

    def _reset(self) -> None:
        self.opcode = self._size = 0
        self.streaming = self._encoded = False
        self._text = self._partial = None
        self._binary = BytesIO()

    def _decode(self, payload: bytes | memoryview, final: bool) -> str:
        if self._text is None:
            self._text = Text8(self.check_text)
        return self._text.feed(payload, final)
