"""``close()`` and Ctrl-C end each step of connecting, whatever it waits for."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, wait_until_in
from loopback import serve, unused_port, wait_for_end
from test_http import black_hole

import websocket
from websocket import WebSocketApp, WebSocketConnectionClosedException
from websocket._call_off import CallOff

pytestmark = pytest.mark.usefixtures("no_leaks")

PROMPT = DEADLINE / 2
Options = dict[str, Any]


# --- what can be waited for: an URL and options, and the function that waits ---------------


@contextlib.contextmanager
def a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Options]]:
    release = threading.Event()
    resolving: list[threading.Thread] = []

    def getaddrinfo(*_: Any) -> Any:
        resolving.append(threading.current_thread())
        release.wait(DEADLINE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield "ws://slow.example/", {}
    # Nobody can interrupt the system's resolver; its thread ends when it answers.
    release.set()
    for thread in resolving:
        thread.join(DEADLINE)


@contextlib.contextmanager
def tcp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Options]]:
    with black_hole() as port:
        yield f"ws://127.0.0.1:{port}/", {}


@contextlib.contextmanager
def a_unix_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Options]]:
    with full_unix_socket(tmp_path) as (listener, _):
        yield f"ws+unix://{listener.getsockname()}", {}


@contextlib.contextmanager
def full_unix_socket(folder: Path) -> Iterator[tuple[socket.socket, int]]:
    """A listener that takes no more, and how many connections it has to accept."""
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("no Unix sockets")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(folder / "s"))
        listener.listen(0)
        for queued in range(4):
            filler = stack.enter_context(socket.socket(socket.AF_UNIX))
            filler.setblocking(False)
            try:
                filler.connect(str(folder / "s"))
            except BlockingIOError:
                yield listener, queued
                return
            except OSError:
                break
        pytest.skip("this system refuses when the queue is full")


def silent(scheme: str, **options: Any) -> Any:
    @contextlib.contextmanager
    def peer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Options]]:
        with serve(wait_for_end) as server:
            port = server.port
            filled = {
                name: value.format(port=port) if isinstance(value, str) else value
                for name, value in options.items()
            }
            host = "server.example" if options else f"127.0.0.1:{port}"
            yield f"{scheme}://{host}/", filled

    return peer


STEPS = {
    "name": (a_name, "_in_time"),
    "tcp": (tcp, "_wait"),
    "unix": (a_unix_socket, "_connect_unix"),
    "tls": (silent("wss"), "_shake_hands"),
    "http proxy": (silent("ws", proxy="http://127.0.0.1:{port}"), "_negotiate"),
    "socks proxy": (silent("ws", proxy="socks5h://127.0.0.1:{port}"), "_negotiate"),
    "tls with the proxy": (silent("ws", proxy="https://127.0.0.1:{port}"), "_shake_hands"),
}


@pytest.fixture(params=list(STEPS))
def step(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[str, Options, str]]:
    peer, function = STEPS[request.param]
    with peer(monkeypatch, tmp_path) as (url, options):
        yield url, options, function


# --- close() -------------------------------------------------------------------------------


@contextlib.contextmanager
def closer(
    function: str, thread: threading.Thread, close: Callable[[], object], signals: bool = False
) -> Iterator[None]:
    """Close from another thread as soon as ``thread`` waits in ``function``."""
    times: list[float] = []
    over = threading.Event()

    def run() -> None:
        wait_until_in(function, thread)
        times.append(time.monotonic())
        close()
        # The signal may have come a moment before the system call that it is to interrupt.
        while signals and not over.wait(1):
            close()

    other = threading.Thread(target=run)
    other.start()
    yield
    ended = time.monotonic()
    over.set()
    other.join(DEADLINE)
    assert not other.is_alive()
    assert ended - times[0] < PROMPT


def test_closing_an_app_ends_the_step(step: tuple[str, Options, str]) -> None:
    url, options, function = step
    seen: list[Any] = []
    app = WebSocketApp(
        url,
        on_open=lambda app: seen.append("open"),
        on_error=lambda app, error: seen.append(error),
        on_close=lambda app, *args: seen.append(args),
    )
    # A timeout of the closing handshake is for peers that we have talked with.
    with closer(function, threading.current_thread(), lambda: app.close(timeout=60)):
        assert app.run_forever(**options) is False
    assert seen == [(None, None)]


def test_closing_a_loop_ends_the_step(step: tuple[str, Options, str]) -> None:
    url, options, function = step
    losses: list[Exception] = []
    feed = websocket.reconnecting(url, reconnect=60, on_loss=losses.append, **options)
    with closer(function, threading.current_thread(), feed.close):
        assert list(feed) == []
    assert losses == []


def test_closing_while_a_lost_connection_is_dialled_again() -> None:
    """The second connection is called off as well as the first, and nothing is dialled then."""
    with black_hole() as port:
        urls = iter([f"ws://127.0.0.1:{unused_port()}/", f"ws://127.0.0.1:{port}/"])
        policy = websocket.Backoff(0.01, attempts=None, first=True)
        app = WebSocketApp(lambda: next(urls))
        with closer("_wait", threading.current_thread(), app.close):
            assert app.run_forever(reconnect=policy) is False


# --- Ctrl-C --------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of POSIX")
@pytest.mark.parametrize("timeout", [None, 60])
def test_an_interrupt_ends_the_step(step: tuple[str, Options, str], timeout: float | None) -> None:
    url, options, function = step
    main = threading.main_thread()
    assert main is threading.current_thread()
    assert main.ident is not None
    number = main.ident
    with (
        closer(function, main, lambda: signal.pthread_kill(number, signal.SIGINT), True),
        pytest.raises(KeyboardInterrupt),
    ):
        websocket.create_connection(url, timeout, **options)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of POSIX")
def test_a_signal_handler_may_close(step: tuple[str, Options, str]) -> None:
    url, options, function = step
    main = threading.main_thread()
    assert main.ident is not None
    number = main.ident
    app = WebSocketApp(url)
    before = signal.signal(signal.SIGUSR1, lambda *_: app.close())
    try:
        with closer(function, main, lambda: signal.pthread_kill(number, signal.SIGUSR1), True):
            assert app.run_forever(**options) is False
    finally:
        signal.signal(signal.SIGUSR1, before)


# --- by itself -----------------------------------------------------------------------------


def test_called_off_before_the_first_step() -> None:
    call_off = CallOff()
    call_off.call()
    with serve(wait_for_end) as server:
        ws = websocket.WebSocket()
        with pytest.raises(WebSocketConnectionClosedException, match="Closed while connecting"):
            ws.connect(f"ws://127.0.0.1:{server.port}/", call_off=call_off)
        assert server.accepted == 0


def test_no_factory_is_asked_any_more() -> None:
    asked: list[Any] = []
    call_off = CallOff()
    call_off.call()
    ws = websocket.WebSocket()
    with pytest.raises(WebSocketConnectionClosedException):
        ws.connect("ws://server.example/", socket_factory=asked.append, call_off=call_off)
    assert asked == []


def test_what_is_no_socket_can_be_called_off() -> None:
    """A program's stand-in may have no shutdown; the next step is not begun then."""
    call_off = CallOff()
    call_off.waits_for(object())
    call_off.call()
    with pytest.raises(WebSocketConnectionClosedException):
        call_off.step(lambda: None)


