"""The callback face, against scripted servers: callbacks, their order, and how a run ends."""

from __future__ import annotations

import functools
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from badservers import BINARY, CLOSE, CONT, PING, PONG, TEXT, Peer, close_payload, scripted
from conftest import DEADLINE, wait_until_in
from loopback import unused_port
from wire import frame

import websocket
from websocket import (
    WebSocket,
    WebSocketApp,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketPayloadException,
    WebSocketTimeoutException,
)
from websocket._run import Run
from websocket._socket import Deadline

pytestmark = pytest.mark.usefixtures("no_leaks")

CALLBACKS = (
    "on_open",
    "on_message",
    "on_error",
    "on_close",
    "on_ping",
    "on_pong",
    "on_data",
)


class Recorded:
    """An app whose callbacks are recorded in their order.

    Parameters:
        acts: what a callback does, by its name; called with the app and its arguments.
    """

    def __init__(self, url: str, acts: dict[str, Any] | None = None, **options: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.happened = threading.Condition()
        self._acts = acts or {}
        callbacks = {name: self._recorder(name) for name in (*CALLBACKS, *self._acts)}
        self.app = WebSocketApp(url, **{**callbacks, **options})
        self.thread: threading.Thread | None = None
        self.result: bool | None = None

    def _recorder(self, name: str) -> Callable[..., Any]:
        def callback(app: WebSocketApp, *args: Any) -> None:
            assert app is self.app
            with self.happened:
                self.calls.append((name, *args))
                self.happened.notify_all()
            if name in self._acts:
                self._acts[name](app, *args)

        return callback

    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]

    def run(self, **options: Any) -> bool:
        # One connection, unless a test is about the next ones.
        options.setdefault("reconnect", 0)
        self.result = self.app.run_forever(**options)
        return self.result

    def start(self, **options: Any) -> None:
        self.thread = threading.Thread(target=self.run, kwargs=options)
        self.thread.start()

    def wait_for(self, name: str, count: int = 1) -> None:
        with self.happened:
            assert self.happened.wait_for(lambda: self.names().count(name) >= count, DEADLINE)

    def join(self) -> bool | None:
        assert self.thread is not None
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive(), "run_forever does not return"
        return self.result


class Scripted:
    """A server that says something, then answers the client's Close and notes its code."""

    def __init__(self, *said: bytes, close: bool = False) -> None:
        self._said = b"".join(said)
        self._close = close
        self.codes: list[int | None] = []
        self.opened = threading.Event()

    def __call__(self, peer: Peer) -> None:
        peer.accept(then=self._said)
        self.opened.set()
        if self._close:
            peer.send(frame(CLOSE, close_payload(1001, b"bye")))
        self.codes.append(peer.finish())


BYE = frame(CLOSE, close_payload(1001, b"bye"))


# Callbacks


def test_callbacks_and_their_order() -> None:
    server = Scripted(
        frame(TEXT, "é".encode()),
        frame(PING, b"ping"),
        frame(BINARY, b"b"),
        frame(PONG, b"pong"),
        frame(TEXT),
        BYE,
    )
    with scripted(server) as url:
        recorded = Recorded(url)
        assert recorded.run() is False
    assert recorded.calls == [
        ("on_open",),
        ("on_data", "é", TEXT, True),
        ("on_message", "é"),
        ("on_ping", b"ping"),
        ("on_data", b"b", BINARY, True),
        ("on_message", b"b"),
        ("on_pong", b"pong"),
        ("on_data", "", TEXT, True),
        ("on_message", ""),
        ("on_close", 1001, "bye"),
    ]
    assert recorded.app.sock is None
    assert not recorded.app.has_errored


def test_no_callbacks_at_all() -> None:
    with scripted(Scripted(frame(TEXT, b"a"), frame(PING), BYE)) as url:
        assert WebSocketApp(url).run_forever() is False


def test_a_dropped_connection() -> None:
    with scripted(lambda peer: peer.accept(then=frame(TEXT, b"a"))) as url:
        recorded = Recorded(url)
        assert recorded.run() is True
    ((error,),) = recorded.of("on_error")
    assert type(error) is WebSocketConnectionClosedException
    assert str(error) == "Connection to remote host was lost."
    assert recorded.calls[-1] == ("on_close", None, None)
    assert recorded.app.has_errored


