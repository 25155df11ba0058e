"""The hot functions in Python: the reference that every twin must equal.

What is said here about frames (RFC 6455 sections 5.2 and 5.3) is the one way in which
frames leave; what comes in and is not a whole, plain data frame is left to
``_protocol.connection``, which knows the rules and the errors.
"""

from __future__ import annotations

import os
import struct

__all__ = ["encode_frame", "mask", "mask_key", "scan"]

_KEYS_PER_REFILL = 256
# Above this size one huge integer costs more than several that fit the processor's cache.
_MASK_BLOCK = 1 << 16

_keys: list[bytes] = []


def mask_key() -> bytes:
    """Four bytes of the operating system's randomness (section 5.3: unpredictable).

    ``list.pop`` takes each key exactly once whatever the threads do, and a forked child
    empties its copy of the pool, so no two frames share a key that was drawn once.
    """
    try:
        return _keys.pop()
    except IndexError:
        fresh = os.urandom(4 * _KEYS_PER_REFILL)
        _keys.extend(fresh[i : i + 4] for i in range(4, len(fresh), 4))
        return fresh[:4]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keys.clear)


def mask(key: bytes, data: bytes | bytearray | memoryview) -> bytes:
    """XOR ``data`` with the repeated four byte ``key`` (section 5.3); its own inverse."""
    size = len(data)
    if size <= _MASK_BLOCK:
        return _mask_block(key, data)
    view = memoryview(data)
    # The block size is a multiple of four, so each block begins with the key's first byte.
    return b"".join(
        _mask_block(key, view[i : i + _MASK_BLOCK]) for i in range(0, size, _MASK_BLOCK)
    )


def _mask_block(key: bytes, data: bytes | bytearray | memoryview) -> bytes:
    size = len(data)
    repeated = key * (size // 4) + key[: size % 4]
    masked = int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")
    return masked.to_bytes(size, "little")


def encode_frame(
    first: int, payload: str | bytes | bytearray | memoryview, key: bytes | None
) -> bytes:
    """Header, mask key and masked payload in one object.

    Parameters:
        first: FIN, reserved bits and opcode as they stand in the first byte.
        payload: str is sent as UTF-8; a memoryview must be one of bytes.
        key: four bytes, or None for a frame that is not masked (a server's).
    """
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data)
    mask_bit = 0 if key is None else 0x80
    if size < 126:
        header = bytes((first, mask_bit | size))
    elif size < 65536:
        header = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        header = struct.pack("!BBQ", first, mask_bit | 127, size)
    if key is None:
        return header + bytes(data)
    return b"".join((header, key, mask(key, data)))


def scan(data: bytearray, start: int, end: int, limit: int) -> tuple[int, list[str | bytes]]:
    """The messages of all whole, plain frames at the front of ``data[start:end]``.

    Plain is a final, unmasked text or binary frame without reserved bits, its length in the
    shortest form and at most ``limit``, its text UTF-8. The first frame that is anything
    else, or is not there to its end, stops the scan.

    Returns:
        where the scan stopped (the position of the first byte not consumed), and the messages.
    """
    messages: list[str | bytes] = []
    while end - start >= 2:
        first = data[start]
        if first != 0x81 and first != 0x82:
            break
        size = data[start + 1]
        body = start + 2
        if size == 126:
            body += 2
            if body > end:
                break
            size = data[start + 2] << 8 | data[start + 3]
            if size < 126:
                break
        elif size > 126:
            body += 8
            if size != 127 or body > end:
                break
            (size,) = struct.unpack_from("!Q", data, start + 2)
            if size < 65536:
                break
        stop = body + size
        if stop > end or size > limit:
            break
        if first == 0x82:
            with memoryview(data) as view:
                messages.append(bytes(view[body:stop]))
        else:
            try:
                messages.append(data[body:stop].decode())
            except UnicodeDecodeError:
                break
        start = stop
    return start, messages
