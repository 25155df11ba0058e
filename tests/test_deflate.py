"""permessage-deflate: negotiation, round trips, what a peer must not send, and memory."""

from __future__ import annotations

import itertools
import random
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_properties import chunk_sizes, chunked, examples, pieces
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.protocol import CLIENT as OTHER_CLIENT
from websockets.protocol import SERVER as OTHER_SERVER
from websockets.protocol import Protocol as OtherProtocol
from wire import frame, parse

from websocket import (
    Deflate,
    WebSocketArgumentException,
    WebSocketMessageTooBigException,
    WebSocketPayloadException,
    WebSocketProtocolException,
)
from websocket._protocol.connection import Connection, Role
from websocket._protocol.extensions import NegotiationError, accept, agree, offer, parse_extensions
from websocket._protocol.messages import Fragment, Ping

TAIL = b"\x00\x00\xff\xff"
MIB = 1 << 20
NO_TAKEOVER_OFFER = (
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover;"
    " client_max_window_bits"
)


def pair(client: Deflate, server: Deflate, **options) -> tuple[Connection, Connection]:
    """Both ends of a connection that has negotiated."""
    accepted = accept(server, [offer(client)])
    assert accepted is not None
    answer, server_codec = accepted
    return (
        Connection(Role.CLIENT, codec=agree(client, [answer]), **options),
        Connection(Role.SERVER, codec=server_codec, **options),
    )


def receiver(**options) -> Connection:
    """A client with the usual settings."""
    return pair(Deflate(), Deflate(), **options)[0]


def deflate(data: bytes, level: int = 6, bits: int = 15) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def marked(payload: bytes, opcode: int = 1, fin: bool = True) -> bytes:
    return frame(opcode, payload, fin=fin, rsv=4)


def outcome(*data: bytes, **options) -> object:
    """The last event that these bytes bring."""
    connection = receiver(**options)
    for piece in data:
        connection.feed(piece)
    return connection.events[-1]


class TestSettings:
    @pytest.mark.parametrize(
        ("option", "bad"),
        [
            *itertools.product(["server_max_window_bits", "client_max_window_bits"], [7, 16, "9"]),
            ("level", 10),
            ("level", -2),
            ("memory_level", 0),
            ("memory_level", 10),
            ("threshold", -1),
            ("threshold", 1.5),
            ("level", True),
        ],
    )
    def test_out_of_range(self, option, bad):
        with pytest.raises(WebSocketArgumentException, match=option):
            Deflate(**{option: bad})

    @pytest.mark.parametrize(
        ("settings", "text"),
        [
            ({}, "permessage-deflate; client_max_window_bits"),
            (
                {"server_no_context_takeover": True, "client_no_context_takeover": True},
                NO_TAKEOVER_OFFER,
            ),
            (
                {"server_max_window_bits": 8, "client_max_window_bits": 15},
                "permessage-deflate; server_max_window_bits=8; client_max_window_bits=15",
            ),
        ],
    )
    def test_offer(self, settings, text):
        assert offer(Deflate(**settings)) == text


class TestTheServersAnswer:
    @pytest.mark.parametrize(
        "answer",
        [
            "",
            "; server_no_context_takeover",
            "; client_no_context_takeover",
            "; server_max_window_bits=8",
            "; server_max_window_bits=15; client_max_window_bits=15",
            '; client_max_window_bits="8"; client_no_context_takeover',
        ],
    )
    def test_to_a_plain_offer(self, answer):
        assert agree(Deflate(), ["Permessage-Deflate" + answer]) is not None

    @pytest.mark.parametrize(
        "answer",
        [
            "; server_no_context_takeover=1",
            "; client_no_context_takeover=true",
            "; server_max_window_bits",
            "; client_max_window_bits",
            "; server_max_window_bits=7",
            "; server_max_window_bits=16",
            "; server_max_window_bits=08",
            "; client_max_window_bits=+9",
            "; client_max_window_bits=",
            "; client_max_window_bits=9; client_max_window_bits=9",
            "; server_no_context_takeover; server_no_context_takeover",
            "; unknown",
            "; Server_no_context_takeover",
            ", permessage-deflate",
        ],
    )
    def test_that_is_none(self, answer):
        with pytest.raises(NegotiationError):
            agree(Deflate(), ["permessage-deflate" + answer])

    @pytest.mark.parametrize(
        ("settings", "good", "bad"),
        [
            (
                {"server_no_context_takeover": True},
                "; server_no_context_takeover; client_no_context_takeover",
                "; client_no_context_takeover",
            ),
            ({"server_max_window_bits": 10}, "; server_max_window_bits=9", ""),
            (
                {"server_max_window_bits": 10},
                "; server_max_window_bits=10",
                "; server_max_window_bits=11",
            ),
            ({"client_max_window_bits": 10}, "", "; client_max_window_bits=11"),
            (
                {"client_max_window_bits": 10},
                "; client_max_window_bits=10",
                "; client_max_window_bits=15",
            ),
            ({"client_no_context_takeover": True}, "", "; x"),
        ],
    )
    def test_to_demands(self, settings, good, bad):
        assert agree(Deflate(**settings), ["permessage-deflate" + good]) is not None
        with pytest.raises(NegotiationError):
            agree(Deflate(**settings), ["permessage-deflate" + bad])


