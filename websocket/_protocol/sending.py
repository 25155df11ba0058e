"""The sending half of a connection: what may be sent, and the bytes of its frames.

RFC 6455 sections 5.4 to 5.6 and 7.1; masking and the frame itself are the accelerator's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from .._accel import encode_batch, encode_frame, encode_masked, frame_header, mask, mask_key
from .._exceptions import (
    WebSocketArgumentException,
    WebSocketConnectionClosedException,
    WebSocketPayloadException,
    WebSocketProtocolException,
)
from .buffer import READ_SIZE
from .extensions import Codec
from .frames import (
    CLOSE_PROTOCOL_ERROR,
    FIN,
    MASKED,
    MAX_CONTROL_PAYLOAD,
    MAX_REASON_SIZE,
    OP_BINARY,
    OP_CLOSE,
    OP_CONT,
    OP_TEXT,
    OPCODE_NAMES,
    encode_close_payload,
)
from .messages import Close, Text8, parse_close

Payload = str | bytes | bytearray | memoryview

# A payload above this size is made and written, or received, in parts.
LARGE: Final = READ_SIZE // 4

# How much of a large frame, or of many small ones, is made and written at a time: enough to
# make the system call cheap, and little enough to stay in the processor's cache. A multiple of
# four, so that each part begins with the first byte of the mask key.
_WRITE_SIZE: Final = 64 * 1024


class FrameParts:
    """The bytes of a large frame, made and handed over part by part.

    Parameters:
        header: of the frame, with its mask key.
        payload: what is masked, a part at a time.
        key: the mask key, None for none.

    Attributes:
        left: how many bytes are still to come.
        fixed: whether the payload can't change in the meantime.
    """

    __slots__ = ("_header", "_key", "_payload", "fixed", "left")

    def __init__(self, header: bytes, payload: memoryview, key: bytes | None) -> None:
        self._header = header
        self._payload = payload
        self._key = key
        self.fixed = type(payload.obj) is bytes
        self.left = len(header) + len(payload)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self.left:
            raise StopIteration
        header, self._header = self._header, b""
        start = len(self._payload) - (self.left - len(header))
        part = self._payload[start : start + _WRITE_SIZE]
        data = header + (bytes(part) if self._key is None else mask(self._key, part))
        self.left -= len(data)
        return data


class OutgoingMessage:
    """A message that is sent in pieces (section 5.4): what the frame of each one carries."""

    __slots__ = ("_codec", "_opcode", "_text")

    def __init__(self, opcode: int, codec: Codec | None, check_text: bool) -> None:
        self._opcode = opcode  # of the next frame
        self._codec = codec
        self._text = Text8() if check_text else None

    def frame(
        self, payload: bytes | bytearray | memoryview, fin: bool
    ) -> tuple[int, bytes | bytearray | memoryview]:
        """The first byte and the payload of the next frame.

        Raises:
            WebSocketPayloadException: the text is not UTF-8.
        """
        if self._text is not None:
            self._text.feed(payload, fin)
        first = (FIN if fin else 0) | self._opcode
        if self._codec is not None:
            payload = self._codec.encode_piece(payload, fin)
            if self._opcode != OP_CONT:
                first |= self._codec.rsv
        self._opcode = OP_CONT
        return first, payload


class SendingHalf:
    """What a connection may send, and how it is encoded.

    Parameters:
        masks: whether the frames that are sent are masked.
        check_text: refuse text that is not UTF-8.
        codec: the extension that was negotiated, or None.

    Attributes:
        masks: as given.
        close_sent: our Close.
        sendable: whether a frame may still be sent.
        plain: whether a message may be sent, and as it is: no extension encodes it, and no
            other message is being sent in pieces.
        turn: called before a data frame is encoded while a message is being sent in pieces;
            returns True if the frame is one of that message's, False once that is finished.
    """

    def __init__(self, masks: bool, check_text: bool, codec: Codec | None) -> None:
        self.masks = masks
        self.close_sent: Close | None = None
        self.sendable = True
        self.plain = codec is None
        self.turn: Callable[[], bool] | None = None
        self._outgoing: OutgoingMessage | None = None
        self._check_text = check_text
        self._codec = codec
        self._rsv = 0 if codec is None else codec.rsv

    def check(self, opcode: int, payload: Payload, fin: bool = True) -> Any:
        """What ``encode`` would send as the payload of a frame, if it may be sent.

        Raises:
            WebSocketConnectionClosedException: a Close frame was sent (section 5.5.1), or the
                stream has ended.
            WebSocketArgumentException: the opcode or the payload may not be sent.
            WebSocketPayloadException: bytes sent as text are not UTF-8, or str of a control
                frame can't be encoded.
        """
        self.check_sendable()
        if not isinstance(payload, (str, bytes)):
            payload = as_bytes(payload)
        if opcode == OP_TEXT:
            # A fragment may end inside a character; whole messages may not.
            if not isinstance(payload, str) and fin and self._check_text:
                check_outgoing_text(payload)
        elif opcode not in OPCODE_NAMES:
            raise WebSocketArgumentException(
                f"Opcode {opcode!r} does not exist: use one of ABNF.OPCODES"
            )
        elif opcode >= OP_CLOSE:
            payload = _utf8(payload) if isinstance(payload, str) else bytes(payload)
            check_outgoing_control(opcode, payload)
        return payload

    def encode(self, opcode: int, payload: Payload, fin: bool = True) -> bytes:
        """The bytes of one frame; a Close frame is noted as sent. Raises what ``check`` does."""
        first, data = self._framed(opcode, self.check(opcode, payload, fin), fin)
        return self._encode(first, data)

    def _framed(self, opcode: int, data: Any, fin: bool = True) -> tuple[int, Any]:
        """The first byte of a frame and what follows its header."""
        first = (FIN if fin else 0) | opcode
        if self.plain or opcode >= OP_CLOSE:
            return first, data
        rsv, data = self.encode_payload(opcode, data, fin)
        return first | rsv, data

    def _encode(self, first: int, data: Any) -> bytes:
        try:
            frame = encode_masked(first, data) if self.masks else encode_frame(first, data, None)
        except UnicodeEncodeError as error:
            raise not_encodable(error) from error
        if first & 0x0F == OP_CLOSE:
            self.note_close(data)
        return frame

    def encode_parts(self, opcode: int, payload: Payload) -> Iterator[bytes]:
        """``encode`` in parts, so that no copy of all of a large payload is made: as
        ``FrameParts`` where there is more than one.

        What ``check`` raises is raised here, before anything is sent.
        """
        first, data = self._framed(opcode, self.check(opcode, payload))
        if len(data) <= LARGE:
            return iter((self._encode(first, data),))
        view = memoryview(_utf8(data) if isinstance(data, str) else data)
        if not self.masks:
            return FrameParts(frame_header(first, len(view), 0), view, None)
        key = mask_key()
        return FrameParts(frame_header(first, len(view), MASKED) + key, view, key)

    def encode_many(self, messages: Iterable[Payload]) -> Iterator[tuple[bytes, int]]:
        """The frames of messages, many at a time, and how many they are.

        What the iterable raises, and what a message does that can't be sent, is raised after
        the messages before it have been handed over.
        """
        source = iter(messages)
        if not self.masks:
            for message in source:
                yield self.encode_message(message), 1
            return
        while True:
            self.check_sendable()
            frames, count, error = encode_batch(source, _WRITE_SIZE, as_bytes)
            if count:
                yield frames, count
            if isinstance(error, UnicodeEncodeError):
                raise not_encodable(error) from error
            if error is not None:
                raise error
            if len(frames) < _WRITE_SIZE:
                return

    def encode_payload(self, opcode: int, payload: Any, fin: bool = True) -> tuple[int, Any]:
        """The reserved bit and the payload of a data frame; ``check`` has let it pass.

        A whole message goes through the extension. Where a message is being sent in pieces,
        it is waited for.
        """
        self.await_turn()
        if self._codec is not None and fin and opcode != OP_CONT:
            data = _utf8(payload) if isinstance(payload, str) else payload
            encoded = self._codec.encode(data)
            if encoded is not None:
                return self._rsv, encoded
            return 0, data
        return 0, payload

    # Sending in pieces

    def await_turn(self) -> None:
        """Wait while another message is being sent in pieces (section 5.4).

        Raises:
            WebSocketConnectionClosedException: meanwhile, or before, nothing may be sent.
        """
        while self._outgoing is not None and self.turn is not None and not self.turn():
            pass
        self.check_sendable()

    def begin_message(self, opcode: int) -> None:
        """A message of which the pieces follow. Until ``end_message`` others wait (``turn``).

        Raises:
            WebSocketConnectionClosedException: see ``check``.
            WebSocketArgumentException: the opcode is neither text nor binary.
        """
        if opcode not in (OP_TEXT, OP_BINARY):
            raise WebSocketArgumentException(
                f"A message in pieces has opcode ABNF.OPCODE_TEXT or OPCODE_BINARY, not {opcode!r}"
            )
        self.await_turn()
        self.plain = False
        self._outgoing = OutgoingMessage(
            opcode, self._codec, check_text=opcode == OP_TEXT and self._check_text
        )

    def frame_piece(self, payload: Payload, fin: bool) -> tuple[int, Any]:
        """The first byte and the payload of the frame that carries the next piece.

        Raises:
            WebSocketConnectionClosedException: a Close frame was sent meanwhile, or the
                stream has ended.
            WebSocketPayloadException: bytes sent as text are not UTF-8.
        """
        assert self._outgoing is not None
        self.check_sendable()
        data = _utf8(payload) if isinstance(payload, str) else as_bytes(payload)
        return self._outgoing.frame(data, fin)

    def encode_piece(self, payload: Payload, fin: bool) -> bytes:
        """The bytes of that frame."""
        first, data = self.frame_piece(payload, fin)
        return self._encode(first, data)

    def end_message(self) -> None:
        """The message in pieces is finished, or given up together with the connection."""
        self._outgoing = None
        self.plain = self._codec is None and self.sendable

    def unsent(self) -> None:
        """The frame that was encoded last did not go out at all, and won't."""
        if self._codec is not None:
            self._codec.unsent()

    def note_close(self, payload: bytes) -> None:
        """A Close frame with this payload is being sent: nothing may follow it."""
        self.close_sent = check_outgoing_control(OP_CLOSE, payload)
        self.sendable = self.plain = False

    def check_sendable(self) -> None:
        """Raise WebSocketConnectionClosedException where nothing may be sent any more."""
        if not self.sendable:
            raise WebSocketConnectionClosedException("Connection is already closed.")

    def encode_message(self, payload: Payload) -> bytes:
        """A whole message in one frame: str as text, bytes as binary."""
        return self.encode(OP_TEXT if isinstance(payload, str) else OP_BINARY, payload)

    def close(self, code: int | None = 1000, reason: str | bytes = b"") -> bytes:
        """Our Close frame; empty if one was sent before or the stream has ended.

        Raises:
            WebSocketArgumentException: see ``encode_close_payload``.
        """
        payload = close_payload(code, reason)
        if not self.sendable:
            return b""
        return self.encode(OP_CLOSE, payload)


