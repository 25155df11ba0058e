"""Compression over real connections: every face, servers of another library, both roads."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from conftest import Certificates
from faces import FACES, Face
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.sync.server import Server, ServerConnection, serve

from websocket import (
    Deflate,
    WebSocket,
    WebSocketApp,
    WebSocketHandshakeException,
    WebSocketTimeoutException,
    create_connection,
)
from websocket._protocol.connection import Connection, Role
from websocket._protocol.extensions import accept, agree, offer
from websocket.testing import Server as OwnServer
from websocket.testing import ServerConnection as OwnConnection

DEADLINE = 20.0

each_face = pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)

NOISE = random.Random(1).randbytes(100_000)
MESSAGES = ["", "a", "text " * 30, "\U0001f600" * 20_000, b"", bytes(300_000), NOISE]


def echo(peer: ServerConnection) -> None:
    for message in peer:
        peer.send(message)


@pytest.fixture
def run() -> Iterator[Callable[..., str]]:
    """Starts a server of the other library, which compresses; returns its address."""
    running: list[tuple[Server, threading.Thread]] = []

    def start(**options: object) -> str:
        options.setdefault("compression", "deflate")
        server = serve(echo, "127.0.0.1", 0, max_size=None, **options)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        scheme = "wss" if "ssl" in options else "ws"
        host = "localhost" if "ssl" in options else "127.0.0.1"
        return f"{scheme}://{host}:{server.socket.getsockname()[1]}/"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join(DEADLINE)


@each_face
@pytest.mark.parametrize(
    "settings",
    [
        "deflate",
        Deflate(threshold=0, level=9, memory_level=9),
        Deflate(server_no_context_takeover=True, client_no_context_takeover=True),
        Deflate(server_max_window_bits=9, client_max_window_bits=9, threshold=0),
        Deflate(client_max_window_bits=8, threshold=0),
    ],
    ids=str,
)
def test_messages_come_back(face: Face, settings: str | Deflate, run: Callable[..., str]) -> None:
    with face.open(run(), compression=settings) as session:
        assert "permessage-deflate" in (session.headers or {})["sec-websocket-extensions"]
        for message in MESSAGES * 2:
            session.send(message)
            assert session.recv() == message


@each_face
def test_over_tls(face: Face, run: Callable[..., str], certificates: Certificates) -> None:
    url = run(ssl=certificates.server)
    options = {"sslopt": {"context": certificates.client}}
    with face.open(url, compression="deflate", **options) as session:
        for message in MESSAGES:
            session.send(message)
            assert session.recv() == message


@each_face
def test_what_the_server_demands_is_kept(face: Face, run: Callable[..., str]) -> None:
    demands = ServerPerMessageDeflateFactory(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=10,
        client_max_window_bits=10,
    )
    with face.open(run(compression=None, extensions=[demands]), compression="deflate") as session:
        for message in MESSAGES * 2:
            session.send(message)
            assert session.recv() == message


@each_face
def test_a_server_may_decline(face: Face, run: Callable[..., str]) -> None:
    with face.open(run(compression=None), compression="deflate") as session:
        assert "sec-websocket-extensions" not in (session.headers or {})
        session.send("text " * 100)
        assert session.recv() == "text " * 100


@each_face
def test_off_unless_asked_for(face: Face, run: Callable[..., str]) -> None:
    with face.open(run()) as session:
        assert "sec-websocket-extensions" not in (session.headers or {})


@each_face
def test_an_answer_to_nothing(face: Face) -> None:
    header = ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits=7")
    with OwnServer(headers=[header]) as server:
        error = face.run(server.url, DEADLINE, compression="deflate").error
        assert isinstance(error, WebSocketHandshakeException)
        assert header[1] in str(error)
        assert "not '7'" in str(error)


def test_an_object_connects_again_with_another_context(run: Callable[..., str]) -> None:
    url = run()
    ws = WebSocket(compression="deflate")
    for _ in range(2):
        ws.connect(url, timeout=DEADLINE)
        assert ws.compressed
        for _ in range(2):
            ws.send("text " * 100)
            assert ws.recv() == "text " * 100
        ws.close()
    ws.connect(url, timeout=DEADLINE, compression=None)
    assert not ws.compressed
    ws.send("text " * 100)
    assert ws.recv() == "text " * 100
    ws.close()


def test_a_socket_that_a_program_assigns_is_not_compressed(run: Callable[..., str]) -> None:
    with create_connection(run(), compression="deflate", timeout=DEADLINE) as ws:
        ours, peer = socket.socketpair()
        old = ws.sock
        ws.sock = ours
        assert not ws.compressed
        ws.shutdown()
        old.close()
        peer.close()


def test_many_messages_at_once(run: Callable[..., str]) -> None:
    messages = [f"number {number} " * 10 for number in range(500)]
    with create_connection(run(), compression="deflate", timeout=DEADLINE) as ws:
        ws.send_many(messages)
        assert [ws.recv() for _ in messages] == messages


def test_threads_do_not_mix_up_the_context(run: Callable[..., str]) -> None:
    with create_connection(run(), compression="deflate", timeout=DEADLINE) as ws:

        def send(name: int) -> None:
            for number in range(100):
                ws.send(f"thread {name}, number {number}. " * 5)

        threads = [threading.Thread(target=send, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        received = [ws.recv() for _ in range(400)]
        for thread in threads:
            thread.join()
    expected = [f"thread {name}, number {n}. " * 5 for name in range(4) for n in range(100)]
    assert sorted(map(str, received)) == sorted(expected)


@pytest.mark.parametrize("road", ["direct", "outer"])
def test_a_send_that_timed_out_does_not_spoil_the_context(road: str) -> None:
    """What was not sent at all is not referred to; what was begun is finished."""
    ours, peer = socket.socketpair()
    settings = Deflate(threshold=0)
    accepted = accept(settings, [offer(settings)])
    assert accepted is not None
    ws = WebSocket()
    ws._codec = agree(settings, [accepted[0]])
    ws.sock = ours
    if road == "outer":
        ws.set_mask_key(lambda size: b"\1\2\3\4"[:size])
    ws.settimeout(0)
    dice = random.Random(5)
    words = [dice.randbytes(50) for _ in range(100)]
    timeouts = 0
    while timeouts < 20:
        try:
            ws.send_binary(b"".join(dice.choices(words, k=40)))
        except WebSocketTimeoutException:
            timeouts += 1
    core = Connection(Role.SERVER, codec=accepted[1])
    received: list[object] = []

    def drink() -> None:
        while not received or received[-1] != b"the last one":
            core.feed(peer.recv(65536))
            received.extend(core.events)
            core.events.clear()
            if isinstance(received[-1], Exception):
                return

    thread = threading.Thread(target=drink)
    thread.start()
    ws.settimeout(DEADLINE)
    for _ in range(20):
        ws.send_binary(b"".join(dice.choices(words, k=40)))
    ws.send_binary(b"the last one")
    thread.join(DEADLINE)
    ws.shutdown()
    peer.close()
    assert received[-1] == b"the last one"
    assert all(isinstance(event, bytes) for event in received)


def test_fragments_that_an_app_asks_for_are_decompressed() -> None:
    pieces: list[tuple[str, bool]] = []

    def handler(connection: OwnConnection) -> None:
        core = connection._core
        core.begin_message(1)
        for piece in ("one " * 50, "two " * 50):
            connection.send_raw(core.encode_piece(piece, fin=False))
        connection.send_raw(core.encode_piece(b"", fin=True))
        core.end_message()

    with OwnServer(handler, compression="deflate") as server:
        app = WebSocketApp(
            server.url,
            on_message=lambda app, piece: pieces.append((piece, False)),
            on_cont_message=lambda app, piece, fin: pieces.append((piece, bool(fin))),
        )
        app.run_forever(compression="deflate")
    assert pieces == [("one " * 50, False), ("two " * 50, False), ("", True)]


def test_the_test_server_speaks_it() -> None:
    with (
        OwnServer(compression=Deflate(server_max_window_bits=9)) as server,
        create_connection(server.url, compression="deflate", timeout=DEADLINE) as ws,
    ):
        assert "server_max_window_bits=9" in (ws.headers or {})["sec-websocket-extensions"]
        for message in MESSAGES:
            ws.send(message, 1 if isinstance(message, str) else 2)
            assert ws.recv() == message
