"""A connection without I/O: what it makes of bytes, what it sends, and when it is closed."""

from __future__ import annotations

import array
import gc
import itertools
import sys
import weakref

import pytest
from wire import KEY, frame, parse

from websocket import (
    WebSocketConnectionClosedException,
    WebSocketPayloadException,
    WebSocketProtocolException,
)
from websocket._exceptions import WebSocketArgumentException, WebSocketMessageTooBigException
from websocket._protocol.buffer import READ_SIZE, SMALLEST
from websocket._protocol.connection import Connection, Role, State
from websocket._protocol.messages import Close, Fragment, Frame, Ping, Pong
from websocket._protocol.sending import failure

ROLES = [Role.CLIENT, Role.SERVER]


def key_for(role: Role) -> bytes | None:
    """The mask key of frames that a connection in this role receives."""
    return KEY if role is Role.SERVER else None


def received(data: bytes, role: Role = Role.CLIENT, **options) -> list:
    """The events that ``data`` brings, which must be the same whole and byte by byte."""
    whole = Connection(role, **options)
    whole.feed(data)
    single = Connection(role, **options)
    for octet in data:
        single.feed(bytes((octet,)))
    assert [described(e) for e in whole.events] == [described(e) for e in single.events]
    return list(whole.events)


def described(event: object) -> object:
    if isinstance(event, WebSocketMessageTooBigException):
        return type(event), event.size, event.limit
    return type(event) if isinstance(event, Exception) else (type(event), event)


def only_error(data: bytes, role: Role = Role.CLIENT, **options) -> Exception:
    (event,) = received(data, role, **options)
    assert isinstance(event, Exception)
    return event


class TestReceiving:
    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
    def test_lengths(self, size, role):
        text, binary = b"x" * size, bytes(size)
        connection = Connection(role)
        connection.feed(frame(1, text, key=key_for(role)) + frame(2, binary, key=key_for(role)))
        assert list(connection.events) == [text.decode(), binary]

    @pytest.mark.parametrize("role", ROLES)
    def test_one_of_each(self, role):
        key = key_for(role)
        data = b"".join(
            (
                frame(9, b"ping", key=key),
                frame(1, b"a\xe2", fin=False, key=key),
                frame(10, b"pong", key=key),
                frame(0, b"\x82", fin=False, key=key),
                frame(9, b"", key=key),
                frame(0, b"\xac", key=key),
                frame(2, b"\xff", key=key),
                frame(1, "ü".encode(), key=key),
                frame(8, b"\x03\xe8bye", key=key),
            )
        )
        assert received(data, role) == [
            Ping(b"ping"),
            Pong(b"pong"),
            Ping(b""),
            "a€",
            b"\xff",
            "ü",
            Close(1000, "bye"),
        ]

    def test_pings_and_pongs_are_noted_for_the_driver(self):
        connection = Connection()
        connection.feed(frame(9, b"1") + frame(1, b"text") + frame(10, b"2"))
        assert list(connection.controls) == [Ping(b"1"), Pong(b"2")]

    def test_any_role_takes_both(self):
        assert received(frame(1, b"a") + frame(1, b"b", key=KEY), Role.ANY) == ["a", "b"]

    def test_fragments(self):
        data = (
            frame(1, b"\xe2", fin=False)
            + frame(9)
            + frame(0, b"\x82\xac")
            + frame(2, b"whole")
            + frame(1, b"text")
        )
        assert received(data, fragments=True) == [
            Fragment(1, b"\xe2", "", False),
            Ping(b""),
            Fragment(0, b"\x82\xac", "€", True),
            b"whole",
            "text",
        ]

    def test_text_that_is_not_checked(self):
        bad = b"ok \xff"
        data = (
            frame(1, bad) + frame(1, bad, fin=False) + frame(0, bad) + frame(8, b"\x03\xe8" + bad)
        )
        first, second, close = received(data, check_text=False)
        assert first.encode("utf-8", "surrogateescape") == bad
        assert second.encode("utf-8", "surrogateescape") == bad + bad
        assert close.payload == b"\x03\xe8" + bad

    def test_the_driver_may_fill_the_buffer_itself(self):
        connection = Connection()
        data = frame(1, b"Hello")
        with connection.writable() as free:
            free[: len(data)] = data
        connection.received(3)
        assert not connection.events
        connection.received(len(data) - 3)
        assert list(connection.events) == ["Hello"]

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_kinds_of_data(self, kind):
        connection = Connection()
        connection.feed(kind(frame(2, bytes(3 * READ_SIZE))))
        assert list(connection.events) == [bytes(3 * READ_SIZE)]


