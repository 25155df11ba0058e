"""HTTP/1.1 heads and bodies without I/O."""

from __future__ import annotations

import contextlib
import copy
import itertools
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket import _exceptions as exceptions
from websocket._protocol import http11
from websocket._protocol.http11 import Headers, RequestReader, ResponseReader


def read(data: bytes, *, eof: bool = False, connect: bool = False) -> ResponseReader:
    reader = ResponseReader(connect=connect)
    reader.feed(data)
    if eof:
        reader.feed_eof()
    return reader


class TestHeaders:
    def test_lookup_ignores_case(self):
        headers = Headers([("Upgrade", "websocket")])
        assert headers["UPGRADE"] == headers["upgrade"] == headers.get("Upgrade") == "websocket"
        assert "uPgRaDe" in headers
        assert dict(headers) == {"upgrade": "websocket"}

    def test_missing(self):
        headers = Headers()
        assert headers.get("x") is None
        assert headers.get("x", "y") == "y"
        assert 3 not in headers
        with pytest.raises(KeyError):
            headers["x"]

    def test_repeated_fields_are_joined_and_kept_apart(self):
        headers = Headers(
            [("Via", "a"), ("Set-Cookie", "x=1"), ("via", "b"), ("set-cookie", "y=2")]
        )
        assert headers["via"] == "a, b"
        assert headers["set-cookie"] == "x=1; y=2"
        assert headers.get_all("Set-Cookie") == ["x=1", "y=2"]
        assert headers.pairs[2] == ("via", "b")

    def test_tokens(self):
        headers = Headers([("Connection", "keep-alive,, Upgrade"), ("Connection", "\tfoo ")])
        assert headers.tokens("connection") == ["keep-alive", "Upgrade", "foo"]

    @pytest.mark.parametrize(
        "duplicate", [copy.copy, copy.deepcopy, lambda headers: pickle.loads(pickle.dumps(headers))]
    )
    def test_copies(self, duplicate):
        headers = Headers([("A", "1"), ("a", "2")])
        again = duplicate(headers)
        assert again == headers
        assert again.pairs == headers.pairs