class TestTheClientsOffer:
    @pytest.mark.parametrize(
        ("offered", "settings", "answer"),
        [
            ("", {}, ""),
            ("; client_max_window_bits", {}, ""),
            (
                "; client_max_window_bits",
                {"client_max_window_bits": 9},
                "; client_max_window_bits=9",
            ),
            ("; client_max_window_bits=10", {}, "; client_max_window_bits=10"),
            (
                "; client_max_window_bits=10",
                {"client_max_window_bits": 12},
                "; client_max_window_bits=10",
            ),
            ("", {"client_max_window_bits": 9}, ""),
            ("; server_max_window_bits=10", {}, "; server_max_window_bits=10"),
            (
                "; server_max_window_bits=10",
                {"server_max_window_bits": 8},
                "; server_max_window_bits=8",
            ),
            ("", {"server_max_window_bits": 8}, "; server_max_window_bits=8"),
            ("; server_no_context_takeover", {}, "; server_no_context_takeover"),
            ("; client_no_context_takeover", {}, "; client_no_context_takeover"),
            ("", {"client_no_context_takeover": True}, "; client_no_context_takeover"),
            ("; server_max_window_bits", {}, None),
            ("; server_max_window_bits=7", {}, None),
            ("; nonsense", {}, None),
            ("; client_max_window_bits=9; client_max_window_bits", {}, None),
            ("; nonsense, permessage-deflate", {}, ""),
        ],
    )
    def test_answer(self, offered, settings, answer):
        accepted = accept(Deflate(**settings), ["permessage-deflate" + offered])
        if answer is None:
            assert accepted is None
        else:
            assert accepted is not None
            assert accepted[0] == "permessage-deflate" + answer

    def test_nothing_that_can_be_met(self):
        assert accept(Deflate(), ["x-webkit-deflate-frame"]) is None


def bits() -> st.SearchStrategy[int | None]:
    return st.sampled_from([None, 8, 9, 10, 12, 15])


def settings_of() -> st.SearchStrategy[Deflate]:
    return st.builds(
        Deflate,
        server_no_context_takeover=st.booleans(),
        client_no_context_takeover=st.booleans(),
        server_max_window_bits=bits(),
        client_max_window_bits=bits(),
        level=st.sampled_from([-1, 0, 1, 6, 9]),
        memory_level=st.sampled_from([1, 5, 8, 9]),
        threshold=st.sampled_from([0, 0, 10, 1000]),
    )


@st.composite
def bodies(draw: st.DrawFn) -> str | bytes:
    """Repetitive, random, empty, and long enough to leave every window behind."""
    kind = draw(st.sampled_from(["text", "binary", "repeated", "noise", "far"]))
    if kind == "text":
        return draw(st.text(max_size=30))
    if kind == "binary":
        return draw(st.binary(max_size=30))
    if kind == "repeated":
        return draw(st.text(min_size=1, max_size=9)) * draw(st.sampled_from([7, 100, 5000]))
    noise = random.Random(draw(st.integers(0, 9)))
    if kind == "noise":
        return noise.randbytes(draw(st.sampled_from([200, 9_000, 70_000])))
    words = [noise.randbytes(40) for _ in range(5)]
    return b"".join(noise.choice(words) + noise.randbytes(200) for _ in range(60))


