"""What must hold for any messages, any fragmentation, any chunking and any bytes at all."""

from __future__ import annotations

import itertools
import os
import random
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets import frames as other
from websockets.protocol import CLIENT as OTHER_CLIENT
from websockets.protocol import SERVER as OTHER_SERVER
from websockets.protocol import Protocol as OtherProtocol
from wire import first_bad_byte, frame, naive_mask, parse

from websocket import (
    WebSocketConnectionClosedException,
    WebSocketPayloadException,
    WebSocketProtocolException,
)
from websocket._abnf import ABNF, continuous_frame, frame_buffer
from websocket._exceptions import WebSocketMessageTooBigException
from websocket._protocol import messages as messages_module
from websocket._protocol.buffer import READ_SIZE
from websocket._protocol.connection import Connection, Role
from websocket._protocol.messages import Close, Fragment, Ping, Pong

KEYS = st.binary(min_size=4, max_size=4)
ROLES = [Role.CLIENT, Role.SERVER]


def examples(count: int) -> settings:
    """So many examples per run; PROPERTY_TEST_FACTOR=50 searches long."""
    factor = float(os.environ.get("PROPERTY_TEST_FACTOR", "1"))
    return settings(max_examples=max(1, int(count * factor)), deadline=None)


class Sent(NamedTuple):
    """One frame that is sent."""

    fin: bool
    opcode: int
    payload: bytes


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """``data`` cut at these positions; a position given twice makes an empty piece."""
    borders = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(borders)]


def controls() -> st.SearchStrategy[list[Sent]]:
    control = st.builds(Sent, st.just(True), st.sampled_from([9, 10]), st.binary(max_size=125))
    return st.lists(control, max_size=2)


@st.composite
def texts(draw: st.DrawFn) -> str:
    # Sizes on both sides of the borders, and characters of each length.
    text = draw(st.text(max_size=12))
    return text + draw(st.sampled_from(["", "", "", "x" * 120, "é" * 60, "\U0001f600" * 30]))


@st.composite
def binaries(draw: st.DrawFn) -> bytes:
    data = draw(st.binary(max_size=20))
    return data + bytes(draw(st.sampled_from([0, 0, 0, 0, 110, 125, 65500])))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[object], list[Sent]]:
    """Messages and control frames, and the frames that carry them."""
    events: list[object] = []
    sent: list[Sent] = []

    def add_controls() -> None:
        for control in draw(controls()):
            sent.append(control)
            events.append((Ping if control.opcode == 9 else Pong)(control.payload))

    for message in draw(st.lists(st.one_of(texts(), binaries()), max_size=5)):
        data = message.encode() if isinstance(message, str) else message
        opcode = 1 if isinstance(message, str) else 2
        cuts = draw(st.lists(st.integers(0, max(len(data), 1)), max_size=4))
        fragments = pieces(data, cuts)
        for i, piece in enumerate(fragments):
            if i or draw(st.booleans()):
                add_controls()
            sent.append(Sent(i == len(fragments) - 1, 0 if i else opcode, piece))
        events.append(message)
    add_controls()
    return events, sent