# What breaks a rule, made with the mask key of its sender.
BAD = {
    **{f"opcode {o:#x}": lambda key, o=o: frame(o, key=key) for o in (*range(3, 8),)},
    **{f"opcode {o:#x}": lambda key, o=o: frame(o, key=key) for o in (*range(11, 16),)},
    **{f"rsv {r:03b}": lambda key, r=r: frame(1, b"x", rsv=r, key=key) for r in range(1, 8)},
    "rsv of a ping": lambda key: frame(9, rsv=4, key=key),
    "rsv of a close": lambda key: frame(8, b"\x03\xe8", rsv=1, key=key),
    "fragmented ping": lambda key: frame(9, fin=False, key=key),
    "fragmented pong": lambda key: frame(10, fin=False, key=key),
    "fragmented close": lambda key: frame(8, fin=False, key=key),
    "ping of 126 bytes": lambda key: frame(9, bytes(126), key=key),
    "pong of 126 bytes": lambda key: frame(10, bytes(126), key=key),
    "close of 126 bytes": lambda key: frame(8, b"\x03\xe8" + bytes(124), key=key),
    "ping of 65536 bytes": lambda key: frame(9, bytes(65536), key=key),
    "length 125 in 16 bits": lambda key: frame(2, bytes(125), form=16, key=key),
    "length 0 in 16 bits": lambda key: frame(2, form=16, key=key),
    "length 65535 in 64 bits": lambda key: frame(2, bytes(65535), form=64, key=key),
    "length 1 in 64 bits": lambda key: frame(2, b"x", form=64, key=key),
    "length 2^63": lambda key: frame(2, length=2**63, key=key),
    "length 2^64-1": lambda key: frame(2, length=2**64 - 1, key=key),
    "continuation of nothing": lambda key: frame(0, b"x", key=key),
    "fragment of nothing": lambda key: frame(0, b"x", fin=False, key=key),
    "text within text": lambda key: frame(1, fin=False, key=key) + frame(1, key=key),
    "binary within text": lambda key: frame(1, fin=False, key=key) + frame(2, key=key),
    "text within binary": lambda key: frame(2, fin=False, key=key) + frame(1, key=key),
    "new fragments": lambda key: frame(2, fin=False, key=key) + frame(2, fin=False, key=key),
    "continuation after the end": lambda key: (
        frame(2, fin=False, key=key) + frame(0, key=key) + frame(0, key=key)
    ),
    "close of 1 byte": lambda key: frame(8, b"\x03", key=key),
}


