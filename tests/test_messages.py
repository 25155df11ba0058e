"""Frames become messages: fragmentation, UTF-8 and Close payloads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire import first_bad_byte

from websocket import WebSocketPayloadException, WebSocketProtocolException
from websocket._exceptions import WebSocketMessageTooBigException
from websocket._protocol.messages import (
    Close,
    Fragment,
    Frame,
    MessageAssembler,
    Text8,
    decode_text,
    parse_close,
)

# Where UTF-8 can go wrong: stray ends, overlong forms, surrogates, beyond U+10FFFF, cut off.
BAD_TEXT = [
    b"\x80",
    b"\xbf",
    b"\xfe",
    b"\xff",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xc3(",
    b"\xe2\x82(",
    b"\xf0\x9f\x98(",
    "κόσμε".encode() + b"\xed\xa0\x80edited",
]
CUT_TEXT = [b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98", b"ok \xe0\xa0"]
GOOD_TEXT = [
    "",
    "ascii",
    "\0\x7f",
    "\x80\u07ff",
    "\u0800\ud7ff\ue000\uffff\ufffe\ufeff",
    "\U00010000\U0010ffff",
    "κόσμε",
]


def assembler(max_size=None, fragments=False, check_text=True) -> MessageAssembler:
    return MessageAssembler(max_size, fragments, check_text)


def data_frame(opcode: int, payload: bytes = b"", fin: bool = True) -> Frame:
    return Frame(fin, 0, opcode, payload)


class TestText8:
    @pytest.mark.parametrize("text", GOOD_TEXT)
    def test_good_text_at_any_cut(self, text):
        data = text.encode()
        for cut in range(len(data) + 1):
            checker = Text8()
            assert checker.feed(data[:cut]) + checker.feed(data[cut:], final=True) == text

    @pytest.mark.parametrize("before", [b"", b"ok", "€".encode()])
    @pytest.mark.parametrize("bad", BAD_TEXT)
    def test_fails_at_the_first_bad_byte(self, bad, before):
        data = before + bad + b"more"
        fatal = first_bad_byte(data)
        assert fatal is not None
        checker = Text8()
        for i in range(fatal - 1):
            checker.feed(data[i : i + 1])
        with pytest.raises(WebSocketPayloadException):
            checker.feed(data[fatal - 1 : fatal])

    @pytest.mark.parametrize("bad", BAD_TEXT)
    def test_error_says_where(self, bad):
        data = b"12345" + bad
        with pytest.raises(UnicodeDecodeError) as expected:
            data.decode()
        position = expected.value.start
        # The same position, however the bytes came.
        for cut in range(6):
            checker = Text8()
            checker.feed(data[:cut])
            with pytest.raises(WebSocketPayloadException, match=f"at byte {position} ") as caught:
                checker.feed(data[cut:])
            assert caught.value.close_code == 1007
            assert isinstance(caught.value.__cause__, UnicodeDecodeError)
        checker = Text8()
        fatal = first_bad_byte(data)
        assert fatal is not None
        for octet in data[: fatal - 1]:
            checker.feed(bytes((octet,)))
        with pytest.raises(WebSocketPayloadException, match=f"at byte {position} "):
            checker.feed(data[fatal - 1 : fatal])

    @pytest.mark.parametrize("cut", CUT_TEXT)
    def test_a_character_that_is_cut_off_fails_at_the_end_only(self, cut):
        checker = Text8()
        checker.feed(cut)
        with pytest.raises(WebSocketPayloadException, match="at byte"):
            checker.feed(b"", final=True)

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_kinds_of_data(self, kind):
        checker = Text8()
        assert checker.feed(kind(b"a\xe2")) == "a"
        assert checker.feed(kind(b"\x82\xac")) == "€"

    def test_a_copy_goes_its_own_way(self):
        checker = Text8()
        checker.feed(b"ab\xe2\x82")
        twin = checker.copy()
        with pytest.raises(WebSocketPayloadException, match="at byte 2 "):
            twin.feed(b"c")
        assert checker.feed(b"\xac", final=True) == "€"

    @settings(deadline=None)
    @given(st.binary(max_size=24))
    def test_any_bytes(self, data):
        fatal = first_bad_byte(data)
        checker = Text8()
        for i in range(len(data)):
            if i + 1 == fatal:
                with pytest.raises(WebSocketPayloadException):
                    checker.feed(data[i : i + 1])
                break
            checker.feed(data[i : i + 1])


class TestDecodeText:
    @pytest.mark.parametrize("bad", [*BAD_TEXT, *CUT_TEXT])
    def test_bad_text(self, bad):
        with pytest.raises(WebSocketPayloadException, match=r"not UTF-8.* at byte") as caught:
            decode_text(b"ab" + bad, True)
        assert caught.value.close_code == 1007

    @pytest.mark.parametrize("data", [*BAD_TEXT, *CUT_TEXT, *(t.encode() for t in GOOD_TEXT)])
    def test_without_the_check_the_bytes_can_be_had_back(self, data):
        assert decode_text(data, False).encode("utf-8", "surrogateescape") == data


def refusal(payload: bytes) -> Exception | None:
    try:
        parse_close(payload)
    except Exception as error:
        return error
    return None


class TestParseClose:
    def test_empty(self):
        close = parse_close(b"")
        assert close == Close(None, "")
        assert close.payload == b""

    @pytest.mark.parametrize("octet", [0, 3, 255])
    def test_one_byte(self, octet):
        with pytest.raises(WebSocketProtocolException, match="one byte") as caught:
            parse_close(bytes((octet,)))
        assert caught.value.close_code == 1002

    def test_each_code(self):
        refused = {}
        for code in range(65536):
            payload = code.to_bytes(2, "big") + b"why"
            good = code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999
            if good:
                close = parse_close(payload)
                assert close == Close(code, "why")
                assert close.payload == payload
            else:
                refused[code] = refusal(payload)
        assert all(f"{code} must not be sent" in str(e) for code, e in refused.items())
        assert all(type(error) is WebSocketProtocolException for error in refused.values())

    @pytest.mark.parametrize("text", GOOD_TEXT)
    def test_reasons(self, text):
        close = parse_close(b"\x03\xe8" + text.encode())
        assert close == Close(1000, text)
        assert close.payload == b"\x03\xe8" + text.encode()

    @pytest.mark.parametrize("bad", [*BAD_TEXT, *CUT_TEXT])
    def test_reason_not_utf8(self, bad):
        with pytest.raises(WebSocketPayloadException, match="reason is not UTF-8") as caught:
            parse_close(b"\x03\xe8" + bad)
        assert caught.value.close_code == 1007
        close = parse_close(b"\x03\xe8" + bad, False)
        assert close.payload == b"\x03\xe8" + bad

    def test_the_code_is_checked_in_any_case(self):
        with pytest.raises(WebSocketProtocolException):
            parse_close(b"\x03\xed", False)


class TestAssembler:
    @pytest.mark.parametrize(
        ("opcode", "payload", "message"),
        [(1, b"", ""), (1, "€".encode(), "€"), (2, b"", b""), (2, b"\xff", b"\xff")],
    )
    def test_whole_messages(self, opcode, payload, message):
        joined = assembler().add(data_frame(opcode, payload))
        assert joined == message
        assert type(joined) is type(message)

    def test_fragments_are_joined(self):
        messages = assembler()
        assert messages.add(data_frame(1, b"\xe2", False)) is None
        assert messages.opcode == 1
        assert messages.add(data_frame(0, b"", False)) is None
        assert messages.add(data_frame(0, b"\x82", False)) is None
        assert messages.add(data_frame(0, b"\xac")) == "€"
        assert messages.opcode == 0
        assert messages.add(data_frame(2, b"\xe2", False)) is None
        assert messages.add(data_frame(0, b"")) == b"\xe2"
        assert messages.add(data_frame(1, b"next")) == "next"

    def test_empty_fragments(self):
        messages = assembler()
        for opcode, empty in ((1, ""), (2, b"")):
            assert messages.add(data_frame(opcode, b"", False)) is None
            assert messages.add(data_frame(0, b"")) == empty

    def test_fragments_are_handed_over(self):
        messages = assembler(fragments=True)
        assert messages.add(data_frame(1, b"a\xe2", False)) == Fragment(1, b"a\xe2", "a", False)
        assert messages.add(data_frame(0, b"\x82", False)) == Fragment(0, b"\x82", "", False)
        assert messages.add(data_frame(0, b"\xacb")) == Fragment(0, b"\xacb", "€b", True)
        assert messages.add(data_frame(2, b"\xe2", False)) == Fragment(2, b"\xe2", None, False)
        assert messages.add(data_frame(0, b"")) == Fragment(0, b"", None, True)
        # What comes in one frame is no piece.
        assert messages.add(data_frame(1, b"whole")) == "whole"

    def test_fragments_that_are_not_checked(self):
        messages = assembler(fragments=True, check_text=False)
        piece = messages.add(data_frame(1, b"\xff", False))
        assert piece == Fragment(1, b"\xff", "\udcff", False)

    @pytest.mark.parametrize("fragments", [False, True])
    def test_continuation_of_nothing(self, fragments):
        messages = assembler(fragments=fragments)
        for fin in (True, False):
            with pytest.raises(WebSocketProtocolException, match="without a message"):
                messages.add(data_frame(0, b"x", fin))
        messages.add(data_frame(1, b"", False))
        messages.add(data_frame(0, b""))
        with pytest.raises(WebSocketProtocolException, match="without a message"):
            messages.add(data_frame(0, b"x"))

    @pytest.mark.parametrize("fragments", [False, True])
    @pytest.mark.parametrize("fin", [False, True])
    @pytest.mark.parametrize("second", [1, 2])
    @pytest.mark.parametrize("first", [1, 2])
    def test_new_message_within_a_message(self, first, second, fin, fragments):
        messages = assembler(fragments=fragments)
        messages.add(data_frame(first, b"x", False))
        with pytest.raises(WebSocketProtocolException, match="before the fragmented"):
            messages.add(data_frame(second, b"y", fin))

    @pytest.mark.parametrize("fragments", [False, True])
    @pytest.mark.parametrize("bad", BAD_TEXT)
    def test_bad_text_in_a_later_fragment(self, bad, fragments):
        messages = assembler(fragments=fragments)
        messages.add(data_frame(1, b"ok", False))
        with pytest.raises(WebSocketPayloadException):
            messages.add(data_frame(0, bad, False))

    @pytest.mark.parametrize("cut", CUT_TEXT)
    def test_text_that_ends_inside_a_character(self, cut):
        messages = assembler()
        messages.add(data_frame(1, cut, False))
        with pytest.raises(WebSocketPayloadException, match="not UTF-8"):
            messages.add(data_frame(0, b""))

    def test_positions_are_those_of_the_message(self):
        messages = assembler()
        for _ in range(2):
            messages.add(data_frame(1, b"abc", False))
            messages.add(data_frame(0, b"def"))
        messages.add(data_frame(1, b"abc", False))
        with pytest.raises(WebSocketPayloadException, match="at byte 4 "):
            messages.add(data_frame(0, b"d\xff"))

    def test_text_that_is_not_checked(self):
        messages = assembler(check_text=False)
        messages.add(data_frame(1, b"\xff", False))
        joined = messages.add(data_frame(0, b"\xfe"))
        assert isinstance(joined, str)
        assert joined.encode("utf-8", "surrogateescape") == b"\xff\xfe"


class TestMaxSize:
    def test_is_reached_but_not_passed(self):
        messages = assembler(max_size=4)
        assert messages.add(data_frame(2, b"1234")) == b"1234"
        with pytest.raises(WebSocketMessageTooBigException) as caught:
            messages.add(data_frame(2, b"12345"))
        assert (caught.value.size, caught.value.limit) == (5, 4)
        assert caught.value.close_code == 1009
        assert "max_size" in str(caught.value)

    def test_counts_all_fragments(self):
        messages = assembler(max_size=4)
        messages.add(data_frame(1, b"123", False))
        messages.add(data_frame(0, b"4", False))
        messages.add(data_frame(0, b"", False))
        messages.check_size(0)
        with pytest.raises(WebSocketMessageTooBigException) as caught:
            messages.check_size(1)
        assert (caught.value.size, caught.value.limit) == (5, 4)
        with pytest.raises(WebSocketMessageTooBigException):
            messages.check_start(0, 1)
        assert messages.add(data_frame(0, b"")) == "1234"
        # The next message begins from nothing.
        assert messages.add(data_frame(1, b"abcd")) == "abcd"

    def test_no_limit(self):
        assembler().check_start(2, 2**63 - 1)

    def test_nothing_but_empty_messages(self):
        messages = assembler(max_size=0)
        assert messages.add(data_frame(2)) == b""
        with pytest.raises(WebSocketMessageTooBigException):
            messages.add(data_frame(2, b"x"))


class TestCheckPartial:
    def feed(self, messages: MessageAssembler, opcode: int, *pieces: bytes) -> None:
        for i, piece in enumerate(pieces):
            messages.check_partial(opcode, memoryview(piece), i == 0)

    def test_bad_byte(self):
        with pytest.raises(WebSocketPayloadException, match="at byte 2 "):
            self.feed(assembler(), 1, b"a", b"b", b"\xff")

    def test_what_is_text(self):
        messages = assembler()
        assert messages.is_text(1)
        assert not messages.is_text(2)
        assert not messages.is_text(9)
        messages.add(data_frame(2, b"", False))
        assert not messages.is_text(0)
        messages = assembler()
        messages.add(data_frame(1, b"", False))
        assert messages.is_text(0)
        assert not messages.is_text(9)
        assert not assembler(check_text=False).is_text(1)

    def test_goes_on_from_the_frame_before(self):
        messages = assembler()
        messages.add(data_frame(1, b"ab\xe2", False))
        self.feed(messages, 0, b"\x82", b"\xac")
        assert messages.add(data_frame(0, b"\x82\xac", False)) is None
        with pytest.raises(WebSocketPayloadException, match="at byte 5 "):
            self.feed(messages, 0, b"\x80")

    def test_the_frame_that_is_added_counts(self):
        messages = assembler()
        self.feed(messages, 1, b"ab\xe2")
        assert messages.add(data_frame(1, b"other", False)) is None
        assert messages.add(data_frame(0, b" text")) == "other text"

    def test_a_frame_that_is_never_added_leaves_no_trace(self):
        messages = assembler()
        self.feed(messages, 1, b"ab\xe2")
        self.feed(messages, 1, b"next", b" one")
        assert messages.add(data_frame(1, b"next one")) == "next one"
