"""Networks that misbehave: nothing is lost, nothing comes twice, no timeout is stretched."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Certificates
from support.network import (
    CLIENT_4,
    NOBODY_4,
    NOBODY_6,
    SERVER_4,
    SERVER_6,
    Network,
    network,
)
from support.relay import relay

import websocket
from websocket import WebSocket, WebSocketConnectionClosedException, WebSocketTimeoutException
from websocket.testing import Server

DEADLINE = 30.0
MESSAGES = 1000


def exchange(ws: WebSocket, disturb: Callable[[], None] = lambda: None, window: int = 50) -> None:
    """1,000 messages there and back, some of them under way at once."""
    expected = [f"{number} " + "x" * (number % 700) for number in range(MESSAGES)]
    got: list[Any] = []

    def send() -> None:
        for number, message in enumerate(expected):
            room.acquire()
            ws.send(message)
            if number == MESSAGES // 2:
                disturb()

    room = threading.Semaphore(window)
    sender = threading.Thread(target=send)
    sender.start()
    for _ in expected:
        got.append(ws.recv(timeout=DEADLINE))
        room.release()
    sender.join(DEADLINE)
    assert got == expected
    with pytest.raises(WebSocketTimeoutException):
        ws.recv(timeout=0)


# --- a relay in between --------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"delay": 0.02},
        {"chunk": 61},
        {"rate": 400_000, "chunk": 4096},
        {"stall": 150_000, "stall_time": 0.2},
    ],
    ids=["latency", "crumbs", "throttled", "stalls"],
)
def test_a_slow_wire(options: dict[str, Any]) -> None:
    with Server() as server, relay(server.port, **options) as wire:
        ws = websocket.create_connection(wire.url, timeout=DEADLINE)
        exchange(ws)
        ws.close()
        assert ws.close_code == 1000


def test_a_wire_that_is_cut_without_a_word() -> None:
    """Every wait ends at its own time, and what was under way arrives when the wire is back."""
    with Server() as server, relay(server.port) as wire:
        ws = websocket.create_connection(wire.url, timeout=DEADLINE)
        wire.connected.clear()
        ws.send("under way")
        for timeout in (0.0, 0.1, 0.3):
            began = time.monotonic()
            with pytest.raises(WebSocketTimeoutException):
                ws.recv(timeout=timeout)
            assert timeout <= time.monotonic() - began + 0.01 < timeout + 5
        with pytest.raises(WebSocketTimeoutException):
            ws.ping().wait(0.2)
        wire.connected.set()
        assert ws.recv(timeout=DEADLINE) == "under way"
        wire.connected.clear()
        began = time.monotonic()
        ws.close(timeout=0.2)
        assert time.monotonic() - began < 5


def test_half_a_record_of_tls_stretches_no_timeout(certificates: Certificates) -> None:
    """The socket is readable all the time, and TLS wants more and more of it."""
    message = bytes(100_000)
    with Server(ssl_context=certificates.server) as server, relay(server.port, chunk=64) as wire:
        ws = websocket.create_connection(
            wire.url.replace("ws:", "wss:"),
            sslopt={"ca_certs": certificates.ca_file},
            timeout=DEADLINE,
        )
        wire.rate = 5000
        ws.send_bytes(message[:10])
        assert ws.recv() == message[:10]
        sender = threading.Thread(target=ws.send_bytes, args=(message,))
        sender.start()
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(WebSocketTimeoutException):
                ws.recv(timeout=0.15)
        assert time.monotonic() - began < 5
        wire.rate = None
        assert ws.recv(timeout=DEADLINE) == message
        sender.join(DEADLINE)
        ws.close()


def test_keepalive_notices_a_wire_that_is_cut() -> None:
    errors: list[Exception] = []
    with Server() as server, relay(server.port) as wire:
        app = websocket.WebSocketApp(
            wire.url,
            on_open=lambda app: wire.connected.clear(),
            on_error=lambda app, error: errors.append(error),
        )
        began = time.monotonic()
        app.run_forever(ping_interval=0.4, ping_timeout=0.2, reconnect=0)
        assert time.monotonic() - began < DEADLINE / 2
    assert [type(error) for error in errors] == [WebSocketTimeoutException]


# --- a network of our own ------------------------------------------------------------------


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.fixture
def server(net: Network) -> Iterator[Server]:
    with net.inside("server"), Server(host=SERVER_4) as made:
        yield made


def connect(net: Network, port: int, host: str = SERVER_4, **options: Any) -> WebSocket:
    shown = f"[{host}]" if ":" in host else host
    options.setdefault("timeout", DEADLINE)
    with net.inside("client"):
        return websocket.create_connection(f"ws://{shown}:{port}/", **options)


def test_both_families(net: Network, server: Server) -> None:
    with connect(net, server.port) as ws:
        exchange(ws)
        assert ws.sock.getsockname()[0] == CLIENT_4
    with (
        net.inside("server"),
        Server(host=SERVER_6) as other,
        connect(net, other.port, SERVER_6) as ws,
    ):
        exchange(ws)


@pytest.mark.skipif(not hasattr(socket, "SO_BINDTODEVICE"), reason="needs SO_BINDTODEVICE")
def test_bound_to_an_interface(net: Network, server: Server) -> None:
    def bound_to(name: bytes) -> list[tuple[int, int, bytes]]:
        return [(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)]

    connect(net, server.port, sockopt=bound_to(b"eth\0")).close()
    with pytest.raises((OSError, WebSocketTimeoutException)):
        connect(net, server.port, sockopt=bound_to(b"lo\0"), timeout=0.5)


@pytest.mark.parametrize("nobody", [NOBODY_6, NOBODY_4])
def test_a_dead_route_costs_a_quarter_of_a_second(
    net: Network, server: Server, nobody: str
) -> None:
    began = time.monotonic()
    ws = connect(net, server.port, "name.example", resolver=lambda *_: [nobody, SERVER_4])
    elapsed = time.monotonic() - began
    ws.close()
    assert 0.2 < elapsed < 3


@pytest.mark.parametrize("nobody", [NOBODY_6, NOBODY_4])
def test_only_a_dead_route_ends_at_the_deadline(net: Network, nobody: str) -> None:
    began = time.monotonic()
    with pytest.raises(WebSocketTimeoutException, match=r"timed out after 0\.5 seconds"):
        connect(net, 80, nobody, timeout=0.5)
    assert 0.4 < time.monotonic() - began < 5


@pytest.mark.parametrize(("family", "nobody"), [("-4", "192.0.2.1"), ("-6", "2001:db8::1")])
def test_a_blackhole_route_is_an_error_and_the_next_address_is_taken(
    net: Network, server: Server, family: str, nobody: str
) -> None:
    net.ip("client", family, "route", "add", "blackhole", nobody)
    try:
        with pytest.raises(OSError, match=r"\w"):
            connect(net, 80, nobody, timeout=2)
        connect(net, server.port, "name.example", resolver=lambda *_: [nobody, SERVER_4]).close()
    finally:
        net.ip("client", family, "route", "del", "blackhole", nobody)


def test_a_small_mtu(net: Network, server: Server) -> None:
    for who in ("client", "server"):
        net.ip(who, "link", "set", "eth", "mtu", "576")
    try:
        with connect(net, server.port) as ws:
            exchange(ws)
            ws.send_bytes(bytes(200_000))
            assert ws.recv(timeout=DEADLINE) == bytes(200_000)
    finally:
        for who in ("client", "server"):
            net.ip(who, "link", "set", "eth", "mtu", "1500")


def test_a_link_that_goes_down_and_comes_back(net: Network, server: Server) -> None:
    def disturb() -> None:
        net.ip("server", "link", "set", "eth", "down")
        time.sleep(0.3)
        net.ip("server", "link", "set", "eth", "up")

    with connect(net, server.port) as ws:
        exchange(ws, disturb)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs TCP_USER_TIMEOUT")
def test_a_link_that_stays_down(net: Network, server: Server) -> None:
    """Waits end in time, and tcp_user_timeout ends the connection itself."""
    ws = connect(net, server.port, tcp_user_timeout=1)
    net.ip("server", "link", "set", "eth", "down")
    try:
        ws.send("nobody hears this")
        began = time.monotonic()
        with pytest.raises(WebSocketTimeoutException):
            ws.recv(timeout=0.2)
        assert time.monotonic() - began < 5
        with pytest.raises(WebSocketConnectionClosedException):
            ws.recv(timeout=DEADLINE)
        assert time.monotonic() - began < DEADLINE / 2
    finally:
        net.ip("server", "link", "set", "eth", "up")
