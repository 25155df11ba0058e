"""Messages that are sent while there is no connection."""

from __future__ import annotations

import socket
import sys
import threading
import time
from typing import Any

import pytest
from badservers import TEXT, Peer, scripted
from conftest import DEADLINE, wait_until_in
from test_app import BYE
from test_session import QUICK, Reconnecting, Turns, drop
from wire import frame

import websocket
from websocket import Outbox, WebSocketApp, WebSocketOutboxFullException, reconnecting
from websocket._outbox import Sender
from websocket.testing import FaultyProxy, Server, ServerConnection, cut, refuse

pytestmark = pytest.mark.usefixtures("no_leaks")


class Wire:
    """A connection that takes messages, or is lost."""

    _stream = None

    def __init__(self) -> None:
        left, right = socket.socketpair()
        right.close()
        left.close()
        self._stream: Any = type("Stream", (), {"sock": left})
        self.sent: list[Any] = []
        self.lost = False

    def send(self, payload: Any, opcode: int) -> int:
        if self.lost:
            raise websocket.WebSocketConnectionClosedException("lost")
        self.sent.append(payload)
        return len(payload) + 6


def test_kept_until_there_is_a_connection() -> None:
    sender, wire = Sender(Outbox()), Wire()
    buffer = bytearray(b"two")
    sender.send("one", TEXT)
    sender.send(buffer, TEXT)
    buffer[:] = b"XXX"
    assert sender.waiting == 2
    sender.begin(wire)
    sender.send("first", TEXT)
    sender.flush()
    sender.send("last", TEXT)
    assert wire.sent == ["first", "one", b"two", "last"]
    assert sender.waiting == 0


def test_other_threads_wait_for_their_turn() -> None:
    sender, wire = Sender(Outbox()), Wire()
    sender.begin(wire)
    thread = threading.Thread(target=sender.send, args=("other", TEXT))
    thread.start()
    thread.join(DEADLINE)
    sender.send("log in", TEXT)
    assert wire.sent == ["log in"]
    sender.flush()
    assert wire.sent == ["log in", "other"]


def test_a_loss_in_the_middle_keeps_the_rest() -> None:
    sender, first, second = Sender(Outbox()), Wire(), Wire()
    for number in range(4):
        sender.send(str(number), TEXT)
    sender.begin(first)
    real = first.send

    def send(payload: Any, opcode: int) -> int:
        first.lost = len(first.sent) == 2
        return real(payload, opcode)

    first.send = send  # type: ignore[method-assign]
    sender.flush()
    assert sender.lost() == []
    sender.send("4", TEXT)
    sender.begin(second)
    sender.flush()
    assert (first.sent, second.sent) == (["0", "1"], ["2", "3", "4"])


@pytest.mark.parametrize("limits", [{"max_messages": 2}, {"max_bytes": 7}])
def test_full(limits: Any) -> None:
    sender = Sender(Outbox(**limits))
    sender.send("one", TEXT)
    sender.send("two", TEXT)
    with pytest.raises(WebSocketOutboxFullException, match="full") as caught:
        sender.send("three", TEXT)
    assert (caught.value.messages, caught.value.size) == (2, 6)
    assert sender.waiting == 2


def test_the_oldest_makes_room() -> None:
    dropped: list[list[Any]] = []
    box = Outbox(max_messages=2, when_full="drop_oldest", on_dropped=dropped.append)
    sender, wire = Sender(box), Wire()
    for number in range(5):
        sender.send(str(number), TEXT)
    assert dropped == [["0"], ["1"], ["2"]]
    sender.begin(wire)
    sender.flush()
    assert wire.sent == ["3", "4"]


@pytest.mark.parametrize("when_full", ["raise", "drop_oldest", "block"])
def test_larger_than_the_box(when_full: Any) -> None:
    """For a message that can't be kept at all, no other has to go, and nobody has to wait."""
    dropped: list[Any] = []
    sender = Sender(Outbox(max_bytes=3, when_full=when_full, on_dropped=dropped.extend))
    sender.send("one", TEXT)
    with pytest.raises(WebSocketOutboxFullException, match="larger than the outbox"):
        sender.send("four", TEXT)
    assert (sender.waiting, dropped) == (1, [])


def test_bytes_make_room_for_bytes() -> None:
    dropped: list[list[Any]] = []
    box = Outbox(max_bytes=6, when_full="drop_oldest", on_dropped=dropped.append)
    sender, wire = Sender(box), Wire()
    for text in ("aa", "bb", "cc", "dddd"):
        sender.send(text, TEXT)
    assert dropped == [["aa", "bb"]]
    sender.begin(wire)
    sender.flush()
    assert wire.sent == ["cc", "dddd"]


@pytest.mark.parametrize("end", [False, True])
def test_blocking_until_there_is_room_or_no_hope(end: bool) -> None:
    sender, wire, errors = Sender(Outbox(max_messages=1, when_full="block")), Wire(), []
    sender.send("one", TEXT)

    def send() -> None:
        try:
            sender.send("two", TEXT)
        except websocket.WebSocketConnectionClosedException as error:
            errors.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    wait_until_in("wait", thread)
    if end:
        sender.end()
    else:
        sender.begin(wire)
        sender.flush()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert len(errors) == end
    assert wire.sent == ([] if end else ["one", "two"])


