"""Opcodes, close codes and the ABNF frame value; ``frame_buffer`` and ``continuous_frame``.

These are the names that programs know. The rules are those of ``_protocol``: what stands
here only adapts them (RFC 6455 section 5).
"""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any, Final

from . import _accel
from ._exceptions import (
    WebSocketArgumentException,
    WebSocketConnectionClosedException,
    WebSocketPayloadException,
    WebSocketProtocolException,
)
from ._protocol.connection import Connection, Role
from ._protocol.frames import (
    MAX_CONTROL_PAYLOAD,
    OP_BINARY,
    OP_CLOSE,
    OP_CONT,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    OPCODE_NAMES,
    WIRE_CLOSE_CODES,
    is_wire_close_code,
)
from ._protocol.messages import Fragment, Frame, MessageAssembler, parse_close

__all__ = [
    "ABNF",
    "STATUS_ABNORMAL_CLOSED",
    "STATUS_BAD_GATEWAY",
    "STATUS_GOING_AWAY",
    "STATUS_INVALID_EXTENSION",
    "STATUS_INVALID_PAYLOAD",
    "STATUS_MESSAGE_TOO_BIG",
    "STATUS_NORMAL",
    "STATUS_POLICY_VIOLATION",
    "STATUS_PROTOCOL_ERROR",
    "STATUS_SERVICE_RESTART",
    "STATUS_STATUS_NOT_AVAILABLE",
    "STATUS_TLS_HANDSHAKE_ERROR",
    "STATUS_TRY_AGAIN_LATER",
    "STATUS_UNEXPECTED_CONDITION",
    "STATUS_UNSUPPORTED_DATA_TYPE",
    "continuous_frame",
    "frame_buffer",
]

STATUS_NORMAL: Final = 1000
STATUS_GOING_AWAY: Final = 1001
STATUS_PROTOCOL_ERROR: Final = 1002
STATUS_UNSUPPORTED_DATA_TYPE: Final = 1003
STATUS_STATUS_NOT_AVAILABLE: Final = 1005
STATUS_ABNORMAL_CLOSED: Final = 1006
STATUS_INVALID_PAYLOAD: Final = 1007
STATUS_POLICY_VIOLATION: Final = 1008
STATUS_MESSAGE_TOO_BIG: Final = 1009
STATUS_INVALID_EXTENSION: Final = 1010
STATUS_UNEXPECTED_CONDITION: Final = 1011
STATUS_SERVICE_RESTART: Final = 1012
STATUS_TRY_AGAIN_LATER: Final = 1013
STATUS_BAD_GATEWAY: Final = 1014
STATUS_TLS_HANDSHAKE_ERROR: Final = 1015

VALID_CLOSE_STATUS: Final = WIRE_CLOSE_CODES

# Masking needs no numpy; the name tells programs that look for it so.
numpy: Any = None


def _mask(  # pyright: ignore[reportUnusedFunction]
    mask_value: array.array[int], data_value: array.array[int]
) -> bytes:
    """XOR ``data_value`` with the repeated ``mask_value``, both arrays of bytes."""
    return _accel.mask(mask_value.tobytes(), data_value.tobytes())


def _to_bytes(value: str | bytes | bytearray) -> bytes:
    """A mask key or payload given as str stands for the bytes with those numbers."""
    return value.encode("latin-1") if isinstance(value, str) else bytes(value)


class _MaskName:
    """``mask`` is two things: on the class the masking function, on a frame its mask flag."""

    def __get__(self, frame: ABNF | None, owner: type) -> Any:
        return _mask_data if frame is None else frame.mask_value

    def __set__(self, frame: ABNF, value: int) -> None:
        frame.mask_value = value


def _mask_data(mask_key: str | bytes, data: str | bytes) -> bytes:
    """Mask or unmask data (RFC 6455 section 5.3).

    Parameters:
        mask_key: four bytes, or a str of four characters below 256.
        data: bytes, or a str of characters below 256.
    """
    return _accel.mask(_check_key(_to_bytes(mask_key)), _to_bytes(data))