def as_bytes(payload: object) -> bytes | bytearray | memoryview:
    if isinstance(payload, (bytes, bytearray)):
        return payload
    try:
        view = memoryview(payload)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            "A WebSocket message is str or bytes-like, but this is"
            f" {type(payload).__name__}: encode it first, with json.dumps for instance"
        ) from None
    # Neither a view with gaps nor one without elements can be cast.
    return view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise not_encodable(error) from error


def not_encodable(error: UnicodeEncodeError) -> WebSocketPayloadException:
    return WebSocketPayloadException(
        f"Text holds a lone surrogate, which UTF-8 can't carry: {error}"
    )


def close_payload(code: int | None, reason: str | bytes) -> bytes:
    """The payload of a Close frame; without a code it is empty (section 5.5.1)."""
    if code is None:
        return b""
    if isinstance(reason, str):
        # A lone surrogate is refused there, as what it is: no UTF-8.
        reason = reason.encode("utf-8", "surrogatepass")
    return encode_close_payload(code, reason)


def failure(error: Exception) -> tuple[int, str]:
    """Close code and reason for an error of the peer's (section 7.1.7)."""
    code = getattr(error, "close_code", CLOSE_PROTOCOL_ERROR)
    return code, str(error).encode()[:MAX_REASON_SIZE].decode(errors="ignore")


def check_outgoing_control(opcode: int, payload: bytes) -> Close | None:
    """Refuse what a control frame can't carry; what a Close frame says is returned."""
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise WebSocketArgumentException(
            f"The payload of a {OPCODE_NAMES[opcode]} frame has {len(payload)} bytes;"
            " a control frame carries at most 125 (RFC 6455 section 5.5)"
        )
    if opcode != OP_CLOSE:
        return None
    try:
        return parse_close(payload)
    except (WebSocketProtocolException, WebSocketPayloadException) as error:
        raise WebSocketArgumentException(str(error)) from error


def check_outgoing_text(payload: bytes | bytearray | memoryview) -> None:
    try:
        str(payload, "utf-8")
    except UnicodeDecodeError as error:
        raise WebSocketPayloadException(
            f"These bytes are not UTF-8 and can't be sent as text: {error}."
            " Send them with send_bytes or opcode ABNF.OPCODE_BINARY."
        ) from error
