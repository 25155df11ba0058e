from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from websocket import _utils
from websocket._utils import NoLock, extract_err_message, extract_error_code, validate_utf8

SAMPLES = [
    b"",
    b"plain",
    "κόσμε".encode(),
    b"\x00\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf4\x8f\xbf\xbf",
]
BROKEN = [
    b"\x80",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xc2",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xff",
    b"\xf0\x9f\x98",
    b"a\xe2\x28\xa1",
]


def run_automaton(data: bytes) -> list[int] | None:
    """Code points that the automaton finds, or None when it refuses."""
    state, codep, found = _utils._UTF8_ACCEPT, 0, []
    for byte in data:
        state, codep = _utils._decode(state, codep, byte)
        if state == _utils._UTF8_REJECT:
            return None
        if state == _utils._UTF8_ACCEPT:
            found.append(codep)
    return found if state == _utils._UTF8_ACCEPT else None


@pytest.mark.parametrize("data", SAMPLES)
def test_valid_utf8(data: bytes) -> None:
    assert validate_utf8(data) is True
    assert run_automaton(data) == [ord(character) for character in data.decode()]


@pytest.mark.parametrize("data", BROKEN)
def test_broken_utf8(data: bytes) -> None:
    assert validate_utf8(data) is False
    assert run_automaton(data) is None


def test_validate_takes_text_and_any_bytes() -> None:
    assert validate_utf8("κόσμε")
    assert not validate_utf8("\ud800")
    assert validate_utf8(bytearray(b"abc"))  # type: ignore[arg-type]
    assert _utils._validate_utf8(b"abc")


@settings(deadline=None)
@given(st.binary(max_size=12))
def test_automaton_agrees_with_python(data: bytes) -> None:
    assert (run_automaton(data) is not None) is validate_utf8(data)


@settings(deadline=None)
@given(st.text(max_size=12))
def test_automaton_finds_the_code_points(text: str) -> None:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    assert run_automaton(data) == [ord(character) for character in text]


def test_every_pair_of_bytes() -> None:
    for first in range(256):
        for second in range(256):
            data = bytes((first, second))
            assert (run_automaton(data) is not None) is validate_utf8(data), data


def test_table_has_its_legacy_form() -> None:
    assert len(_utils._UTF8D) == 364
    assert _utils._UTF8D[:128] == [0] * 128
    assert (_utils._UTF8_ACCEPT, _utils._UTF8_REJECT) == (0, 12)


def test_reject_is_final() -> None:
    for byte in range(256):
        assert _utils._decode(_utils._UTF8_REJECT, 0, byte)[0] == _utils._UTF8_REJECT


def test_no_lock_locks_nothing_and_hides_nothing() -> None:
    lock = NoLock()
    with lock, lock:
        pass
    with pytest.raises(KeyError), lock:
        raise KeyError


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (Exception(), None, None),
        (Exception("broken"), "broken", None),
        (OSError(111, "refused"), "111", 111),
        (Exception("text", 3), "text", None),
        (Exception(7), "7", None),
    ],
)
def test_parts_of_errors(error: Exception, message: str | None, code: int | None) -> None:
    assert extract_err_message(error) == message
    assert extract_error_code(error) == code
