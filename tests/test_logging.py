from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from websocket import _logging
from websocket._logging import dump, enableTrace, isEnabledForTrace, trace

LOGGER = logging.getLogger("websocket")


@pytest.fixture(autouse=True)
def _untraced() -> Iterator[None]:
    enableTrace(False)
    before = (LOGGER.level, list(LOGGER.handlers))
    yield
    enableTrace(False)
    assert (LOGGER.level, LOGGER.handlers) == before


@pytest.fixture
def printed() -> io.StringIO:
    stream = io.StringIO()
    enableTrace(True, logging.StreamHandler(stream))
    return stream


REQUEST = (
    "GET / HTTP/1.1\r\nUpgrade: websocket\r\nHost: example.com\r\n"
    "Authorization: Basic c2VjcmV0\r\ncookie:  id=secret; b=2\r\nConnection: Upgrade\r\n\r\n"
)


def test_blocks_have_the_documented_form(printed: io.StringIO) -> None:
    dump("request header", "GET / HTTP/1.1\r\nConnection: Upgrade\r\n\r\n")
    dump("response header", "HTTP/1.1 101 Fine\nUpgrade: websocket")
    trace("send: b'\\x88\\x82 \\xc3'")
    assert printed.getvalue() == (
        "--- request header ---\n"
        "GET / HTTP/1.1\n"
        "Connection: Upgrade\n"
        "\n"
        "-----\n"
        "--- response header ---\n"
        "HTTP/1.1 101 Fine\n"
        "Upgrade: websocket\n"
        "-----\n"
        "send: b'\\x88\\x82 \\xc3'\n"
    )


def test_nothing_is_printed_without_trace(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "websocket")
    assert not isEnabledForTrace()
    dump("request header", REQUEST)
    trace("send: b''")
    assert capsys.readouterr().err == ""
    assert caplog.records == []


def test_default_handler_is_stderr_as_it_is_now(capsys: pytest.CaptureFixture[str]) -> None:
    enableTrace(True)
    trace("send: b''")
    assert capsys.readouterr() == ("", "send: b''\n")


def test_tracing_twice_prints_once(capsys: pytest.CaptureFixture[str]) -> None:
    enableTrace(True)
    enableTrace(True)
    trace("once")
    assert capsys.readouterr().err == "once\n"


def test_a_new_handler_takes_the_place_of_the_old(printed: io.StringIO) -> None:
    other = io.StringIO()
    enableTrace(True, logging.StreamHandler(other))
    trace("here")
    assert (printed.getvalue(), other.getvalue()) == ("", "here\n")


def test_the_end_removes_the_handler_and_restores_the_level() -> None:
    LOGGER.setLevel(logging.ERROR)
    handler = logging.StreamHandler(io.StringIO())
    try:
        enableTrace(True, handler)
        enableTrace(True)
        assert LOGGER.level == logging.DEBUG
        assert handler in LOGGER.handlers
        enableTrace(False)
        assert LOGGER.level == logging.ERROR
        assert handler not in LOGGER.handlers
        assert _logging._trace_handler is None
        assert not _logging._traceEnabled
    finally:
        LOGGER.setLevel(logging.NOTSET)


def test_a_handler_of_the_program_stays() -> None:
    handler = logging.StreamHandler(io.StringIO())
    LOGGER.addHandler(handler)
    try:
        enableTrace(True, handler)
        enableTrace(False)
        assert LOGGER.handlers.count(handler) == 1
    finally:
        LOGGER.removeHandler(handler)


def test_level_is_honoured() -> None:
    stream = io.StringIO()
    enableTrace(True, logging.StreamHandler(stream), level="INFO")
    trace("not shown")
    _logging.info("shown")
    assert stream.getvalue() == "shown\n"


def test_unknown_level_changes_nothing() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        enableTrace(True, level="LOUD")
    assert not isEnabledForTrace()


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Basic c2VjcmV0",
        "PROXY-AUTHORIZATION: Basic c2VjcmV0",
        "Cookie: c2VjcmV0",
        "set-cookie: c2VjcmV0; Path=/",
        "Cookie:c2VjcmV0",
        "Cookie : c2VjcmV0",
    ],
)
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_secrets_are_masked(printed: io.StringIO, line: str, end: str) -> None:
    dump("request header", f"GET / HTTP/1.1{end}{line}{end}Accept: all{end}{end}")
    lines = printed.getvalue().split("\n")
    assert "c2VjcmV0" not in printed.getvalue()
    assert lines[2].endswith("***")
    assert lines[2].startswith(line.partition(":")[0])
    assert lines[3] == "Accept: all"


def test_other_fields_keep_their_values(printed: io.StringIO) -> None:
    dump("request header", "X-Cookie-Policy: none\nCookies: 2\nWWW-Authenticate: Basic")
    assert "none" in printed.getvalue()
    assert "Cookies: 2" in printed.getvalue()
    assert "WWW-Authenticate: Basic" in printed.getvalue()


def test_secrets_are_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    enableTrace(True, show_secrets=True)
    dump("request header", REQUEST)
    assert "c2VjcmV0" in capsys.readouterr().err
    enableTrace(True)
    dump("request header", REQUEST)
    assert "c2VjcmV0" not in capsys.readouterr().err


def test_percent_signs_are_text(printed: io.StringIO) -> None:
    trace("100 %s %d")
    dump("%s", "%d")
    assert printed.getvalue() == "100 %s %d\n--- %s ---\n%d\n-----\n"


@pytest.mark.parametrize("name", ["error", "warning", "info", "debug"])
def test_levels(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "websocket")
    getattr(_logging, name)("a %s message")
    assert caplog.record_tuples == [
        ("websocket", getattr(logging, name.upper()), "a %s message"),
    ]


def test_enabled_follows_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "websocket")
    assert _logging.isEnabledForError()
    assert not _logging.isEnabledForDebug()
    caplog.set_level(logging.DEBUG, "websocket")
    assert _logging.isEnabledForDebug()


def test_errors_stay_visible_in_a_program_without_logging() -> None:
    program = (
        "from websocket import _logging\n"
        "_logging.error('broken callback'); _logging.debug('detail')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == "broken callback\n"
