"""The loops: ours, and those that programs bring along."""

from __future__ import annotations

import logging
import select
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from badservers import PING, TEXT, Peer, scripted
from conftest import DEADLINE, Certificates
from loopback import serve
from test_app import BYE, Recorded, Scripted
from wire import frame, parse

import websocket
from websocket._dispatcher import Dispatcher, SSLDispatcher, WrappedDispatcher

pytestmark = pytest.mark.usefixtures("no_leaks")


class App:
    keep_running = True


@pytest.fixture
def loop() -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(App(), None)
    yield dispatcher
    dispatcher.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


Pair = tuple[socket.socket, socket.socket]


# Ours


def test_reading_goes_on_until_the_callback_says_stop(loop: Dispatcher, pair: Pair) -> None:
    got, checks = [], []

    def read() -> bool:
        got.append(pair[0].recv(1))
        return len(got) < 3

    pair[1].sendall(b"abc")
    loop.read(pair[0], read, lambda: checks.append(1))
    assert got == [b"a", b"b", b"c"]
    assert len(checks) == 2


def test_the_check_comes_after_the_timeout(pair: Pair) -> None:
    app = App()
    loop = Dispatcher(app, 0.01)
    checks = []

    def check() -> None:
        checks.append(1)
        app.keep_running = len(checks) < 3

    loop.read(pair[0], lambda: pytest.fail("nothing was sent"), check)
    assert len(checks) == 3
    loop.close()


def test_a_wake_up_from_another_thread(loop: Dispatcher, pair: Pair) -> None:
    def wake() -> None:
        loop.app.keep_running = False
        loop.wake()

    thread = threading.Timer(0.05, wake)
    thread.start()
    before = time.monotonic()
    loop.read(pair[0], lambda: True, lambda: None)
    assert time.monotonic() - before < 2
    thread.join(DEADLINE)


def test_many_wake_ups_are_one(loop: Dispatcher, pair: Pair) -> None:
    for _ in range(100_000):
        loop.wake()
    checks = []

    def check() -> None:
        checks.append(1)
        loop.app.keep_running = False

    loop.read(pair[0], lambda: True, check)
    assert checks == [1]


def test_waking_a_loop_that_is_gone_does_nothing() -> None:
    loop = Dispatcher(App(), None)
    loop.close()
    loop.wake()
    loop.close()


def test_a_timer_is_ended_by_a_wake_up(loop: Dispatcher) -> None:
    called = []
    loop.timeout(0.01, lambda: called.append("timer"))
    loop.wake()
    before = time.monotonic()
    loop.timeout(DEADLINE, lambda: called.append("woken"))
    loop.reconnect(0, lambda reconnecting: called.append(reconnecting))
    assert time.monotonic() - before < 2
    assert called == ["timer", "woken", True]


def test_room_is_waited_for_where_something_waits_to_be_sent(loop: Dispatcher, pair: Pair) -> None:
    calls: list[int] = []
    loop.backlog = lambda: not calls

    def read() -> bool:
        calls.append(1)
        return len(calls) < 2

    timer = threading.Timer(0.05, lambda: pair[1].sendall(b"a"))
    timer.start()
    loop.read(pair[0], read, lambda: None)
    # Once for the room, and not again before there was something to read.
    assert len(calls) == 2
    timer.join(DEADLINE)


def test_sending(loop: Dispatcher, pair: Pair) -> None:
    assert loop.send(pair[0], b"abc") == 3
    assert pair[1].recv(10) == b"abc"


def test_bytes_in_the_tls_layer_are_readable() -> None:
    class Holding:
        def __init__(self, sock: socket.socket) -> None:
            self.fileno = sock.fileno
            self.left = 2

        def pending(self) -> int:
            return self.left

    left, right = socket.socketpair()
    with left, right:
        sock = Holding(left)
        loop = SSLDispatcher(App(), None)

        def read() -> bool:
            sock.left -= 1
            return bool(sock.left)

        loop.read(sock, read, lambda: None)
        assert sock.left == 0
        loop.close()


# Those of programs


class Blocking:
    """As programs wrote it for 0.59: it has the loop itself in ``read``."""

    def __init__(self, app: Any, timeout: float = 0.05) -> None:
        self.app = app
        self.timeout_of_select = timeout

    def read(self, sock: Any, read_callback: Any, check_callback: Any) -> None:
        while self.app.keep_running:
            ready, _, _ = select.select([self.app.sock.sock], [], [], self.timeout_of_select)
            if ready and not read_callback():
                break
            check_callback()


class TwoParameters(Blocking):
    def read(self, sock: Any, callback: Any) -> None:  # type: ignore[override]
        while self.app.keep_running:
            if select.select([sock], [], [], 0.05)[0] and callback() is False:
                break