def chunked(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(data):
            return
        yield data[start : start + size]
        start += size


def chunk_sizes() -> st.SearchStrategy[list[int]]:
    sizes = st.sampled_from([1, 1, 2, 3, 5, 9, 130, 4096, 70_000, 1 << 30])
    # A stream of long frames in pieces of one byte would take its time.
    return st.lists(sizes, min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 3)


class Source:
    """A function to receive with, that gives pieces of the sizes it was told."""

    def __init__(self, data: bytes, sizes: Iterable[int]) -> None:
        self.data = data
        self.at = 0
        self.sizes = itertools.cycle(sizes)

    def recv(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + min(size, next(self.sizes))]
        self.at += len(piece)
        return piece


class TestMessagesArriveUnchanged:
    @pytest.mark.parametrize("role", ROLES)
    @examples(30)
    @given(data=st.data(), conversation=conversations(), sizes=chunk_sizes())
    def test_through_the_core(self, role, data, conversation, sizes):
        events, sent = conversation
        stream = b"".join(
            frame(
                f.opcode, f.payload, fin=f.fin, key=data.draw(KEYS) if role is Role.SERVER else None
            )
            for f in sent
        )
        connection = Connection(role)
        for chunk in chunked(stream, sizes):
            connection.feed(chunk)
        assert list(connection.events) == events
        assert [type(e) for e in connection.events] == [type(e) for e in events]
        noted = [e for e in events if isinstance(e, (Ping, Pong))]
        assert list(connection.controls) == noted
        assert not connection.ended

    @examples(30)
    @given(conversation=conversations(), sizes=chunk_sizes())
    def test_in_pieces(self, conversation, sizes):
        events, sent = conversation
        connection = Connection(fragments=True)
        for chunk in chunked(b"".join(frame(f.opcode, f.payload, fin=f.fin) for f in sent), sizes):
            connection.feed(chunk)
        joined: list[object] = []
        text: list[str | None] = []
        data: list[bytes] = []
        for event in connection.events:
            if not isinstance(event, Fragment):
                joined.append(event)
                continue
            assert (event.opcode == 0) is bool(data)
            text.append(event.text)
            data.append(event.payload)
            if event.fin:
                whole = b"".join(data)
                if None in text:
                    assert set(text) == {None}
                    joined.append(whole)
                else:
                    assert "".join(filter(None, text)).encode() == whole
                    joined.append(whole.decode())
                text, data = [], []
        assert joined == events

    @examples(30)
    @given(data=st.data(), conversation=conversations(), sizes=chunk_sizes())
    def test_through_frame_buffer(self, data, conversation, sizes):
        events, sent = conversation
        keys = st.one_of(st.none(), KEYS)
        stream = b"".join(frame(f.opcode, f.payload, fin=f.fin, key=data.draw(keys)) for f in sent)
        source = Source(stream + b"next", sizes)
        frames = frame_buffer(source.recv, False)
        continuous = continuous_frame(False, False)
        joined: list[object] = []
        for expected in sent:
            value = frames.recv_frame()
            assert (value.fin, value.opcode, value.data) == expected
            value.validate()
            if value.opcode >= 8:
                joined.append((Ping if value.opcode == 9 else Pong)(value.data))
                continue
            continuous.validate(value)
            continuous.add(value)
            if continuous.is_fire(value):
                opcode, whole = continuous.extract(value)
                joined.append(whole.data.decode() if opcode == 1 else whole.data)
        assert joined == events
        assert source.at == len(stream), "more was read than the frames needed"

    @pytest.mark.parametrize("role", ROLES)
    @examples(30)
    @given(conversation=conversations(), sizes=chunk_sizes())
    def test_from_one_core_to_another(self, role, conversation, sizes):
        events, sent = conversation
        sender = Connection(Role.SERVER if role is Role.CLIENT else Role.CLIENT)
        stream = b"".join(sender.encode(f.opcode, f.payload, f.fin) for f in sent)
        receiver = Connection(role)
        for chunk in chunked(stream + sender.close(1000, "bye"), sizes):
            receiver.feed(chunk)
        assert list(receiver.events) == [*events, Close(1000, "bye")]

    @pytest.mark.parametrize("role", ROLES)
    @examples(30)
    @given(conversation=conversations(), sizes=chunk_sizes())
    def test_another_library_reads_what_is_sent(self, role, conversation, sizes):
        _, sent = conversation
        connection = Connection(role)
        side = OTHER_SERVER if role is Role.CLIENT else OTHER_CLIENT
        peer = OtherProtocol(side, max_size=None)
        stream = b"".join(connection.encode(f.opcode, f.payload, f.fin) for f in sent)
        for chunk in chunked(stream, sizes):
            peer.receive_data(chunk)
        read = [Sent(f.fin, f.opcode, bytes(f.data)) for f in peer.events_received()]
        assert read == sent
        assert peer.close_expected() is False

    @pytest.mark.parametrize("role", ROLES)
    @examples(30)
    @given(conversation=conversations(), sizes=chunk_sizes())
    def test_what_another_library_sends_is_read(self, role, conversation, sizes):
        events, sent = conversation
        stream = b"".join(
            other.Frame(other.Opcode(f.opcode), f.payload, f.fin).serialize(
                mask=role is Role.SERVER
            )
            for f in sent
        )
        connection = Connection(role)
        for chunk in chunked(stream, sizes):
            connection.feed(chunk)
        assert list(connection.events) == events


def reference(data: bytes, role: Role, max_size: int) -> tuple[list[object], int | None]:
    """The events and the close code of the error of a whole stream, by the letter of the RFC."""
    events: list[object] = []
    opcode, message = 0, b""  # of the message that is being put together
    at = 0
    while at < len(data):
        first = data[at]
        op, fin = first & 15, first >> 7
        if op not in (0, 1, 2, 8, 9, 10) or first & 0x70 or (op >= 8 and not fin):
            return events, 1002
        if at + 2 > len(data):
            break
        masked, size = data[at + 1] >> 7, data[at + 1] & 127
        if bool(masked) != (role is Role.SERVER) and role is not Role.ANY:
            return events, 1002
        if op >= 8 and size > 125:
            return events, 1002
        body = at + 2 + {126: 2, 127: 8}.get(size, 0)
        if body > len(data):
            break
        if size >= 126:
            least = 126 if size == 126 else 65536
            size = int.from_bytes(data[at + 2 : body], "big")
            if not least <= size < 2**63:
                return events, 1002
        key = bytes(4)
        if masked:
            body += 4
            if body > len(data):
                break
            key = data[body - 4 : body]
        if op < 8:
            if (op == 0) != (opcode != 0):
                return events, 1002
            if len(message) + size > max_size:
                return events, 1009
        payload = naive_mask(key, data[body : body + size])
        is_text = op == 1 or (op == 0 and opcode == 1)
        if len(data) < body + size:
            # What is masked is looked at when it is whole.
            if is_text and not masked and first_bad_byte(message + payload):
                return events, 1007
            break
        at = body + size
        if op == 9:
            events.append(Ping(payload))
        elif op == 10:
            events.append(Pong(payload))
        elif op == 8:
            code = int.from_bytes(payload[:2], "big")
            if not payload:
                events.append(Close(None, ""))
            elif code in (1004, 1005, 1006) or not (1000 <= code < 1015 or 3000 <= code < 5000):
                return events, 1002
            else:
                try:
                    events.append(Close(code, payload[2:].decode()))
                except UnicodeDecodeError:
                    return events, 1007
            break
        else:
            opcode, message = op or opcode, message + payload
            if is_text and first_bad_byte(message):
                return events, 1007
            if fin:
                if opcode == 1:
                    try:
                        events.append(message.decode())
                    except UnicodeDecodeError:
                        return events, 1007
                else:
                    events.append(message)
                opcode, message = 0, b""
    return events, None


def run(chunks: Iterable[bytes], role: Role, **options) -> tuple[list[object], int | None]:
    """The events and the close code of the error that the core finds in these chunks."""
    connection = Connection(role, **options)
    for chunk in chunks:
        connection.feed(chunk)
    events: list[object] = list(connection.events)
    code = None
    if events and isinstance(events[-1], Exception):
        error = events.pop()
        assert isinstance(error, (WebSocketProtocolException, WebSocketPayloadException))
        assert str(error)
        code = error.close_code
        assert connection.ended
    assert not any(isinstance(event, Exception) for event in events)
    return events, code


def single_bytes(data: bytes) -> list[bytes]:
    return [bytes((octet,)) for octet in data]


def almost_frames(keys: st.SearchStrategy[bytes | None]) -> st.SearchStrategy[bytes]:
    """Frames that are mostly good."""
    opcodes = st.sampled_from([0, 0, 1, 1, 1, 2, 2, 8, 9, 10])
    payloads = st.one_of(
        st.binary(max_size=8),
        st.text(max_size=5).map(str.encode),
        st.sampled_from([b"", b"\x03\xe8", b"\x03\xe8bye", b"\xe2\x82", b"\xac", b"\xed", b"\xa0"]),
    )
    good = st.builds(frame, opcodes, payloads, fin=st.booleans(), key=keys)
    odd = st.builds(
        frame,
        st.integers(0, 15),
        payloads,
        fin=st.booleans(),
        rsv=st.sampled_from([0, 0, 0, 1, 2, 4]),
        key=keys,
        form=st.sampled_from([16, 64]),
        length=st.sampled_from([None, None, 0, 3, 125, 126, 300, 65535]),
    )
    long = st.builds(
        lambda op, length, key, body: frame(op, body, length=length, key=key),
        opcodes,
        st.sampled_from([5, 126, 65536, 2**40]),
        keys,
        payloads,
    )
    return st.one_of(good, good, good, good, odd, long)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Role, bytes]:
    role = draw(st.sampled_from([Role.CLIENT, Role.CLIENT, Role.SERVER, Role.ANY]))
    keys: st.SearchStrategy[bytes | None] = {
        Role.CLIENT: st.none(),
        Role.SERVER: KEYS,
        Role.ANY: st.one_of(st.none(), KEYS),
    }[role]
    parts = draw(
        st.lists(
            st.one_of(almost_frames(keys), almost_frames(keys), st.binary(max_size=6)), max_size=7
        )
    )
    stream = bytearray(b"".join(parts))
    if stream and draw(st.booleans()):
        stream[draw(st.integers(0, len(stream) - 1))] ^= 1 << draw(st.integers(0, 7))
    return role, bytes(stream)