def _check_key(key: bytes) -> bytes:
    if len(key) != 4:
        raise WebSocketArgumentException(f"A mask key has four bytes, but this has {len(key)}")
    return key


class ABNF:
    """One frame as a value (RFC 6455 section 5.2).

    Parameters:
        fin: 1 for the last (or only) frame of a message.
        rsv1, rsv2, rsv3: the reserved bits.
        opcode: one of ``ABNF.OPCODES``.
        mask_value: 1 if the frame is masked, as every frame of a client is; ``mask`` is the
            same under its older name.
        data: the payload.
    """

    OPCODE_CONT: Final = OP_CONT
    OPCODE_TEXT: Final = OP_TEXT
    OPCODE_BINARY: Final = OP_BINARY
    OPCODE_CLOSE: Final = OP_CLOSE
    OPCODE_PING: Final = OP_PING
    OPCODE_PONG: Final = OP_PONG

    OPCODES: Final = tuple(OPCODE_NAMES)
    OPCODE_MAP: Final = OPCODE_NAMES

    # The first sizes that need the next longer form of the length.
    LENGTH_7: Final = 0x7E
    LENGTH_16: Final = 1 << 16
    LENGTH_63: Final = 1 << 63

    mask: Any = _MaskName()

    def __init__(
        self,
        fin: int = 0,
        rsv1: int = 0,
        rsv2: int = 0,
        rsv3: int = 0,
        opcode: int = OP_TEXT,
        mask_value: int = 1,
        data: str | bytes | None = "",
        *,
        mask: int | None = None,
    ) -> None:
        self.fin = fin
        self.rsv1 = rsv1
        self.rsv2 = rsv2
        self.rsv3 = rsv3
        self.opcode = opcode
        self.mask_value = mask_value if mask is None else mask
        self.data: Any = "" if data is None else data
        self.get_mask_key: Callable[[int], str | bytes] | None = None

    @classmethod
    def create_frame(cls, data: str | bytes, opcode: int, fin: int = 1) -> ABNF:
        """A masked frame that carries ``data``; text given as str becomes UTF-8."""
        if opcode == OP_TEXT and isinstance(data, str):
            data = data.encode()
        return cls(fin, 0, 0, 0, opcode, 1, data)

    def validate(self, skip_utf8_validation: bool = False) -> None:
        """Check the frame by itself (sections 5.2, 5.5 and 7.4).

        Raises:
            WebSocketProtocolException: reserved bits, an opcode that does not exist, a
                fragmented or oversized control frame, a Close that must not be sent.
            WebSocketPayloadException: a close reason that is not UTF-8.
        """
        if self.rsv1 or self.rsv2 or self.rsv3:
            raise WebSocketProtocolException("rsv is not implemented, yet")
        if self.opcode not in self.OPCODES:
            raise WebSocketProtocolException(f"Invalid opcode {self.opcode!r}")
        if self.opcode < OP_CLOSE:
            return
        if not self.fin:
            raise WebSocketProtocolException("A control frame must not be fragmented")
        data = self.data.encode() if isinstance(self.data, str) else bytes(self.data)
        if len(data) > MAX_CONTROL_PAYLOAD:
            raise WebSocketProtocolException("A control frame carries at most 125 bytes")
        if self.opcode == OP_CLOSE:
            parse_close(data, not skip_utf8_validation)

    @staticmethod
    def _is_valid_close_status(code: int) -> bool:
        return is_wire_close_code(code)

    def __str__(self) -> str:
        return f"fin={self.fin} opcode={self.opcode} data={self.data!s}"

    def __repr__(self) -> str:
        name = OPCODE_NAMES.get(self.opcode, self.opcode)
        return f"<ABNF {name} fin={self.fin} data={self.data!r}>"

    def format(self) -> bytes:
        """The frame's bytes, with a fresh mask key where it is masked.

        Raises:
            WebSocketArgumentException: a bit that is neither 0 nor 1, an opcode that does not
                exist, or a mask key that has not four bytes.
        """
        bits = (self.fin, self.rsv1, self.rsv2, self.rsv3)
        if any(bit not in (0, 1) for bit in bits):
            raise WebSocketArgumentException(f"fin and rsv1 to rsv3 are 0 or 1, not {bits}")
        if self.opcode not in self.OPCODES:
            raise WebSocketArgumentException(f"Invalid opcode {self.opcode!r}")
        first = self.fin << 7 | self.rsv1 << 6 | self.rsv2 << 5 | self.rsv3 << 4 | self.opcode
        data = self.data.encode() if isinstance(self.data, str) else self.data
        if not self.mask_value:
            return _accel.encode_frame(first, data, None)
        if self.get_mask_key is None:
            key = _accel.mask_key()
        else:
            key = _check_key(_to_bytes(self.get_mask_key(4)))
        return _accel.encode_frame(first, data, key)

    def _get_masked(self, mask_key: str | bytes) -> bytes:
        """The mask key and the masked payload, as they stand behind the length."""
        key = _check_key(_to_bytes(mask_key))
        data = self.data.encode() if isinstance(self.data, str) else self.data
        return key + _accel.mask(key, data)