def test_a_step_that_is_over_is_left_alone() -> None:
    ended: list[bool] = []
    call_off = CallOff()
    call_off.step(lambda: ended.append(True))
    call_off.done()
    call_off.call()
    assert ended == []


# --- a full Unix socket --------------------------------------------------------------------


def test_room_in_a_full_unix_socket_is_waited_for(tmp_path: Path) -> None:
    with full_unix_socket(tmp_path) as (listener, queued):
        taken: list[socket.socket] = []
        listener.settimeout(DEADLINE)

        def accept() -> None:
            wait_until_in("_connect_unix", main)
            taken.extend(listener.accept()[0] for _ in range(queued + 1))
            taken[-1].settimeout(DEADLINE)
            assert taken[-1].recv(4) == b"GET "
            taken[-1].sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        main = threading.current_thread()
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            with pytest.raises(websocket.WebSocketBadStatusException):
                websocket.create_connection(f"ws+unix://{listener.getsockname()}", timeout=DEADLINE)
        finally:
            thread.join(DEADLINE)
            for sock in taken:
                sock.close()


def test_the_deadline_ends_the_wait_for_room(tmp_path: Path) -> None:
    with (
        full_unix_socket(tmp_path) as (listener, _),
        pytest.raises(websocket.WebSocketTimeoutException, match=r"after 0\.1 seconds"),
    ):
        websocket.create_connection(f"ws+unix://{listener.getsockname()}", timeout=0.1)