class TestProtocolErrors:
    """Each rule, for both roles, alone and behind a message."""

    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize("case", BAD)
    def test_fails_with_1002(self, case, role):
        key = key_for(role)
        data = BAD[case](key)
        before, after = frame(1, b"before", key=key), frame(1, b"after", key=key)
        events = received(before + data + after, role)
        assert events[0] == "before"
        error = events[-1]
        assert type(error) is WebSocketProtocolException
        assert error.close_code == 1002
        assert "RFC 6455 section" in str(error)
        assert [e for e in events if isinstance(e, Exception)] == [error]
        assert "after" not in events

    def test_masked_server_frames(self):
        for opcode in (1, 2, 8, 9, 10):
            error = only_error(frame(opcode, b"\x03\xe8", key=KEY))
            assert "server must not be masked" in str(error)

    def test_client_frames_that_are_not_masked(self):
        for opcode in (1, 2, 8, 9, 10):
            error = only_error(frame(opcode, b"\x03\xe8"), Role.SERVER)
            assert "client must be masked" in str(error)

    @pytest.mark.parametrize("role", ROLES)
    def test_close_codes(self, role):
        key = key_for(role)
        for code in range(5002):
            connection = Connection(role)
            connection.feed(frame(8, code.to_bytes(2, "big"), key=key))
            (event,) = connection.events
            if 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999:
                assert event == Close(code, "")
            else:
                assert isinstance(event, WebSocketProtocolException), code
                assert event.close_code == 1002

    @pytest.mark.parametrize("role", ROLES)
    def test_close_without_code(self, role):
        assert received(frame(8, key=key_for(role)), role) == [Close(None, "")]

    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize("reason", [b"\xff", b"ok \xe2\x82", b"\xed\xa0\x80"])
    def test_close_reason_not_utf8(self, reason, role):
        error = only_error(frame(8, b"\x03\xe8" + reason, key=key_for(role)), role)
        assert isinstance(error, WebSocketPayloadException)
        assert error.close_code == 1007

    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize(
        "make",
        [
            lambda bad, key: frame(1, bad, key=key),
            lambda bad, key: frame(1, bad, fin=False, key=key),
            lambda bad, key: frame(1, b"ok", fin=False, key=key) + frame(0, bad, key=key),
            lambda bad, key: (
                frame(1, b"ok", fin=False, key=key) + frame(0, bad, fin=False, key=key)
            ),
        ],
    )
    def test_text_not_utf8(self, make, role):
        for bad in (b"\xff", b"ok \xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"):
            error = only_error(make(bad, key_for(role)) + frame(9, key=key_for(role)), role)
            assert isinstance(error, WebSocketPayloadException)
            assert error.close_code == 1007

    def test_text_that_ends_inside_a_character(self):
        for data in (frame(1, b"\xe2\x82"), frame(1, b"\xe2", fin=False) + frame(0, b"\x82")):
            assert isinstance(only_error(data), WebSocketPayloadException)


class TestFailFast:
    """An error is there with the byte that makes it certain, not later."""

    def first_error(self, data: bytes) -> int | None:
        """How many bytes a client needs of ``data`` to see that it is wrong."""
        connection = Connection()
        for i in range(len(data)):
            connection.feed(data[i : i + 1])
            if any(isinstance(event, Exception) for event in connection.events):
                return i + 1
        return None

    @pytest.mark.parametrize(
        ("data", "needed"),
        [
            (b"\x83\x00", 1),
            (b"\xc1\x00", 1),
            (b"\x09\x00", 1),
            (b"\x89\x7e\x00\x7e", 2),
            (b"\x81\x80" + KEY, 2),
            (b"\x82\x7e\x00\x7d", 4),
            (b"\x82\x7f" + (65535).to_bytes(8, "big"), 10),
            (b"\x82\x7f" + (2**63).to_bytes(8, "big"), 10),
            (frame(1, b"a", fin=False) + b"\x81\x7f" + (2**40).to_bytes(8, "big") + b"xyz", 13),
            (b"\x80\x7e\x01\x00" + b"xyz", 4),
        ],
    )
    def test_headers(self, data, needed):
        assert self.first_error(data) == needed

    def test_text_inside_a_frame_that_never_ends(self):
        head = frame(1, length=2**20)
        assert self.first_error(head + b"good \xe2\x82\xac \xe2\x82(...") == len(head) + 12
        assert self.first_error(head + b"\xed\xa0\x80") == len(head) + 2
        assert self.first_error(head + b"\xf4\x90\x80\x80") == len(head) + 2

    def test_text_across_fragments(self):
        data = frame(1, b"\xe2", fin=False) + frame(9) + frame(0, fin=False)
        head = frame(0, length=100)
        assert self.first_error(data + head + b"\x82\xac\x80") == len(data + head) + 3
        assert self.first_error(data + head + b"(") == len(data + head) + 1

    def test_binary_is_not_looked_at(self):
        assert self.first_error(frame(2, b"\xff" * 300)) is None
        assert self.first_error(frame(2, b"\xff", fin=False) + frame(0, length=9) + b"\xff") is None