@st.composite
def sent_messages(draw: st.DrawFn) -> list[tuple[str | bytes, list[int] | None]]:
    """Messages, each with the cuts of its fragments; None: whole, in one frame."""
    found: list[tuple[str | bytes, list[int] | None]] = []
    for message in draw(st.lists(bodies(), min_size=1, max_size=5)):
        cuts = draw(st.none() | st.lists(st.integers(0, len(message)), max_size=3))
        found.append((message, cuts))
    return found


def encoded(
    connection: Connection, messages: Iterable[tuple[str | bytes, list[int] | None]]
) -> Iterator[bytes]:
    for message, cuts in messages:
        opcode = 1 if isinstance(message, str) else 2
        if cuts is None:
            yield connection.encode(opcode, message)
            continue
        data = message.encode() if isinstance(message, str) else message
        connection.begin_message(opcode)
        for piece in pieces(data, cuts):
            yield connection.encode_piece(piece, fin=False)
            yield connection.encode(9, b"between")
        yield connection.encode_piece(b"", fin=True)
        connection.end_message()


def other_events(protocol: OtherProtocol) -> list[str | bytes]:
    """The messages that the other library has received."""
    messages: list[str | bytes] = []
    opcode, parts = 0, []
    for event in protocol.events_received():
        if event.opcode in (0, 1, 2):
            opcode, parts = (event.opcode or opcode), [*parts, bytes(event.data)]
            if event.fin:
                data = b"".join(parts)
                messages.append(data.decode() if opcode == 1 else data)
                parts = []
    return messages