def test_the_maker_of_connections_never_blocks() -> None:
    sender, wire = Sender(Outbox(max_messages=1, when_full="block")), Wire()
    sender.begin(wire)
    sender.lost()
    sender.send("one", TEXT)
    with pytest.raises(WebSocketOutboxFullException):
        sender.send("two", TEXT)


def test_control_frames_are_not_kept() -> None:
    sender = Sender(Outbox())
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        sender.send("p", websocket.ABNF.OPCODE_PING)
    assert sender.waiting == 0


@pytest.mark.parametrize(
    "options", [{"max_messages": 0}, {"max_bytes": 0}, {"when_full": "explode"}]
)
def test_settings_that_make_no_sense(options: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        Outbox(**options)


# On the faces


def test_an_app_sends_later() -> None:
    received: list[list[str | bytes]] = []

    def handler(connection: ServerConnection) -> None:
        seen: list[str | bytes] = []
        received.append(seen)
        for message in connection:
            seen.append(message)
            if message == "cut":
                connection.abort()
            if message == "end":
                connection.close()

    def on_error(app: WebSocketApp, error: Exception) -> None:
        app.send("in between")
        app.send("end")

    with Server(handler) as server:
        recorded = Reconnecting(
            server.url,
            {
                "on_open": lambda app: app.send("log in"),
                "on_reconnect": lambda app: app.send("log in again"),
                "on_error": on_error,
            },
            outbox=Outbox(),
        )
        recorded.app.send("early")
        recorded.app.send("cut")
        assert recorded.run() is False
    assert received == [["log in", "early", "cut"], ["log in again", "in between", "end"]]


def test_a_loop_sends_later() -> None:
    received: list[str | bytes] = []

    def handler(connection: ServerConnection) -> None:
        connection.send("go")
        for message in connection:
            received.append(message)
            if message == "end":
                connection.close()

    with Server(handler) as server, FaultyProxy(server.url, refuse(), cut(60)) as proxy:
        feed = reconnecting(
            proxy.url,
            DEADLINE,
            reconnect=websocket.Backoff(0.01, first=True),
            outbox=Outbox(),
            on_connect=lambda ws: ws.send("log in"),
        )
        for text in ("one", "two"):
            feed.send(text)
        for _ in feed:
            feed.send("end")
    assert received == ["log in", "one", "two", "end"]


def test_many_threads_and_a_line_that_breaks() -> None:
    """Nothing comes twice, and each thread's messages come in their order."""
    received: list[str] = []
    uncertain: list[Any] = []

    def handler(connection: ServerConnection) -> None:
        for message in connection:
            received.append(str(message))

    policy = websocket.Backoff(0.01, 0.05, attempts=None)
    script = [cut(size, up=True) for size in (400, 700, 1500)]
    with Server(handler) as server, FaultyProxy(server.url, *script) as proxy:
        box = Outbox(on_uncertain=uncertain.extend)
        app = WebSocketApp(proxy.url, outbox=box)
        runner = threading.Thread(target=app.run_forever, kwargs={"reconnect": policy})
        runner.start()

        def send(name: str) -> None:
            for number in range(100):
                app.send(f"{name}:{number:03}")
                time.sleep(0.001)

        senders = [threading.Thread(target=send, args=(name,)) for name in "abcd"]
        for thread in senders:
            thread.start()
        for thread in senders:
            thread.join(DEADLINE)
        deadline = time.monotonic() + DEADLINE
        while not {f"{name}:099" for name in "abcd"} <= {*received, *uncertain}:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        app.close()
        runner.join(DEADLINE)
    assert len(set(received)) == len(received)
    for name in "abcd":
        numbers = [text for text in received if text.startswith(name)]
        assert numbers == sorted(numbers)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what was acknowledged")
@pytest.mark.parametrize("face", ["app", "loop"])
def test_what_may_not_have_arrived_is_reported_and_not_repeated(face: str) -> None:
    """The server stops reading: what stands in the way when it ends may be lost."""
    sizes: list[int] = []
    uncertain: list[Any] = []
    second: list[int] = []
    full = threading.Event()

    def deaf(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.accept(then=frame(TEXT, b"go"))
        assert full.wait(DEADLINE)
        peer.reset()

    def bye(peer: Peer) -> None:
        peer.accept()
        second.append(1)
        peer.send(BYE)
        peer.finish()

    messages = [bytes([number]) * 200_000 for number in range(8)]

    def send(sender: Any) -> None:
        for message in messages:
            sender.send_bytes(message)
            sizes.append(len(message))
        full.set()

    box = Outbox(on_uncertain=uncertain.extend)
    with scripted(Turns(deaf, bye)) as url:
        if face == "app":
            app = WebSocketApp(url, outbox=box, on_message=lambda app, message: send(app))
            assert app.run_forever(reconnect=QUICK) is False
        else:
            feed = reconnecting(url, DEADLINE, reconnect=QUICK, outbox=box)
            for _ in feed:
                send(feed)
    # The first may have been taken into the server's system; the last can not.
    assert uncertain
    assert uncertain == messages[-len(uncertain) :]
    assert second == [1]


def test_an_outbox_without_a_loss_reports_nothing() -> None:
    reported: list[Any] = []
    with scripted(Turns(drop)) as url:
        app = WebSocketApp(url, outbox=Outbox(on_uncertain=reported.append))
        app.run_forever(reconnect=0)
    assert reported == []
