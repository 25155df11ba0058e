"""The frame value and the frame reader that programs know by these names."""

from __future__ import annotations

import array
import inspect
import itertools

import pytest
from wire import KEY, frame, naive_mask, parse

import websocket
from websocket import (
    ABNF,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketPayloadException,
    WebSocketProtocolException,
    _abnf,
)
from websocket._abnf import continuous_frame, frame_buffer
from websocket._exceptions import WebSocketArgumentException, WebSocketMessageTooBigException
from websocket._protocol.messages import Fragment, Frame


class Source:
    """Bytes to receive, in pieces of a given size; the end of the stream behind them."""

    def __init__(self, data: bytes, step: int = 1 << 30) -> None:
        self.data = data
        self.step = step
        self.asked: list[int] = []

    def recv(self, size: int) -> bytes:
        assert size > 0
        self.asked.append(size)
        count = min(size, self.step)
        piece, self.data = self.data[:count], self.data[count:]
        return piece


def reader(data: bytes, step: int = 1 << 30, skip: bool = False) -> frame_buffer:
    return frame_buffer(Source(data, step).recv, skip)


class TestConstants:
    def test_opcodes(self):
        assert ABNF.OPCODES == (0, 1, 2, 8, 9, 10)
        assert (ABNF.OPCODE_CONT, ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY) == (0, 1, 2)
        assert (ABNF.OPCODE_CLOSE, ABNF.OPCODE_PING, ABNF.OPCODE_PONG) == (8, 9, 10)
        names = {0: "cont", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
        assert names == ABNF.OPCODE_MAP
        assert (ABNF.LENGTH_7, ABNF.LENGTH_16, ABNF.LENGTH_63) == (126, 65536, 2**63)

    def test_close_codes(self):
        codes = {name: getattr(_abnf, name) for name in _abnf.__all__ if name.startswith("STATUS_")}
        assert codes == {
            "STATUS_NORMAL": 1000,
            "STATUS_GOING_AWAY": 1001,
            "STATUS_PROTOCOL_ERROR": 1002,
            "STATUS_UNSUPPORTED_DATA_TYPE": 1003,
            "STATUS_STATUS_NOT_AVAILABLE": 1005,
            "STATUS_ABNORMAL_CLOSED": 1006,
            "STATUS_INVALID_PAYLOAD": 1007,
            "STATUS_POLICY_VIOLATION": 1008,
            "STATUS_MESSAGE_TOO_BIG": 1009,
            "STATUS_INVALID_EXTENSION": 1010,
            "STATUS_UNEXPECTED_CONDITION": 1011,
            "STATUS_SERVICE_RESTART": 1012,
            "STATUS_TRY_AGAIN_LATER": 1013,
            "STATUS_BAD_GATEWAY": 1014,
            "STATUS_TLS_HANDSHAKE_ERROR": 1015,
        }
        wire = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014)
        assert wire == _abnf.VALID_CLOSE_STATUS

    def test_all_is_importable_from_the_package(self):
        for name in _abnf.__all__:
            assert getattr(websocket, name) is getattr(_abnf, name)


class TestSignatures:
    """Both generations of programs pass these by position and by name."""

    @pytest.mark.parametrize(
        ("function", "names"),
        [
            (ABNF.__init__, "self fin rsv1 rsv2 rsv3 opcode mask_value data mask"),
            (ABNF.create_frame, "data opcode fin"),
            (ABNF.validate, "self skip_utf8_validation"),
            (ABNF._get_masked, "self mask_key"),
            (ABNF._is_valid_close_status, "code"),
            (ABNF.mask, "mask_key data"),
            (continuous_frame.__init__, "self fire_cont_frame skip_utf8_validation"),
            (continuous_frame.add, "self frame"),
            (frame_buffer.recv_strict, "self bufsize"),
        ],
    )
    def test_names(self, function, names):
        assert list(inspect.signature(function).parameters) == names.split()

    def test_frame_buffer(self):
        names = list(inspect.signature(frame_buffer).parameters)
        assert names[:2] == ["recv_fn", "skip_utf8_validation"]