class TestAnyBytes:
    @examples(150)
    @given(stream=streams(), max_size=st.sampled_from([0, 4, 200, 1 << 60]))
    @example(
        stream=(Role.CLIENT, frame(1, b"\xed", fin=False) + frame(0, b"\xa0", length=9)),
        max_size=200,
    )
    def test_messages_or_one_clean_error(self, stream, max_size):
        """Whole and byte by byte alike, and just what the reference finds."""
        role, data = stream
        expected = reference(data, role, max_size)
        assert run([data], role, max_size=max_size) == expected
        assert run(single_bytes(data), role, max_size=max_size) == expected

    @examples(60)
    @given(data=st.binary(max_size=200), role=st.sampled_from(Role))
    def test_noise(self, data, role):
        expected = reference(data, role, 1 << 60)
        assert run([data], role, max_size=None) == expected
        assert run(single_bytes(data), role, max_size=None) == expected

    @examples(60)
    @given(
        stream=streams(),
        sizes=chunk_sizes(),
        options=st.fixed_dictionaries(
            {
                "fragments": st.booleans(),
                "check_text": st.booleans(),
                "max_size": st.sampled_from([None, 0, 5, 200]),
            }
        ),
    )
    def test_chunks_make_no_difference_whatever_the_options(self, stream, sizes, options):
        role, data = stream
        expected = run([data], role, **options)
        assert run(single_bytes(data), role, **options) == expected
        assert run(chunked(data, sizes), role, **options) == expected

    @examples(60)
    @given(stream=streams(), sizes=chunk_sizes(), skip=st.booleans())
    def test_through_frame_buffer(self, stream, sizes, skip):
        """Frames as the core sees them, or an error that the core finds as well."""
        _, data = stream
        events, code = reference(data, Role.ANY, 100 << 20)
        frames = frame_buffer(Source(data, sizes).recv, skip)
        controls: list[object] = []
        failed: int | None = None
        try:
            while True:
                value = frames.recv_frame()
                assert isinstance(value, ABNF)
                value.validate(skip)
                if value.opcode in (9, 10):
                    controls.append((Ping if value.opcode == 9 else Pong)(value.data))
                if value.opcode == 8:
                    break
        except WebSocketConnectionClosedException:
            pass  # the bytes have come to their end
        except (WebSocketProtocolException, WebSocketPayloadException) as error:
            failed = error.close_code
        # The order of the frames, and text that is whole, are for continuous_frame to judge:
        # so this may fail later than the core, but never alone.
        assert failed in (None, 1002, 1007, 1009)
        assert failed is None or code is not None
        expected = [event for event in events if isinstance(event, (Ping, Pong))]
        assert controls[: len(expected)] == expected[: len(controls)]
        if code is None and not skip:
            assert controls == expected