class TestRoundTrip:
    @pytest.mark.parametrize("to", ["server", "client"])
    @examples(40)
    @given(
        client=settings_of(), server=settings_of(), messages=sent_messages(), sizes=chunk_sizes()
    )
    def test_between_our_two_roles(self, to, client, server, messages, sizes):
        ends = pair(client, server)
        receiving, sending = ends if to == "client" else ends[::-1]
        stream = b"".join(encoded(sending, messages))
        for chunk in chunked(stream, sizes):
            receiving.feed(chunk)
        received = [event for event in receiving.events if not isinstance(event, Ping)]
        assert received == [message for message, _ in messages]

    @examples(40)
    @given(settings=settings_of(), messages=sent_messages(), sizes=chunk_sizes())
    def test_with_a_server_of_another_library(self, settings, messages, sizes):
        factory = ServerPerMessageDeflateFactory()
        (element,) = parse_extensions(offer(settings))
        # It takes the sizes from 8 on, but its zlib compresses with 9 and more only.
        if settings.server_max_window_bits == 8:
            settings = Deflate(server_max_window_bits=9)
            (element,) = parse_extensions(offer(settings))
        params, extension = factory.process_request_params(list(element.params), [])
        answer = "; ".join([element.name, *(k if v is None else f"{k}={v}" for k, v in params)])
        ours = Connection(Role.CLIENT, codec=agree(settings, [answer]))
        other = OtherProtocol(OTHER_SERVER, max_size=None)
        other.extensions = [extension]
        self.exchange(ours, other, messages, sizes)

    @examples(40)
    @given(settings=settings_of(), messages=sent_messages(), sizes=chunk_sizes())
    def test_with_a_client_of_another_library(self, settings, messages, sizes):
        if settings.client_max_window_bits == 8:
            settings = Deflate(client_max_window_bits=9)
        factory = ClientPerMessageDeflateFactory(client_max_window_bits=True)
        params = [
            (k, None if v in (None, True) else str(v)) for k, v in factory.get_request_params()
        ]
        accepted = settings.accept(params)
        assert accepted is not None
        answer, codec = accepted
        ours = Connection(Role.SERVER, codec=codec)
        other = OtherProtocol(OTHER_CLIENT, max_size=None)
        other.extensions = [factory.process_response_params(list(answer), [])]
        self.exchange(ours, other, messages, sizes)

    @staticmethod
    def exchange(ours, other, messages, sizes):
        expected = [message for message, _ in messages]
        other.receive_data(b"".join(encoded(ours, messages)))
        assert other_events(other) == expected
        other.data_to_send()
        for message, cuts in messages:
            data = message.encode() if isinstance(message, str) else message
            parts = pieces(data, cuts or [])
            for number, part in enumerate(parts):
                fin = number == len(parts) - 1
                if number:
                    other.send_continuation(part, fin)
                elif isinstance(message, str):
                    other.send_text(part, fin)
                else:
                    other.send_binary(part, fin)
        for chunk in chunked(b"".join(other.data_to_send()), sizes):
            ours.feed(chunk)
        assert list(ours.events) == expected

    @examples(25)
    @given(messages=sent_messages(), sizes=chunk_sizes(), check_text=st.booleans())
    def test_as_fragments(self, messages, sizes, check_text):
        client, server = pair(Deflate(), Deflate(), fragments=True, check_text=check_text)
        for chunk in chunked(b"".join(encoded(server, messages)), sizes):
            client.feed(chunk)
        received: list[bytes] = []
        new = True
        for event in client.events:
            if isinstance(event, Ping):
                continue
            if isinstance(event, Fragment):
                data, fin = event.payload, event.fin
            else:
                data, fin = (event.encode() if isinstance(event, str) else event), True
            received[len(received) - (not new) :] = [data if new else received[-1] + data]
            new = fin
        assert received == [m.encode() if isinstance(m, str) else m for m, _ in messages]

    def test_messages_below_the_threshold_are_sent_as_they_are(self):
        client, _ = pair(Deflate(threshold=10), Deflate())
        (small,) = parse(client.encode(1, "é" * 4 + "a"))
        (large,) = parse(client.encode(1, "é" * 5))
        assert (small.rsv, small.payload) == (0, ("é" * 4 + "a").encode())
        assert large.rsv == 4

    def test_takeover_makes_the_second_message_small(self):
        text = "".join(random.Random(1).choices("abcdefgh", k=1000))
        client, _ = pair(Deflate(), Deflate())
        first, second = len(client.encode(1, text)), len(client.encode(1, text))
        assert second < first / 10
        client, _ = pair(Deflate(client_no_context_takeover=True), Deflate())
        assert len(client.encode(1, text)) == len(client.encode(1, text)) == first

    def test_a_message_that_was_not_sent_is_not_referred_to(self):
        client, server = pair(Deflate(), Deflate())
        server.feed(client.encode(1, "one" * 100))
        client.encode(1, "this one is dropped " * 10)
        client.unsent()
        server.feed(client.encode(1, "this one is dropped " * 10))
        assert list(server.events) == ["one" * 100, "this one is dropped " * 10]

    @pytest.mark.parametrize("level", range(10))
    @pytest.mark.parametrize("size", [8, 9])
    def test_a_window_of_8_bits_reaches_back_256_bytes(self, size, level):
        """What we compress for it is read by an inflater that has no more than these."""
        settings = Deflate(client_max_window_bits=8, level=level, threshold=0)
        client, _ = pair(settings, Deflate())
        noise = random.Random(level)
        words = [noise.randbytes(20) for _ in range(30)]
        message = b"".join(noise.choice(words) + noise.randbytes(9) for _ in range(500))
        (sent,) = parse(client.encode(2, message))
        stream = zlib.decompressobj(-8)
        found, data = bytearray(), sent.payload + TAIL
        while (byte := stream.decompress(data, 1)) != b"":
            found += byte
            data = stream.unconsumed_tail
        assert bytes(found) == message


class TestExamplesOfTheRfc:
    """Section 7.2.3: "Hello" in all ways."""

    @pytest.mark.parametrize(
        "data",
        [
            marked(bytes.fromhex("f248cdc9c90700")),
            marked(bytes.fromhex("f248cd"), fin=False) + frame(0, bytes.fromhex("c9c90700")),
            marked(bytes.fromhex("000500faff48656c6c6f00")),
            marked(bytes.fromhex("f348cdc9c9070000")),
            marked(
                bytes.fromhex("f2480500000000ffffcac9c90700")[:0]
                or bytes.fromhex("f24805000000ffffcac9c90700")
            ),
        ],
        ids=["7.2.3.1", "7.2.3.1 in two frames", "7.2.3.3", "7.2.3.4 (BFINAL)", "7.2.3.5"],
    )
    @pytest.mark.parametrize("options", [{}, {"server_no_context_takeover": True}])
    @pytest.mark.parametrize("size", [1, 3, 100])
    def test_hello(self, data, options, size):
        client, _ = pair(Deflate(**options), Deflate())
        for _ in range(2):
            for chunk in chunked(data, [size]):
                client.feed(chunk)
        assert list(client.events) == ["Hello", "Hello"]

    def test_the_window_is_shared(self):
        """Section 7.2.3.2."""
        client = receiver()
        client.feed(marked(bytes.fromhex("f248cdc9c90700")) + marked(bytes.fromhex("f200110000")))
        assert list(client.events) == ["Hello", "Hello"]

    def test_empty(self):
        """Section 7.2.3.6."""
        assert outcome(marked(b"\0")) == ""
        assert outcome(marked(b"\0", opcode=2)) == b""