class TestConstructor:
    def test_defaults(self):
        value = ABNF()
        assert (value.fin, value.rsv1, value.rsv2, value.rsv3) == (0, 0, 0, 0)
        assert (value.opcode, value.mask_value, value.data) == (1, 1, "")

    def test_by_position(self):
        value = ABNF(1, 0, 1, 0, 2, 0, b"data")
        assert (value.fin, value.rsv1, value.rsv2, value.rsv3) == (1, 0, 1, 0)
        assert (value.opcode, value.mask_value, value.data) == (2, 0, b"data")

    @pytest.mark.parametrize("flag", [0, 1])
    def test_the_mask_flag_has_two_names(self, flag):
        for value in (ABNF(mask=flag), ABNF(mask_value=flag)):
            assert value.mask_value == flag
            assert value.mask == flag
            value.mask = 1 - flag
            assert value.mask_value == 1 - flag
            value.mask_value = flag
            assert value.mask == flag

    def test_no_data(self):
        assert ABNF(data=None).data == ""
        assert parse(ABNF(1, 0, 0, 0, 9, 1, None).format())[0].payload == b""

    @pytest.mark.parametrize("fin", [0, 1])
    def test_create_frame(self, fin):
        value = ABNF.create_frame("hé", ABNF.OPCODE_TEXT, fin)
        assert (value.fin, value.rsv1, value.rsv2, value.rsv3) == (fin, 0, 0, 0)
        assert (value.opcode, value.mask_value, value.data) == (1, 1, "hé".encode())
        assert ABNF.create_frame(b"\xff", 2).data == b"\xff"
        assert ABNF.create_frame(b"x", 1).fin == 1

    def test_as_text(self):
        assert str(ABNF.create_frame("hi", 1)) == "fin=1 opcode=1 data=b'hi'"
        assert "text" in repr(ABNF.create_frame("hi", 1))
        assert "7" in repr(ABNF(opcode=7))


class TestMask:
    @pytest.mark.parametrize("data", [b"", b"x", b"Hello", bytes(range(256)) * 300])
    def test_bytes(self, data):
        assert ABNF.mask(KEY, data) == naive_mask(KEY, data)
        assert ABNF.mask(KEY, ABNF.mask(KEY, data)) == data

    def test_str_stands_for_its_numbers(self):
        assert ABNF.mask("\x01\x02\x03\xff", "ab\xe9") == naive_mask(b"\x01\x02\x03\xff", b"ab\xe9")
        assert ABNF.mask("abcd", b"x") == ABNF.mask(b"abcd", "x")

    def test_by_name(self):
        assert ABNF.mask(mask_key=bytes(4), data=b"x") == b"x"

    @pytest.mark.parametrize("key", [b"", b"123", b"12345", "123"])
    def test_bad_keys(self, key):
        with pytest.raises(WebSocketArgumentException, match="four bytes"):
            ABNF.mask(key, b"data")

    def test_arrays(self):
        key, data = array.array("B", KEY), array.array("B", b"Hello")
        assert _abnf._mask(key, data) == naive_mask(KEY, b"Hello")