class TestResponseHead:
    def test_switching_protocols(self):
        reader = read(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade:  websocket \t\r\n\r\n\x81\x01a"
        )
        assert reader.done
        assert reader.head is not None
        assert reader.head.status == 101
        assert reader.head.reason == "Switching Protocols"
        assert reader.head.version == "1.1"
        assert reader.head.headers == {"upgrade": "websocket"}
        assert reader.rest == b"\x81\x01a"
        assert reader.body == b""
        assert reader.head.text == "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket"

    def test_bytes_after_done_belong_to_the_stream(self):
        reader = read(b"HTTP/1.1 101 x\r\n\r\na")
        reader.feed(b"b")
        assert reader.rest == b"ab"

    def test_content_length_of_101_is_ignored(self):
        reader = read(b"HTTP/1.1 101 x\r\nContent-Length: 3\r\n\r\nabcd")
        assert reader.rest == b"abcd"

    @pytest.mark.parametrize("line", [b"HTTP/1.1 101", b"HTTP/1.1 101 "])
    def test_reason_may_be_missing(self, line):
        reader = read(line + b"\r\n\r\n")
        assert reader.head is not None
        assert reader.head.reason == ""
        assert reader.head.text == "HTTP/1.1 101"

    def test_bare_lf_ends_a_line(self):
        reader = read(b"HTTP/1.0 101 x\nA: b\n\nrest")
        assert reader.head is not None
        assert reader.head.version == "1.0"
        assert reader.head.headers == {"a": "b"}
        assert reader.rest == b"rest"

    def test_values_are_utf8_or_latin1(self):
        reader = read(b"HTTP/1.1 101 x\r\nA: \xc3\xa9\r\nB: \xe9\r\nC:\r\n\r\n")
        assert reader.head is not None
        assert reader.head.headers == {"a": "é", "b": "é", "c": ""}

    def test_interim_responses_are_skipped(self):
        reader = read(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
            b"HTTP/1.1 101 x\r\nA: b\r\n\r\nrest"
        )
        assert reader.head is not None
        assert reader.head.status == 101
        assert reader.head.headers == {"a": "b"}
        assert reader.rest == b"rest"

    def test_interim_responses_are_bounded(self):
        with pytest.raises(exceptions.WebSocketHandshakeException, match="interim"):
            read(b"HTTP/1.1 100 x\r\n\r\n" * (http11.MAX_INTERIM_RESPONSES + 1))
        reader = read(
            b"HTTP/1.1 100 x\r\n\r\n" * http11.MAX_INTERIM_RESPONSES + b"HTTP/1.1 101 x\r\n\r\n"
        )
        assert reader.done

    @pytest.mark.parametrize(
        "head",
        [
            b"SSH-2.0-OpenSSH",
            b"\x15\x03\x01\x00\x02",
            b"HTTP 101",
            b"http/1.1 101 x\r\n",
            b"\r\nHTTP/1.1 101 x\r\n",
            b"HTTP/2.0 101 x\r\n",
            b"HTTP/1.1 0101 x\r\n",
            b"HTTP/1.1 99 x\r\n",
            b"HTTP/1.1 099 x\r\n",
            b"HTTP/1.1  101 x\r\n",
            b"HTTP/1.1\t101 x\r\n",
            b"HTTP/1.1 101x\r\n",
            b"HTTP/1.1 10\xb9 x\r\n",
            b"HTTP/1.11 101 x\r\n",
            b"HTTP/1.1 101 a\0b\r\n",
            b"HTTP/1.1 101 a\rb\r\n",
            b"HTTP/1.1 101 x\r\nNo colon\r\n",
            b"HTTP/1.1 101 x\r\nName : value\r\n",
            b"HTTP/1.1 101 x\r\n: value\r\n",
            b"HTTP/1.1 101 x\r\nN\xe9: value\r\n",
            b"HTTP/1.1 101 x\r\nN(: value\r\n",
            b"HTTP/1.1 101 x\r\nName: a\0b\r\n",
            b"HTTP/1.1 101 x\r\nName: a\rb\r\n",
            b"HTTP/1.1 101 x\r\nName: a\x1bb\r\n",
            b"HTTP/1.1 101 x\r\nName: a\x7f\r\n",
            b"HTTP/1.1 101 x\r\nName: a\r\r\n",
            b"HTTP/1.1 101 x\r\nName: a\r\n folded\r\n",
            b"HTTP/1.1 101 x\r\n\tfolded: a\r\n",
        ],
    )
    def test_bad_heads_are_refused_at_once(self, head):
        with pytest.raises(exceptions.WebSocketHandshakeException):
            read(head)

    def test_error_shows_the_line_and_what_was_read(self):
        with pytest.raises(exceptions.WebSocketHandshakeException, match="Bad line") as info:
            read(b"HTTP/1.1 503 x\r\nA: b\r\nBad line" + b"x" * 1000 + b"\r\n")
        assert info.value.status_code == 503
        assert info.value.resp_headers == {"a": "b"}
        assert len(str(info.value)) < 200

    def test_error_hides_secrets(self):
        with pytest.raises(exceptions.WebSocketHandshakeException) as info:
            read(b"HTTP/1.1 101 x\r\nSet-Cookie: secret\x01\r\n")
        assert "secret" not in str(info.value)
        assert "Set-Cookie" in str(info.value)

    def test_head_size_is_bounded(self):
        start = b"HTTP/1.1 101 x\r\nA: "
        fill = http11.MAX_HEAD_SIZE - len(start) - 4
        assert read(start + b"x" * fill + b"\r\n\r\n").done
        with pytest.raises(exceptions.WebSocketHandshakeException, match="larger than 65536"):
            read(start + b"x" * (fill + 1) + b"\r\n\r\n")
        with pytest.raises(exceptions.WebSocketHandshakeException, match="larger than 65536"):
            read(start + b"x" * http11.MAX_HEAD_SIZE)

    def test_header_lines_are_bounded(self):
        line = b"A: b\r\n"
        assert read(b"HTTP/1.1 101 x\r\n" + line * 256 + b"\r\n").done
        with pytest.raises(exceptions.WebSocketHandshakeException, match="256 header lines"):
            read(b"HTTP/1.1 101 x\r\n" + line * 257)

    @pytest.mark.parametrize("size", range(len(b"HTTP/1.1 101 x\r\nA: b\r\n\r\n")))
    def test_eof_at_each_byte_of_the_head(self, size):
        reader = read(b"HTTP/1.1 101 x\r\nA: b\r\n\r\n"[:size])
        with pytest.raises(
            exceptions.WebSocketConnectionClosedException,
            match=r"^Connection to remote host was lost",
        ):
            reader.feed_eof()


