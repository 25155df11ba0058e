"""Writes the seed corpora anew: ``python -m fuzz.seeds``."""

from __future__ import annotations

import shutil
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


def main() -> None:
    for target, keys in {
        "receive": {0: None, 1: b"\x01\x02\x03\x04", 8: None, 4: None, 16: None},
        "scan": {0: None, 51: None},
        "send": {0: None, 1: None},
    }.items():
        folder = CORPUS / target
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for options, key in keys.items():
            for name, stream in _streams(key).items():
                (folder / f"{name}-{options}").write_bytes(bytes((options,)) + _CUTS + stream)


if __name__ == "__main__":
    main()