def abnf_of(frame: Frame) -> ABNF:
    """A received frame in the form that programs know."""
    return ABNF(
        int(frame.fin),
        frame.rsv >> 6 & 1,
        frame.rsv >> 5 & 1,
        frame.rsv >> 4 & 1,
        frame.opcode,
        0,
        frame.payload,
    )


def frame_of(frame: ABNF) -> Frame:
    """The reverse of ``abnf_of``, for frames that a program's own code handed over."""
    data = frame.data.encode() if isinstance(frame.data, str) else bytes(frame.data)
    rsv = frame.rsv1 << 6 | frame.rsv2 << 5 | frame.rsv3 << 4
    return Frame(bool(frame.fin), rsv, frame.opcode, data)


class frame_buffer:
    """Reads frames through a function that receives bytes; never asks it for more than it needs.

    Parameters:
        recv_fn: called with a number of bytes, returns at most that many; ``b""`` is the end.
        skip_utf8_validation: take text and close reasons that are not UTF-8.
        core: the connection whose buffer is used; by default a new one that takes masked
            and unmasked frames alike.
    """

    _HEADER_MASK_INDEX = 5
    _HEADER_LENGTH_INDEX = 6
    _CHUNK = 16384

    def __init__(
        self,
        recv_fn: Callable[[int], bytes],
        skip_utf8_validation: bool,
        core: Connection | None = None,
    ) -> None:
        self.recv = recv_fn
        self.skip_utf8_validation = skip_utf8_validation
        self._core = core or Connection(Role.ANY, check_text=not skip_utf8_validation)
        self.clear()

    def clear(self) -> None:
        """Forget the header parts that were read one by one."""
        self.header: tuple[int, int, int, int, int, int, int] | None = None
        self.length: int | None = None
        self.mask_value: bytes | str | None = None

    def needs_header(self) -> bool:
        return self.header is None

    def needs_length(self) -> bool:
        return self.length is None

    def needs_mask(self) -> bool:
        return self.mask_value is None

    has_received_header = needs_header
    has_received_length = needs_length
    has_received_mask = needs_mask

    def has_mask(self) -> bool | int:
        return self.header[self._HEADER_MASK_INDEX] if self.header else False

    def recv_header(self) -> None:
        first, second = self.recv_strict(2)
        self.header = (
            first >> 7 & 1,
            first >> 6 & 1,
            first >> 5 & 1,
            first >> 4 & 1,
            first & 0xF,
            second >> 7 & 1,
            second & 0x7F,
        )

    def recv_length(self) -> None:
        if self.header is None:
            self.recv_header()
        assert self.header is not None
        length = self.header[self._HEADER_LENGTH_INDEX]
        if length >= 126:
            length = int.from_bytes(self.recv_strict(2 if length == 126 else 8), "big")
        self.length = length

    def recv_mask(self) -> None:
        self.mask_value = self.recv_strict(4) if self.has_mask() else b""

    def recv_frame(self) -> ABNF:
        """Read the next frame.

        Raises:
            WebSocketProtocolException, WebSocketPayloadException: the frame is not valid.
            WebSocketConnectionClosedException: the bytes ended inside the frame.
        """
        # Each piece is looked at as it comes: what it forbids fails without the rest.
        while (frame := self._core.next_frame()) is None:
            self._core.store(self._read(self._core.missing()))
        if frame.opcode == OP_CLOSE:
            parse_close(frame.payload, not self.skip_utf8_validation)
        return abnf_of(frame)

    def recv_strict(self, bufsize: int) -> bytes:
        """Exactly ``bufsize`` raw bytes; what was received of them is kept if it fails."""
        buffer = self._core.buffer
        while len(buffer) < bufsize:
            self._core.store(self._read(bufsize - len(buffer)))
        taken = bytes(buffer.data[buffer.start : buffer.start + bufsize])
        buffer.start += bufsize
        return taken

    def _read(self, size: int) -> bytes:
        data = self.recv(min(size, self._CHUNK))
        if not data:
            raise WebSocketConnectionClosedException("Connection to remote host was lost.")
        self._core.counts.bytes_received += len(data)
        return data


