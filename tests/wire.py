"""Frames and UTF-8 as the tests see them: naive, byte by byte, and sharing no code with the
library, so that an error in one of the two shows."""

from __future__ import annotations

import itertools
from typing import NamedTuple

KEY = bytes((0x37, 0xFA, 0x21, 0x3D))


def naive_mask(key: bytes, data: bytes) -> bytes:
    """RFC 6455 section 5.3, read literally."""
    return bytes(octet ^ key[i % 4] for i, octet in enumerate(data))


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    key: bytes | None = None,
    form: int | None = None,
    length: int | None = None,
) -> bytes:
    """One frame.

    Parameters:
        key: mask key; None for a server's frame.
        form: 7, 16 or 64 to have the length in that many bits; the shortest by default.
        length: what the length field says, if not the truth.
    """
    size = len(payload) if length is None else length
    if form is None:
        form = 7 if size <= 125 else 16 if size <= 65535 else 64
    second = {7: size, 16: 126, 64: 127}[form]
    head = bytes([fin << 7 | rsv << 4 | opcode, (key is not None) << 7 | second])
    if form != 7:
        head += size.to_bytes(form // 8, "big")
    if key is None:
        return head + payload
    return head + key + naive_mask(key, payload)


class Parsed(NamedTuple):
    fin: bool
    rsv: int
    opcode: int
    key: bytes | None
    payload: bytes


def parse(data: bytes) -> list[Parsed]:
    """All frames of ``data``, which must end with a whole one and hold only shortest lengths."""
    frames = []
    octets = iter(data)

    def take(count: int) -> bytes:
        taken = bytes(itertools.islice(octets, count))
        assert len(taken) == count, "the bytes end inside a frame"
        return taken

    for first in octets:
        (second,) = take(1)
        size = second & 127
        if size == 126:
            size = int.from_bytes(take(2), "big")
            assert size > 125
        elif size == 127:
            size = int.from_bytes(take(8), "big")
            assert 65535 < size < 2**63
        key = take(4) if second & 128 else None
        payload = take(size)
        if key is not None:
            payload = naive_mask(key, payload)
        frames.append(Parsed(bool(first & 128), first >> 4 & 7, first & 15, key, payload))
    return frames


# One of these ends of a character makes any good beginning of one complete.
_ENDINGS = [b""] + [
    bytes(tail)
    for first in (0x80, 0x90, 0xA0, 0xBF)
    for tail in ((first,), (first, 0x80), (first, 0x80, 0x80))
]


def may_become_text(prefix: bytes) -> bool:
    """Whether UTF-8 text exists that begins with these bytes."""

    def is_text(data: bytes) -> bool:
        try:
            data.decode()
        except UnicodeDecodeError:
            return False
        return True

    return any(is_text(prefix + ending) for ending in _ENDINGS)


def first_bad_byte(data: bytes) -> int | None:
    """How long the smallest prefix is that no UTF-8 text begins with; None if there is none."""
    for size in range(1, len(data) + 1):
        if not may_become_text(data[:size]):
            return size
    return None