class TestResponseBody:
    def test_content_length(self):
        reader = read(b"HTTP/1.1 403 x\r\nContent-Length: 3\r\n\r\nab")
        assert not reader.done
        reader.feed(b"cd")
        assert reader.done
        assert not reader.truncated
        assert reader.body == b"abc"
        assert reader.rest == b""

    @pytest.mark.parametrize("lines", [b"Content-Length: 0", b"Content-Length: 0, 0"])
    def test_no_content(self, lines):
        assert read(b"HTTP/1.1 403 x\r\n" + lines + b"\r\n\r\n").done

    @pytest.mark.parametrize("status", [b"204", b"304"])
    def test_statuses_without_body(self, status):
        assert read(b"HTTP/1.1 " + status + b" x\r\n\r\n").done

    @pytest.mark.parametrize(
        "value",
        [b"1, 2", b"1\r\nContent-Length: 2", b"-1", b"+1", b"1x", b"", b"9" * 30, b"\xb2"],
    )
    def test_bad_content_length(self, value):
        with pytest.raises(exceptions.WebSocketHandshakeException, match="Content-Length") as info:
            read(b"HTTP/1.1 403 x\r\nContent-Length: " + value + b"\r\n\r\n")
        assert info.value.status_code == 403
        assert "content-length" in info.value.resp_headers

    def test_until_eof(self):
        reader = read(b"HTTP/1.1 500 x\r\n\r\nabc")
        assert not reader.done
        reader.feed_eof()
        reader.feed_eof()
        assert reader.done
        assert reader.body == b"abc"

    def test_chunked(self):
        reader = read(
            b"HTTP/1.1 500 x\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 1\r\n\r\n"
            b"3;name=value\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
        )
        assert reader.done
        assert not reader.truncated
        assert reader.body == b"abc0123456789"

    def test_another_transfer_coding_ends_with_the_stream(self):
        reader = read(b"HTTP/1.1 500 x\r\nTransfer-Encoding: gzip\r\n\r\n3\r\nabc", eof=True)
        assert reader.body == b"3\r\nabc"

    @pytest.mark.parametrize(
        ("rest", "body"),
        [
            (b"xyz\r\nabc", b""),
            (b"-1\r\nabc", b""),
            (b"3\r\nabcXX3\r\nabc", b"abc"),
            (b"3\r\nabc\rX", b"abc"),
            (b"fffffffffffffffff\r\n", b""),
            (b"3;" + b"x" * 5000, b""),
            (b"3;" + b"x" * 5000 + b"\r\nabc", b""),
        ],
    )
    def test_broken_chunks_keep_what_came(self, rest, body):
        reader = read(b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
        assert reader.done
        assert reader.truncated
        assert reader.body == body

    @pytest.mark.parametrize("framing", [b"", b"Content-Length: 100\r\n"])
    def test_eof_keeps_what_came(self, framing):
        reader = read(b"HTTP/1.1 500 x\r\n" + framing + b"\r\nabc", eof=True)
        assert reader.done
        assert reader.body == b"abc"

    @pytest.mark.parametrize(
        ("framing", "start"),
        [
            (b"", b""),
            (b"Content-Length: 999999999\r\n", b""),
            (b"Transfer-Encoding: chunked\r\n", b"fffffff\r\n"),
        ],
    )
    def test_endless_bodies_are_cut(self, framing, start):
        reader = read(b"HTTP/1.1 500 x\r\n" + framing + b"\r\n" + start)
        fed = 0
        while not reader.done:
            reader.feed(b"x" * 1000)
            fed += 1000
            assert fed <= http11.MAX_BODY_SIZE + 1000
        assert reader.truncated
        assert reader.body == b"x" * http11.MAX_BODY_SIZE

    def test_body_of_exactly_the_limit_is_whole(self):
        size = http11.MAX_BODY_SIZE
        reader = read(b"HTTP/1.1 500 x\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        assert reader.done
        assert not reader.truncated

    def test_connect(self):
        reader = read(b"HTTP/1.1 200 ok\r\nContent-Length: 5\r\n\r\nrest", connect=True)
        assert reader.done
        assert reader.rest == b"rest"
        reader = read(b"HTTP/1.1 407 no\r\nContent-Length: 4\r\n\r\nbody", connect=True)
        assert reader.body == b"body"


HEADS = [
    b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 No\nContent-Length: 5\n\n",
    b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\nc\n0\r\n\r\n",
    b"HTTP/1.1 500 x\r\n\r\n",
    b"HTTP/1.1 500 x\r\nBad line\r\n\r\n",
    b"HTTP/1.1 500 x\r\n folded\r\n\r\n",
    b"SSH-2.0\r\n",
]


def outcome(pieces: list[bytes]) -> object:
    reader = ResponseReader()
    try:
        for piece in pieces:
            reader.feed(piece)
        reader.feed_eof()
    except exceptions.WebSocketException as error:
        return type(error)
    return reader.head, reader.body, reader.rest, reader.truncated, reader.done


@st.composite
def mangled_responses(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(HEADS)) + draw(st.binary(max_size=20)))
    for _ in range(draw(st.integers(0, 2))):
        position = draw(st.integers(0, len(data) - 1))
        data[position : position + draw(st.integers(0, 2))] = draw(
            st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b":", b"\x80", b"\r\n\r\n"])
        )
    return bytes(data)