class TestMemory:
    def check(self, connection: Connection, fed: int) -> None:
        buffer, large, assembler = connection.buffer, connection._large, connection._messages
        pending, arrived = len(buffer), 0
        connection.writable().release()  # as a driver does before it reads
        assert len(buffer) == pending
        assert len(buffer.data) <= pending + max(READ_SIZE, pending // 8)
        if large is not None:
            arrived = large.length - large.missing
            room = arrived + max(READ_SIZE, arrived // 8)
            assert sys.getsizeof(large._content) <= room * 9 // 8 + 128
        assert pending + arrived + assembler._size <= fed
        # BytesIO grows in steps: by an eighth, and a little.
        assert sys.getsizeof(assembler._binary) <= assembler._size * 9 // 8 + 128
        texts = [*assembler._parts._parts, *assembler._parts._small]
        # What a str takes is up to four bytes a character, and its head.
        assert sum(map(len, texts)) <= assembler._size
        assert len(texts) <= assembler._size // 128 + 256

    @examples(30)
    @given(stream=streams(), sizes=chunk_sizes())
    def test_any_bytes(self, stream, sizes):
        role, data = stream
        connection = Connection(role)
        fed = 0
        for chunk in chunked(data, sizes):
            connection.feed(chunk)
            fed += len(chunk)
            self.check(connection, fed)

    @examples(20)
    @given(
        lengths=st.lists(
            st.sampled_from([0, 3, 5000, 100_000, READ_SIZE - 14, READ_SIZE + 1, 3_000_000]),
            max_size=5,
        ),
        fragment=st.sampled_from([1000, 70_000, READ_SIZE, 1 << 30]),
        sizes=st.lists(st.sampled_from([3000, 65536, READ_SIZE, 400_001]), min_size=1, max_size=4),
        role=st.sampled_from(ROLES),
    )
    def test_long_messages(self, lengths, fragment, sizes, role):
        key = bytes(4) if role is Role.SERVER else None
        stream = bytearray()
        for length in lengths:
            starts = range(0, max(length, 1), fragment)
            for start in starts:
                part = bytes(min(fragment, length - start))
                last = start + fragment >= length
                # A key of zeros: what the naive mask would take long for.
                head = frame(0 if start else 2, length=len(part), fin=last, key=key)
                stream += head + part
        connection = Connection(role)
        fed = got = 0
        for chunk in chunked(bytes(stream), sizes):
            connection.feed(chunk)
            fed += len(chunk)
            while connection.events:
                message = connection.events.popleft()
                assert message == bytes(lengths[got])
                got += 1
            self.check(connection, fed)
        assert got == len(lengths)

    @pytest.mark.parametrize("role", ROLES)
    def test_a_length_is_not_believed(self, role):
        key = bytes(4) if role is Role.SERVER else None
        for opcode in (1, 2):
            connection = Connection(role, max_size=None)
            fed = 0
            for chunk in (frame(opcode, length=2**63 - 1, key=key), b"x", bytes(100), bytes(9000)):
                connection.feed(chunk)
                fed += len(chunk)
                self.check(connection, fed)
            assert not connection.events


@st.composite
def spoiled_texts(draw: st.DrawFn) -> bytes:
    """Text with something wrong in it, or almost."""
    before = draw(st.text(alphabet="aé€\U0001f600\ud7ff\ue000\U0010ffff", max_size=4)).encode()
    spoilers = st.one_of(
        st.binary(min_size=1, max_size=4),
        st.sampled_from([b"\xed\xa0\x80", b"\xed\x9f\xbf", b"\xed\xbf", b"\xf4\x90", b"\xf4\x8f"]),
        st.sampled_from([b"\xe0\x9f", b"\xe0\xa0", b"\xf0\x8f", b"\xf0\x90", b"\xc1", b"\xf5"]),
    )
    return before + draw(spoilers) + draw(st.text(max_size=3)).encode()


class TestFailFast:
    @examples(100)
    @given(data=st.data(), text=spoiled_texts(), ends=st.booleans())
    def test_bad_text_fails_with_its_first_bad_byte(self, data, text, ends):
        """Inside a frame, across fragments, with control frames in between: neither later
        nor earlier than no valid text can begin so."""
        cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=4))
        fragments = pieces(text, cuts)
        stream = b""
        position = []  # of each byte of the text in the stream
        for i, piece in enumerate(fragments):
            for control in data.draw(controls()) if i else ():
                stream += frame(control.opcode, control.payload)
            last = i == len(fragments) - 1
            more = 0 if ends or not last else data.draw(st.integers(1, 1000))
            stream += frame(0 if i else 1, length=len(piece) + more, fin=last)
            position += range(len(stream), len(stream) + len(piece))
            stream += piece
        bad = first_bad_byte(text)
        if bad is not None:
            expected: int | None = position[bad - 1] + 1
        else:
            # A character that is not finished is wrong only when the message is.
            cut_off = False
            try:
                text.decode()
            except UnicodeDecodeError:
                cut_off = True
            expected = len(stream) if ends and cut_off else None
        connection = Connection()
        failed = None
        for i, octet in enumerate(single_bytes(stream)):
            connection.feed(octet)
            if connection.events and isinstance(connection.events[-1], Exception):
                failed = i + 1
                break
        assert failed == expected
        if failed:
            assert isinstance(connection.events[-1], WebSocketPayloadException)

    @examples(30)
    @given(text=spoiled_texts(), more=st.integers(0, 50))
    def test_frame_buffer_too(self, text, more):
        bad = first_bad_byte(text)
        if bad is None or (bad == len(text) and not more):
            return
        head = frame(1, length=len(text) + more)
        source = Source(head + text + bytes(more), [1])
        with pytest.raises(WebSocketPayloadException):
            frame_buffer(source.recv, False).recv_frame()
        assert source.at == len(head) + bad

    @examples(60)
    @given(stream=streams())
    def test_an_error_is_never_taken_back(self, stream):
        """Events only ever grow at their end, and an error is final."""
        role, data = stream
        connection = Connection(role)
        before: list[object] = []
        for octet in single_bytes(data):
            connection.feed(octet)
            now = list(connection.events)
            assert now[: len(before)] == before
            if before and isinstance(before[-1], (Exception, Close)):
                assert now == before
            before = now


