"""Reconnecting in the callback face: what follows on the end of a connection, and when."""

from __future__ import annotations

import functools
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from badservers import CLOSE, TEXT, Peer, close_payload, scripted
from conftest import DEADLINE, Certificates, wait_until_in
from loopback import serve, unused_port
from test_app import BYE, Recorded, Scripted
from test_dispatcher import AnyParameters, Blocking, Recorder, TwoParameters
from wire import frame

import websocket
from websocket import Backoff, WebSocketApp, WebSocketException
from websocket.testing import Refusal, Server, ServerConnection

pytestmark = pytest.mark.usefixtures("no_leaks")

QUICK = Backoff(0.01, 0.05, jitter=0)
RESTART = frame(CLOSE, close_payload(1012, b"back soon"))


def drop(peer: Peer) -> None:
    peer.accept()


def reset(peer: Peer) -> None:
    peer.accept()
    peer.reset()


def restart(peer: Peer) -> None:
    peer.accept(then=RESTART)
    peer.finish()


def bye(peer: Peer) -> None:
    peer.accept(then=BYE)
    peer.finish()


def stay(peer: Peer) -> None:
    peer.accept()
    peer.finish()


def silent(peer: Peer) -> None:
    peer.accept()
    peer.wait_for_end()


def refuse(status: int, *extra: str) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.request()
        lines = [f"HTTP/1.1 {status} No", "Content-Length: 0", *extra]
        peer.send("\r\n".join([*lines, "", ""]).encode())

    return script


class Turns:
    """A server that plays one script after the other, the last one again and again."""

    def __init__(self, *scripts: Callable[[Peer], None]) -> None:
        self._scripts = scripts
        self.at: list[float] = []

    def __call__(self, peer: Peer) -> None:
        turn = min(len(self.at), len(self._scripts) - 1)
        self.at.append(time.monotonic())
        self._scripts[turn](peer)

    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.at, self.at[1:], strict=False)]