class TestMaxSize:
    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize("opcode", [1, 2])
    def test_by_the_header_alone(self, opcode, role):
        key = key_for(role)
        for length in (11, 126, 65536, 2**40, 2**63 - 1):
            error = only_error(frame(opcode, length=length, key=key), role, max_size=10)
            assert isinstance(error, WebSocketMessageTooBigException)
            assert (error.size, error.limit) == (length, 10)
            assert error.close_code == 1009
            assert "10" in str(error)
            assert "max_size" in str(error)

    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize("fin", [True, False])
    def test_over_all_fragments(self, fin, role):
        key = key_for(role)
        data = frame(2, bytes(6), fin=False, key=key) + frame(0, bytes(4), fin=False, key=key)
        error = only_error(data + frame(0, length=1, fin=fin, key=key), role, max_size=10)
        assert isinstance(error, WebSocketMessageTooBigException)
        assert (error.size, error.limit) == (11, 10)
        assert received(data + frame(0, key=key), role, max_size=10) == [bytes(10)]

    def test_is_of_each_message(self):
        data = frame(2, bytes(10)) + frame(1, b"x" * 10)
        assert received(data * 3, max_size=10) == [bytes(10), "x" * 10] * 3

    def test_counts_bytes_not_characters(self):
        assert received(frame(1, "€€€".encode()), max_size=9) == ["€€€"]
        error = only_error(frame(1, "€€€".encode()), max_size=8)
        assert isinstance(error, WebSocketMessageTooBigException)

    def test_control_frames_do_not_count(self):
        data = frame(2, b"x", fin=False) + frame(9, bytes(125)) + frame(0, b"y")
        assert received(data, max_size=2) == [Ping(bytes(125)), b"xy"]

    def test_zero(self):
        assert received(frame(2) + frame(1), max_size=0) == [b"", ""]
        assert isinstance(only_error(frame(2, b"x"), max_size=0), WebSocketMessageTooBigException)

    def test_none(self):
        connection = Connection(max_size=None)
        connection.feed(frame(2, length=2**63 - 1))
        assert not connection.events
        connection.feed(bytes(100))
        assert not connection.events
        # Nothing is allocated on the word of a length.
        assert len(connection.buffer.data) <= 100 + READ_SIZE

    def test_default_is_100_mib(self):
        connection = Connection()
        connection.feed(frame(2, length=100 << 20))
        assert not connection.events
        error = only_error(frame(2, length=(100 << 20) + 1))
        assert isinstance(error, WebSocketMessageTooBigException)

    def test_negative(self):
        with pytest.raises(WebSocketArgumentException, match="-1"):
            Connection(max_size=-1)

    def test_also_where_frames_are_taken_one_by_one(self):
        connection = Connection(max_size=10)
        connection.store(frame(2, length=2**40))
        with pytest.raises(WebSocketMessageTooBigException):
            connection.next_frame()


class TestEndOfTheStream:
    def test_nothing_behind_a_close_is_looked_at(self):
        for behind in (frame(1, b"late"), b"\xff\xff\xff", frame(8, b"\x03\xe9"), bytes(100_000)):
            connection = Connection()
            connection.feed(frame(8, b"\x03\xe8") + behind)
            connection.feed(behind)
            assert list(connection.events) == [Close(1000, "")]
            assert connection.ended
            assert len(connection.buffer) == 0

    def test_nothing_behind_an_error_is_looked_at(self):
        connection = Connection()
        connection.feed(b"\xff" + frame(1, b"late"))
        connection.feed(frame(1, b"late"))
        assert len(connection.events) == 1
        assert connection.ended

    def test_a_driver_that_reads_on_changes_nothing(self):
        connection = Connection()
        connection.feed(frame(8))
        for _ in range(3):
            with connection.writable() as free:
                free[:7] = frame(1, b"late!")
            connection.received(7)
        assert list(connection.events) == [Close(None, "")]
        assert len(connection.buffer) == 0

    def test_lost(self):
        connection = Connection()
        connection.feed(frame(1, b"Hello") + b"\x81")
        connection.eof()
        connection.eof()
        message, error = connection.events
        assert message == "Hello"
        assert isinstance(error, WebSocketConnectionClosedException)
        assert str(error) == "Connection to remote host was lost."
        assert connection.state is State.CLOSED
        assert connection.close_code is None

    def test_lost_with_a_reason_of_the_driver(self):
        connection = Connection()
        error = WebSocketConnectionClosedException("reset")
        connection.eof(error)
        assert list(connection.events) == [error]

    def test_lost_after_our_close(self):
        connection = Connection()
        connection.close()
        connection.eof()
        (error,) = connection.events
        assert str(error) == "Connection is already closed."

    def test_ended_by_a_close(self):
        connection = Connection()
        connection.feed(frame(8, b"\x03\xe8"))
        connection.eof()
        assert list(connection.events) == [Close(1000, "")]

    @pytest.mark.parametrize(
        "data",
        [frame(1, b"\xff"), frame(1, length=9) + b"\xff", frame(8, b"\x03\xe8\xff"), b"\xff"],
    )
    def test_a_queued_error_keeps_nothing_alive(self, data):
        connection = Connection()
        connection.feed(data)
        error = connection.events.pop()
        gone = weakref.ref(connection)
        gc.collect()
        gc.disable()
        try:
            del connection
            assert gone() is None
        finally:
            gc.enable()
        assert isinstance(error, Exception)


