"""The grammar of Sec-WebSocket-Extensions, and an extension that is not our own."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

import pytest
from faces import FACES, Face
from hypothesis import given, settings
from hypothesis import strategies as st

from websocket import WebSocketArgumentException, WebSocketHandshakeException, create_connection
from websocket._protocol.connection import Connection, Role
from websocket._protocol.extensions import (
    Codec,
    Element,
    NegotiationError,
    Params,
    accept,
    agree,
    offer,
    parse_extensions,
)
from websocket.testing import Server

TOKENS = st.text("!#$%&'*+-.^_`|~0aZ", min_size=1, max_size=6)


class TestGrammar:
    @pytest.mark.parametrize(
        ("value", "elements"),
        [
            ("", []),
            (" , ,", []),
            ("a", [("a",)]),
            ("a,b", [("a",), ("b",)]),
            (", a ,, b ,", [("a",), ("b",)]),
            ("a;x", [("a", ("x", None))]),
            ("a;x;y=1", [("a", ("x", None), ("y", "1"))]),
            ("a \t;\t x = 1 ; y , b", [("a", ("x", "1"), ("y", None)), ("b",)]),
            ('a; x="1"', [("a", ("x", "1"))]),
            ('a; x="\\1\\0", b', [("a", ("x", "10")), ("b",)]),
            ("a; x=1; x=2", [("a", ("x", "1"), ("x", "2"))]),
        ],
    )
    def test_good(self, value, elements):
        assert [(name, *params) for name, params in parse_extensions(value)] == elements

    @pytest.mark.parametrize(
        "value",
        [
            *(";", "a b", "a;", "a; ;b", "a;x=", "a;=1", "a;x=1 2", "a;x==1", "é", "a;é", "a\x00"),
            *(
                'a;x="',
                'a;x="1',
                'a;x=""',
                'a;x="a b"',
                'a;x="a,b"',
                'a;x="a;b"',
                'a;x="1\\"',
                '"a"',
            ),
            *('a;"x"', "a/b", "a;x=(", 'a;x="é"', 'a;x="1"2', "a;x=1\n"),
        ],
    )
    def test_bad(self, value):
        with pytest.raises(NegotiationError):
            parse_extensions(value)

    @settings(deadline=None)
    @given(
        st.lists(
            st.builds(
                Element,
                TOKENS,
                st.lists(st.tuples(TOKENS, st.none() | TOKENS), max_size=3).map(tuple),
            ),
            max_size=4,
        )
    )
    def test_what_is_written_is_read(self, elements):
        assert parse_extensions(", ".join(map(str, elements))) == elements

    @settings(deadline=None)
    @given(st.text('a;=," \\\t', max_size=12))
    def test_any_text_is_read_or_refused(self, value):
        try:
            elements = parse_extensions(value)
        except NegotiationError:
            return
        assert parse_extensions(", ".join(map(str, elements))) == elements


class Rot13Codec(Codec):
    """Turns letters. It marks its messages with RSV2, and leaves those with a ! alone."""

    rsv = 0x20

    def encode(self, payload: bytes | bytearray | memoryview) -> bytes | None:
        return None if b"!" in bytes(payload) else self.encode_piece(payload, True)

    def encode_piece(self, payload: bytes | bytearray | memoryview, fin: bool) -> bytes:
        return codecs.encode(bytes(payload).decode("latin-1"), "rot13").encode("latin-1")

    def decode(self, payload: bytes | bytearray | memoryview, fin: bool) -> Iterator[bytes]:
        for start in range(0, len(payload), 5):
            yield self.encode_piece(payload[start : start + 5], False)


class Rot13:
    """An extension as a program may write it: no more than the documented interface."""

    name = "x-rot13"

    def __init__(self, times: int = 1) -> None:
        self.times = times

    def offer(self) -> Params:
        return [("times", str(self.times))]

    def agree(self, params: Params) -> Codec:
        if dict(params) != dict(self.offer()):
            raise NegotiationError(f"times must be {self.times}")
        return Rot13Codec()

    def accept(self, params: Params) -> tuple[Params, Codec] | None:
        return (params, Rot13Codec()) if dict(params) == dict(self.offer()) else None


class TestAnExtensionOfOnesOwn:
    @pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)
    def test_over_a_connection(self, face: Face):
        with (
            Server(compression=Rot13()) as server,
            face.open(server.url, compression=Rot13()) as session,
        ):
            assert session.headers is not None
            assert session.headers["sec-websocket-extensions"] == "x-rot13; times=1"
            for message in ("Hello", "not me!", b"Hello", "", "long " * 40_000):
                session.send(message)
                assert session.recv() == message
        assert server.errors == []

    def test_declined(self):
        with (
            Server(compression=Rot13(2)) as server,
            create_connection(server.url, compression=Rot13(), timeout=10) as ws,
        ):
            assert "sec-websocket-extensions" not in (ws.headers or {})
            ws.send("Hello")
            assert ws.recv() == "Hello"

    def test_on_the_wire(self):
        connection = Connection(Role.SERVER, codec=Rot13Codec())
        assert connection.encode(1, "Hello") == b"\xa1\x05Uryyb"
        assert connection.encode(1, "Hello!") == b"\x81\x06Hello!"
        assert connection.encode(9, "Hello") == b"\x89\x05Hello"
        assert connection.encode(1, "Hello", fin=False) == b"\x01\x05Hello"
        client = Connection(codec=Rot13Codec())
        client.feed(b"\xa1\x05Uryyb" + b"\x22\x03Ury" + b"\x89\x00" + b"\x80\x02yb" + b"\x81\x01a")
        assert list(client.events)[::2] == ["Hello", b"Hello"]
        assert client.events[3] == "a"

    def test_another_bit_is_not_its(self):
        client = Connection(codec=Rot13Codec())
        client.feed(b"\xc1\x05Uryyb")
        assert "no extension was negotiated" in str(client.events[0])


class TestNegotiation:
    def test_the_offer(self):
        assert offer(Rot13(3)) == "x-rot13; times=3"

    @pytest.mark.parametrize("values", [[], ["other"], ["other; times=1, another"]])
    def test_a_server_may_decline(self, values):
        assert agree(Rot13(), values) is None

    @pytest.mark.parametrize(
        "values", [["x-rot13"], ["X-Rot13; times=2"], ["x-rot13; times=1", "x-rot13; times=1"]]
    )
    def test_no_answer_to_the_offer(self, values):
        with pytest.raises(NegotiationError):
            agree(Rot13(), values)

    def test_the_first_offer_that_can_be_met(self):
        values = ["other, x-rot13; times=4", "x-rot13; times=2; x, x-rot13; times=2"]
        accepted = accept(Rot13(2), values)
        assert accepted is not None
        assert accepted[0] == "x-rot13; times=2"
        assert accept(Rot13(3), values) is None
        assert accept(None, ["what; ever ("]) is None

    def test_the_error_shows_the_header(self):
        headers = [("Sec-WebSocket-Extensions", 'x-rot13; times="7"')]
        with (
            Server(headers=headers) as server,
            pytest.raises(
                WebSocketHandshakeException, match=r'x-rot13; times="7".*times must be 1'
            ),
        ):
            create_connection(server.url, compression=Rot13(), timeout=10)

    @pytest.mark.parametrize("value", ["x-rot13; times=1", "x-rot13 ("])
    def test_an_answer_that_was_not_asked_for(self, value):
        with (
            Server(headers=[("Sec-WebSocket-Extensions", value)]) as server,
            pytest.raises(WebSocketHandshakeException, match=r"x-rot13") as caught,
        ):
            create_connection(server.url, timeout=10)
        assert caught.value.status_code == 101

    def test_a_request_with_a_malformed_offer_is_refused(self):
        with (
            Server(compression=Rot13()) as server,
            pytest.raises(WebSocketArgumentException, match="Sec-WebSocket-Extensions"),
        ):
            create_connection(
                server.url, header=["Sec-WebSocket-Extensions: x-rot13; ="], timeout=10
            )

    def test_offered_twice(self):
        with (
            Server(compression=Rot13()) as server,
            pytest.raises(WebSocketArgumentException, match="leave out one"),
        ):
            create_connection(
                server.url,
                compression=Rot13(),
                header={"sec-websocket-extensions": "x-rot13"},
                timeout=10,
            )

    @pytest.mark.parametrize("value", [1, True, "gzip", "permessage-deflate", object()])
    def test_what_compression_can_be(self, value):
        with pytest.raises(WebSocketArgumentException, match="compression"):
            create_connection("ws://127.0.0.1:1/", compression=value)
