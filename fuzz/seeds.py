"""Writes the seed corpora anew: ``python -m fuzz.seeds``."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")

# The first byte chooses options, the next eight how the stream is cut (see targets.py).
_CUTS = bytes((0, 1, 2, 6, 30, 0, 120, 255))


def _frame(first: int, payload: bytes, key: bytes | None = None) -> bytes:
    bit = 0 if key is None else 0x80
    size = len(payload)
    head = bytes((first, bit | size)) if size < 126 else bytes((first, bit | 126))
    if size >= 126:
        head += size.to_bytes(2, "big")
    if key is None:
        return head + payload
    return head + key + bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))


def _streams(key: bytes | None) -> dict[str, bytes]:
    text = "Zo\u00eb pays 5 \u20ac \U0001f642".encode()
    plain = _frame(0x81, b"hello", key) + _frame(0x82, bytes(range(200)), key)
    return {
        "plain": plain,
        "text": _frame(0x81, text, key) * 3,
        "fragments": _frame(0x01, text[:7], key)
        + _frame(0x89, b"ping", key)
        + _frame(0x00, text[7:11], key)
        + _frame(0x80, text[11:], key),
        "controls": _frame(0x89, b"", key) + _frame(0x8A, b"pong", key) + plain,
        "close": plain + _frame(0x88, (1000).to_bytes(2, "big") + b"bye", key),
        "close-bad": _frame(0x88, (1005).to_bytes(2, "big"), key),
        "text-bad": _frame(0x81, b"ok \xed\xa0\x80", key),
        "text-cut": _frame(0x81, text, key)[:-3],
        "reserved": b"\xc1\x00" + plain,
        "opcode": b"\x83\x00",
        "long-form": b"\x82\x7e\x00\x05hello",
        "huge": b"\x82\x7f" + bytes(5) + b"\x10\x00\x00" + b"x" * 50,
        "negative": b"\x82\x7f\xff" + bytes(7),
    }


def _compressed(key: bytes | None) -> dict[str, bytes]:
    text = "Zo\u00eb pays 5 \u20ac \U0001f642 ".encode() * 9
    stream = zlib.compressobj(6, zlib.DEFLATED, -9)
    first, second, third = (
        (stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4] for _ in range(3)
    )
    bomb = zlib.compressobj(9, zlib.DEFLATED, -9)
    zeros = (bomb.compress(bytes(100_000)) + bomb.flush(zlib.Z_SYNC_FLUSH))[:-4]
    last = bytes.fromhex("f348cdc9c9070000")
    return {
        "deflate": _frame(0xC1, first, key) + _frame(0xC1, second, key) + _frame(0xC2, third, key),
        "deflate-fragments": _frame(0x41, first[:9], key)
        + _frame(0x89, b"ping", key)
        + _frame(0x80, first[9:], key),
        "deflate-last-block": _frame(0xC1, last, key) + _frame(0xC2, b"\x03\x00" * 9 + b"\0", key),
        "deflate-bomb": _frame(0xC2, zeros, key),
        "deflate-bad": _frame(0xC1, first[:20] + b"\xff" + first[21:], key),
        "deflate-no-end": _frame(0xC1, first[:-1], key) + _frame(0xC1, second, key),
        "deflate-marks": _frame(0x41, first, key) + _frame(0xC0, b"\0", key),
    }


def main() -> None:
    for target, keys in {
        "inflate": {0: None, 1: b"\x01\x02\x03\x04", 4: None, 8: None, 16: None},
        "receive": {0: None, 1: b"\x01\x02\x03\x04", 8: None, 4: None, 16: None},
        "scan": {0: None, 51: None},
        "send": {0: None, 1: None},
    }.items():
        folder = CORPUS / target
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for options, key in keys.items():
            streams = _streams(key)
            if target == "inflate":
                streams |= _compressed(key)
            for name, stream in streams.items():
                (folder / f"{name}-{options}").write_bytes(bytes((options,)) + _CUTS + stream)


if __name__ == "__main__":
    main()