class TestFormat:
    @pytest.mark.parametrize("masked", [0, 1])
    @pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
    def test_lengths(self, size, masked):
        data = bytes(size)
        (sent,) = parse(ABNF(1, 0, 0, 0, 2, masked, data).format())
        assert (sent.fin, sent.rsv, sent.opcode, sent.payload) == (True, 0, 2, data)
        assert (sent.key is not None) == masked

    @pytest.mark.parametrize("opcode", ABNF.OPCODES)
    def test_first_byte(self, opcode):
        for fin, rsv in itertools.product((0, 1), range(8)):
            value = ABNF(fin, rsv >> 2 & 1, rsv >> 1 & 1, rsv & 1, opcode, 0, b"x")
            assert value.format() == frame(opcode, b"x", fin=bool(fin), rsv=rsv)

    def test_text(self):
        assert ABNF(1, 0, 0, 0, 1, 0, "hé").format() == frame(1, "hé".encode())
        assert parse(ABNF(1, 0, 0, 0, 1, 1, "hé").format())[0].payload == "hé".encode()

    @pytest.mark.parametrize("key", [KEY, KEY.decode("latin-1"), bytearray(KEY)])
    def test_own_mask_key(self, key):
        asked = []

        def get_mask_key(size: int):
            asked.append(size)
            return key

        value = ABNF.create_frame(b"Hello", 2)
        value.get_mask_key = get_mask_key
        assert value.format() == frame(2, b"Hello", key=KEY)
        assert asked == [4]
        value.mask = 0
        assert value.format() == frame(2, b"Hello")

    def test_a_fresh_key_each_time(self):
        value = ABNF.create_frame("x", 1)
        assert len({parse(value.format())[0].key for _ in range(100)}) > 95

    def test_bad_mask_key(self):
        value = ABNF.create_frame("x", 1)
        value.get_mask_key = lambda size: b"123"
        with pytest.raises(WebSocketArgumentException, match="four bytes, but this has 3"):
            value.format()

    @pytest.mark.parametrize("opcode", [3, 7, 11, 15, 16, -1])
    def test_bad_opcodes(self, opcode):
        with pytest.raises(ValueError, match="opcode"):
            ABNF(1, 0, 0, 0, opcode, 1, b"").format()

    @pytest.mark.parametrize("name", ["fin", "rsv1", "rsv2", "rsv3"])
    @pytest.mark.parametrize("bit", [2, -1])
    def test_bad_bits(self, name, bit):
        with pytest.raises(ValueError, match="0 or 1"):
            ABNF(**{name: bit}).format()

    def test_get_masked(self):
        value = ABNF.create_frame("Hello", 1)
        assert value._get_masked(KEY) == KEY + naive_mask(KEY, b"Hello")
        assert value._get_masked("abcd") == b"abcd" + naive_mask(b"abcd", b"Hello")
        assert ABNF(data="hé")._get_masked(KEY) == KEY + naive_mask(KEY, "hé".encode())


class TestValidate:
    @pytest.mark.parametrize(
        "value",
        [
            *(ABNF(1, 0, 0, 0, opcode, 1, b"x" * 125) for opcode in (0, 1, 2, 9, 10)),
            ABNF(0, 0, 0, 0, 0, 1, b"\xff"),
            ABNF(0, 0, 0, 0, 1, 1, b"\xff"),
            ABNF(1, 0, 0, 0, 2, 1, bytes(126)),
            ABNF(1, 0, 0, 0, 8, 1, b""),
            ABNF(1, 0, 0, 0, 8, 1, b"\x03\xe8"),
            ABNF(1, 0, 0, 0, 8, 1, b"\x03\xe8bye"),
            ABNF(1, 0, 0, 0, 9, 1, "text"),
        ],
        ids=repr,
    )
    def test_good(self, value):
        value.validate()

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (ABNF(1, 1, 0, 0, 1), "rsv"),
            (ABNF(1, 0, 1, 0, 1), "rsv"),
            (ABNF(1, 0, 0, 1, 8), "rsv"),
            (ABNF(1, 0, 0, 0, 3), "opcode"),
            (ABNF(1, 0, 0, 0, 0x77), "opcode"),
            (ABNF(0, 0, 0, 0, 8), "fragmented"),
            (ABNF(0, 0, 0, 0, 9), "fragmented"),
            (ABNF(0, 0, 0, 0, 10), "fragmented"),
            (ABNF(1, 0, 0, 0, 9, 1, bytes(126)), "125"),
            (ABNF(1, 0, 0, 0, 9, 1, "é" * 63), "125"),
            (ABNF(1, 0, 0, 0, 8, 1, b"\x03"), "one byte"),
            (ABNF(1, 0, 0, 0, 8, 1, b"\x03\xed"), "1005"),
            (ABNF(1, 0, 0, 0, 8, 1, b"\x13\x88"), "5000"),
        ],
        ids=repr,
    )
    def test_bad(self, value, words):
        with pytest.raises(WebSocketProtocolException, match=words):
            value.validate()
        with pytest.raises(WebSocketProtocolException, match=words):
            value.validate(skip_utf8_validation=True)

    def test_close_reason(self):
        value = ABNF(1, 0, 0, 0, 8, 1, b"\x03\xe8\xff")
        with pytest.raises(WebSocketPayloadException):
            value.validate()
        with pytest.raises(WebSocketPayloadException):
            value.validate(False)
        value.validate(True)

    def test_close_status(self):
        assert ABNF._is_valid_close_status(1000)
        assert ABNF._is_valid_close_status(4999)
        assert not ABNF._is_valid_close_status(1005)
        assert not ABNF()._is_valid_close_status(5000)