class Reconnecting(Recorded):
    """With ``on_reconnect``, and reconnecting quickly."""

    def __init__(self, url: Any, acts: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(url, {"on_reconnect": lambda app: None, **(acts or {})}, **options)

    def run(self, **options: Any) -> bool:
        return super().run(**{"reconnect": QUICK, **options})


# What is dialled again


@pytest.mark.parametrize("lose", [drop, reset, restart], ids=lambda script: script.__name__)
def test_a_lost_connection_is_made_again(lose: Any) -> None:
    server = Turns(lose, lose, bye)
    with scripted(server) as url:
        recorded = Reconnecting(url)
        assert recorded.run() is False
    assert recorded.names() == [
        "on_open",
        "on_error",
        "on_reconnect",
        "on_error",
        "on_reconnect",
        "on_close",
    ]
    assert recorded.of("on_close") == [(1001, "bye")]
    assert recorded.app.reconnect_count == 2
    assert not recorded.app.has_errored


def test_the_default_dials_at_once() -> None:
    delays: list[float | None] = []
    with scripted(Turns(drop, bye)) as url:
        recorded = Reconnecting(
            url, {"on_error": lambda app, error: delays.append(app.reconnect_delay)}
        )
        assert recorded.run(reconnect=None) is False
    assert delays == [0]
    assert recorded.names() == ["on_open", "on_error", "on_reconnect", "on_close"]


def test_a_ping_timeout_is_a_loss() -> None:
    server = Turns(silent, bye)
    with scripted(server) as url:
        recorded = Reconnecting(url)
        assert recorded.run(ping_interval=0.2, ping_timeout=0.1) is False
    assert recorded.names() == ["on_open", "on_error", "on_reconnect", "on_close"]
    assert "ping/pong timed out" in str(recorded.of("on_error")[0][0])


def test_a_close_that_promises_a_return_is_an_error_until_then() -> None:
    with scripted(Turns(restart, bye)) as url:
        recorded = Reconnecting(url)
        recorded.run()
    ((error,),) = recorded.of("on_error")
    assert type(error) is websocket.WebSocketConnectionClosedException
    assert str(error) == "The server closed the connection with code 1012 (back soon)."


def test_without_on_reconnect_it_is_on_open() -> None:
    with scripted(Turns(drop, drop, bye)) as url:
        recorded = Recorded(url)
        assert recorded.run(reconnect=QUICK) is False
    assert recorded.names() == ["on_open", "on_error"] * 2 + ["on_open", "on_close"]


@pytest.mark.parametrize("value", [0, False])
@pytest.mark.parametrize("lose", [drop, restart], ids=lambda script: script.__name__)
def test_never(value: Any, lose: Any) -> None:
    server = Turns(lose)
    with scripted(server) as url:
        recorded = Reconnecting(url)
        recorded.run(reconnect=value)
    assert len(server.at) == 1
    # A Close is no error where nothing follows it.
    assert recorded.of("on_close") == [(None, None) if lose is drop else (1012, "back soon")]
    assert len(recorded.of("on_error")) == (lose is drop)


@pytest.mark.parametrize("reconnect", [None, True, 0.01, QUICK], ids=repr)
def test_a_close_that_means_it_ends_the_run(reconnect: Any) -> None:
    server = Turns(bye)
    with scripted(server) as url:
        recorded = Reconnecting(url)
        assert recorded.run(reconnect=reconnect) is False
    assert recorded.names() == ["on_open", "on_close"]
    assert len(server.at) == 1


@pytest.mark.parametrize("reconnect", [None, True, QUICK], ids=repr)
def test_a_first_connection_that_fails_ends_the_run(reconnect: Any) -> None:
    recorded = Reconnecting(f"ws://127.0.0.1:{unused_port()}/")
    assert recorded.run(reconnect=reconnect) is True
    assert recorded.names() == ["on_error", "on_close"]


def test_a_number_is_for_the_first_connection_too() -> None:
    server = Turns(refuse(503), refuse(503), drop, bye)
    with scripted(server) as url:
        recorded = Reconnecting(url)
        assert recorded.run(reconnect=0.1) is False
    names = ["on_error", "on_error", "on_open", "on_error", "on_reconnect", "on_close"]
    assert recorded.names() == names
    assert all(gap > 0.09 for gap in server.gaps())
    assert recorded.app.reconnect_count == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_refusals_that_will_not_heal_end_it(status: int) -> None:
    server = Turns(drop, refuse(status))
    with scripted(server) as url:
        recorded = Reconnecting(url)
        assert recorded.run(reconnect=0.01) is True
    assert recorded.names() == ["on_open", "on_error", "on_error", "on_close"]
    assert recorded.of("on_error")[1][0].status_code == status


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_refusals_that_may_heal_are_tried_again(status: int) -> None:
    server = Turns(drop, refuse(status), refuse(status), bye)
    with scripted(server) as url:
        recorded = Reconnecting(url)
        assert recorded.run() is False
    assert recorded.names() == ["on_open", *["on_error"] * 3, "on_reconnect", "on_close"]


def test_a_certificate_that_is_not_trusted_ends_it(certificates: Certificates) -> None:
    connected: list[int] = []

    def handler(sock: Any) -> None:
        connected.append(1)
        with certificates.server.wrap_socket(sock, server_side=True):
            pass

    with serve(handler) as server:
        recorded = Reconnecting(f"wss://localhost:{server.port}/")
        assert recorded.run(reconnect=0.01) is True
    assert len(connected) == 1
    assert len(recorded.of("on_error")) == 1


def test_a_bad_url_ends_it() -> None:
    recorded = Reconnecting("http://127.0.0.1/")
    assert recorded.run(reconnect=0.01) is True
    assert recorded.names() == ["on_error", "on_close"]


def test_a_broken_protocol_ends_it() -> None:
    server = Turns(lambda peer: peer.accept(then=b"\xff\xff") or peer.wait_for_end())  # type: ignore[func-returns-value]
    with scripted(server) as url:
        assert Reconnecting(url).run(reconnect=0.01) is True
    assert len(server.at) == 1


def test_a_prepared_socket_can_not_be_dialled_again() -> None:
    import socket

    server = Turns(drop)
    with scripted(server) as url:
        port = int(url.strip("/").rpartition(":")[2])
        sock = socket.create_connection(("127.0.0.1", port), DEADLINE)
        assert Reconnecting(url, socket=sock).run() is True
    assert len(server.at) == 1


# How often and when


def test_giving_up() -> None:
    server = Turns(drop)
    with scripted(server) as url:
        recorded = Reconnecting(url)
        assert recorded.run(reconnect=Backoff(0.01, 0.01, attempts=3)) is True
    assert len(server.at) == 4
    # One error for each of the four losses, the last one included.
    assert recorded.names() == [
        "on_open",
        *["on_error", "on_reconnect"] * 3,
        "on_error",
        "on_close",
    ]
    assert recorded.of("on_close") == [(None, None)]
    assert recorded.app.has_errored


def test_a_connection_that_lasts_begins_the_count_anew() -> None:
    server = Turns(drop, drop, drop, drop, drop, bye)
    with scripted(server) as url:
        recorded = Reconnecting(url)
        policy = Backoff(0.01, 0.01, attempts=1, lasting=0)
        assert recorded.run(reconnect=policy) is False
    assert len(server.at) == 6


def test_waits_grow() -> None:
    server = Turns(drop, drop, drop, bye)
    with scripted(server) as url:
        Reconnecting(url).run(reconnect=Backoff(0.1, 10, 2, jitter=0))
    first, second, third = server.gaps()
    assert 0.1 <= first < 1
    assert 0.2 <= second < 1.5
    assert 0.4 <= third < 2


def test_retry_after_is_honoured_up_to_the_cap() -> None:
    server = Turns(drop, refuse(503, "Retry-After: 1"), refuse(503, "Retry-After: 9999"), bye)
    with scripted(server) as url:
        recorded = Reconnecting(url)
        assert recorded.run(reconnect=Backoff(0.01, 1.2, jitter=0)) is False
    _, second, third = server.gaps()
    assert 1 <= second < 3
    assert 1.2 <= third < 4


def test_a_judge_of_the_program() -> None:
    asked: list[Any] = []

    def judge(reason: Any) -> bool:
        asked.append(reason)
        return reason != 1001

    def normal(peer: Peer) -> None:
        peer.accept(then=frame(CLOSE, close_payload(1000)))
        peer.finish()

    def empty(peer: Peer) -> None:
        peer.accept(then=frame(CLOSE))
        peer.finish()

    server = Turns(normal, empty, refuse(404), bye)
    with scripted(server) as url:
        recorded = Reconnecting(url)
        assert recorded.run(reconnect=Backoff(0.01, 0.01, retry_on=judge)) is False
    assert asked[:2] == [1000, 1005]
    assert asked[2].status_code == 404
    assert asked[3] == 1001


def test_a_judge_that_raises_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    def judge(reason: Any) -> bool:
        raise ZeroDivisionError

    with scripted(Turns(drop)) as url:
        recorded = Reconnecting(url)
        assert recorded.run(reconnect=Backoff(0.01, retry_on=judge)) is True
    kinds = [type(error) for (error,) in recorded.of("on_error")]
    assert kinds == [ZeroDivisionError, websocket.WebSocketConnectionClosedException]
    assert "ZeroDivisionError" in caplog.text


def test_many_reconnects_on_a_flat_stack() -> None:
    """A recursion of even one frame for each of them would not get this far."""
    depths: list[int] = []

    def note(app: WebSocketApp) -> None:
        depth, stack = 0, sys._getframe()
        while stack is not None:
            depth, stack = depth + 1, stack.f_back  # type: ignore[assignment]
        depths.append(depth)
        if len(depths) == 100:
            app.close()

    with scripted(drop) as url:
        recorded = Reconnecting(url, {"on_reconnect": note})
        recorded.run(reconnect=Backoff(0, 0, attempts=None))
    assert len(depths) == 100
    assert len(set(depths)) == 1


# What a program sees in the meantime


def test_attempts_are_visible(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[Any, ...]] = []

    def note(name: str, app: WebSocketApp, *args: Any) -> None:
        seen.append((name, app.reconnect_attempt, app.reconnect_delay, app.reconnect_count))
        assert name != "on_error" or app.keep_running

    acts = {n: functools.partial(note, n) for n in ("on_open", "on_error", "on_reconnect")}
    with scripted(Turns(drop, refuse(500), bye)) as url:
        recorded = Reconnecting(url, acts)
        with caplog.at_level(logging.INFO, "websocket"):
            recorded.run(reconnect=Backoff(0.01, 0.02, jitter=0))
    assert seen == [
        ("on_open", 0, None, 0),
        ("on_error", 1, 0.01, 0),
        ("on_error", 2, 0.02, 0),
        ("on_reconnect", 0, None, 1),
    ]
    assert (recorded.app.reconnect_attempt, recorded.app.reconnect_delay) == (0, None)
    records: list[Any] = [record for record in caplog.records if hasattr(record, "ws_event")]
    told = [(record.ws_event, getattr(record, "ws_attempt", None)) for record in records]
    assert told == [
        ("connected", 0),
        ("reconnecting", 1),
        ("reconnecting", 2),
        ("reconnected", 2),
        ("closed", None),
    ]
    assert records[1].ws_delay == 0.01
    assert records[-1].ws_close_code == 1001


def test_sending_in_a_wait_says_that_there_is_no_connection() -> None:
    with scripted(Turns(drop)) as url:
        recorded = Reconnecting(url)
        recorded.start(reconnect=30)
        recorded.wait_for("on_error")
        wait_until_in("select", recorded.thread)  # type: ignore[arg-type]
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            recorded.app.send("a")
        assert recorded.app.sock is None
        assert not recorded.app.ready()
        recorded.app.close()
        recorded.join()


def test_callables_are_asked_for_each_connection() -> None:
    requests: list[tuple[str, dict[str, str]]] = []
    tokens = iter(range(1, 10))

    def accept(connection: ServerConnection) -> None:
        requests.append((connection.request.target, dict(connection.request.headers)))
        if len(requests) < 3:
            connection.abort()

    with Server(accept, subprotocols=["v1", "v2", "v3"]) as server:
        recorded = Reconnecting(
            lambda: f"{server.url}{next(tokens)}",
            header=lambda: [f"X-Token: {len(requests)}"],
            cookie=lambda: f"session={len(requests)}",
            subprotocols=lambda: [f"v{len(requests) + 1}"],
        )
        assert recorded.run() is False
    assert [target for target, _ in requests] == ["/1", "/2", "/3"]
    assert [headers["x-token"] for _, headers in requests] == ["0", "1", "2"]
    assert [headers["cookie"] for _, headers in requests] == [f"session={n}" for n in range(3)]
    assert [h["sec-websocket-protocol"] for _, h in requests] == ["v1", "v2", "v3"]


@pytest.mark.parametrize("name", ["header", "cookie", "subprotocols"])
def test_a_callable_that_raises_is_an_error_of_the_attempt(name: str) -> None:
    def fail() -> Any:
        raise KeyError("no token")

    with Server() as server:
        recorded = Reconnecting(server.url, **{name: fail})
        assert recorded.run(reconnect=0.01) is True
    assert [type(error) for (error,) in recorded.of("on_error")] == [KeyError]


def test_a_token_service_that_is_down_is_tried_again() -> None:
    calls: list[int] = []

    def token() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionRefusedError("the token service is down")
        return "t=1"

    with scripted(bye) as url:
        recorded = Reconnecting(url, cookie=token)
        assert recorded.run(reconnect=0.01) is False
    assert recorded.names() == ["on_error", "on_error", "on_open", "on_close"]


# The end


def test_close_ends_a_wait_at_once() -> None:
    with scripted(Turns(drop)) as url:
        recorded = Reconnecting(url)
        recorded.start(reconnect=60)
        recorded.wait_for("on_error")
        wait_until_in("select", recorded.thread)  # type: ignore[arg-type]
        before = time.monotonic()
        recorded.app.close()
        assert recorded.join() is False
        assert time.monotonic() - before < 2
    assert recorded.of("on_close") == [(None, None)]
    assert recorded.names() == ["on_open", "on_error", "on_close"]


def test_keep_running_false_ends_a_wait_too() -> None:
    with scripted(Turns(drop)) as url:
        recorded = Reconnecting(url)
        recorded.start(reconnect=60)
        recorded.wait_for("on_error")
        recorded.app.keep_running = False
        assert recorded.join() is False


@pytest.mark.parametrize("name", ["on_error", "on_reconnect"])
def test_close_in_a_callback_ends_it(name: str) -> None:
    server = Turns(drop, stay)
    with scripted(server) as url:
        recorded = Reconnecting(url, {name: lambda app, *args: app.close()})
        assert recorded.run(reconnect=0.01) is False
    assert len(server.at) == (1 if name == "on_error" else 2)
    assert len(recorded.of("on_close")) == 1


@pytest.mark.parametrize("first", [True, False], ids=["first", "again"])
def test_closing_while_the_server_says_nothing_to_the_handshake(first: bool) -> None:
    asked = threading.Event()

    def mute(peer: Peer) -> None:
        peer.request()
        asked.set()
        peer.wait_for_end()

    with scripted(mute if first else Turns(drop, mute)) as url:
        recorded = Reconnecting(url)
        recorded.start()
        assert asked.wait(DEADLINE)
        recorded.app.close(timeout=0.1)
        assert recorded.join() is False
    assert recorded.names() == (["on_close"] if first else ["on_open", "on_error", "on_close"])


def test_closing_in_the_tls_handshake() -> None:
    reached = threading.Event()

    def mute(peer: Peer) -> None:
        peer.sock.recv(1)
        reached.set()
        peer.wait_for_end()

    with scripted(mute) as url:
        recorded = Reconnecting(url.replace("ws:", "wss:"))
        recorded.start()
        assert reached.wait(DEADLINE)
        recorded.app.close(timeout=0.1)
        assert recorded.join() is False
    assert recorded.names() == ["on_close"]


def test_an_attempt_without_an_answer_is_given_up() -> None:
    def mute(peer: Peer) -> None:
        peer.request()
        peer.wait_for_end()

    timeouts: list[Any] = []
    with scripted(Turns(drop, mute, bye)) as url:
        recorded = Reconnecting(
            url, {"on_reconnect": lambda app: timeouts.append(app.sock.gettimeout())}
        )
        assert recorded.run(reconnect=Backoff(0.01, timeout=0.3)) is False
    kinds = [type(error).__name__ for (error,) in recorded.of("on_error")]
    assert kinds == ["WebSocketConnectionClosedException", "WebSocketTimeoutException"]
    assert timeouts == [None]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of POSIX")
def test_ctrl_c_in_a_wait() -> None:
    main = threading.main_thread()

    def interrupt() -> None:
        recorded.wait_for("on_error")
        wait_until_in("select", main)
        signal.pthread_kill(main.ident, signal.SIGINT)  # type: ignore[arg-type]

    with scripted(Turns(drop)) as url:
        recorded = Reconnecting(url)
        thread = threading.Thread(target=interrupt)
        thread.start()
        before = time.monotonic()
        assert recorded.run(reconnect=60) is False
        assert time.monotonic() - before < DEADLINE
        thread.join(DEADLINE)
    kinds = [type(error) for (error,) in recorded.of("on_error")]
    assert kinds == [websocket.WebSocketConnectionClosedException, KeyboardInterrupt]
    assert recorded.of("on_close") == [(None, None)]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of POSIX")
def test_a_signal_handler_may_close_in_a_wait() -> None:
    main = threading.main_thread()

    def terminate() -> None:
        recorded.wait_for("on_error")
        wait_until_in("select", main)
        signal.pthread_kill(main.ident, signal.SIGTERM)  # type: ignore[arg-type]

    before = signal.signal(signal.SIGTERM, lambda *_: recorded.app.close())
    try:
        with scripted(Turns(drop)) as url:
            recorded = Reconnecting(url)
            thread = threading.Thread(target=terminate)
            thread.start()
            assert recorded.run(reconnect=60) is False
            thread.join(DEADLINE)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert recorded.of("on_close") == [(None, None)]


def test_system_exit_in_on_reconnect() -> None:
    def leave(app: WebSocketApp) -> None:
        raise SystemExit(4)

    with scripted(Turns(drop, stay)) as url:
        recorded = Reconnecting(url, {"on_reconnect": leave})
        with pytest.raises(SystemExit):
            recorded.run()
    assert recorded.names() == ["on_open", "on_error", "on_reconnect", "on_close"]
    assert recorded.app.sock is None


def test_running_again_after_giving_up() -> None:
    with scripted(Turns(drop, drop, bye)) as url:
        recorded = Reconnecting(url)
        assert recorded.run(reconnect=Backoff(0, attempts=1)) is True
        assert recorded.app.reconnect_count == 1
        assert recorded.run() is False
        assert recorded.app.reconnect_count == 0
    assert recorded.names().count("on_open") == 2


def test_running_twice_at_the_same_time_in_a_wait() -> None:
    with scripted(Turns(drop)) as url:
        recorded = Reconnecting(url)
        recorded.start(reconnect=60)
        recorded.wait_for("on_error")
        with pytest.raises(WebSocketException, match="running"):
            recorded.app.run_forever()
        recorded.app.close()
        recorded.join()


# The default of the process


@pytest.fixture
def default_restored() -> Iterator[None]:
    yield
    websocket.set_reconnect(None)


@pytest.mark.usefixtures("default_restored")
@pytest.mark.parametrize("setter", [websocket.set_reconnect, websocket.setReconnect])
def test_the_default_can_be_set(setter: Any) -> None:
    server = Turns(drop, drop, bye)
    with scripted(server) as url:
        setter(0)
        assert Reconnecting(url).run(reconnect=None) is True
        assert len(server.at) == 1
        setter(0.01)
        assert Reconnecting(url).run(reconnect=None) is False
    assert len(server.at) == 3


@pytest.mark.usefixtures("default_restored")
def test_a_default_that_makes_no_sense_changes_nothing() -> None:
    websocket.set_reconnect(5)
    with pytest.raises(ValueError, match="reconnect must be"):
        websocket.set_reconnect(-1)
    assert websocket._app.RECONNECT == 5


@pytest.mark.parametrize("value", [-1, "soon"])
def test_a_policy_that_makes_no_sense_is_refused_before_connecting(value: Any) -> None:
    recorded = Reconnecting("ws://127.0.0.1/")
    with pytest.raises(ValueError, match="reconnect must be"):
        recorded.run(reconnect=value)
    assert recorded.calls == []


# Loops of programs


@pytest.mark.parametrize("kind", [Blocking, TwoParameters, AnyParameters])
@pytest.mark.parametrize("lose", [drop, restart], ids=lambda script: script.__name__)
def test_a_loop_without_timers(kind: Any, lose: Any) -> None:
    with scripted(Turns(lose, lose, bye)) as url:
        recorded = Reconnecting(url)
        assert recorded.run(dispatcher=kind(recorded.app)) is False
    expected = ["on_open", *["on_error", "on_reconnect"] * 2, "on_close"]
    assert recorded.names() == expected


@pytest.mark.parametrize("kind", [Blocking, TwoParameters])
def test_closing_in_a_wait_under_a_loop_without_timers(kind: Any) -> None:
    with scripted(Turns(drop)) as url:
        recorded = Reconnecting(url)
        recorded.start(dispatcher=kind(recorded.app), reconnect=60)
        recorded.wait_for("on_error")
        recorded.app.close()
        assert recorded.join() is False
    assert recorded.of("on_close") == [(None, None)]


class Timers(Recorder):
    """Driven by hand: its ``read`` returns at once, and timers are fired by the test."""

    def drive(self, recorded: Recorded) -> None:
        while not recorded.of("on_close"):
            if self.reading is not None:
                self.turn()
            else:
                seconds, callback, args = self.timers.pop(0)
                time.sleep(seconds)
                callback(*args)


class Reconnects(Timers):
    """With 1.9's ``reconnect`` as well."""

    def reconnect(self, seconds: float, reconnector: Any) -> None:
        self.calls.append(("reconnect", seconds))
        self.timers.append((seconds, lambda: reconnector(reconnecting=True), ()))


@pytest.mark.parametrize("kind", [Timers, Reconnects])
def test_a_loop_with_timers(kind: Any) -> None:
    with scripted(Turns(drop, restart, drop, bye)) as url:
        recorded, loop = Reconnecting(url), kind()
        assert recorded.run(dispatcher=loop) is False
        loop.drive(recorded)
    assert recorded.names() == ["on_open", *["on_error", "on_reconnect"] * 3, "on_close"]
    assert recorded.app.sock is None
    told = [call for call in loop.calls if call[0] == "reconnect"]
    assert len(told) == (3 if kind is Reconnects else 0)


def test_a_first_connection_under_a_loop_with_timers() -> None:
    with scripted(Turns(refuse(503), bye)) as url:
        recorded, loop = Reconnecting(url), Timers()
        recorded.run(dispatcher=loop, reconnect=0.01)
        loop.drive(recorded)
    assert recorded.names() == ["on_error", "on_open", "on_close"]


def test_closing_in_a_wait_under_a_loop_with_timers() -> None:
    with scripted(Turns(drop, stay)) as url:
        recorded, loop = Reconnecting(url), Timers()
        recorded.run(dispatcher=loop)
        while loop.reading is not None:
            loop.turn()
        recorded.app.close()
        # At once: nobody waits for the timer, which finds nothing to do.
        assert recorded.names() == ["on_open", "on_error", "on_close"]
        loop.timers.pop()[1]()
    assert len(recorded.of("on_close")) == 1


class Synchronous(Timers):
    """Its timer waits and calls back before it returns, and so does its ``read``."""

    def read(self, sock: Any, callback: Any) -> None:
        super().read(sock, callback)
        while self.reading is not None:
            self.turn()

    def reconnect(self, seconds: float, reconnector: Any) -> None:
        time.sleep(seconds)
        reconnector(reconnecting=True)


def test_a_loop_that_blocks_in_everything() -> None:
    depths = set()

    def note(app: WebSocketApp) -> None:
        depth, stack = 0, sys._getframe()
        while stack is not None:
            depth, stack = depth + 1, stack.f_back  # type: ignore[assignment]
        depths.add(depth)

    with scripted(Turns(*[drop] * 10, bye)) as url:
        recorded = Reconnecting(url, {"on_reconnect": note})
        policy = Backoff(0.001, 0.001, attempts=None)
        assert recorded.run(dispatcher=Synchronous(), reconnect=policy) is False
    assert len(depths) == 1
    assert recorded.app.reconnect_count == 10


def test_a_loop_of_another_kind_without_timers_can_not_wait() -> None:
    """Its ``read`` returns at once, so nobody is there who could wait."""

    class NoTimers:
        def read(self, sock: Any, callback: Any) -> None:
            self.sock, self.callback = sock, callback

    with scripted(drop) as url:
        recorded, loop = Reconnecting(url), NoTimers()
        recorded.run(dispatcher=loop)
        while not recorded.of("on_close"):
            loop.callback()
    assert recorded.names() == ["on_open", "on_error", "on_close"]


REL = """
    import sys
    import rel
    import websocket

    names = []

    def note(name):
        def callback(app, *args):
            names.append(name)
            if name == "on_close":
                rel.abort()
        return callback

    callbacks = ("on_open", "on_reconnect", "on_error", "on_close")
    app = websocket.WebSocketApp(sys.argv[1], **{name: note(name) for name in callbacks})
    app.run_forever(dispatcher=rel, reconnect=websocket.Backoff(0.05, 0.1))
    rel.signal(2, rel.abort)
    rel.dispatch()
    print(*names)
"""


def test_rel() -> None:
    pytest.importorskip("rel")
    with scripted(Turns(drop, restart, refuse(503), bye)) as url:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(REL), url],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ},
        )
    assert done.returncode == 0, done.stderr
    expected = ["on_open", "on_error", "on_reconnect", *["on_error"] * 2, "on_reconnect"]
    assert done.stdout.split() == [*expected, "on_close"]