class AnyParameters(TwoParameters):
    def read(self, sock: Any, callback: Any, *args: Any) -> None:
        assert args == ()
        super().read(sock, callback)


each_loop = pytest.mark.parametrize("kind", [Blocking, TwoParameters, AnyParameters])


@each_loop
def test_a_loop_of_the_program(kind: Any) -> None:
    server = Scripted(frame(TEXT, b"one"), frame(PING, b"p"), frame(TEXT, b"two"), BYE)
    with scripted(server) as url:
        recorded = Recorded(url)
        assert recorded.run(dispatcher=kind(recorded.app)) is False
    assert recorded.of("on_message") == [("one",), ("two",)]
    assert recorded.of("on_ping") == [(b"p",)]
    assert recorded.of("on_close") == [(1001, "bye")]


@each_loop
@pytest.mark.parametrize("where", ["callback", "thread"])
def test_closing_under_a_loop_of_the_program(kind: Any, where: str) -> None:
    server = Scripted(frame(TEXT, b"one"))
    acts = {"on_message": lambda app, message: app.close()} if where == "callback" else {}
    with scripted(server) as url:
        recorded = Recorded(url, acts)
        recorded.start(dispatcher=kind(recorded.app))
        recorded.wait_for("on_message")
        if where == "thread":
            recorded.app.close()
        assert recorded.join() is False
    assert recorded.of("on_close") == [(1000, "")]
    assert server.codes == [1000]


@each_loop
def test_a_drop_under_a_loop_of_the_program(kind: Any) -> None:
    with scripted(lambda peer: peer.accept(then=frame(TEXT, b"one"))) as url:
        recorded = Recorded(url)
        assert recorded.run(dispatcher=kind(recorded.app)) is True
    assert recorded.names() == ["on_open", "on_data", "on_message", "on_error", "on_close"]


def test_a_ping_timeout_under_a_loop_with_checks() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.wait_for_end()

    with scripted(script) as url:
        recorded = Recorded(url)
        before = time.monotonic()
        loop = Blocking(recorded.app, 0.02)
        assert recorded.run(dispatcher=loop, ping_interval=0.2, ping_timeout=0.1) is True
        assert time.monotonic() - before < 2
    assert "ping/pong timed out" in str(recorded.of("on_error")[0][0])


@each_loop
def test_large_messages_over_tls_under_a_loop_of_the_program(
    kind: Any, certificates: Certificates
) -> None:
    """A loop that only looks at the socket must not leave bytes in the TLS layer."""
    sizes = (10, 10_000, 100_000, 5)
    acknowledged = []

    def handler(sock: socket.socket) -> None:
        with certificates.server.wrap_socket(sock, server_side=True) as tls:
            peer = Peer(tls)
            peer.accept()
            for size in sizes:
                peer.send(frame(TEXT, b"x" * size))
                acknowledged.append(peer.next_frame().payload)
            peer.finish()

    def answer(app: Any, message: str) -> None:
        app.send(str(len(message)))
        if len(message) == sizes[-1]:
            app.close()

    with serve(handler) as server:
        recorded = Recorded(f"wss://localhost:{server.port}/", {"on_message": answer})
        sslopt = {"ca_certs": certificates.ca_file}
        assert recorded.run(sslopt=sslopt, dispatcher=kind(recorded.app)) is False
    assert acknowledged == [str(size).encode() for size in sizes]