@given(mangled_responses(), st.data())
def test_any_cut_gives_the_same_outcome(response, data):
    """Whole, cut at random or byte by byte: the same head, body, rest or error."""
    whole = outcome([response])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(response)), max_size=6)))
    bounds = [0, *cuts, len(response)]
    pieces = [response[start:end] for start, end in itertools.pairwise(bounds)]
    assert outcome(pieces) == whole
    assert outcome([response[i : i + 1] for i in range(len(response))]) == whole


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_result_or_one_clean_error(data):
    for reader in (ResponseReader(), RequestReader(), ResponseReader(connect=True)):
        with contextlib.suppress(exceptions.WebSocketException):
            reader.feed(b"HTTP/1.1 200 x\r\n" + data)
            reader.feed_eof()
            assert reader.done


def test_drip_fed_head_is_linear_in_memory_and_work():
    reader = ResponseReader()
    for byte in b"HTTP/1.1 101 x\r\nA: " + b"x" * 60000 + b"\r\n\r\n":
        reader.feed(bytes([byte]))
    assert reader.done


@pytest.mark.parametrize("end", [b"b\r\n\r\n", b"\0\r\n"])
def test_a_field_full_of_spaces_takes_linear_time(end):
    start = time.monotonic()
    with contextlib.suppress(exceptions.WebSocketHandshakeException):
        read(b"HTTP/1.1 101 x\r\nA:" + b" " * 30000 + b"a" + b" " * 30000 + end)
    # Quadratic time would be half a minute.
    assert time.monotonic() - start < 5


class TestRequestReader:
    def test_request(self):
        reader = RequestReader()
        reader.feed(b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\nrest")
        assert reader.done
        assert reader.head == ("GET", "/a?b", "1.1", {"host": "x"})
        assert reader.rest == b"rest"
        reader.feed_eof()

    def test_one_empty_line_before_it_is_ignored(self):
        reader = RequestReader()
        reader.feed(b"\r\nGET / HTTP/1.1\r\n\r\n")
        assert reader.done
        with pytest.raises(exceptions.WebSocketHandshakeException):
            RequestReader().feed(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n")

    @pytest.mark.parametrize(
        "data",
        [
            b"GET /\r\n",
            b"GET / x HTTP/1.1\r\n",
            b"GET  / HTTP/1.1\r\n",
            b"G(T / HTTP/1.1\r\n",
            b"GET /\xe9 HTTP/1.1\r\n",
            b"GET / HTTP/1.1 \r\n",
            b"\x16\x03\x01",
        ],
    )
    def test_bad_requests(self, data):
        with pytest.raises(exceptions.WebSocketHandshakeException):
            RequestReader().feed(data)

    def test_eof(self):
        reader = RequestReader()
        reader.feed(b"GET / HTTP/1.1\r\n")
        with pytest.raises(exceptions.WebSocketConnectionClosedException):
            reader.feed_eof()


class TestRendering:
    def test_head(self):
        head = http11.render_head("GET / HTTP/1.1", [("A", "b"), ("C", "é")])
        assert head == "GET / HTTP/1.1\r\nA: b\r\nC: é\r\n\r\n".encode()

    @pytest.mark.parametrize("bad", ["\r", "\n", "\0", "a\r\nB: c"])
    def test_injection_is_refused(self, bad):
        for start, name, value in (
            ("GET / HTTP/1.1", "A", f"x{bad}y"),
            ("GET / HTTP/1.1", f"A{bad}B", "x"),
            (f"GET /{bad} HTTP/1.1", "A", "x"),
        ):
            with pytest.raises(exceptions.WebSocketArgumentException):
                http11.render_head(start, [(name, value)])

    @pytest.mark.parametrize("name", ["", " A", "A ", "A B", "A:", "é"])
    def test_names_are_tokens(self, name):
        with pytest.raises(exceptions.WebSocketArgumentException, match="header name"):
            http11.check_field(name, "x")

    def test_refusals_do_not_repeat_the_value(self):
        with pytest.raises(exceptions.WebSocketArgumentException) as info:
            http11.check_field("Authorization", "secret\n")
        assert "secret" not in str(info.value)
        with pytest.raises(exceptions.WebSocketArgumentException) as info:
            http11.render_head("GET / HTTP/1.1", [("A", "secret\ud800")])
        assert "secret" not in str(info.value)
        assert info.value.__cause__ is None
