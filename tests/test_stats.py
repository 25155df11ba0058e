"""What connections count, on every face: both ends must come to the same."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from badservers import BINARY, PING, TEXT, Peer, scripted
from conftest import DEADLINE
from faces import FACES, Face
from test_app import BYE
from test_session import QUICK, Turns, drop, refuse
from wire import frame

import websocket
from websocket import Deflate, Stats, WebSocket, WebSocketApp, aio, reconnecting
from websocket.testing import Server, ServerConnection

pytestmark = pytest.mark.usefixtures("no_leaks")

each_face = pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)

MESSAGES = ["", "é", b"\xff" * 125, "x" * 200, b"y" * 70_000, "z" * 200_000]
CONT = 0


class Echo:
    """An echo server that pings once, and keeps what its end of each connection has counted."""

    def __init__(self) -> None:
        self.stats: list[Stats] = []
        self.ended = threading.Event()

    def __call__(self, ws: ServerConnection) -> None:
        ws.ping(b"question")
        for message in ws:
            ws.send(message)
        self.stats.append(ws.stats)
        self.ended.set()


@pytest.fixture
def traced() -> Iterator[None]:
    websocket.enableTrace(True, logging.NullHandler())
    yield
    websocket.enableTrace(False)


def agree(client: Stats, server: Stats) -> None:
    assert client.bytes_sent == server.bytes_received
    assert client.bytes_received == server.bytes_sent
    assert client.messages_sent == server.messages_received == len(MESSAGES)
    assert client.messages_received == server.messages_sent == len(MESSAGES)
    assert (client.pings_sent, server.pings_received) == (1, 1)
    assert (client.pongs_received, server.pongs_sent) == (1, 1)
    assert (client.pings_received, server.pings_sent) == (1, 1)
    assert (client.pongs_sent, server.pongs_received) == (1, 1)
    assert client.close_code == 1000
    assert (server.close_code, server.close_reason) == (1000, "enough")


def talk(face: Face, **options: Any) -> tuple[Stats, Stats]:
    """What client and server have counted of the same conversation."""
    echo = Echo()
    compression = options.get("compression")
    with Server(echo, compression=compression) as server:
        with face.open(server.url, **options) as session:
            for message in MESSAGES:
                session.send(message)
                assert session.recv() == message
            assert session.ping("p") == b"p"
            session.close(reason="enough")
            client = session.stats
        assert echo.ended.wait(DEADLINE)
    return client, echo.stats[0]


@each_face
def test_both_ends_agree(face: Face) -> None:
    before = time.time()
    client, server = talk(face)
    agree(client, server)
    payload = sum(len(m.encode() if isinstance(m, str) else m) for m in MESSAGES)
    headers = 3 * 2 + 1 * 4 + 2 * 10  # RFC 6455 section 5.2
    # A question, an answer, and a Close with its reason or without.
    assert client.bytes_received == payload + headers + (2 + 8) + (2 + 1) + (2 + 2)
    masks = 4 * (len(MESSAGES) + 3)
    assert client.bytes_sent == client.bytes_received + masks + len("enough")
    for stats in (client, server):
        assert (stats.connections, stats.reconnects, stats.losses) == (1, 0, 0)
        assert stats.compression_sent is stats.compression_received is None
        assert stats.connected_at is not None
        assert stats.last_received_at is not None
        # The clock of the wall may be set while this runs, but hardly by half a minute.
        assert before - 30 < stats.connected_at < time.time() + 30
        assert before - 30 < stats.last_received_at < time.time() + 30


@each_face
@pytest.mark.usefixtures("traced")
def test_both_ends_agree_with_traces(face: Face) -> None:
    agree(*talk(face))


@each_face
def test_both_ends_agree_with_mask_keys_of_a_program(face: Face) -> None:
    agree(*talk(face, get_mask_key=lambda size: b"\1\2\3\4"))


@each_face
@pytest.mark.parametrize("takeover", [True, False])
def test_both_ends_agree_with_compression(face: Face, takeover: bool) -> None:
    client, server = talk(
        face,
        compression=Deflate(
            server_no_context_takeover=not takeover,
            client_no_context_takeover=not takeover,
        ),
    )
    agree(client, server)
    # Those under the threshold went as they are.
    original = 125 + 200 + 70_000 + 200_000
    assert client.original_sent == client.original_received == original
    assert server.original_sent == server.original_received == original
    assert client.compressed_sent == server.compressed_received < client.bytes_sent
    assert client.compressed_received == server.compressed_sent < client.bytes_received
    assert client.compression_sent == original / client.compressed_sent > 10
    assert client.compression_received == original / client.compressed_received > 10


@each_face
def test_a_message_in_fragments_is_one(face: Face) -> None:
    def script(peer: Peer) -> None:
        head = frame(TEXT, b"a", fin=False) + frame(PING, b"") + frame(CONT, b"b", fin=False)
        peer.accept(then=head + frame(CONT, b"c") + frame(BINARY, b"four") + BYE)
        peer.finish()

    with scripted(script) as url, face.open(url) as session:
        assert session.recv() == "abc"
        assert session.recv() == b"four"
        session.recv()
        session.close()
        stats = session.stats
    assert (stats.messages_received, stats.pings_received, stats.messages_sent) == (2, 1, 0)
    assert stats.close_code == 1001
    assert stats.bytes_received == 3 * 3 + 2 + 6 + len(BYE)


@each_face
def test_latency(face: Face) -> None:
    with Server() as server, face.open(server.url) as session:
        assert session.stats.latency is None
        if face.name == "callback":
            return  # the pings of a program are not timed there, only those of the keepalive
        session.ping("one")
        first = session.stats.latency
        assert first is not None
        assert session.stats.smoothed_latency == first
        session.ping("two")
        second = session.stats.latency
        assert second is not None
        assert session.stats.smoothed_latency == pytest.approx(first + (second - first) / 8)


@each_face
@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
def test_when_something_was_sent_last(face: Face) -> None:
    with Server() as server, face.open(server.url) as session:
        session.send("now")
        session.recv()
        at = session.stats.last_sent_at
        assert at is not None
        assert abs(time.time() - at) < 30
        session.close()
        later = session.stats.last_sent_at
        assert later is not None
        assert later >= at - 1


def test_streams_and_batches() -> None:
    with Server() as server, websocket.create_connection(server.url, timeout=DEADLINE) as ws:
        sizes = [ws.send_stream(["one", "message"]), ws.send_many(["two", b"three"])]
        assert "".join(map(str, ws.recv_stream())) == "onemessage"
        assert [ws.recv(), ws.recv()] == ["two", b"three"]
        assert (ws.stats.messages_sent, ws.stats.messages_received) == (3, 3)
        assert ws.stats.bytes_sent == sum(sizes)


def test_streams_and_batches_awaited() -> None:
    async def main(url: str) -> Stats:
        async with aio.connect(url, timeout=DEADLINE) as ws:
            await ws.send(["one", "message"])
            await ws.send_many(["two", b"three"])
            assert "".join([str(piece) async for piece in ws.recv_stream()]) == "onemessage"
            assert [await ws.recv(), await ws.recv()] == ["two", b"three"]
            return ws.stats

    with Server() as server:
        stats = asyncio.run(main(server.url))
    assert (stats.messages_sent, stats.messages_received) == (3, 3)


def test_a_connection_made_anew_counts_anew() -> None:
    ws = WebSocket()
    assert ws.stats == Stats()
    with Server() as server:
        for _ in range(2):
            ws.connect(server.url, timeout=DEADLINE)
            ws.send("once")
            ws.recv()
            assert (ws.stats.connections, ws.stats.messages_sent) == (1, 1)
            ws.close()
    assert (ws.stats.connections, ws.stats.messages_sent, ws.stats.close_code) == (1, 1, 1000)


# Connections that follow one another


def greet(peer: Peer) -> None:
    peer.accept(then=frame(TEXT, b"hello"))
    assert peer.next_frame().payload == b"hi"


def greet_and_end(peer: Peer) -> None:
    greet(peer)
    peer.send(BYE)
    peer.finish()


def run_app(url: str) -> list[Stats]:
    found: list[Stats] = []

    def note(app: WebSocketApp, *_: Any) -> None:
        found.append(app.stats)

    app = WebSocketApp(
        url, on_open=note, on_message=lambda app, message: app.send("hi"), on_close=note
    )
    assert app.stats == Stats()
    app.run_forever(reconnect=QUICK)
    assert app.stats == found.pop()
    return [*found, app.stats]


def run_loop(url: str) -> list[Stats]:
    found: list[Stats] = []
    feed = reconnecting(
        url, DEADLINE, reconnect=QUICK, on_connect=lambda ws: found.append(feed.stats)
    )
    assert feed.stats == Stats()
    for _ in feed:
        feed.send("hi")
    return [*found, feed.stats]


def run_awaited(url: str) -> list[Stats]:
    async def main() -> list[Stats]:
        found: list[Stats] = []
        feed = aio.connect(url, reconnect=QUICK, timeout=DEADLINE)
        assert feed.stats == Stats()
        async for ws in feed:
            found.append(feed.stats)
            try:
                async for _ in ws:
                    await ws.send("hi")
            except websocket.WebSocketConnectionClosedException:
                continue
        return [*found, feed.stats]

    return asyncio.run(main())


@pytest.mark.parametrize("run", [run_app, run_loop, run_awaited])
def test_all_connections_together(run: Any) -> None:
    with scripted(Turns(greet, refuse(503), drop, greet_and_end)) as url:
        *opened, last = run(url)
    assert [stats.connections for stats in opened] == [1, 2, 3]
    assert (opened[0].reconnects, opened[0].losses) == (0, 0)
    assert (last.connections, last.reconnects, last.losses) == (3, 2, 3)
    assert (last.messages_received, last.messages_sent) == (2, 2)
    hello, close = len(frame(TEXT, b"hello")), len(BYE)
    assert last.bytes_received == 2 * hello + close
    assert last.close_code == 1001
    assert last.connected_at >= opened[0].connected_at - 1


def test_any_thread_may_ask() -> None:
    """No number ever goes down, whatever the connections do meanwhile."""
    ended = threading.Event()
    seen: list[Stats] = []

    def ask() -> None:
        while not ended.is_set():
            seen.append(app.stats)
            time.sleep(0.0005)

    asking = threading.Thread(target=ask)
    with scripted(Turns(*[greet] * 5, greet_and_end)) as url:
        app = WebSocketApp(url, on_message=lambda app, message: app.send("hi"))
        asking.start()
        try:
            app.run_forever(reconnect=QUICK)
        finally:
            ended.set()
            asking.join(DEADLINE)
    seen.append(app.stats)
    for name in ("connections", "losses", "messages_received", "bytes_received", "bytes_sent"):
        values = [getattr(stats, name) for stats in seen]
        assert values == sorted(values), name
    assert (app.stats.connections, app.stats.messages_received) == (6, 6)


# The value


def test_sums() -> None:
    early = Stats(
        connections=1,
        bytes_sent=5,
        original_sent=300,
        compressed_sent=100,
        connected_at=10.0,
        last_received_at=99.0,
        latency=0.5,
        close_code=1000,
        close_reason="over",
    )
    late = Stats(
        connections=2,
        losses=1,
        bytes_sent=7,
        original_sent=100,
        compressed_sent=100,
        connected_at=20.0,
    )
    assert early + late == late + early == sum((early, late), Stats())
    both = early + late
    assert (both.connections, both.reconnects, both.losses, both.bytes_sent) == (3, 2, 1, 12)
    assert both.compression_sent == 2.0
    assert (both.connected_at, both.last_received_at, both.last_sent_at) == (20.0, 99.0, None)
    # The later connection is still open, and has no ping that was answered.
    assert (both.latency, both.close_code, both.close_reason) == (None, None, None)


def test_a_value_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Stats().bytes_sent = 1  # type: ignore[misc]