def calls_of(work: Callable[[], object]) -> int:
    """How many functions, in Python and in C, are called."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


class TestLinearWork:
    """Bad peers send what costs them little and us much; it must not."""

    def fragments(self, opcode: int, count: int, key: bytes | None = None) -> bytes:
        return (
            frame(opcode, b"x", fin=False, key=key)
            + frame(0, b"x", fin=False, key=key) * (count - 2)
            + frame(0, b"x", key=key)
        )

    def work(self, stream: bytes, size: int, role: Role = Role.CLIENT) -> Callable[[], None]:
        def feed() -> None:
            connection = Connection(role)
            for chunk in chunked(stream, [size]):
                connection.feed(chunk)
            assert len(connection.events) == 1

        return feed

    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize("opcode", [1, 2])
    @pytest.mark.parametrize("size", [7, 4096, 1 << 30])
    def test_calls_grow_with_the_fragments(self, size, opcode, role):
        key = bytes(4) if role is Role.SERVER else None
        few = calls_of(self.work(self.fragments(opcode, 1000, key), size, role))
        many = calls_of(self.work(self.fragments(opcode, 8000, key), size, role))
        assert many <= 8 * few + 200

    @pytest.mark.parametrize("opcode", [1, 2])
    def test_100_000_fragments(self, opcode):
        count = 100_000
        stream = self.fragments(opcode, count)
        connection = Connection()
        binary = connection._messages._binary
        tracemalloc.start()
        try:
            for chunk in chunked(stream, [65536]):
                if not connection.events:
                    # Joined in place: a new object each time would copy all that came before.
                    assert connection._messages._binary is binary
                connection.feed(chunk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert list(connection.events) == ["x" * count if opcode == 1 else b"x" * count]
        # The read buffer, the payload, the message: no object per fragment.
        assert peak < 2 * READ_SIZE + 6 * count

    def test_each_byte_of_text_is_checked_a_bounded_number_of_times(self, monkeypatch):
        checked = 0

        class Counting(messages_module.Text8):
            __slots__ = ()

            def feed(self, data, final=False):
                nonlocal checked
                checked += len(data)
                return super().feed(data, final)

        monkeypatch.setattr(messages_module, "Text8", Counting)
        size = 20_000
        for stream in (
            frame(1, b"x" * size),
            self.fragments(1, size),
            frame(1, b"x" * size, fin=False) + frame(0, b"x" * size, fin=False) + frame(0),
        ):
            checked = 0
            connection = Connection()
            for octet in single_bytes(stream):
                connection.feed(octet)
            (message,) = connection.events
            assert isinstance(message, str)
            # The last byte makes its frame whole, and whole frames are decoded at once.
            assert size - 1 <= checked <= 2 * len(message)

    def test_one_frame_byte_by_byte(self):
        few = calls_of(self.work(frame(1, b"x" * 1000), 1))
        many = calls_of(self.work(frame(1, b"x" * 8000), 1))
        assert many <= 8 * few + 200

    def test_many_small_messages_in_one_read(self):
        def feed(count: int) -> Callable[[], None]:
            stream = frame(1, b"x") * count

            def work() -> None:
                connection = Connection()
                connection.feed(stream)
                assert len(connection.events) == count

            return work

        assert calls_of(feed(16_000)) <= 8 * calls_of(feed(2000)) + 500

    def test_frames_through_frame_buffer(self):
        def work(count: int) -> Callable[[], None]:
            def read() -> None:
                frames = frame_buffer(Source(self.fragments(2, count), [1 << 30]).recv, False)
                continuous = continuous_frame(False, False)
                while True:
                    value = frames.recv_frame()
                    continuous.validate(value)
                    continuous.add(value)
                    if continuous.is_fire(value):
                        break
                assert len(continuous.extract(value)[1].data) == count

            return read

        assert calls_of(work(8000)) <= 8 * calls_of(work(1000)) + 200


class TestSize:
    @examples(30)
    @given(
        lengths=st.lists(st.integers(0, 60), min_size=1, max_size=6),
        limit=st.integers(0, 150),
        sizes=chunk_sizes(),
        role=st.sampled_from(ROLES),
    )
    def test_the_limit_is_that_of_the_whole_message(self, lengths, limit, sizes, role):
        key = bytes(4) if role is Role.SERVER else None
        stream = b"".join(
            frame(0 if i else 2, bytes(length), fin=i == len(lengths) - 1, key=key)
            for i, length in enumerate(lengths)
        )
        connection = Connection(role, max_size=limit)
        for chunk in chunked(stream, sizes):
            connection.feed(chunk)
        (event,) = connection.events
        if sum(lengths) <= limit:
            assert event == bytes(sum(lengths))
        else:
            assert isinstance(event, WebSocketMessageTooBigException)
            passed = next(total for total in itertools.accumulate(lengths) if total > limit)
            assert (event.size, event.limit) == (passed, limit)


def test_the_naive_oracles_agree_with_each_other():
    """A test of the tests: two UTF-8 oracles and two frame oracles of different make."""
    source = random.Random(5)
    for _ in range(2000):
        data = source.randbytes(source.randint(0, 5))
        bad = first_bad_byte(data)
        if bad is None:
            # All of it is good but perhaps a character at its end that is cut off.
            data.decode(errors="ignore").encode()
            assert any(is_text(data[: len(data) - cut]) for cut in range(4))
        else:
            assert not is_text(data)
            assert not any(is_text(data[:bad] + bytes((octet,))) for octet in range(256))
    encoded = frame(2, bytes(300), key=b"abcd")
    assert [f.payload for f in parse(encoded)] == [bytes(300)]


def is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