class TestFrameBuffer:
    STREAM = (
        frame(1, b"Hello")
        + frame(2, b"a" * 126, fin=False)
        + frame(9, b"ping", key=KEY)
        + frame(0, b"", fin=True)
        + frame(2, b"b" * 65536, key=KEY)
        + frame(8, b"\x03\xe8bye")
    )
    FRAMES = (
        (1, 1, b"Hello"),
        (0, 2, b"a" * 126),
        (1, 9, b"ping"),
        (1, 0, b""),
        (1, 2, b"b" * 65536),
        (1, 8, b"\x03\xe8bye"),
    )

    @pytest.mark.parametrize("step", [1, 2, 3, 7, 1000, 1 << 30])
    def test_frames(self, step):
        source = Source(self.STREAM, step)
        frames = frame_buffer(source.recv, False)
        left = len(self.STREAM)
        for expected in self.FRAMES:
            value = frames.recv_frame()
            assert isinstance(value, ABNF)
            assert (value.fin, value.opcode, value.data) == expected
            assert type(value.data) is bytes
            assert (value.rsv1, value.rsv2, value.rsv3) == (0, 0, 0)
            # Not a byte of the next frame was taken.
            left -= len(frame(value.opcode, value.data)) + (4 if expected[1:] in self.MASKED else 0)
            assert len(source.data) == left
        with pytest.raises(WebSocketConnectionClosedException, match="lost"):
            frames.recv_frame()

    MASKED = ((9, b"ping"), (2, b"b" * 65536))

    @pytest.mark.parametrize("data", [frame(1, b"Hello"), frame(2, bytes(70_000), key=KEY)])
    def test_never_asks_for_more_than_the_frame_needs(self, data):
        for step in (1, 5000, 1 << 30):
            source = Source(data + b"next frame", step)
            frame_buffer(source.recv, False).recv_frame()
            assert source.data == b"next frame"
            assert max(source.asked) <= 16384

    @pytest.mark.parametrize("cut", range(1, 12))
    def test_the_end_inside_a_frame(self, cut):
        with pytest.raises(WebSocketConnectionClosedException, match="was lost"):
            reader(frame(1, b"Hello", key=KEY)[: cut - 1]).recv_frame()

    @pytest.mark.parametrize("cut", range(11))
    def test_a_timeout_inside_a_frame_loses_nothing(self, cut):
        data = frame(1, b"Hello", key=KEY)
        pieces: list[bytes | None] = [data[:cut] or None, None, data[cut:]]

        def recv(size: int) -> bytes:
            while pieces:
                piece = pieces[0]
                if piece is None:
                    pieces.pop(0)
                    raise TimeoutError("timed out")
                pieces[0] = piece[size:]
                if not pieces[0]:
                    pieces.pop(0)
                return piece[:size]
            return b""

        frames = frame_buffer(recv, False)
        value = None
        for _ in range(4):
            try:
                value = frames.recv_frame()
                break
            except TimeoutError:
                pass
        assert value is not None
        assert value.data == b"Hello"

    @pytest.mark.parametrize("step", [1, 1 << 30])
    @pytest.mark.parametrize(
        "data",
        [
            b"\x83\x00",
            b"\xc1\x00",
            b"\x09\x00",
            b"\x89\x7e\x00\x7e",
            b"\x82\x7e\x00\x01",
            b"\x82\x7f" + b"\xff" * 8,
            frame(8, b"\x03"),
            frame(8, b"\x03\xed"),
        ],
    )
    def test_bad_frames(self, data, step):
        with pytest.raises(WebSocketProtocolException):
            reader(data + bytes(200), step).recv_frame()

    def test_bad_text_fails_where_it_arrives(self):
        source = Source(frame(1, length=1000) + b"ok\xff" + b"x" * 997, 1)
        with pytest.raises(WebSocketPayloadException):
            frame_buffer(source.recv, False).recv_frame()
        assert len(source.data) == 997

    def test_close_reason(self):
        data = frame(8, b"\x03\xe8\xff")
        with pytest.raises(WebSocketPayloadException):
            reader(data).recv_frame()
        assert reader(data, skip=True).recv_frame().data == b"\x03\xe8\xff"

    def test_text_that_is_not_checked(self):
        data = frame(1, b"\xff" * 10)
        assert reader(data, 1, skip=True).recv_frame().data == b"\xff" * 10

    @pytest.mark.parametrize("length", [(100 << 20) + 1, 2**62, 2**63 - 1])
    def test_nothing_is_allocated_on_the_word_of_a_length(self, length):
        source = Source(frame(2, length=length))
        with pytest.raises(WebSocketMessageTooBigException):
            frame_buffer(source.recv, False).recv_frame()
        assert sum(source.asked) <= 10

    @pytest.mark.parametrize("step", [1, 3, 100])
    def test_recv_strict(self, step):
        frames = reader(b"0123456789" + frame(1, b"x"), step)
        assert frames.recv_strict(4) == b"0123"
        assert frames.recv_strict(6) == b"456789"
        assert frames.recv_frame().data == b"x"
        with pytest.raises(WebSocketConnectionClosedException):
            frames.recv_strict(1)

    def test_recv_strict_keeps_what_came_before_a_failure(self):
        pieces = iter([b"ab", TimeoutError("timed out"), b"cd"])

        def recv(size: int) -> bytes:
            piece = next(pieces)
            if isinstance(piece, Exception):
                raise piece
            return piece

        frames = frame_buffer(recv, False)
        with pytest.raises(TimeoutError):
            frames.recv_strict(4)
        assert frames.recv_strict(4) == b"abcd"

    @pytest.mark.parametrize("key", [None, KEY])
    @pytest.mark.parametrize("size", [5, 125, 126, 65535, 65536])
    def test_the_parts_of_a_header(self, size, key):
        frames = reader(frame(2, bytes(size), fin=False, key=key))
        assert frames.needs_header()
        assert frames.needs_length()
        assert frames.needs_mask()
        assert frames.has_mask() is False
        frames.recv_header()
        assert frames.header is not None
        assert frames.header[:5] == (0, 0, 0, 0, 2)
        assert frames.header[frame_buffer._HEADER_MASK_INDEX] == (key is not None)
        assert frames.header[frame_buffer._HEADER_LENGTH_INDEX] == (
            size if size < 126 else 126 if size < 65536 else 127
        )
        assert not frames.needs_header()
        assert bool(frames.has_mask()) is (key is not None)
        frames.recv_length()
        assert frames.length == size
        frames.recv_mask()
        assert frames.mask_value == (key or b"")
        assert not frames.needs_mask()
        frames.clear()
        assert frames.has_received_header()
        assert frames.has_received_length()
        assert frames.has_received_mask()

    def test_length_reads_the_header_too(self):
        frames = reader(frame(2, bytes(300)))
        frames.recv_length()
        assert frames.length == 300