class continuous_frame:
    """Joins frames into messages, or hands over each of them.

    Parameters:
        fire_cont_frame: hand over every frame instead of joining them.
        skip_utf8_validation: take text that is not UTF-8.
    """

    def __init__(self, fire_cont_frame: bool, skip_utf8_validation: bool) -> None:
        self.fire_cont_frame = fire_cont_frame
        self.skip_utf8_validation = skip_utf8_validation
        self.cont_data: list[Any] | None = None
        self.recving_frames: int | None = None

    def validate(self, frame: ABNF) -> None:
        """Check the order of the frames (section 5.4).

        Raises:
            WebSocketProtocolException: a frame that can't come at this point.
        """
        if frame.opcode in (OP_CONT, OP_TEXT, OP_BINARY):
            order = MessageAssembler(None, False, False)
            order.opcode = self.recving_frames or 0
            order.check_start(frame.opcode, 0)

    def add(self, frame: ABNF) -> None:
        if self.cont_data:
            # Joined in place: the work must not grow with the square of the fragments.
            if isinstance(self.cont_data[1], bytes):
                self.cont_data[1] = bytearray(self.cont_data[1])
            self.cont_data[1] += frame.data
        else:
            if frame.opcode != OP_CONT:
                self.recving_frames = frame.opcode
            self.cont_data = [frame.opcode, frame.data]
        if frame.fin:
            self.recving_frames = None

    def is_fire(self, frame: ABNF) -> bool | int:
        """Whether there is something to ``extract``."""
        return frame.fin or self.fire_cont_frame

    def extract(self, frame: ABNF) -> tuple[int, ABNF]:
        """The opcode of the message (or piece), and ``frame`` with its whole payload.

        Raises:
            WebSocketPayloadException: joined text is not UTF-8.
        """
        assert self.cont_data is not None
        opcode, data = self.cont_data
        self.cont_data = None
        frame.data = bytes(data) if isinstance(data, bytearray) else data
        if opcode == OP_TEXT and not (self.fire_cont_frame or self.skip_utf8_validation):
            try:
                frame_of(frame).payload.decode()
            except UnicodeError as error:
                raise WebSocketPayloadException(f"cannot decode: {frame.data!r}") from error
        return opcode, frame


def abnf_of_event(event: str | bytes | Fragment) -> tuple[int, ABNF]:
    """A message or piece as the pair that ``recv_data_frame`` returns."""
    if isinstance(event, Fragment):
        return event.opcode, ABNF(int(event.fin), 0, 0, 0, event.opcode, 0, event.payload)
    if isinstance(event, str):
        data = event.encode("utf-8", "surrogateescape")
        return OP_TEXT, ABNF(1, 0, 0, 0, OP_TEXT, 0, data)
    return OP_BINARY, ABNF(1, 0, 0, 0, OP_BINARY, 0, event)