def test_a_connection_that_can_not_be_made() -> None:
    recorded = Recorded(f"ws://127.0.0.1:{unused_port()}/")
    assert recorded.run() is True
    ((error,),) = recorded.of("on_error")
    assert isinstance(error, ConnectionRefusedError)
    assert recorded.names() == ["on_error", "on_close"]
    assert recorded.of("on_close") == [(None, None)]


def test_a_bad_url_is_an_error_of_the_run() -> None:
    recorded = Recorded("http://127.0.0.1/")
    assert recorded.run() is True
    assert isinstance(recorded.of("on_error")[0][0], ValueError)


class _Callable:
    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls

    def __call__(self, app: Any, code: Any, reason: Any) -> None:
        self.calls.append((code, reason))

    def three(self, app: Any, code: Any, reason: Any) -> None:
        self.calls.append((code, reason))

    def one(self, app: Any) -> None:
        self.calls.append(())


def _on_close_forms() -> Iterator[tuple[str, Callable[[list[Any]], Any], tuple[Any, ...]]]:
    both = (1001, "bye")
    yield "three", lambda calls: lambda app, code, reason: calls.append((code, reason)), both
    yield "one", lambda calls: lambda app: calls.append(()), ()
    yield "two", lambda calls: lambda app, code: calls.append((code,)), (1001,)
    yield "args", lambda calls: lambda app, *args: calls.append(args), both
    yield "only args", lambda calls: lambda *args: calls.append(args[1:]), both
    yield "default", lambda calls: lambda app, code, reason="": calls.append((code, reason)), both
    yield "method of three", lambda calls: _Callable(calls).three, both
    yield "method of one", lambda calls: _Callable(calls).one, ()
    yield "object", _Callable, both
    yield "partial", lambda calls: functools.partial(_partial, calls), both
    yield "keyword partial", lambda calls: functools.partial(_partial_keyword, calls=calls), both


def _partial(calls: list[Any], app: Any, code: Any, reason: Any) -> None:
    calls.append((code, reason))


def _partial_keyword(app: Any, code: Any, reason: Any, *, calls: list[Any]) -> None:
    calls.append((code, reason))


@pytest.mark.parametrize(
    ("make", "expected"), [pytest.param(m, e, id=i) for i, m, e in _on_close_forms()]
)
def test_the_signature_of_on_close_decides(
    make: Callable[[list[Any]], Any], expected: tuple[Any, ...]
) -> None:
    calls: list[Any] = []
    with scripted(Scripted(BYE)) as url:
        errors: list[Any] = []
        app = WebSocketApp(
            url, on_close=make(calls), on_error=lambda app, error: errors.append(error)
        )
        assert app.run_forever() is False
    assert calls == [expected]
    assert errors == []


def test_a_mock_as_on_close() -> None:
    on_close = mock.Mock()
    with scripted(Scripted(BYE)) as url:
        app = WebSocketApp(url, on_close=on_close)
        app.run_forever()
    on_close.assert_called_once_with(app, 1001, "bye")


def test_a_callback_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    def fail(app: WebSocketApp, message: str) -> None:
        raise ZeroDivisionError(message)

    with scripted(Scripted(frame(TEXT, b"one"), frame(TEXT, b"two"), BYE)) as url:
        recorded = Recorded(url, {"on_message": fail})
        with caplog.at_level(logging.ERROR, "websocket"):
            assert recorded.run() is False
    errors = [error for (error,) in recorded.of("on_error")]
    assert [str(error) for error in errors] == ["one", "two"]
    # The traceback of the callback itself is in the log.
    assert "in fail" in caplog.text
    assert caplog.text.count("ZeroDivisionError") >= 2
    assert recorded.of("on_close") == [(1001, "bye")]