class TestContinuousFrame:
    def join(self, *frames: ABNF, skip: bool = False, fire: bool = False) -> list:
        joined = []
        continuous = continuous_frame(fire, skip)
        for value in frames:
            continuous.validate(value)
            continuous.add(value)
            if continuous.is_fire(value):
                opcode, whole = continuous.extract(value)
                joined.append((opcode, whole.data))
        return joined

    def test_whole_messages(self):
        assert self.join(ABNF(1, opcode=1, data=b"a"), ABNF(1, opcode=2, data=b"\xff")) == [
            (1, b"a"),
            (2, b"\xff"),
        ]

    def test_fragments(self):
        frames = (
            ABNF(0, opcode=1, data=b"\xe2"),
            ABNF(0, opcode=0, data=b""),
            ABNF(0, opcode=0, data=b"\x82"),
            ABNF(1, opcode=0, data=b"\xac"),
            ABNF(1, opcode=2, data=b"next"),
        )
        joined = self.join(*frames)
        assert joined == [(1, b"\xe2\x82\xac"), (2, b"next")]
        assert all(type(data) is bytes for _, data in joined)
        assert frames[3].data == b"\xe2\x82\xac"

    def test_first_fragment_empty(self):
        frames = (ABNF(0, opcode=1, data=b""), ABNF(1, opcode=0, data=b"x"))
        assert self.join(*frames) == [(1, b"x")]

    def test_str_data(self):
        assert self.join(ABNF(1, opcode=1, data="hé")) == [(1, "hé")]

    def test_fire_each_fragment(self):
        frames = (
            ABNF(0, opcode=1, data=b"\xe2"),
            ABNF(0, opcode=0, data=b"\x82"),
            ABNF(1, opcode=0, data=b"\xac"),
        )
        assert self.join(*frames, fire=True) == [(1, b"\xe2"), (0, b"\x82"), (0, b"\xac")]

    def test_order(self):
        continuous = continuous_frame(False, False)
        with pytest.raises(WebSocketProtocolException, match="without a message"):
            continuous.validate(ABNF(1, opcode=0))
        continuous.add(ABNF(0, opcode=2, data=b"x"))
        assert continuous.recving_frames == 2
        for opcode in (1, 2):
            with pytest.raises(WebSocketProtocolException, match="before the fragmented"):
                continuous.validate(ABNF(1, opcode=opcode))
        # Control frames may come in between.
        for opcode in (8, 9, 10):
            continuous.validate(ABNF(1, opcode=opcode))
        continuous.validate(ABNF(1, opcode=0))
        continuous.add(ABNF(1, opcode=0, data=b"y"))
        assert continuous.recving_frames is None

    @pytest.mark.parametrize("bad", [b"\xff", b"\xe2\x82", b"\xed\xa0\x80"])
    def test_bad_text(self, bad):
        for frames in (
            [ABNF(1, opcode=1, data=bad)],
            [ABNF(0, opcode=1, data=bad[:1]), ABNF(1, opcode=0, data=bad[1:])],
        ):
            with pytest.raises(WebSocketPayloadException, match="cannot decode"):
                self.join(*frames)
            joined = self.join(*(ABNF(f.fin, opcode=f.opcode, data=bad) for f in frames), skip=True)
            assert joined == [(1, bad * len(frames))]

    def test_joining_is_done_in_place(self):
        continuous = continuous_frame(False, False)
        continuous.add(ABNF(0, opcode=2, data=b"x"))
        continuous.add(ABNF(0, opcode=0, data=b"x"))
        joined = continuous.cont_data[1]
        for _ in range(1000):
            continuous.add(ABNF(0, opcode=0, data=b"x"))
            # A new object for each fragment would copy all that came before.
            assert continuous.cont_data[1] is joined
        last = ABNF(1, opcode=0, data=b"x")
        continuous.add(last)
        assert continuous.extract(last) == (2, last)
        assert last.data == b"x" * 1003


