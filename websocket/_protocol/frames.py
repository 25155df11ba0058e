"""Opcodes, close codes and the frame header (RFC 6455 sections 5.2, 5.5, 7.4 and 11)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from .._exceptions import WebSocketArgumentException, WebSocketProtocolException

OP_CONT: Final = 0x0
OP_TEXT: Final = 0x1
OP_BINARY: Final = 0x2
OP_CLOSE: Final = 0x8
OP_PING: Final = 0x9
OP_PONG: Final = 0xA

OPCODE_NAMES: Final = {
    OP_CONT: "cont",
    OP_TEXT: "text",
    OP_BINARY: "binary",
    OP_CLOSE: "close",
    OP_PING: "ping",
    OP_PONG: "pong",
}

# RFC 6455 section 7.4.1 and the registry of section 11.7.
CLOSE_NORMAL: Final = 1000
CLOSE_GOING_AWAY: Final = 1001
CLOSE_PROTOCOL_ERROR: Final = 1002
CLOSE_UNSUPPORTED_DATA: Final = 1003
CLOSE_NO_STATUS: Final = 1005
CLOSE_ABNORMAL: Final = 1006
CLOSE_INVALID_PAYLOAD: Final = 1007
CLOSE_POLICY_VIOLATION: Final = 1008
CLOSE_MESSAGE_TOO_BIG: Final = 1009
CLOSE_MANDATORY_EXTENSION: Final = 1010
CLOSE_INTERNAL_ERROR: Final = 1011
CLOSE_SERVICE_RESTART: Final = 1012
CLOSE_TRY_AGAIN_LATER: Final = 1013
CLOSE_BAD_GATEWAY: Final = 1014
CLOSE_TLS_HANDSHAKE: Final = 1015

# 1004 is reserved; 1005, 1006 and 1015 stand for "no Close frame told a code"
# and must not be sent (section 7.4.1).
WIRE_CLOSE_CODES: Final = (1000, 1001, 1002, 1003, *range(1007, 1015))

MAX_CONTROL_PAYLOAD: Final = 125  # section 5.5
MAX_REASON_SIZE: Final = MAX_CONTROL_PAYLOAD - 2
MAX_LENGTH: Final = (1 << 63) - 1  # section 5.2: the most significant bit must be 0

FIN: Final = 0x80
RSV: Final = 0x70
MASKED: Final = 0x80


def is_wire_close_code(code: int) -> bool:
    """Whether a Close frame may carry ``code`` (sections 7.4.1 and 7.4.2)."""
    return code in WIRE_CLOSE_CODES or 3000 <= code <= 4999


class FrameHeader(NamedTuple):
    """One parsed frame header.

    ``size`` counts the header's own bytes, ``length`` those of the payload.
    """

    fin: bool
    rsv: int
    opcode: int
    mask_key: bytes | None
    length: int
    size: int


def parse_header(
    data: bytes | bytearray | memoryview,
    start: int,
    end: int,
    *,
    expect_mask: bool | None = None,
    allowed_rsv: int = 0,
) -> FrameHeader | None:
    """Parse the frame header at ``data[start:end]``; None while it is incomplete.

    What the first bytes already forbid is refused without waiting for the rest.

    Parameters:
        expect_mask: whether the sender must mask: False for a server's frames, True for a
            client's (section 5.1), None to take either.
        allowed_rsv: the reserved bits that a negotiated extension gave a meaning.

    Raises:
        WebSocketProtocolException: the header breaks a rule of section 5.1, 5.2 or 5.5.
    """
    have = end - start
    if have < 1:
        return None
    first = data[start]
    opcode = first & 0x0F
    _check_first_byte(first, allowed_rsv)
    if have < 2:
        return None
    second = data[start + 1]
    masked = bool(second & MASKED)
    if expect_mask is not None and masked is not expect_mask:
        raise WebSocketProtocolException(
            "A frame from a client must be masked (RFC 6455 section 5.1)"
            if expect_mask
            else "A frame from a server must not be masked (RFC 6455 section 5.1)"
        )
    length = second & 0x7F
    if opcode >= OP_CLOSE and length > MAX_CONTROL_PAYLOAD:
        raise WebSocketProtocolException(
            f"A {OPCODE_NAMES[opcode]} frame carries at most 125 bytes (RFC 6455 section 5.5)"
        )
    size = {126: 4, 127: 10}.get(length, 2)
    if have < size:
        return None
    if length >= 126:
        length = _long_length(data, start + 2, size - 2)
    mask_key = None
    if masked:
        if have < size + 4:
            return None
        mask_key = bytes(data[start + size : start + size + 4])
        size += 4
    return FrameHeader(bool(first & FIN), first & RSV, opcode, mask_key, length, size)


def _check_first_byte(first: int, allowed_rsv: int) -> None:
    opcode = first & 0x0F
    if opcode not in OPCODE_NAMES:
        raise WebSocketProtocolException(f"Invalid opcode {opcode:#x} (RFC 6455 section 5.2)")
    if first & RSV & ~allowed_rsv:
        raise WebSocketProtocolException(
            f"Reserved bits {(first & RSV) >> 4:03b} are set, but no extension was negotiated"
            " that uses them (RFC 6455 section 5.2)"
        )
    if first & RSV and (opcode == OP_CONT or opcode >= OP_CLOSE):
        raise WebSocketProtocolException(
            f"Reserved bits {(first & RSV) >> 4:03b} are set on a {OPCODE_NAMES[opcode]} frame:"
            " only the first frame of a message can be marked as compressed (RFC 7692 section 6.1)"
        )
    if opcode >= OP_CLOSE and not first & FIN:
        raise WebSocketProtocolException(
            f"A {OPCODE_NAMES[opcode]} frame must not be fragmented (RFC 6455 section 5.5)"
        )


def _long_length(data: bytes | bytearray | memoryview, position: int, size: int) -> int:
    """The length that stands in ``size`` (2 or 8) bytes of its own (section 5.2)."""
    length = int.from_bytes(data[position : position + size], "big")
    if length > MAX_LENGTH:
        raise WebSocketProtocolException(
            f"Length {length:#x} has its highest bit set (RFC 6455 section 5.2)"
        )
    if length < (126 if size == 2 else 65536):
        raise WebSocketProtocolException(
            f"Length {length} is not in its shortest form (RFC 6455 section 5.2)"
        )
    return length


def encode_close_payload(code: int, reason: bytes) -> bytes:
    """The payload of a Close frame (section 5.5.1).

    Raises:
        WebSocketArgumentException: the code may not be sent, or the reason is longer than
            123 bytes or not UTF-8.
    """
    if not is_wire_close_code(code):
        raise WebSocketArgumentException(
            f"Close code {code} must not be sent: use 1000 to 1003, 1007 to 1014 or 3000 to 4999"
        )
    if len(reason) > MAX_REASON_SIZE:
        raise WebSocketArgumentException(
            f"The close reason has {len(reason)} bytes; a Close frame carries at most 123"
        )
    try:
        reason.decode()
    except UnicodeDecodeError as error:
        raise WebSocketArgumentException(f"The close reason is not UTF-8: {error}") from error
    return struct.pack("!H", code) + reason
