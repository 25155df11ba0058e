"""``close()`` and Ctrl-C end each step of connecting, whatever it waits for."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from conftest import DEADLINE, Certificates, wait_until_in
from loopback import serve, unused_port, wait_for_end
from test_http import black_hole

import websocket
from websocket import WebSocketApp, WebSocketConnectionClosedException
from websocket._call_off import CallOff
from websocket.testing import Server

pytestmark = pytest.mark.usefixtures("no_leaks")

PROMPT = DEADLINE / 2
PACKAGE = str(Path(websocket.__file__).parent)
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


# --- close() of the connection itself ------------------------------------------------------


WAYS_TO_END = {
    "close": websocket.WebSocket.close,
    "shutdown": websocket.WebSocket.shutdown,
    "abort": websocket.WebSocket.abort,
}


@pytest.mark.parametrize("end", WAYS_TO_END.values(), ids=WAYS_TO_END.keys())
def test_ending_a_connection_ends_the_step(
    step: tuple[str, Options, str], end: Callable[[websocket.WebSocket], None]
) -> None:
    url, options, function = step
    ws = websocket.WebSocket()
    with (
        closer(function, threading.current_thread(), lambda: end(ws)),
        pytest.raises(WebSocketConnectionClosedException, match=r"^Closed while connecting\.$"),
    ):
        ws.connect(url, **options)
    assert not ws.connected
    assert ws.sock is None


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize(
    ("head", "function"),
    [(b"", "_read_head"), (b"HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\n", "_refused")],
    ids=["head", "body of a refusal"],
)
def test_closing_ends_the_opening_handshake(
    certificates: Certificates, scheme: str, head: bytes, function: str
) -> None:
    """No time is given to the server, unlike an app's close(): nobody waits for its answer."""

    def handler(sock: socket.socket) -> None:
        if scheme == "wss":
            sock = certificates.server.wrap_socket(sock, server_side=True)
        with sock:
            sock.sendall(head)
            wait_for_end(sock)

    ws = websocket.WebSocket(sslopt={"ca_certs": certificates.ca_file})
    with (
        serve(handler) as server,
        closer(function, threading.current_thread(), lambda: ws.close(timeout=60)),
        pytest.raises(websocket.WebSocketException) as caught,
    ):
        ws.connect(f"{scheme}://localhost:{server.port}/")
    assert isinstance(caught.value, WebSocketConnectionClosedException)
    assert str(caught.value) == "Closed while connecting."


@pytest.mark.parametrize(
    ("scheme", "way"), [("ws", "close"), ("ws", "shutdown"), ("ws", "abort"), ("wss", "close")]
)
def test_ending_a_connection_between_the_steps(
    certificates: Certificates, scheme: str, way: str
) -> None:
    """At each function that connect() enters, the connection is ended: so early that nothing
    has begun, between two steps, or so late that connect() has done its work."""
    context = certificates.server if scheme == "wss" else None
    sslopt = {"context": certificates.client}
    with Server(ssl_context=context) as server:
        entered = 0
        outcomes: set[str] = set()
        while True:
            ws = websocket.WebSocket(sslopt=sslopt)
            moment = AtCall(entered, partial(WAYS_TO_END[way], ws))
            outcome = "connected"
            try:
                with moment:
                    ws.connect(server.url, timeout=DEADLINE)
            except WebSocketConnectionClosedException as error:
                outcome = str(error)
            outcomes.add(outcome)
            if not moment.came:
                break
            # What was opened all the same is closed, or at its end.
            with pytest.raises(WebSocketConnectionClosedException):
                ws.recv(timeout=DEADLINE)
            assert not ws.connected
            assert ws.sock is None
            # Over TLS, the answer's head is read byte by byte, which takes many calls.
            entered += 1 if scheme == "ws" else 11
        ws.close()
    assert outcomes == {"connected", "Closed while connecting."}
    assert entered > 50


class AtCall:
    """Does something as soon as connect() has begun and has entered so many functions."""

    def __init__(self, number: int, action: Callable[[], object]) -> None:
        self.came = False
        self._begun = False
        self._left = number
        self._action = action

    def _entered(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or self.came or not frame.f_code.co_filename.startswith(PACKAGE):
            return
        self._begun = self._begun or frame.f_code.co_name == "open_connection"
        if self._begun and self._left == 0:
            self.came = True
            self._action()
        self._left -= self._begun

    def __enter__(self) -> None:
        sys.setprofile(self._entered)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


def test_closing_an_apps_connection_while_it_is_dialled() -> None:
    """As with a connection that is open: it is the program's doing, so nothing is reported and
    nothing is dialled again."""
    seen: list[Any] = []
    with black_hole() as port:
        app = WebSocketApp(
            f"ws://127.0.0.1:{port}/",
            on_error=lambda app, error: seen.append(error),
            on_close=lambda app, *args: seen.append(args),
        )

        def close() -> None:
            assert app.sock is not None
            app.sock.close()

        with closer("_wait", threading.current_thread(), close):
            assert app.run_forever(reconnect=60) is False
    assert seen == [(None, None)]


def test_a_connection_that_was_called_off_can_connect_again() -> None:
    ws = websocket.WebSocket()
    with (
        black_hole() as port,
        closer("_wait", threading.current_thread(), ws.close),
        pytest.raises(WebSocketConnectionClosedException),
    ):
        ws.connect(f"ws://127.0.0.1:{port}/")
    with Server() as server:
        ws.connect(server.url, timeout=DEADLINE)
        ws.send("hello")
        assert ws.recv() == "hello"
        ws.close()


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


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_socket_that_comes_too_late_is_closed(scheme: str) -> None:
    """Nobody can end a program's own function; what it returns is not used any more."""
    ws = websocket.WebSocket()
    made: list[socket.socket] = []

    def factory(address: tuple[str, int], timeout: float | None) -> socket.socket:
        made.append(socket.create_connection(("127.0.0.1", server.port)))
        closer = threading.Thread(target=ws.close)
        closer.start()
        closer.join(DEADLINE)
        assert not closer.is_alive()
        return made[0]

    with serve(wait_for_end) as server:
        with pytest.raises(WebSocketConnectionClosedException, match="Closed while connecting"):
            ws.connect(f"{scheme}://server.example/", socket_factory=factory)
        assert made[0].fileno() == -1


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