class TestStates:
    def test_peer_closes(self):
        connection = Connection()
        assert connection.state is State.OPEN
        connection.feed(frame(8, b"\x0f\xa0bye"))
        # The driver takes note of it when its turn has come.
        assert connection.state is State.OPEN
        close = connection.events.popleft()
        answer = connection.answer_close(close)
        assert parse(answer)[0][2:5:2] == (8, b"\x0f\xa0")
        assert connection.state is State.CLOSED
        assert connection.close_received == Close(4000, "bye")
        assert connection.close_code == 4000

    def test_peer_closes_without_code(self):
        connection = Connection()
        connection.feed(frame(8))
        (frame_sent,) = parse(connection.answer_close(connection.events.popleft()))
        assert frame_sent.payload == b""
        assert connection.close_code == 1005

    def test_we_close(self):
        connection = Connection()
        (sent,) = parse(connection.close(1001, "going"))
        assert (sent.fin, sent.opcode, sent.payload) == (True, 8, b"\x03\xe9going")
        assert connection.state is State.CLOSING
        assert connection.close_sent == Close(1001, "going")
        connection.feed(frame(1, b"still received") + frame(8, b"\x03\xe9"))
        assert connection.events.popleft() == "still received"
        assert connection.answer_close(connection.events.popleft()) == b""
        assert connection.state is State.CLOSED

    def test_one_close_only(self):
        connection = Connection()
        assert connection.close()
        assert connection.close() == b""
        assert connection.close(1001, "other") == b""
        assert connection.close_sent == Close(1000, "")
        with pytest.raises(WebSocketConnectionClosedException):
            connection.encode(8, b"")

    def test_a_bad_close_is_refused_even_if_one_was_sent(self):
        connection = Connection()
        for _ in range(2):
            with pytest.raises(WebSocketArgumentException):
                connection.close(1005)
            connection.close()

    def test_close_after_the_end_of_the_stream(self):
        connection = Connection()
        connection.eof()
        assert connection.close() == b""

    @pytest.mark.parametrize("opcode", [0, 1, 2, 9, 10])
    def test_nothing_is_sent_after_a_close(self, opcode):
        connection = Connection()
        connection.close()
        with pytest.raises(WebSocketConnectionClosedException, match="already closed"):
            connection.encode(opcode, b"")
        lost = Connection()
        lost.eof()
        with pytest.raises(WebSocketConnectionClosedException, match="already closed"):
            lost.encode(opcode, b"")

    @pytest.mark.parametrize(
        ("data", "code"),
        [(b"\xff", 1002), (frame(1, b"\xff"), 1007), (frame(2, bytes(9)), 1009)],
    )
    def test_errors_are_answered_with_their_code(self, data, code):
        connection = Connection(max_size=8)
        connection.feed(data)
        error = connection.events.popleft()
        (sent,) = parse(connection.fail(error))
        assert sent.opcode == 8
        assert int.from_bytes(sent.payload[:2], "big") == code
        assert sent.payload[2:].decode()
        assert connection.fail(error) == b""

    def test_reason_of_a_failure_is_cut_between_characters(self):
        code, reason = failure(WebSocketProtocolException("€" * 100))
        assert (code, reason) == (1002, "€" * 41)
        assert failure(ValueError("other")) == (1002, "other")