class TestAdapters:
    def test_frames_there_and_back(self):
        for rsv in range(0, 0x80, 0x10):
            value = _abnf.abnf_of(Frame(False, rsv, 2, b"x"))
            assert (value.rsv1, value.rsv2, value.rsv3) == (rsv >> 6, rsv >> 5 & 1, rsv >> 4 & 1)
            assert (value.fin, value.opcode, value.mask_value, value.data) == (0, 2, 0, b"x")
            assert _abnf.frame_of(value) == Frame(False, rsv, 2, b"x")

    @pytest.mark.parametrize("data", [b"h\xc3\xa9", "hé", bytearray(b"h\xc3\xa9")])
    def test_data_of_a_program(self, data):
        made = _abnf.frame_of(ABNF(1, opcode=1, data=data))
        assert made == Frame(True, 0, 1, b"h\xc3\xa9")
        assert type(made.payload) is bytes

    def test_events(self):
        opcode, value = _abnf.abnf_of_event("h\udcff")
        assert (opcode, value.fin, value.opcode, value.data) == (1, 1, 1, b"h\xff")
        opcode, value = _abnf.abnf_of_event(b"x")
        assert (opcode, value.fin, value.opcode, value.data) == (2, 1, 2, b"x")
        opcode, value = _abnf.abnf_of_event(Fragment(0, b"x", None, False))
        assert (opcode, value.fin, value.opcode, value.data) == (0, 0, 0, b"x")


def test_errors_are_of_the_tree():
    with pytest.raises(WebSocketException):
        ABNF(fin=2).format()
    with pytest.raises(ValueError, match="four bytes"):
        ABNF.mask(b"", b"")