class Recorder:
    """A loop with everything that a loop may have, driven by hand."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.reading: tuple[Any, Callable[[], Any]] | None = None
        self.timers: list[tuple[float, Callable[..., Any], tuple[Any, ...]]] = []
        self.buffered = b""
        self.on_lost: Any = None

    def signal(self, number: int, callback: Any) -> None:
        self.calls.append(("signal", number, callback))

    def abort(self) -> None:
        self.calls.append("abort")

    def read(self, sock: Any, callback: Any) -> None:
        self.reading = (sock, callback)

    def timeout(self, seconds: float, callback: Any, *args: Any) -> None:
        self.timers.append((seconds, callback, args))

    def buffwrite(self, sock: Any, data: bytes, send: Any, on_lost: Any) -> None:
        self.buffered += data
        self.on_lost = on_lost
        # As rel does: what is buffered goes out when the loop finds the socket writable.
        assert send(sock, data) == len(data)

    def turn(self, timeout: float = DEADLINE) -> None:
        """Wait for the socket and call back, once."""
        assert self.reading is not None
        sock, callback = self.reading
        assert select.select([sock], [], [], timeout)[0]
        if not callback():
            self.reading = None


def test_a_loop_whose_read_returns_at_once() -> None:
    server = Scripted(frame(PING, b"p"))
    with scripted(server) as url:
        recorded, loop = Recorded(url), Recorder()
        assert recorded.run(dispatcher=loop) is False
        assert loop.calls == [("signal", 2, loop.abort)]
        # The run goes on in the loop.
        assert recorded.app.keep_running
        assert recorded.app.ready()
        assert recorded.names()[0] == "on_open"
        recorded.app.send("through the loop")
        recorded.app.close()
        while loop.reading is not None:
            loop.turn()
    assert recorded.names()[-1] == "on_close"
    assert recorded.of("on_close") == [(1000, "")]
    assert server.codes == [1000]
    # All that was sent after the loop took over went through it.
    payloads = [f.payload for f in parse(loop.buffered)]
    assert payloads[-2:] == [b"through the loop", (1000).to_bytes(2, "big")]


def test_pings_under_a_loop_with_timers() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.wait_for_end()

    with scripted(script) as url:
        recorded, loop = Recorded(url), Recorder()
        recorded.run(dispatcher=loop, ping_interval=0.1, ping_timeout=0.05)
        while loop.reading is not None and loop.timers:
            seconds, callback, args = loop.timers.pop(0)
            time.sleep(seconds)
            callback(*args)
        while loop.reading is not None:
            loop.turn()
    ((error,),) = recorded.of("on_error")
    assert "ping/pong timed out" in str(error)
    assert recorded.names()[-1] == "on_close"


def test_a_write_that_loses_the_connection() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.wait_for_end()

    with scripted(script) as url:
        recorded, loop = Recorded(url), Recorder()
        recorded.run(dispatcher=loop)
        recorded.app.send("a")
        loop.on_lost()
        while loop.reading is not None:
            loop.turn()
    assert recorded.names()[-2:] == ["on_error", "on_close"]


def test_signals_outside_the_main_thread_are_left_alone() -> None:
    class Refusing(Recorder):
        def signal(self, number: int, callback: Any) -> None:
            raise ValueError("signal only works in main thread of the main interpreter")

    WrappedDispatcher(App(), None, Refusing())


def test_the_adapter_passes_on() -> None:
    loop = Recorder()
    adapter = WrappedDispatcher(App(), None, loop)
    adapter.timeout(3, print, "a")
    adapter.reconnect(5, print)
    assert loop.timers == [(3, print, ("a",)), (5, print, (True,))]
    loop.reconnect = lambda seconds, reconnector: loop.calls.append((seconds, reconnector))  # type: ignore[attr-defined]
    adapter.reconnect(7, print)
    assert loop.calls[-1] == (7, print)


def test_trace_under_a_loop_of_the_program() -> None:
    websocket.enableTrace(True, logging.NullHandler())
    try:
        with scripted(Scripted(frame(TEXT, b"one"), frame(TEXT, b"two"), BYE)) as url:
            recorded = Recorded(url)
            assert recorded.run(dispatcher=Blocking(recorded.app)) is False
        assert recorded.of("on_message") == [("one",), ("two",)]
    finally:
        websocket.enableTrace(False)


REL = """
    import sys
    import rel
    import websocket

    def on_message(app, message):
        print("message", message, flush=True)
        if message == "close":
            app.close(status=3000)

    def on_close(app, code, reason):
        print("close", code, reason, flush=True)
        rel.abort()

    app = websocket.WebSocketApp(
        sys.argv[1],
        on_open=lambda app: app.send("hello"),
        on_message=on_message,
        on_error=lambda app, error: print("error", repr(error), flush=True),
        on_close=on_close,
    )
    options = {"ping_interval": 60, "ping_timeout": 10, "reconnect": 0}
    print("run", app.run_forever(dispatcher=rel, **options), flush=True)
    rel.signal(2, rel.abort)
    rel.dispatch()
"""


@pytest.mark.parametrize("end", ["client", "server", "drop"])
def test_rel(end: str) -> None:
    pytest.importorskip("rel")
    codes: list[int | None] = []

    def script(peer: Peer) -> None:
        peer.accept()
        hello = peer.next_frame()
        peer.send(frame(TEXT, hello.payload))
        if end == "client":
            peer.send(frame(TEXT, b"close"))
        if end == "server":
            peer.send(BYE)
        if end != "drop":
            codes.append(peer.finish())

    with scripted(script) as url:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(REL), url],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[:2] == ["run False", "message hello"]
    if end == "client":
        assert lines[2:] == ["message close", "close 3000 "]
        assert codes == [3000]
    elif end == "server":
        assert lines[2:] == ["close 1001 bye"]
        assert codes == [1001]
    else:
        assert "ConnectionClosed" in lines[2]
        assert lines[3:] == ["close None None"]