class TestSending:
    @pytest.mark.parametrize("role", [*ROLES, Role.ANY])
    def test_masking(self, role):
        (sent,) = parse(Connection(role).encode(1, "Hello"))
        assert (sent.key is None) is (role is Role.SERVER)
        assert sent.payload == b"Hello"

    @pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
    def test_messages(self, size):
        connection = Connection()
        for payload, opcode in (("x" * size, 1), (b"x" * size, 2), (bytearray(size), 2)):
            (sent,) = parse(connection.encode_message(payload))
            assert (sent.fin, sent.rsv, sent.opcode) == (True, 0, opcode)
            assert len(sent.payload) == size

    def test_each_frame_has_a_key_of_its_own(self):
        connection = Connection()
        keys = [parse(connection.encode(1, ""))[0].key for _ in range(1000)]
        assert len(set(keys)) > 990

    def test_fragments(self):
        connection = Connection()
        sent = parse(
            connection.encode(1, b"\xe2", fin=False)
            + connection.encode(9, "between")
            + connection.encode(0, b"\x82\xac")
        )
        assert [(f.fin, f.opcode, f.payload) for f in sent] == [
            (False, 1, b"\xe2"),
            (True, 9, b"between"),
            (True, 0, b"\x82\xac"),
        ]

    @pytest.mark.parametrize(
        ("payload", "sent"),
        [
            (bytearray(b"abc"), b"abc"),
            (memoryview(b"abc"), b"abc"),
            (memoryview(b"abcdef")[::2], b"ace"),
            (memoryview(b""), b""),
            (array.array("I", [1]), (1).to_bytes(4, sys.byteorder)),
            (array.array("d"), b""),
            (memoryview(bytes(6)).cast("B", (2, 3)), bytes(6)),
        ],
    )
    @pytest.mark.parametrize("opcode", [2, 9])
    def test_kinds_of_payload(self, opcode, payload, sent):
        (encoded,) = parse(Connection().encode(opcode, payload))
        assert encoded.payload == sent

    @pytest.mark.parametrize("payload", [None, 5, 1.5, ["a"], {"a": 1}, object()])
    @pytest.mark.parametrize("opcode", [1, 2, 9])
    def test_no_payload_at_all(self, opcode, payload):
        with pytest.raises(TypeError, match=f"this is {type(payload).__name__}: encode it first"):
            Connection().encode(opcode, payload)

    @pytest.mark.parametrize("opcode", [3, 7, 11, 16, -1, 0x81, "1", None])
    def test_opcodes_that_do_not_exist(self, opcode):
        with pytest.raises(WebSocketArgumentException, match="does not exist"):
            Connection().encode(opcode, b"")

    @pytest.mark.parametrize("bad", [b"\xff", bytearray(b"\xe2\x82"), memoryview(b"\xed\xa0\x80")])
    def test_bytes_that_are_no_text(self, bad):
        with pytest.raises(WebSocketPayloadException, match="not UTF-8"):
            Connection().encode(1, bad)
        (sent,) = parse(Connection(check_text=False).encode(1, bad))
        assert sent.payload == bytes(bad)

    @pytest.mark.parametrize("opcode", [0, 1, 2, 9, 10])
    def test_lone_surrogates(self, opcode):
        with pytest.raises(WebSocketPayloadException, match="lone surrogate"):
            Connection().encode(opcode, "bad \ud800")

    @pytest.mark.parametrize("opcode", [8, 9, 10])
    def test_oversized_control_frames(self, opcode):
        for payload in (bytes(126), "€" * 42):
            with pytest.raises(WebSocketArgumentException, match="at most 125"):
                Connection().encode(opcode, payload)
        if opcode != 8:
            assert len(parse(Connection().encode(opcode, bytes(125)))[0].payload) == 125

    @pytest.mark.parametrize(
        "payload", [b"\x03", b"\x03\xed", b"\x00\x00", b"\x03\xe8\xff", b"\x13\x88"]
    )
    def test_bad_close_payloads(self, payload):
        connection = Connection()
        with pytest.raises(WebSocketArgumentException):
            connection.encode(8, payload)
        assert connection.state is State.OPEN
        assert connection.encode(1, "still open")

    @pytest.mark.parametrize("reason", ["x" * 124, "€" * 42, b"\xff", "\ud800"])
    def test_bad_close_reasons(self, reason):
        connection = Connection()
        with pytest.raises(WebSocketArgumentException, match="close reason"):
            connection.close(1000, reason)
        assert connection.state is State.OPEN

    def test_close_without_code(self):
        connection = Connection()
        (sent,) = parse(connection.close(None))
        assert sent.payload == b""
        assert connection.close_sent == Close(None, "")

    def test_a_close_frame_of_a_program_counts(self):
        connection = Connection()
        connection.encode(8, b"\x03\xe8done")
        assert connection.close_sent == Close(1000, "done")
        assert connection.state is State.CLOSING


