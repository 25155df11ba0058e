"""Frame headers and Close payloads: RFC 6455 sections 5.1, 5.2, 5.5 and 7.4."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets import frames as other
from wire import KEY, frame

from websocket import WebSocketException, WebSocketProtocolException
from websocket._exceptions import WebSocketArgumentException
from websocket._protocol import frames
from websocket._protocol.frames import FrameHeader, encode_close_payload, parse_header

DATA = (0, 1, 2)
CONTROL = (8, 9, 10)
KNOWN = (*DATA, *CONTROL)
UNKNOWN = tuple(opcode for opcode in range(16) if opcode not in KNOWN)


def parse(data: bytes, **options) -> FrameHeader | None:
    return parse_header(data, 0, len(data), **options)


class TestParseHeader:
    @pytest.mark.parametrize("key", [None, KEY])
    @pytest.mark.parametrize("fin", [True, False])
    @pytest.mark.parametrize("opcode", DATA)
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 2**32, 2**63 - 1])
    def test_data_frames(self, size, opcode, fin, key):
        data = frame(opcode, b"", fin=fin, key=key, length=size)
        assert parse(data) == FrameHeader(fin, 0, opcode, key, size, len(data))
        # Every shorter part of a good header is incomplete, never an error.
        for cut in range(len(data)):
            assert parse(data[:cut]) is None

    @pytest.mark.parametrize("key", [None, KEY])
    @pytest.mark.parametrize("opcode", CONTROL)
    @pytest.mark.parametrize("size", [0, 1, 124, 125])
    def test_control_frames(self, size, opcode, key):
        data = frame(opcode, b"", key=key, length=size)
        assert parse(data) == FrameHeader(True, 0, opcode, key, size, len(data))
        for cut in range(len(data)):
            assert parse(data[:cut]) is None

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_in_the_middle_of_a_block(self, kind):
        data = frame(2, bytes(300), key=KEY)
        block = kind(b"???" + data + b"???")
        assert parse_header(block, 3, 3 + len(data)) == FrameHeader(True, 0, 2, KEY, 300, 8)
        # What stands behind the end is not looked at.
        for cut in range(8):
            assert parse_header(block, 3, 3 + cut) is None

    @pytest.mark.parametrize("fin", [True, False])
    @pytest.mark.parametrize("opcode", UNKNOWN)
    def test_unknown_opcodes(self, opcode, fin):
        data = frame(opcode, fin=fin)
        for cut in (1, 2):
            with pytest.raises(WebSocketProtocolException, match=f"{opcode:#x}"):
                parse(data[:cut])

    @pytest.mark.parametrize("opcode", KNOWN)
    @pytest.mark.parametrize("rsv", range(1, 8))
    def test_reserved_bits(self, rsv, opcode):
        data = frame(opcode, rsv=rsv)
        for cut in (1, 2):
            with pytest.raises(WebSocketProtocolException, match=f"{rsv:03b}"):
                parse(data[:cut])

    @pytest.mark.parametrize("allowed", range(8))
    @pytest.mark.parametrize("rsv", [0, 4, 5, 7])
    def test_reserved_bits_of_an_extension(self, rsv, allowed):
        data = frame(1, rsv=rsv)
        if rsv & ~allowed:
            with pytest.raises(WebSocketProtocolException):
                parse(data, allowed_rsv=allowed << 4)
        else:
            header = parse(data, allowed_rsv=allowed << 4)
            assert header is not None
            assert header.rsv == rsv << 4

    @pytest.mark.parametrize("opcode", CONTROL)
    def test_fragmented_control_frames(self, opcode):
        data = frame(opcode, fin=False)
        for cut in (1, 2):
            with pytest.raises(WebSocketProtocolException, match="fragmented"):
                parse(data[:cut])

    @pytest.mark.parametrize("key", [None, KEY])
    @pytest.mark.parametrize("opcode", CONTROL)
    @pytest.mark.parametrize("form", [16, 64])
    def test_oversized_control_frames(self, form, opcode, key):
        # A control frame can't have a long length at all, whatever it says.
        for length in (0, 125, 126, 65535):
            data = frame(opcode, form=form, length=length, key=key)
            with pytest.raises(WebSocketProtocolException, match="at most 125"):
                parse(data[:2])

    @pytest.mark.parametrize("key", [None, KEY])
    @pytest.mark.parametrize("opcode", DATA)
    @pytest.mark.parametrize(
        ("form", "length"),
        [(16, 0), (16, 1), (16, 125), (64, 0), (64, 125), (64, 126), (64, 65535)],
    )
    def test_lengths_not_in_the_shortest_form(self, form, length, opcode, key):
        data = frame(opcode, form=form, length=length, key=key)
        with pytest.raises(WebSocketProtocolException, match=f"{length} .*shortest"):
            parse(data[: 2 + form // 8])

    @pytest.mark.parametrize("length", [2**63, 2**63 + 1, 2**64 - 1])
    def test_highest_bit_of_the_length(self, length):
        with pytest.raises(WebSocketProtocolException, match="highest bit"):
            parse(frame(2, length=length))

    @pytest.mark.parametrize("opcode", KNOWN)
    def test_masking(self, opcode):
        plain, masked = frame(opcode), frame(opcode, key=KEY)
        for data in (plain, masked):
            assert parse(data, expect_mask=None) is not None
        assert parse(plain, expect_mask=False) is not None
        assert parse(masked, expect_mask=True) is not None
        with pytest.raises(WebSocketProtocolException, match="server must not be masked"):
            parse(masked[:2], expect_mask=False)
        with pytest.raises(WebSocketProtocolException, match="client must be masked"):
            parse(plain[:2], expect_mask=True)

    def test_each_first_two_bytes(self):
        """All 65,536 beginnings, each from a server, from a client and from anybody."""
        for first in range(256):
            fin, rsv, opcode = first >> 7, first >> 4 & 7, first & 15
            for second in range(256):
                masked, length = second >> 7, second & 127
                good = opcode in KNOWN and not rsv
                if opcode in CONTROL:
                    good = good and fin and length <= 125
                data = bytes((first, second))
                for expect_mask in (False, True, None):
                    allowed = good and expect_mask in (None, bool(masked))
                    try:
                        header = parse(data, expect_mask=expect_mask)
                    except WebSocketProtocolException:
                        assert not allowed, (first, second, expect_mask)
                    else:
                        assert allowed, (first, second, expect_mask)
                        assert (header is not None) is (length < 126 and not masked)

    @settings(deadline=None)
    @given(st.binary(max_size=14))
    def test_any_bytes(self, data):
        """A header, nothing yet, or the one error; more bytes never take an error back."""
        failed = False
        for cut in range(len(data) + 1):
            try:
                header = parse(data[:cut])
            except WebSocketProtocolException:
                failed = True
            else:
                assert not failed
                if header is not None:
                    assert header.size <= cut
                    assert 0 <= header.length < 2**63
                    assert header == parse(data)

    def test_errors_name_the_rule_and_the_close_code(self):
        for data in (b"\x83", b"\xc1", b"\x09", b"\x89\x7e", b"\x82\x7e\0\0"):
            with pytest.raises(WebSocketProtocolException, match="RFC 6455 section 5") as caught:
                parse(data)
            assert caught.value.close_code == 1002


class TestCloseCodes:
    def test_each_code(self):
        # The reserved codes of section 7.4.1, what is not assigned, and the ranges of 7.4.2.
        for code in range(5002):
            expected = (
                code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code < 5000
            )
            assert frames.is_wire_close_code(code) is expected, code
        for code in (-1, 65535, 1 << 16, 1 << 40):
            assert not frames.is_wire_close_code(code)

    def test_another_library_agrees(self):
        def agrees(code: int) -> bool:
            try:
                other.Close(code, "").check()
            except Exception:
                return False
            return True

        for code in range(65536):
            assert frames.is_wire_close_code(code) is agrees(code), code


class TestEncodeClosePayload:
    @pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4999])
    @pytest.mark.parametrize("reason", ["", "bye", "ü" * 61, "x" * 123])
    def test_good(self, code, reason):
        payload = encode_close_payload(code, reason.encode())
        assert payload == code.to_bytes(2, "big") + reason.encode()
        assert other.Close.parse(payload) == other.Close(code, reason)

    @pytest.mark.parametrize(
        "code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536, 1 << 70]
    )
    def test_codes_that_must_not_be_sent(self, code):
        with pytest.raises(WebSocketArgumentException, match=f"{code} must not be sent"):
            encode_close_payload(code, b"")

    def test_reason_too_long(self):
        with pytest.raises(WebSocketArgumentException, match=r"124 bytes.* at most 123"):
            encode_close_payload(1000, bytes(124))

    @pytest.mark.parametrize("reason", [b"\xff", b"ok \xc3", b"\xed\xa0\x80"])
    def test_reason_not_utf8(self, reason):
        with pytest.raises(WebSocketArgumentException, match="not UTF-8") as caught:
            encode_close_payload(1000, reason)
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, WebSocketException)
        assert isinstance(caught.value.__cause__, UnicodeDecodeError)