@st.composite
def compressed_frames(draw: st.DrawFn) -> bytes:
    """Frames that are marked, mostly, and whose payloads are good, mostly."""
    found = b""
    for _ in range(draw(st.integers(0, 6))):
        payload = bytearray(deflate(draw(st.binary(max_size=40))))
        if draw(st.booleans()):
            payload[draw(st.integers(0, len(payload) - 1))] ^= 1 << draw(st.integers(0, 7))
        if draw(st.integers(0, 4)) == 0:
            payload = bytearray(draw(st.binary(max_size=20)))
        opcode = draw(st.sampled_from([0, 0, 1, 2, 2, 9]))
        fin = opcode > 8 or draw(st.booleans())
        rsv = draw(st.sampled_from([0, 4])) if opcode in (0, 9) else 4
        found += frame(opcode, bytes(payload), fin=fin, rsv=rsv)
    return found


class TestWhatAPeerMustNotSend:
    @pytest.mark.parametrize("whole", [True, False])
    @pytest.mark.parametrize("takeover", [True, False])
    @pytest.mark.parametrize(
        "payload",
        [
            pytest.param(b"\x07", id="a block type that does not exist"),
            pytest.param(deflate(b"Hello" * 9)[:-3] + b"\xff\x00\x00", id="noise in the middle"),
            pytest.param(b"\x02\x02\x00\x00", id="a distance before the beginning"),
            pytest.param(b"", id="nothing"),
            pytest.param(deflate(b"Hello")[:-1] + b"\xff", id="no block at the end"),
            pytest.param(bytes.fromhex("f348cdc9c90700"), id="the last block, and no other"),
        ],
    )
    def test_broken_streams(self, payload, takeover, whole):
        client, _ = pair(Deflate(server_no_context_takeover=not takeover), Deflate())
        data = frame(1, b"before") + marked(payload)
        for chunk in chunked(data, [len(data) if whole else 1]):
            client.feed(chunk)
        before, error = client.events
        assert before == "before"
        assert isinstance(error, WebSocketPayloadException)
        assert error.close_code == 1007
        assert "RFC 7692" in str(error)
        assert client.ended

    def test_a_message_that_breaks_off(self):
        """Without takeover it is noticed at once, whatever the last bits are."""
        client, _ = pair(Deflate(server_no_context_takeover=True), Deflate())
        whole = deflate(random.Random(3).randbytes(300), level=9)
        cut = next(i for i in range(50, 300) if whole[i - 1] < 0x20)
        client.feed(marked(whole[:cut], opcode=2))
        (error,) = client.events
        assert isinstance(error, WebSocketPayloadException)

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (marked(b"\0", opcode=9), 1002),
            (marked(b"\0", opcode=10), 1002),
            (marked(b"", opcode=8), 1002),
            (frame(1, b"a", fin=False) + marked(b"\0", opcode=0), 1002),
            (marked(b"\0", fin=False) + marked(b"\0", opcode=0), 1002),
            (frame(1, b"a", rsv=2), 1002),
            (frame(1, b"a", rsv=5), 1002),
            (marked(deflate(b"\xff")), 1007),
            (marked(deflate(b"\xe2\x82")), 1007),
        ],
    )
    def test_frames(self, data, code):
        for size in (1, len(data)):
            error = outcome(*chunked(data, [size]))
            assert isinstance(error, (WebSocketProtocolException, WebSocketPayloadException))
            assert error.close_code == code

    def test_nothing_is_marked_unless_it_was_negotiated(self):
        client = Connection()
        client.feed(marked(b"\0"))
        (error,) = client.events
        assert isinstance(error, WebSocketProtocolException)
        assert "no extension was negotiated" in str(error)

    def test_bad_text_fails_before_its_frame_is_whole(self):
        data = marked(deflate(b"a" * 100 + b"\xff" + random.Random(1).randbytes(60_000)))
        client = receiver()
        client.feed(data[: len(data) // 2])
        (error,) = client.events
        assert isinstance(error, WebSocketPayloadException)
        assert "at byte 100 " in str(error)

    @examples(150)
    @given(
        data=compressed_frames(),
        sizes=chunk_sizes(),
        settings=settings_of(),
        max_size=st.sampled_from([None, 0, 30]),
    )
    @example(data=marked(b"\x03\x00" * 40 + b"\0"), sizes=[9], settings=Deflate(), max_size=None)
    def test_any_bytes(self, data, sizes, settings, max_size):
        """Messages and at most one clean error, whatever the chunks are."""

        def received(chunks: Iterable[bytes]) -> list[object]:
            client, _ = pair(settings, settings, max_size=max_size)
            for chunk in chunks:
                client.feed(chunk)
            *events, last = client.events or [None]
            assert not any(isinstance(event, Exception) for event in events)
            if isinstance(last, Exception):
                assert str(last)
                # What is too long and broken as well is either, as the pieces are.
                last = "broken" if last.close_code in (1007, 1009) else last.close_code
            return [*events, last]

        expected = received([data])
        assert received(chunked(data, [1])) == expected
        assert received(chunked(data, sizes)) == expected

    def test_many_last_blocks_cost_no_more_than_their_number(self):
        data = b"\x03\x00" * 20_000 + b"\0"
        assert outcome(marked(data, opcode=2)) == b""


class TestLimits:
    @pytest.mark.parametrize("size", [100, 70_000])
    @pytest.mark.parametrize("fragments", [1, 3])
    def test_the_limit_counts_what_comes_out(self, size, fragments):
        payload = deflate(b"a" * size)
        cuts = [len(payload) * i // fragments for i in range(1, fragments)]
        parts = pieces(payload, cuts)
        data = b"".join(
            frame(0 if i else 2, part, fin=i == len(parts) - 1, rsv=0 if i else 4)
            for i, part in enumerate(parts)
        )
        assert outcome(data, max_size=size) == b"a" * size
        error = outcome(data, max_size=size - 1)
        assert isinstance(error, WebSocketMessageTooBigException)
        assert error.close_code == 1009
        assert error.limit == size - 1
        assert error.size is not None
        assert error.size >= size
        assert "max_size" in str(error)

    def test_what_came_before_a_bomb_is_kept(self):
        client = receiver(max_size=1000)
        client.feed(marked(deflate(b"good")) + marked(deflate(b"a" * 5000)))
        good, error = client.events
        assert good == "good"
        assert isinstance(error, WebSocketMessageTooBigException)

    def test_a_message_that_can_not_be_compressed_may_be_as_large_as_the_limit(self):
        noise = random.Random(1).randbytes(100_000)
        payload = deflate(noise)
        assert len(payload) > len(noise)
        for fragments in (False, True):
            data = outcome(marked(payload, opcode=2), max_size=len(noise), fragments=fragments)
            assert data == noise

    @pytest.mark.parametrize("fragments", [False, True])
    def test_a_bomb_costs_no_more_than_the_limit_and_a_buffer(self, fragments):
        """1 GiB of zeros in 1 MiB, which repeats itself."""
        stream = zlib.compressobj(9, zlib.DEFLATED, -15)
        zeros = bytes(MIB)
        once = stream.compress(zeros) + stream.flush(zlib.Z_SYNC_FLUSH)
        again = stream.compress(zeros) + stream.flush(zlib.Z_SYNC_FLUSH)
        payload = (once + again * 1023).removesuffix(TAIL)
        data = frame(2, payload, rsv=4)
        limit = 4 * MIB
        client = receiver(max_size=limit, fragments=fragments)
        tracemalloc.start()
        try:
            client.feed(data)
            (error,) = client.events
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert isinstance(error, WebSocketMessageTooBigException)
        assert limit < (error.size or 0) <= limit + 64 * 1024
        # The compressed bytes are received into the buffer as well, up to a mebibyte.
        assert peak < limit + limit // 8 + 2 * MIB
