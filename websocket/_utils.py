"""Small helpers that programs import: a lock that locks nothing, UTF-8 checks, error parts.

The UTF-8 automaton (RFC 3629 section 4) is kept for callers that step through bytes one by
one; the library itself leaves that work to ``bytes.decode``.
"""

from __future__ import annotations

from typing import Any

__all__ = ["NoLock", "extract_err_message", "extract_error_code", "validate_utf8"]


class NoLock:
    """A context manager in the place of a lock, for a connection that one thread uses."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        return None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return True

    def release(self) -> None:
        return None


# The automaton's alphabet: bytes that RFC 3629's grammar never tells apart share a class.
_ASCII, _TAIL_80, _TAIL_90, _TAIL_A0, _NEVER = range(5)
_LEAD_2, _LEAD_E0, _LEAD_3, _LEAD_ED, _LEAD_F0, _LEAD_4, _LEAD_F4 = range(5, 12)
_CLASSES = 12
_CLASS_RANGES = (
    (0x00, 0x7F, _ASCII),
    (0x80, 0x8F, _TAIL_80),
    (0x90, 0x9F, _TAIL_90),
    (0xA0, 0xBF, _TAIL_A0),
    (0xC0, 0xC1, _NEVER),
    (0xC2, 0xDF, _LEAD_2),
    (0xE0, 0xE0, _LEAD_E0),
    (0xE1, 0xEC, _LEAD_3),
    (0xED, 0xED, _LEAD_ED),
    (0xEE, 0xEF, _LEAD_3),
    (0xF0, 0xF0, _LEAD_F0),
    (0xF1, 0xF3, _LEAD_4),
    (0xF4, 0xF4, _LEAD_F4),
    (0xF5, 0xFF, _NEVER),
)

# A state is the offset of its row of the table, hence the steps of twelve.
_STATES = 9
_UTF8_ACCEPT, _UTF8_REJECT, _NEED_1, _NEED_2, _NEED_3 = range(0, 5 * _CLASSES, _CLASSES)
_AFTER_E0, _AFTER_ED, _AFTER_F0, _AFTER_F4 = range(5 * _CLASSES, _STATES * _CLASSES, _CLASSES)
_ANY_TAIL = (_TAIL_80, _TAIL_90, _TAIL_A0)
_MOVES: tuple[tuple[int, tuple[int, ...], int], ...] = (
    (_UTF8_ACCEPT, (_ASCII,), _UTF8_ACCEPT),
    (_UTF8_ACCEPT, (_LEAD_2,), _NEED_1),
    (_UTF8_ACCEPT, (_LEAD_3,), _NEED_2),
    (_UTF8_ACCEPT, (_LEAD_4,), _NEED_3),
    (_UTF8_ACCEPT, (_LEAD_E0,), _AFTER_E0),
    (_UTF8_ACCEPT, (_LEAD_ED,), _AFTER_ED),
    (_UTF8_ACCEPT, (_LEAD_F0,), _AFTER_F0),
    (_UTF8_ACCEPT, (_LEAD_F4,), _AFTER_F4),
    (_NEED_1, _ANY_TAIL, _UTF8_ACCEPT),
    (_NEED_2, _ANY_TAIL, _NEED_1),
    (_NEED_3, _ANY_TAIL, _NEED_2),
    # No overlong forms, no surrogates, nothing beyond U+10FFFF.
    (_AFTER_E0, (_TAIL_A0,), _NEED_1),
    (_AFTER_ED, (_TAIL_80, _TAIL_90), _NEED_1),
    (_AFTER_F0, (_TAIL_90, _TAIL_A0), _NEED_2),
    (_AFTER_F4, (_TAIL_80,), _NEED_2),
)


def _build_table() -> list[int]:
    """The class of each of the 256 bytes, then a row of next states per state."""
    classes = [cls for first, last, cls in _CLASS_RANGES for _ in range(first, last + 1)]
    rows = [_UTF8_REJECT] * (_STATES * _CLASSES)
    for state, inputs, target in _MOVES:
        for cls in inputs:
            rows[state + cls] = target
    return classes + rows


_UTF8D = _build_table()
# The bits of a lead byte that belong to the code point.
_LEAD_BITS = {
    _ASCII: 0x7F,
    _LEAD_2: 0x1F,
    **dict.fromkeys((_LEAD_E0, _LEAD_3, _LEAD_ED), 0x0F),
    **dict.fromkeys((_LEAD_F0, _LEAD_4, _LEAD_F4), 0x07),
}


def _decode(  # pyright: ignore[reportUnusedFunction]
    state: int, codep: int, ch: int
) -> tuple[int, int]:
    """Feed one byte to the automaton.

    Args:
        state: the state so far, ``_UTF8_ACCEPT`` at the start.
        codep: bits of the code point collected so far.
        ch: the byte, 0 to 255.

    Returns:
        The new state and code point bits. In ``_UTF8_ACCEPT`` the code point is complete;
        ``_UTF8_REJECT`` is final.
    """
    cls = _UTF8D[ch]
    codep = ch & _LEAD_BITS.get(cls, 0) if state == _UTF8_ACCEPT else codep << 6 | ch & 0x3F
    return _UTF8D[256 + state + cls], codep


def validate_utf8(utfbytes: str | bytes) -> bool:
    """Whether ``utfbytes`` is complete, valid UTF-8 (RFC 3629).

    A str is valid when it can be encoded: one with a lone surrogate can't.
    """
    try:
        if isinstance(utfbytes, str):
            utfbytes.encode()
        else:
            bytes(utfbytes).decode()
    except UnicodeError:
        return False
    return True


_validate_utf8 = validate_utf8


def extract_err_message(exception: BaseException) -> str | None:
    """The first argument of an exception as text, or None when it has none."""
    return str(exception.args[0]) if exception.args else None


def extract_error_code(exception: BaseException) -> int | None:
    """The number that leads an exception's arguments, as in ``OSError(111, "...")``, or None."""
    if len(exception.args) > 1 and isinstance(exception.args[0], int):
        return exception.args[0]
    return None