@pytest.mark.parametrize("name", ["on_open", "on_data", "on_ping", "on_pong", "on_close"])
def test_each_callback_may_raise(name: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(app: WebSocketApp, *args: Any) -> None:
        raise ZeroDivisionError

    server = Scripted(frame(PING), frame(PONG), frame(TEXT), BYE)
    with scripted(server) as url:
        recorded = Recorded(url, {name: fail})
        assert recorded.run() is False
    assert [type(error) for (error,) in recorded.of("on_error")] == [ZeroDivisionError]
    assert len(recorded.of("on_close")) == 1
    assert "ZeroDivisionError" in caplog.text


def test_an_on_error_that_raises_is_contained(caplog: pytest.LogCaptureFixture) -> None:
    def fail(app: WebSocketApp, *args: Any) -> None:
        raise ZeroDivisionError("in on_error")

    with scripted(lambda peer: peer.accept()) as url:
        recorded = Recorded(url, {"on_error": fail})
        assert recorded.run() is True
    assert recorded.names() == ["on_open", "on_error", "on_close"]
    assert "in on_error" in caplog.text


def test_fragments_one_by_one() -> None:
    """Text that is cut inside a character comes as str all the same."""
    first, second = "aé".encode()[:2], "é€".encode()[1:]
    server = Scripted(
        frame(TEXT, first, fin=False),
        frame(PING, b"between"),
        frame(CONT, second, fin=False),
        frame(CONT, b"z"),
        frame(BINARY, b"\xff", fin=False),
        frame(CONT, b"\xfe"),
        frame(TEXT, b"whole"),
        BYE,
    )
    with scripted(server) as url:
        recorded = Recorded(url, {"on_cont_message": lambda app, piece, fin: None})
        assert recorded.run() is False
    assert recorded.calls[1:-1] == [
        ("on_data", "a", TEXT, 0),
        ("on_message", "a"),
        ("on_ping", b"between"),
        ("on_data", "é€", CONT, 0),
        ("on_cont_message", "é€", 0),
        ("on_data", "z", CONT, 1),
        ("on_cont_message", "z", 1),
        ("on_data", b"\xff", BINARY, 0),
        ("on_message", b"\xff"),
        ("on_data", b"\xfe", CONT, 1),
        ("on_cont_message", b"\xfe", 1),
        ("on_data", "whole", TEXT, 1),
        ("on_message", "whole"),
    ]


def test_bad_text() -> None:
    with scripted(Scripted(frame(TEXT, b"a\xff"))) as url:
        recorded = Recorded(url)
        assert recorded.run() is True
    assert type(recorded.of("on_error")[0][0]) is WebSocketPayloadException


def test_bad_text_can_be_let_through() -> None:
    with scripted(Scripted(frame(TEXT, b"a\xff"), BYE)) as url:
        recorded = Recorded(url)
        assert recorded.run(skip_utf8_validation=True) is False
    ((message,),) = recorded.of("on_message")
    assert message.encode("utf-8", "surrogateescape") == b"a\xff"


def test_everything_that_comes_with_the_opening_handshake_on_the_outer_road() -> None:
    """Frames that are in memory already are not waited for."""
    websocket.enableTrace(True, logging.NullHandler())
    try:
        server = Scripted(frame(PING, b"p"), frame(TEXT, b"one"), frame(TEXT, b"two"))
        with scripted(server) as url:
            recorded = Recorded(url)
            recorded.start()
            recorded.wait_for("on_message", 2)
            recorded.app.close()
            assert recorded.join() is False
    finally:
        websocket.enableTrace(False)


# Sending


def test_sending() -> None:
    received: list[Any] = []

    def script(peer: Peer) -> None:
        peer.accept()
        received.extend(peer.next_frame()[2:5:2] for _ in range(5))
        peer.finish()

    def send(app: WebSocketApp) -> None:
        app.send("é")
        app.send(b"b", websocket.ABNF.OPCODE_BINARY)
        app.send_text("text")
        app.send_bytes(b"bytes")
        app.send("p", websocket.ABNF.OPCODE_PING)
        app.close()

    with scripted(script) as url:
        assert Recorded(url, {"on_open": send}).run() is False
    assert received == [
        (TEXT, "é".encode()),
        (BINARY, b"b"),
        (TEXT, b"text"),
        (BINARY, b"bytes"),
        (PING, b"p"),
    ]


def test_sending_without_a_connection() -> None:
    app = WebSocketApp("ws://127.0.0.1/")
    with pytest.raises(WebSocketConnectionClosedException, match="Connection is already closed"):
        app.send("a")
    assert not app.ready()


def test_a_connection_that_the_program_put_there_itself() -> None:
    app: Any = WebSocketApp("ws://127.0.0.1/")
    app.sock = mock.Mock()
    app.send("a")
    app.sock.send.assert_called_once_with("a", TEXT)
    put = app.sock
    app.close()
    put.close.assert_called_once()
    assert app.sock is None


# Closing


@pytest.mark.parametrize("name", ["on_open", "on_message", "on_data", "on_ping", "on_pong"])
def test_closing_from_a_callback(name: str) -> None:
    server = Scripted(frame(PING), frame(PONG), frame(TEXT, b"one"), frame(TEXT, b"two"))
    with scripted(server) as url:
        recorded = Recorded(url, {name: lambda app, *args: app.close(status=3001, reason="enough")})
        before = time.monotonic()
        assert recorded.run() is False
        assert time.monotonic() - before < 1
    assert server.codes == [3001]
    # The server's answer repeats the code and the reason.
    assert recorded.of("on_close") == [(3001, "enough")]
    assert recorded.of("on_error") == []
    assert ("two",) not in recorded.of("on_message")


def test_closing_from_another_thread_ends_the_run_at_once() -> None:
    server = Scripted()
    with scripted(server) as url:
        recorded = Recorded(url)
        recorded.start()
        recorded.wait_for("on_open")
        assert recorded.app.ready()
        before = time.monotonic()
        recorded.app.close()
        assert recorded.join() is False
        # No poll interval: nothing but the closing handshake is waited for.
        assert time.monotonic() - before < 0.5
    assert server.codes == [1000]
    assert recorded.of("on_close") == [(1000, "")]


def test_keep_running_false_from_another_thread() -> None:
    with scripted(Scripted()) as url:
        recorded = Recorded(url)
        recorded.start()
        recorded.wait_for("on_open")
        assert recorded.app.keep_running
        recorded.app.keep_running = False
        assert recorded.join() is False
    assert recorded.of("on_close") == [(1000, "")]


def test_keep_running_false_in_a_callback() -> None:
    with scripted(Scripted(frame(TEXT, b"one"))) as url:
        recorded = Recorded(
            url, {"on_message": lambda app, message: setattr(app, "keep_running", False)}
        )
        assert recorded.run() is False
    assert recorded.of("on_close") == [(1000, "")]


def test_closing_before_the_run() -> None:
    accepted: list[Peer] = []
    with scripted(accepted.append) as url:
        recorded = Recorded(url)
        recorded.app.close()
        assert recorded.run() is False
        assert recorded.names() == ["on_close"]
        assert recorded.of("on_close") == [(None, None)]
        assert accepted == []


def test_closing_before_one_run_does_not_end_the_next() -> None:
    with scripted(Scripted(BYE)) as url:
        recorded = Recorded(url)
        recorded.app.close()
        recorded.run()
        assert recorded.run() is False
        assert recorded.names().count("on_open") == 1


def test_closing_after_a_run_has_nothing_to_close() -> None:
    with scripted(Scripted(BYE)) as url:
        recorded = Recorded(url)
        for _ in range(2):
            recorded.run()
            recorded.app.close()
        assert recorded.names().count("on_open") == 2


def test_closing_while_connecting() -> None:
    asked, go = threading.Event(), threading.Event()
    codes: list[int | None] = []

    def script(peer: Peer) -> None:
        peer.request()
        asked.set()
        assert go.wait(DEADLINE)
        peer.send(peer.head())
        codes.append(peer.finish())

    with scripted(script) as url:
        recorded = Recorded(url)
        recorded.start()
        assert asked.wait(DEADLINE)
        recorded.app.close()
        go.set()
        assert recorded.join() is False
    assert recorded.names() == ["on_close"]
    assert codes == [1000]


def test_closing_twice_and_in_on_close() -> None:
    def twice(app: WebSocketApp) -> None:
        app.close()
        app.close(status=3000)

    server = Scripted()
    with scripted(server) as url:
        recorded = Recorded(url, {"on_open": twice, "on_close": lambda app, *_: app.close()})
        assert recorded.run() is False
    assert server.codes == [1000]
    assert len(recorded.of("on_close")) == 1


def test_closing_in_on_error() -> None:
    with scripted(lambda peer: peer.accept()) as url:
        recorded = Recorded(url, {"on_error": lambda app, error: app.close()})
        assert recorded.run() is True
    assert recorded.names() == ["on_open", "on_error", "on_close"]


@pytest.mark.parametrize("where", ["callback", "thread"])
def test_a_server_that_never_answers_the_close(where: str) -> None:
    def script(peer: Peer) -> None:
        peer.accept(then=frame(TEXT, b"go"))
        peer.wait_for_end()

    acts = {"on_message": lambda app, message: app.close(timeout=0.2)}
    with scripted(script) as url:
        recorded = Recorded(url, acts if where == "callback" else {})
        before = time.monotonic()
        recorded.start()
        if where == "thread":
            recorded.wait_for("on_message")
            recorded.app.close(timeout=0.2)
        assert recorded.join() is False
        assert 0.1 < time.monotonic() - before < 1.5
    assert recorded.of("on_close") == [(None, None)]


def test_closing_a_run_whose_callback_is_stuck_in_a_send() -> None:
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        assert done.wait(DEADLINE)

    def send(app: WebSocketApp) -> None:
        app.send_bytes(bytes(64_000_000))

    with scripted(script) as url:
        recorded = Recorded(url, {"on_open": send})
        recorded.start()
        recorded.wait_for("on_open")
        sock = recorded.app.sock
        assert sock is not None
        deadline = time.monotonic() + DEADLINE
        while sock.lock.acquire(blocking=False):
            sock.lock.release()
            assert time.monotonic() < deadline
        before = time.monotonic()
        recorded.app.close(timeout=0.3)
        recorded.join()
        assert time.monotonic() - before < 3
        done.set()
    assert len(recorded.of("on_close")) == 1


def test_a_server_that_floods_does_not_stretch_the_close() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.endless_and_deaf(frame(TEXT, b"x" * 1000) * 100)

    with scripted(script) as url:
        recorded = Recorded(url)
        recorded.start()
        recorded.wait_for("on_message")
        before = time.monotonic()
        recorded.app.close(timeout=0.3)
        assert recorded.join() is False
        assert time.monotonic() - before < 3
    assert len(recorded.of("on_close")) == 1


def test_what_close_does_not_take() -> None:
    server = Scripted()
    with scripted(server) as url:
        recorded = Recorded(url)
        recorded.start()
        recorded.wait_for("on_open")
        for options in ({"status": 999}, {"status": 1005}, {"reason": "a" * 124}):
            with pytest.raises(ValueError, match="lose"):
                recorded.app.close(**options)
        with pytest.raises(TypeError, match="nonsense"):
            recorded.app.close(nonsense=1)
        assert recorded.app.keep_running
        recorded.app.close(status=4999, reason=b"fine", timeout=DEADLINE)
        recorded.join()
    assert server.codes == [4999]


@pytest.mark.parametrize("how", ["close", "shutdown", "abort"])
def test_the_connection_is_closed_past_the_app(how: str) -> None:
    with scripted(Scripted()) as url:
        recorded = Recorded(url)
        recorded.start()
        recorded.wait_for("on_open")
        sock = recorded.app.sock
        assert sock is not None
        getattr(sock, how)()
        recorded.join()
    assert len(recorded.of("on_close")) == 1


def test_the_socket_itself_is_closed_in_a_callback() -> None:
    def close(app: Any) -> None:
        app.sock.sock.close()

    with scripted(Scripted()) as url:
        recorded = Recorded(url, {"on_open": close})
        recorded.run()
    assert len(recorded.of("on_close")) == 1
    with scripted(Scripted(frame(TEXT, b"a"))) as url:
        recorded = Recorded(url, {"on_message": lambda app, message: close(app)})
        recorded.run()
    assert len(recorded.of("on_close")) == 1


def test_a_server_that_closes_but_does_not_end_tcp() -> None:
    def script(peer: Peer) -> None:
        peer.accept(then=BYE)
        peer.wait_for_end()

    with scripted(script) as url:
        recorded = Recorded(url)
        before = time.monotonic()
        assert recorded.run() is False
        assert time.monotonic() - before < 2
    assert recorded.of("on_close") == [(1001, "bye")]


def test_a_deadline_that_passes_between_two_looks_at_the_clock() -> None:
    """Asking how long to wait must never be what ends a run."""
    times = iter([0.0, *(0.1 * step for step in range(100))])
    run = Run(WebSocketApp("ws://127.0.0.1/"), WebSocket(), (0, None), "", lambda *_: None)
    run._drain = Deadline(0.45, clock=lambda: next(times))
    waits = [run.until_check() for _ in range(10)]
    assert waits[0] == pytest.approx(0.45)
    assert waits[-1] == 0


# The ways out


def test_keyboard_interrupt_in_a_callback() -> None:
    def interrupt(app: WebSocketApp, message: str) -> None:
        raise KeyboardInterrupt

    server = Scripted(frame(TEXT, b"a"))
    with scripted(server) as url:
        recorded = Recorded(url, {"on_message": interrupt})
        assert recorded.run() is False
    assert [type(error) for (error,) in recorded.of("on_error")] == [KeyboardInterrupt]
    assert server.codes == [1000]
    assert recorded.calls[-1] == ("on_close", 1000, "")


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of POSIX")
def test_ctrl_c_while_idle() -> None:
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        recorded.wait_for("on_open")
        wait_until_in("select", threading.main_thread())
        signal.pthread_kill(main, signal.SIGINT)

    server = Scripted()
    with scripted(server) as url:
        recorded = Recorded(url)
        thread = threading.Thread(target=interrupt)
        thread.start()
        assert recorded.run() is False
        thread.join(DEADLINE)
    assert [type(error) for (error,) in recorded.of("on_error")] == [KeyboardInterrupt]
    assert server.codes == [1000]
    assert recorded.names()[-1] == "on_close"


def test_system_exit_in_a_callback() -> None:
    def leave(app: WebSocketApp, message: str) -> None:
        raise SystemExit(3)

    server = Scripted(frame(TEXT, b"a"))
    with scripted(server) as url:
        recorded = Recorded(url, {"on_message": leave})
        with pytest.raises(SystemExit) as caught:
            recorded.run()
    assert caught.value.code == 3
    assert recorded.of("on_error") == []
    assert recorded.names()[-1] == "on_close"
    assert server.codes == [1000]
    assert recorded.app.sock is None


# Runs


def test_running_again() -> None:
    with scripted(Scripted(frame(TEXT, b"a"), BYE)) as url:
        recorded = Recorded(url)
        for _ in range(3):
            assert recorded.run() is False
    assert recorded.of("on_message") == [("a",)] * 3
    assert recorded.of("on_close") == [(1001, "bye")] * 3


def test_running_again_in_on_close() -> None:
    runs = []

    def again(app: WebSocketApp, *args: Any) -> None:
        runs.append(args)
        if len(runs) < 3:
            app.run_forever()

    with scripted(Scripted(BYE)) as url:
        assert Recorded(url, {"on_close": again}).run() is False
    assert runs == [(1001, "bye")] * 3


def test_running_twice_at_the_same_time() -> None:
    with scripted(Scripted()) as url:
        recorded = Recorded(url)
        recorded.start()
        recorded.wait_for("on_open")
        with pytest.raises(WebSocketException, match="running"):
            recorded.app.run_forever()
        recorded.app.close()
        recorded.join()


def test_a_prepared_socket() -> None:
    with scripted(Scripted(frame(TEXT, b"a"), BYE)) as url:
        address = url.strip("/").rpartition("/")[2].split(":")
        sock = socket.create_connection((address[0], int(address[1])), DEADLINE)
        recorded = Recorded("ws://example.org/", socket=sock)
        assert recorded.run() is False
    assert recorded.of("on_message") == [("a",)]
    assert sock.fileno() == -1


@pytest.mark.parametrize(
    "options",
    [
        {"ping_interval": -1},
        {"ping_interval": 1, "ping_timeout": 0},
        {"ping_interval": 1, "ping_timeout": -1},
        {"ping_timeout": -1},
        {"ping_timeout": 0},
        {"ping_interval": 1, "ping_timeout": 1},
        {"ping_interval": 1, "ping_timeout": 2},
    ],
)
def test_ping_settings_that_make_no_sense(options: dict[str, float]) -> None:
    recorded = Recorded(f"ws://127.0.0.1:{unused_port()}/")
    with pytest.raises(WebSocketException, match="ping_"):
        recorded.run(**options)
    assert recorded.calls == []


def test_pings_are_sent_and_their_pongs_seen() -> None:
    payloads = []

    def script(peer: Peer) -> None:
        peer.accept()
        for _ in range(3):
            ping = peer.next_frame()
            assert ping.opcode == PING
            payloads.append(ping.payload)
            peer.send(frame(PONG, ping.payload))
        peer.send(BYE)
        peer.finish()

    with scripted(script) as url:
        recorded = Recorded(url)
        before = time.time()
        assert recorded.run(ping_interval=0.1, ping_timeout=0.09, ping_payload="é") is False
    assert payloads == ["é".encode()] * 3
    assert recorded.of("on_pong") == [("é".encode(),)] * 3
    # The first one after one interval.
    assert recorded.app.last_ping_tm - before >= 0.3
    assert recorded.app.last_pong_tm >= recorded.app.last_ping_tm


def test_no_pong_ends_the_run() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.wait_for_end()

    with scripted(script) as url:
        recorded = Recorded(url)
        before = time.monotonic()
        assert recorded.run(ping_interval=0.2, ping_timeout=0.1) is True
        assert 0.25 < time.monotonic() - before < 2
    ((error,),) = recorded.of("on_error")
    assert type(error) is WebSocketTimeoutException
    assert "ping/pong timed out" in str(error)
    assert recorded.of("on_close") == [(None, None)]


def test_a_server_that_talks_but_never_pongs_is_alive() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.drip(frame(TEXT, b"still here") * 3, 0.02)
        peer.send(BYE)
        peer.finish()

    with scripted(script) as url:
        recorded = Recorded(url)
        assert recorded.run(ping_interval=0.2, ping_timeout=0.15) is False
    assert len(recorded.of("on_message")) == 3


def test_autospec_and_patching() -> None:
    app = mock.create_autospec(WebSocketApp)("ws://127.0.0.1/", on_message=None)
    app.run_forever(ping_interval=3)
    app.run_forever.assert_called_once_with(ping_interval=3)
    with mock.patch("websocket.WebSocketApp") as patched:
        websocket.WebSocketApp("ws://127.0.0.1/")
    patched.assert_called_once_with("ws://127.0.0.1/")


def test_max_size() -> None:
    server = Scripted(frame(TEXT, bytes(11)))
    with scripted(server) as url:
        recorded = Recorded(url)
        assert recorded.run(max_size=10) is True
    assert server.codes == [1009]


@pytest.mark.usefixtures("default_timeout")
def test_the_default_timeout_does_not_end_an_idle_run() -> None:
    websocket.setdefaulttimeout(0.1)
    with scripted(Scripted()) as url:
        recorded = Recorded(url)
        recorded.start()
        recorded.wait_for("on_open")
        assert recorded.thread is not None
        recorded.thread.join(0.3)
        assert recorded.thread.is_alive()
        recorded.app.close()
        assert recorded.join() is False


def test_send_many() -> None:
    received: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.accept()
        received.extend(peer.next_frame().payload for _ in range(3))
        peer.finish()

    def on_open(app: WebSocketApp) -> None:
        app.send_many(["a", b"b", "c"])
        app.close()

    with scripted(script) as url:
        app = WebSocketApp(url, on_open=on_open)
        assert app.run_forever() is False
    assert received == [b"a", b"b", b"c"]
    with pytest.raises(WebSocketConnectionClosedException):
        app.send_many(["d"])