class TestFrameByFrame:
    """The road for drivers that take frames one by one."""

    def test_frames(self):
        connection = Connection(Role.ANY)
        connection.store(frame(1, b"a", fin=False) + frame(9, b"b", key=KEY) + b"\x80\x01")
        assert connection.next_frame() == Frame(False, 0, 1, b"a")
        assert connection.next_frame() == Frame(True, 0, 9, b"b")
        assert connection.next_frame() is None
        connection.store(b"c")
        assert connection.next_frame() == Frame(True, 0, 0, b"c")

    def test_missing(self):
        """Never more than the frame needs, and something as long as it is incomplete."""
        for data in (
            frame(1),
            frame(2, b"abc"),
            frame(2, bytes(126)),
            frame(2, bytes(65536)),
            frame(9, b"x", key=KEY),
            frame(2, bytes(300), key=KEY),
            frame(2, bytes(65536), key=KEY),
        ):
            for step in (1, 3, 10_000):
                connection = Connection(Role.ANY)
                rest = data
                while (taken := connection.next_frame()) is None:
                    missing = connection.missing()
                    assert 0 < missing <= len(rest)
                    count = min(missing, step)
                    connection.store(rest[:count])
                    rest = rest[count:]
                assert rest == b""
                assert connection.missing() == 2
                assert taken.opcode == data[0] & 15

    def test_frames_that_are_never_accepted_leave_no_trace(self):
        connection = Connection()
        for payload in (b"a\xe2\x82\xac", b"plain", b"\xc3\xa9"):
            for octet in frame(1, payload):
                assert connection.next_frame() is None
                connection.store(bytes((octet,)))
            assert connection.next_frame() == Frame(True, 0, 1, payload)

    def test_accept_checks_the_order(self):
        connection = Connection()
        with pytest.raises(WebSocketProtocolException):
            connection.accept(Frame(True, 0, 0, b""))
        connection.accept(Frame(False, 0, 1, b"a"))
        connection.accept(Frame(True, 0, 9, b""))
        connection.accept(Frame(True, 0, 0, b"b"))
        assert list(connection.events) == [Ping(b""), "ab"]

    def test_both_roads_one_after_the_other(self):
        connection = Connection()
        connection.store(frame(1, b"first") + frame(1, b"sec")[:3])
        connection.accept(connection.next_frame())
        connection.feed(b"ec" + frame(1, b"third"))
        assert list(connection.events) == ["first", "sec", "third"]


class TestMemory:
    def test_a_large_message_is_given_back(self):
        for role, behind in itertools.product(ROLES, (b"", b"\x82")):
            connection = Connection(role)
            connection.feed(frame(2, length=8 << 20, key=bytes(4) if role is Role.SERVER else None))
            connection.feed(bytes(8 << 20) + behind)
            assert connection.events.popleft() == bytes(8 << 20)
            assert len(connection.buffer.data) <= len(behind) + READ_SIZE

    def test_an_idle_connection_is_small(self):
        connection = Connection()
        connection.feed(frame(1, b"x" * 1000))
        assert len(connection.buffer.data) == SMALLEST
