"""The hot functions in Python: the reference that every twin must equal.

What is said here about frames (RFC 6455 sections 5.2 and 5.3) is the one way in which
frames leave; what comes in and is not a whole, plain data frame is left to
``_protocol.receiving``, which knows the rules and the errors.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

__all__ = [
    "encode_batch",
    "encode_frame",
    "encode_masked",
    "forget_keys",
    "frame_header",
    "mask",
    "mask_key",
    "scan",
    "scan_deflated",
    "send_bytes",
]

Payload = str | bytes | bytearray | memoryview

_KEYS_PER_REFILL = 256
_TAIL = b"\x00\x00\xff\xff"
_MOST_DEFLATED = 8 * 1024
# Above this size one huge integer costs more than several that fit the processor's cache.
_MASK_BLOCK = 1 << 16

_keys: list[bytes] = []


def mask_key() -> bytes:
    """Four bytes of the operating system's randomness (section 5.3: unpredictable).

    ``list.pop`` takes each key exactly once whatever the threads do.
    """
    try:
        return _keys.pop()
    except IndexError:
        fresh = os.urandom(4 * _KEYS_PER_REFILL)
        _keys.extend(fresh[i : i + 4] for i in range(4, len(fresh), 4))
        return fresh[:4]


def forget_keys() -> None:
    """Use no key of the pool any more: a forked child has a copy of it."""
    _keys.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_keys)


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
    if size == _MASK_BLOCK:
        repeated = _full_block(key)
    else:
        repeated = int.from_bytes(key * (size // 4) + key[: size % 4], "little")
    return (int.from_bytes(data, "little") ^ repeated).to_bytes(size, "little")


@lru_cache(maxsize=4)
def _full_block(key: bytes) -> int:
    """The key repeated for a whole block: the same for all blocks of a frame."""
    return int.from_bytes(key * (_MASK_BLOCK // 4), "little")


def encode_frame(first: int, payload: Payload, key: bytes | None) -> bytes:
    """Header, mask key and masked payload in one object.

    Parameters:
        first: FIN, reserved bits and opcode as they stand in the first byte.
        payload: str is sent as UTF-8; a memoryview must be one of bytes.
        key: four bytes, or None for a frame that is not masked (a server's).
    """
    data = payload.encode() if isinstance(payload, str) else payload
    header = frame_header(first, len(data), 0 if key is None else 0x80)
    if key is None:
        return header + bytes(data)
    return b"".join((header, key, mask(key, data)))


def frame_header(first: int, size: int, mask_bit: int) -> bytes:
    """The first bytes of a frame, up to the mask key (section 5.2).

    Parameters:
        size: of the payload.
        mask_bit: 0x80 for a frame that is masked, else 0.
    """
    if size < 126:
        return bytes((first, mask_bit | size))
    if size < 65536:
        return struct.pack("!BBH", first, mask_bit | 126, size)
    return struct.pack("!BBQ", first, mask_bit | 127, size)


def encode_masked(first: int, payload: Payload) -> bytes:
    """``encode_frame`` with a fresh mask key."""
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data)
    if size >= 126:
        return encode_frame(first, data, mask_key())
    # Small frames are the many ones: the same, with fewer calls.
    try:
        key = _keys.pop()
    except IndexError:
        key = mask_key()
    masked = int.from_bytes(data, "little") ^ int.from_bytes((key * 32)[:size], "little")
    return bytes((first, 0x80 | size)) + key + masked.to_bytes(size, "little")


def encode_batch(
    messages: Iterator[Any], limit: int, convert: Callable[[Any], bytes | bytearray | memoryview]
) -> tuple[bytes, int, BaseException | None]:
    """The masked frames of the next messages: str as text, all else as binary.

    Parameters:
        limit: take no further message once the frames have so many bytes.
        convert: called with each message that is neither str nor bytes; returns its bytes.

    Returns:
        the frames, the number of messages in them, and what the iterator or a message raised.
    """
    clear: list[bytes | bytearray | memoryview] = []
    keys: list[bytes] = []
    size = count = 0
    error = None
    try:
        for message in messages:
            first, payload = 0x82, message
            if isinstance(message, str):
                first, payload = 0x81, message.encode()
            elif payload.__class__ is not bytes:
                payload = convert(message)
            length = len(payload)
            header = frame_header(first, length, 0x80)
            key = mask_key()
            clear += (header, key, payload)
            # Header and key pass through a mask of zeros, so that one XOR does it all.
            keys += (bytes(len(header) + 4), key * (length // 4), key[: length % 4])
            size += len(header) + 4 + length
            count += 1
            if size >= limit:
                break
    except BaseException as raised:
        error = raised
    masked = int.from_bytes(b"".join(clear), "little") ^ int.from_bytes(b"".join(keys), "little")
    return masked.to_bytes(size, "little"), count, error


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


def send_bytes(fd: int, data: bytes | bytearray | memoryview) -> int:
    """Send as much as there is room for.

    Parameters:
        fd: the socket's, which never waits. Not on Windows.

    Returns:
        how many bytes that was.

    Raises:
        OSError: as ``socket.send`` does; BlockingIOError where there is no room.
    """
    return os.write(fd, data)


def scan_deflated(
    data: bytearray,
    start: int,
    end: int,
    stream: Any,
    most: int,
    errors: str,
    append: Callable[[str | bytes], object],
) -> tuple[int, int, bytes | None, int, int]:
    """Append the messages of the usual compressed frames at the front of ``data[start:end]``.

    Usual is a final, unmasked text or binary frame that is marked as compressed (RFC 7692
    section 7.2.2), its length in the shortest form and at most 8 KiB, with a last byte that
    the end of a flushed block can have. The first frame that is anything else, or is not there
    to its end, stops the scan.

    Parameters:
        stream: a decompressor as zlib makes it.
        most: of messages with so many bytes or more, only the beginning is decompressed.
        errors: what to do with text that is not UTF-8, see ``str``.
        append: called with each message.

    Returns:
        where the scan stopped, and 0 and None; or, behind a frame that has to be looked at,
        its first byte and the beginning of its message: there may be more of it, or the
        compressed stream has ended of itself. Then the size of the payloads that were taken,
        and of what they were decompressed to.

    Raises:
        zlib.error, UnicodeDecodeError: the messages before have been appended.
    """
    inflate = stream.decompress
    size_in = size_out = 0
    while end - start >= 4:
        first = data[start]
        if first != 0xC1 and first != 0xC2:
            break
        size = data[start + 1]
        body = start + 2
        if size == 126:
            size = data[body] << 8 | data[body + 1]
            body += 2
            if size < 126:
                break
        elif size > 126:
            break
        stop = body + size
        if stop > end or not 0 < size <= _MOST_DEFLATED or data[stop - 1] > 0x1F:
            break
        message: bytes = inflate(data[body:stop] + _TAIL, most)
        start = stop
        size_in += size
        size_out += len(message)
        if len(message) >= most or stream.eof:
            return start, first, message, size_in, size_out
        append(message if first == 0xC2 else message.decode("utf-8", errors))
    return start, 0, None, size_in, size_out
