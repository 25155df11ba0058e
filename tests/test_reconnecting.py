"""The blocking face over reconnects."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from badservers import PING, PONG, TEXT, Peer, scripted
from conftest import DEADLINE, wait_until_in
from loopback import unused_port
from test_app import BYE, Scripted
from test_session import QUICK, Turns, bye, drop, refuse, reset, restart, silent
from wire import frame

import websocket
from websocket import Backoff, reconnecting
from websocket.testing import Server, ServerConnection

pytestmark = pytest.mark.usefixtures("no_leaks")

quick = {"reconnect": QUICK, "timeout": DEADLINE}


def says(*texts: str, then: Any) -> Any:
    """A script that opens with these messages, and ends as ``then`` says."""

    def script(peer: Peer) -> None:
        peer.accept(then=b"".join(frame(TEXT, text.encode()) for text in texts))
        if then is reset:
            # What lies unread in the client's socket would be lost with a reset.
            peer.close_frame()
        elif then is not None:
            peer.send(then)
            peer.finish()

    return script


def test_messages_of_one_connection_after_the_other() -> None:
    server = Turns(says("one", "two", then=None), drop, refuse(503), says("three", then=BYE))
    losses: list[Exception] = []
    connected: list[websocket.WebSocket] = []
    with (
        scripted(server) as url,
        reconnecting(url, on_connect=connected.append, on_loss=losses.append, **quick) as feed,
    ):
        assert list(feed) == ["one", "two", "three"]
        assert feed.connection is None
        assert (feed.close_code, feed.close_reason) == (1001, "bye")
    assert feed.reconnect_count == 2
    assert len(connected) == 3
    kinds = [type(error).__name__ for error in losses]
    lost = "WebSocketConnectionClosedException"
    assert kinds == [lost, lost, "WebSocketBadStatusException"]


def test_a_close_that_promises_a_return() -> None:
    losses: list[Exception] = []
    with scripted(Turns(restart, bye)) as url:
        assert list(reconnecting(url, on_loss=losses.append, **quick)) == []
    assert [str(error) for error in losses] == ["The server closed the connection with code 1012."]


def test_a_close_without_a_code_ends_it() -> None:
    server = Turns(says("one", then=frame(8)))
    with scripted(server) as url:
        feed = reconnecting(url, **quick)
        assert list(feed) == ["one"]
    assert feed.close_code == 1005
    assert len(server.at) == 1


def test_giving_up_raises_the_last_error() -> None:
    server = Turns(says("one", then=None), refuse(503))
    with scripted(server) as url:
        feed = reconnecting(url, DEADLINE, reconnect=Backoff(0.01, 0.01, attempts=2))
        messages = iter(feed)
        assert next(messages) == "one"
        with pytest.raises(websocket.WebSocketBadStatusException, match="503"):
            next(messages)
    assert len(server.at) == 3


@pytest.mark.parametrize("reconnect", [None, 0, True, QUICK], ids=repr)
def test_a_first_connection_that_fails_raises(reconnect: Any) -> None:
    with pytest.raises(ConnectionRefusedError):
        list(reconnecting(f"ws://127.0.0.1:{unused_port()}/", reconnect=reconnect))


def test_never() -> None:
    server = Turns(drop)
    with (
        scripted(server) as url,
        pytest.raises(websocket.WebSocketConnectionClosedException, match="was lost"),
    ):
        list(reconnecting(url, reconnect=0))
    assert len(server.at) == 1


def test_what_comes_after_a_broken_protocol_is_not_tried() -> None:
    server = Turns(lambda peer: peer.accept(then=b"\xff\xff") or peer.wait_for_end())  # type: ignore[func-returns-value]
    with scripted(server) as url, pytest.raises(websocket.WebSocketProtocolException):
        list(reconnecting(url, reconnect=0.01))
    assert len(server.at) == 1


def test_callables_are_asked_for_each_connection() -> None:
    requests: list[tuple[str, ...]] = []

    def accept(connection: ServerConnection) -> None:
        headers = connection.request.headers
        names = ("x-token", "cookie", "sec-websocket-protocol")
        requests.append((connection.request.target, *(headers[name] for name in names)))
        if len(requests) < 2:
            connection.abort()

    with Server(accept, subprotocols=["v0", "v1"]) as server:
        feed = reconnecting(
            lambda: f"{server.url}{len(requests)}",
            header=lambda: {"X-Token": str(len(requests))},
            cookie=lambda: f"n={len(requests)}",
            subprotocols=lambda: [f"v{len(requests)}"],
            **quick,  # type: ignore[arg-type]
        )
        assert list(feed) == []
    assert requests == [("/0", "0", "n=0", "v0"), ("/1", "1", "n=1", "v1")]


def test_sending() -> None:
    received: list[str | bytes] = []

    def handler(connection: ServerConnection) -> None:
        connection.send("hello")
        received.extend(connection.recv(DEADLINE) for _ in range(3))

    with Server(handler) as server:
        feed = reconnecting(server.url, **quick)
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            feed.send("too early")
        for _ in feed:
            feed.send("a")
            feed.send_text("b")
            feed.send_bytes(b"c")
    assert received == ["a", "b", b"c"]


def test_an_error_in_on_connect_is_a_loss() -> None:
    calls: list[int] = []

    def subscribe(ws: websocket.WebSocket) -> None:
        calls.append(1)
        if len(calls) < 3:
            raise websocket.WebSocketTimeoutException("no answer to the subscription")

    with scripted(Scripted(BYE)) as url:
        assert list(reconnecting(url, on_connect=subscribe, **quick)) == []
    assert len(calls) == 3


def test_another_error_in_on_connect_comes_out() -> None:
    def subscribe(ws: websocket.WebSocket) -> None:
        raise ZeroDivisionError

    with scripted(Scripted()) as url, pytest.raises(ZeroDivisionError):
        list(reconnecting(url, on_connect=subscribe, **quick))


def test_leaving_the_loop_closes_the_connection() -> None:
    server = Scripted(frame(TEXT, b"one"))
    with scripted(server) as url:
        with reconnecting(url, **quick) as feed:
            for _ in feed:
                break
        assert list(feed) == []
    assert server.codes == [1000]


@pytest.fixture
def closer() -> Iterator[Any]:
    threads: list[threading.Thread] = []

    def close(feed: websocket.Reconnecting, when: Any) -> None:
        def run() -> None:
            when()
            feed.close(3001, "enough")

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield close
    for thread in threads:
        thread.join(DEADLINE)


def test_closing_from_another_thread(closer: Any) -> None:
    server, main = Scripted(), threading.current_thread()
    with scripted(server) as url:
        feed = reconnecting(url, **quick)
        closer(feed, lambda: wait_until_in("recv_into", main))
        assert list(feed) == []
    assert server.codes == [3001]


def test_closing_in_a_wait(closer: Any) -> None:
    lost = threading.Event()
    main = threading.current_thread()

    def in_the_wait() -> None:
        assert lost.wait(DEADLINE)
        wait_until_in("select", main)

    with scripted(drop) as url:
        feed = reconnecting(url, reconnect=60, on_loss=lambda error: lost.set())
        closer(feed, in_the_wait)
        before = time.monotonic()
        assert list(feed) == []
        assert time.monotonic() - before < DEADLINE


def test_closing_while_connecting(closer: Any) -> None:
    asked = threading.Event()

    def mute(peer: Peer) -> None:
        peer.request()
        asked.set()
        peer.wait_for_end()

    with scripted(mute) as url:
        feed = reconnecting(url)
        closer(feed, lambda: asked.wait(DEADLINE))
        assert list(feed) == []


def test_an_attempt_without_an_answer_is_given_up() -> None:
    def mute(peer: Peer) -> None:
        peer.request()
        peer.wait_for_end()

    with scripted(Turns(drop, mute, bye)) as url:
        feed = reconnecting(url, reconnect=Backoff(0.01, timeout=0.3))
        assert list(feed) == []
    assert feed.reconnect_count == 1


def test_a_silent_server_is_given_up() -> None:
    with scripted(Turns(silent, says("one", then=BYE))) as url:
        losses: list[Exception] = []
        feed = reconnecting(
            url, ping_interval=0.2, ping_timeout=0.1, on_loss=losses.append, **quick
        )
        assert list(feed) == ["one"]
    assert [str(error) for error in losses] == ["ping/pong timed out"]


def test_pings_are_answered_and_their_times_noted() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        for _ in range(3):
            assert peer.next_frame().opcode == PING
            peer.send(frame(PONG))
        peer.send(BYE)
        peer.finish()

    with scripted(script) as url:
        feed = reconnecting(url, ping_interval=0.1, **quick)
        assert list(feed) == []
    times = feed.round_trips
    assert times.count == 3
    assert times.last is not None
    assert times.smoothed is not None
    assert 0 <= times.last < DEADLINE


def test_a_slow_loop_is_no_silence() -> None:
    """The pong that came while the program was busy is read before the time is looked at."""

    def script(peer: Peer) -> None:
        peer.accept(then=frame(TEXT, b"one"))
        assert peer.next_frame().opcode == PING
        peer.send(frame(TEXT, b"two"))
        time.sleep(0.2)
        peer.send(frame(PONG))
        peer.next_frame()
        peer.send(BYE)
        peer.finish()

    with scripted(script) as url:
        feed = reconnecting(url, reconnect=0, ping_interval=0.2, ping_timeout=0.1)
        messages = []
        for message in feed:
            messages.append(message)
            time.sleep(0.6)
    assert messages == ["one", "two"]


@pytest.mark.parametrize(
    "options",
    [
        {"ping_interval": -1},
        {"ping_interval": 1, "ping_timeout": 2},
        {"reconnect": -1},
        {"socket": object()},
    ],
)
def test_settings_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"ping_|reconnect"):
        reconnecting("ws://127.0.0.1/", **options)
