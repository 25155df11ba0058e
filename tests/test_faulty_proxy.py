"""The proxy on which things go wrong: each fault, as a client meets it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import DEADLINE, Certificates

import websocket
from websocket import WebSocketConnectionClosedException, WebSocketTimeoutException
from websocket.testing import (
    Fault,
    FaultyProxy,
    Server,
    ServerConnection,
    calm,
    close_with,
    corrupt,
    cut,
    delay,
    drip,
    drop_pongs,
    duplicate,
    freeze,
    half_close,
    http,
    refuse,
    reset,
    throttle,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

# More than any opening handshake has.
LATER = 1000


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server
        assert server.errors == []


def connect(proxy: FaultyProxy, **options: Any) -> websocket.WebSocket:
    return websocket.create_connection(proxy.url, **{"timeout": DEADLINE, **options})


def send_and_receive_without_end(ws: websocket.WebSocket) -> None:
    while True:
        ws.send("x" * 100)
        ws.recv()


def test_without_a_script_it_is_a_line(server: Server) -> None:
    with FaultyProxy(server.url + "path?a=b") as proxy:
        assert proxy.url.endswith("/path?a=b")
        with connect(proxy) as ws:
            ws.send("hello")
            assert ws.recv() == "hello"
            ws.send_binary(bytes(300_000))
            assert ws.recv() == bytes(300_000)
        assert ws.close_code == 1000
    assert proxy.played == [calm]


def test_a_scenario() -> None:
    """The client is refused twice, gets a 503, loses a connection, and then it works."""
    with (
        Server() as server,
        FaultyProxy(server.url, refuse(), refuse(), http(503), cut(after=LATER)) as proxy,
    ):
        errors = []
        for _ in range(3):
            with pytest.raises((OSError, websocket.WebSocketException)) as caught:
                connect(proxy)
            errors.append(caught.value)
        assert errors[2].status_code == 503  # type: ignore[union-attr]
        with connect(proxy) as ws:
            ws.send_binary(bytes(10_000))
            with pytest.raises(WebSocketConnectionClosedException, match="was lost"):
                ws.recv()
        with connect(proxy) as ws:
            ws.send("hello")
            assert ws.recv() == "hello"
    assert proxy.accepted == 5
    assert [repr(fault) for fault in proxy.played] == [
        "refuse()",
        "refuse()",
        "http(503)",
        "cut(after=1000)",
        "calm",
    ]


@pytest.mark.parametrize("fault", [cut(), cut(50), reset(), reset(50), refuse(), half_close(50)])
def test_in_the_handshake(server: Server, fault: Fault) -> None:
    with (
        FaultyProxy(server.url, fault) as proxy,
        pytest.raises((OSError, websocket.WebSocketException)),
    ):
        connect(proxy)
    server.errors.clear()


def test_a_reset_is_one(server: Server) -> None:
    with FaultyProxy(server.url, reset(LATER)) as proxy, connect(proxy) as ws:
        ws.send_binary(bytes(10_000))
        with pytest.raises(WebSocketConnectionClosedException) as caught:
            ws.recv()
    assert isinstance(caught.value.__cause__, ConnectionResetError)


@pytest.mark.parametrize("fault", [cut, reset])
def test_counting_what_the_client_sends(server: Server, fault: Any) -> None:
    with FaultyProxy(server.url, fault(LATER, up=True)) as proxy, connect(proxy) as ws:
        ws.send("a")
        assert ws.recv() == "a"
        with pytest.raises(WebSocketConnectionClosedException):
            send_and_receive_without_end(ws)


def test_half_of_a_connection(server: Server) -> None:
    said: list[str | bytes] = []

    def handler(connection: ServerConnection) -> None:
        said.append(connection.recv(DEADLINE))
        connection.send(bytes(5000))
        said.append(connection.recv(DEADLINE))

    with (
        Server(handler) as server,
        FaultyProxy(server.url, half_close(LATER)) as proxy,
        connect(proxy) as ws,
    ):
        ws.send("one")
        with pytest.raises(WebSocketConnectionClosedException):
            ws.recv()
    assert said[0] == "one"


def test_the_way_to_the_server_ends_and_the_other_stays() -> None:
    def handler(connection: ServerConnection) -> None:
        assert len(list(connection)) == 0
        connection.send_raw(b"\x81\x05still")

    with (
        Server(handler) as server,
        FaultyProxy(server.url, half_close(LATER, up=True)) as proxy,
        connect(proxy) as ws,
    ):
        ws.send("x" * 2000)
        with pytest.raises(WebSocketConnectionClosedException):
            ws.recv()


def test_frozen(server: Server) -> None:
    with FaultyProxy(server.url, freeze(LATER)) as proxy:
        ws = connect(proxy)
        ws.send("a")
        assert ws.recv() == "a"
        ws.send_binary(bytes(10_000))
        with pytest.raises(WebSocketTimeoutException):
            ws.recv(timeout=0.2)
        ws.shutdown()


def test_throttled(server: Server) -> None:
    with FaultyProxy(server.url, throttle(100_000)) as proxy, connect(proxy) as ws:
        before = time.monotonic()
        ws.send_binary(bytes(20_000))
        assert ws.recv() == bytes(20_000)
        # Once there and once back, at least partly one after the other.
        assert time.monotonic() - before > 0.2


def test_delayed(server: Server) -> None:
    with FaultyProxy(server.url, delay(0.1)) as proxy, connect(proxy) as ws:
        assert ws.ping().wait(DEADLINE) >= 0.2


def test_dripped(server: Server) -> None:
    with FaultyProxy(server.url, drip(0.0005)) as proxy, connect(proxy) as ws:
        before = time.monotonic()
        ws.send("x" * 100)
        assert ws.recv() == "x" * 100
        assert time.monotonic() - before > 0.1


def test_a_wrong_byte(server: Server) -> None:
    with FaultyProxy(server.url, corrupt(0)) as proxy, pytest.raises(websocket.WebSocketException):
        connect(proxy)


def test_a_wrong_byte_to_the_server() -> None:
    """The 400th byte is in the text: the server sees no UTF-8, or something else."""
    received: list[str | bytes | Exception] = []

    def handler(connection: ServerConnection) -> None:
        received.append(connection.recv(DEADLINE))

    with (
        Server(handler) as server,
        FaultyProxy(server.url, corrupt(LATER, up=True)) as proxy,
        connect(proxy) as ws,
    ):
        ws.send("x" * 2000)
        assert ws.recv() == ""
        assert ws.close_code == 1007
    assert [type(error) for error in server.errors] == [websocket.WebSocketPayloadException]
    assert received == []


def test_two_connections_for_one() -> None:
    received: list[str | bytes] = []

    def handler(connection: ServerConnection) -> None:
        received.extend(connection)

    with Server(handler) as server, FaultyProxy(server.url, duplicate()) as proxy:
        with connect(proxy) as ws:
            ws.send("a")
        deadline = time.monotonic() + DEADLINE
        while len(received) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert received == ["a", "a"]


def test_pongs_get_lost_and_nothing_else(server: Server) -> None:
    with FaultyProxy(server.url, drop_pongs()) as proxy, connect(proxy) as ws:
        waiter = ws.ping("lost")
        for size in (0, 125, 126, 70_000):
            ws.send("x" * size)
            assert ws.recv() == "x" * size
        assert not waiter.done


@pytest.mark.parametrize(("code", "seen"), [(1012, 1012), (None, 1005)])
def test_a_close_that_the_server_did_not_send(server: Server, code: Any, seen: int) -> None:
    with FaultyProxy(server.url, close_with(code, "go", after=2)) as proxy, connect(proxy) as ws:
        for text in ("one", "two"):
            ws.send(text)
            assert ws.recv() == text
        assert ws.recv() == ""
        assert ws.close_code == seen


def test_a_close_at_once(server: Server) -> None:
    with FaultyProxy(server.url, close_with(1013)) as proxy, connect(proxy) as ws:
        assert ws.recv() == ""
        assert ws.close_code == 1013


def test_an_answer_in_http(server: Server) -> None:
    fault = http(429, [("Retry-After", "7")], "slow down")
    with (
        FaultyProxy(server.url, fault) as proxy,
        pytest.raises(websocket.WebSocketBadStatusException) as caught,
    ):
        connect(proxy)
    assert caught.value.status_code == 429
    assert caught.value.resp_headers is not None
    assert caught.value.resp_headers["retry-after"] == "7"
    assert caught.value.resp_body == b"slow down"


def test_faults_together(server: Server) -> None:
    with FaultyProxy(server.url, (delay(0.05), cut(LATER))) as proxy, connect(proxy) as ws:
        before = time.monotonic()
        ws.send_binary(bytes(5000))
        with pytest.raises(WebSocketConnectionClosedException):
            ws.recv()
        assert time.monotonic() - before >= 0.1


def test_always_and_play(server: Server) -> None:
    with FaultyProxy(server.url) as proxy:
        proxy.always(refuse())
        proxy.play(calm)
        connect(proxy).close()
        for _ in range(2):
            with pytest.raises((OSError, websocket.WebSocketException)):
                connect(proxy)


@pytest.mark.parametrize("how", [False, True])
def test_dropping_what_is_there_now(server: Server, how: bool) -> None:
    with FaultyProxy(server.url) as proxy:
        connections = [connect(proxy) for _ in range(3)]
        for ws in connections:
            ws.send("a")
            assert ws.recv() == "a"
        assert proxy.drop(share=0) == 0
        assert proxy.drop(reset=how) == 3
        for ws in connections:
            with pytest.raises(WebSocketConnectionClosedException):
                ws.recv()
        connect(proxy).close()


def test_tls_passes_through(certificates: Certificates) -> None:
    with (
        Server(host="127.0.0.1", ssl_context=certificates.server) as server,
        FaultyProxy(server.url, calm, cut(60)) as proxy,
    ):
        assert proxy.url.startswith("wss://")
        options = {"sslopt": {"ca_certs": certificates.ca_file}}
        with connect(proxy, **options) as ws:
            ws.send("a")
            assert ws.recv() == "a"
        with pytest.raises((OSError, websocket.WebSocketException)):
            connect(proxy, **options)
        server.errors.clear()


def test_a_server_that_is_not_there(server: Server) -> None:
    with (
        FaultyProxy("ws://127.0.0.1:1/") as proxy,
        pytest.raises((OSError, websocket.WebSocketException)),
    ):
        connect(proxy)


def test_starting_twice_and_not_at_all() -> None:
    proxy = FaultyProxy("ws://127.0.0.1:1/")
    with pytest.raises(RuntimeError, match="not running"):
        proxy.url  # noqa: B018
    proxy.close()
    with proxy, pytest.raises(RuntimeError, match="already"):
        proxy.start()