def test_many_at_once_leave_nothing_behind() -> None:
    """Each connection's socket and loop are gone before the next begins."""
    with scripted(Turns(*[drop] * 30, *[bye] * 10)) as url:
        apps = [Reconnecting(url) for _ in range(8)]
        for recorded in apps:
            recorded.start(reconnect=Backoff(0.001, 0.001, attempts=None))
        for recorded in apps:
            assert recorded.join() is False
    assert sum(recorded.app.reconnect_count for recorded in apps) == 30


def test_the_server_of_the_tests_refuses_for_a_while() -> None:
    answers = iter([None, Refusal(503, headers=[("Retry-After", "0")]), None])

    def handler(connection: ServerConnection) -> None:
        connection.send("hello")
        if connection.request.headers.get("x-last") is None:
            connection.abort()

    opened: list[int] = []
    with Server(handler, process_request=lambda head: next(answers)) as server:
        recorded = Reconnecting(
            server.url,
            {"on_open": lambda app: opened.append(1)},
            header=lambda: ["X-Last: 1"] if opened else [],
        )
        assert recorded.run() is False
    assert recorded.names()[-1] == "on_close"
    assert recorded.names().count("on_reconnect") == 1


def test_text_that_was_cut_is_not_continued_in_the_next_connection() -> None:
    """Each connection has a protocol state of its own."""

    def cut(peer: Peer) -> None:
        peer.accept(then=frame(TEXT, b"half a mess", fin=False))

    with scripted(Turns(cut, Scripted(frame(TEXT, b"whole"), BYE))) as url:
        recorded = Reconnecting(url)
        assert recorded.run() is False
    assert recorded.of("on_message") == [("whole",)]
