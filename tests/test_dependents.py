"""How programs use the library: each test is written in the style of a kind of dependent.

They stand for what can't be read off signatures: attributes that programs assign, the loops
that they build around ``recv`` and ``run_forever``, what they log. What their own tests do to
the library is in ``test_dependents_doubles``.
"""

from __future__ import annotations

import inspect
import json
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Certificates
from support.recorder import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Recorder,
    Session,
    echo,
    record,
    tell,
    tell_then_echo,
)

import websocket
from websocket import ABNF, WebSocket, WebSocketApp, create_connection

DEADLINE = 10.0


@pytest.fixture
def server() -> Iterator[Recorder]:
    with record(echo) as recorder:
        yield recorder


def wait_until(condition: Callable[[], Any]) -> None:
    """Poll as such programs do, but not for ever."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def run_in_thread(app: WebSocketApp, **options: Any) -> threading.Thread:
    thread = threading.Thread(target=lambda: app.run_forever(**options), daemon=True)
    thread.start()
    return thread


def joined(thread: threading.Thread) -> None:
    thread.join(DEADLINE)
    assert not thread.is_alive()


# Assigned attributes and runs of an app


def test_keep_running_is_assigned_from_a_callback() -> None:
    seen: list[Any] = []

    def on_message(app: WebSocketApp, message: Any) -> None:
        seen.append(message)
        app.keep_running = False

    with record(tell_then_echo("one")) as server:
        app = WebSocketApp(
            server.url,
            on_message=on_message,
            on_close=lambda _, *args: seen.append(args),
        )
        assert app.run_forever() is False
    assert seen[0] == "one"
    assert len(seen) == 2
    assert app.keep_running is False


def test_keep_running_is_assigned_from_another_thread(server: Recorder) -> None:
    opened = threading.Event()
    app = WebSocketApp(server.url, on_open=lambda _: opened.set())
    thread = run_in_thread(app)
    assert opened.wait(DEADLINE)
    assert app.keep_running is True
    app.keep_running = False
    joined(thread)


def test_run_forever_again_on_the_same_app() -> None:
    seen: list[Any] = []
    with record(tell("hello")) as server:
        app = WebSocketApp(
            server.url,
            on_open=lambda _: seen.append("open"),
            on_message=lambda _, message: seen.append(message),
            on_close=lambda _, code, reason: seen.append(code),
        )
        for _ in range(3):
            app.keep_running = True
            assert app.run_forever() is False
    assert seen == ["open", "hello", 1000] * 3


def test_run_forever_again_after_close() -> None:
    opened: list[Any] = []

    def on_open(app: WebSocketApp) -> None:
        opened.append(app)
        app.close()

    with record() as server:
        app = WebSocketApp(server.url, on_open=on_open)
        for _ in range(2):
            app.run_forever()
    assert len(opened) == 2


def test_on_close_starts_the_next_run_in_a_thread() -> None:
    opened = threading.Semaphore(0)
    threads: list[threading.Thread] = []

    def on_close(app: WebSocketApp, *_: Any) -> None:
        if len(threads) < 2:
            threads.append(threading.Thread(target=app.run_forever, daemon=True))
            threads[-1].start()

    with record(tell("hello")) as server:
        app = WebSocketApp(server.url, on_open=lambda _: opened.release(), on_close=on_close)
        app.run_forever()
        for thread in threads:
            joined(thread)
        for _ in range(3):
            assert opened.acquire(timeout=DEADLINE)


def test_trading_bot_waits_for_the_connection_and_for_its_end() -> None:
    with record(echo) as server:
        messages: list[Any] = []
        app = WebSocketApp(server.url, on_message=lambda _, message: messages.append(message))
        thread = run_in_thread(app, ping_interval=20, ping_timeout=10)
        wait_until(lambda: app.sock and app.sock.connected)
        app.send(json.dumps({"op": "subscribe", "channel": "ticker"}))
        wait_until(lambda: messages)
        assert json.loads(messages[0])["channel"] == "ticker"
        app.close()
        wait_until(lambda: not app.sock)
        joined(thread)
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            app.send("too late")


def test_callback_set_after_the_app_was_made() -> None:
    seen: list[Any] = []
    with record(tell("hello")) as server:
        app = WebSocketApp(server.url)
        app.on_message = lambda _, message: seen.append(message)
        app.header = {"X-Late": "yes"}
        app.run_forever()
        assert server.session().header("X-Late") == "yes"
    assert seen == ["hello"]


def test_recognizer_streams_audio_and_reads_on_data(certificates: Certificates) -> None:
    # Speech services: bytes out from a thread, JSON in through on_data.
    seen: list[Any] = []

    def on_open(app: WebSocketApp) -> None:
        def feed() -> None:
            app.send(json.dumps({"action": "start"}))
            for chunk in (b"\x00" * 2048, b"\x7f" * 70000):
                app.send(chunk, ABNF.OPCODE_BINARY)
            app.send(json.dumps({"action": "stop"}), ABNF.OPCODE_TEXT)

        feeder = threading.Thread(target=feed)
        feeder.start()
        feeder.join(DEADLINE)

    def on_data(app: WebSocketApp, message: Any, kind: int, fin: Any) -> None:
        if kind == ABNF.OPCODE_TEXT:
            seen.append(json.loads(message)["action"])
        else:
            seen.append(len(message))
        if seen[-1] == "stop":
            app.close()

    with record(tls=certificates.server) as server:
        app = WebSocketApp(
            server.url, header={"Authorization": "Bearer token"}, on_open=on_open, on_data=on_data
        )
        app.run_forever(
            http_proxy_host=None, http_proxy_port=None, sslopt={"cert_reqs": ssl.CERT_NONE}
        )
        assert server.session().header("Authorization") == "Bearer token"
    assert seen == ["start", 2048, 70000, "stop"]


def test_slack_socket_mode(server: Recorder) -> None:
    seen: list[Any] = []

    def on_message(app: WebSocketApp, message: str) -> None:
        seen.append(message)
        app.close(status=websocket.STATUS_NORMAL, reason=b"bye", timeout=1)

    def on_close(app: WebSocketApp, code: int | None = None, reason: str | None = None) -> None:
        seen.append((code, reason))

    app = WebSocketApp(
        server.url,
        on_open=lambda app: app.send("{}"),
        on_message=on_message,
        on_error=lambda _, error: seen.append(error),
        on_close=on_close,
    )
    app.run_forever(
        ping_interval=10,
        ping_payload="sdk-ping",
        http_proxy_host=None,
        http_proxy_port=None,
        http_proxy_auth=None,
        proxy_type=None,
    )
    assert seen == ["{}", (1000, "bye")]
    assert server.session().of(CLOSE) == [b"\x03\xe8bye"]


def test_browser_debugger_in_a_daemon_thread(server: Recorder) -> None:
    # Browser automation: no Origin, answers found by id in a dict that a thread fills.
    answers: dict[int, Any] = {}
    started = threading.Event()

    def on_message(_: WebSocketApp, message: str) -> None:
        answer = json.loads(message)
        answers[answer["id"]] = answer

    app = WebSocketApp(server.url, on_open=lambda _: started.set(), on_message=on_message)
    thread = run_in_thread(app, suppress_origin=True)
    assert started.wait(DEADLINE)
    app.send(json.dumps({"id": 1, "method": "Page.enable"}))
    wait_until(lambda: 1 in answers)
    app.close()
    joined(thread)
    assert server.session().header("Origin") is None


# Loops around a blocking connection


def test_engineio_client(server: Recorder) -> None:
    ws = create_connection(
        f"{server.url}socket.io/?EIO=4&transport=websocket&t=1.5",
        header={"X-Api": "1"},
        cookie="sid=abc; io=def",
        enable_multithread=True,
        timeout=5,
        sslopt=None,
    )
    ws.settimeout(0.05)
    assert ws.timeout == 0.05
    with pytest.raises(websocket.WebSocketTimeoutException):
        ws.recv()
    ws.settimeout(25)
    ws.send("2probe")
    assert ws.recv() == "2probe"
    ws.send_binary(b"\x04data")
    assert ws.recv() == b"\x04data"
    ws.close()
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        ws.recv()
    session = server.session()
    assert session.header("Cookie") == "sid=abc; io=def"
    assert session.lines[0] == "GET /socket.io/?EIO=4&transport=websocket&t=1.5 HTTP/1.1"


def test_engineio_client_tells_a_close_by_connected() -> None:
    with record(tell("6")) as server:
        ws = create_connection(server.url)
        packets: list[Any] = []
        while True:
            packet = ws.recv()
            if len(packet) == 0 and not ws.connected:
                break
            packets.append(packet)
        assert packets == ["6"]
        ws.close()


def test_kernel_gateway_closes_under_a_blocked_receive(server: Recorder) -> None:
    ws = create_connection(server.url, timeout=60, enable_multithread=True)
    ended: list[BaseException] = []
    entered = threading.Event()

    def read() -> None:
        try:
            while True:
                entered.set()
                if not ws.recv():
                    raise websocket.WebSocketConnectionClosedException()
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert entered.wait(DEADLINE)
    ws.close()
    joined(thread)
    assert [type(error) for error in ended] == [websocket.WebSocketConnectionClosedException]


def test_tab_of_a_browser_polls_with_short_timeouts() -> None:
    release = threading.Event()

    def script(session: Session) -> None:
        assert release.wait(DEADLINE)
        tell_then_echo("event")(session)

    with record(script) as server:
        ws = create_connection(server.url, enable_multithread=True, suppress_origin=True)
        ws.settimeout(0.02)
        timeouts = 0
        while True:
            try:
                message = ws.recv()
                break
            except websocket.WebSocketTimeoutException:
                timeouts += 1
                if timeouts == 3:
                    release.set()
        assert message == "event"
        assert timeouts >= 3
        ws.close()


def test_television_remote(server: Recorder) -> None:
    # A whole line as ``connection``, and the timeout by position.
    connection = websocket.create_connection(
        server.url, 5, sslopt={"cert_reqs": ssl.CERT_NONE}, connection="Connection: Upgrade"
    )
    connection.send(json.dumps({"method": "ms.remote.control"}))
    assert json.loads(connection.recv()) == {"method": "ms.remote.control"}
    connection.close()
    assert server.session().lines.count("Connection: Upgrade") == 1


def test_studio_remote_reads_in_a_thread(server: Recorder) -> None:
    ws = websocket.WebSocket()
    ws.connect(server.url)
    received: list[Any] = []

    def read() -> None:
        while True:
            try:
                message = ws.recv()
            except websocket.WebSocketConnectionClosedException:
                return
            except OSError:
                return
            if message:
                received.append(json.loads(message))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    for number in range(20):
        ws.send(json.dumps({"request": number}))
    wait_until(lambda: len(received) == 20)
    ws.close()
    joined(thread)
    assert [answer["request"] for answer in received] == list(range(20))


def test_exchange_connector_answers_control_frames_itself() -> None:
    def script(session: Session) -> None:
        session.send(PING, b"beat")
        session.send(TEXT, "tick")
        session.send(BINARY, b"\x01")
        session.send(PONG, b"")
        session.close(1001, "going")

    with record(script) as server:
        ws = create_connection(server.url, timeout=5)
        seen: list[Any] = []
        while True:
            opcode, frame = ws.recv_data_frame(True)
            if opcode == ABNF.OPCODE_CLOSE:
                seen.append(("close", frame.data))
                break
            if opcode == ABNF.OPCODE_PING:
                seen.append(("ping", frame.data))
                ws.pong("")
            elif opcode == ABNF.OPCODE_PONG:
                seen.append(("pong", frame.data))
            else:
                data = frame.data
                if opcode == ABNF.OPCODE_TEXT:
                    data = data.decode("utf-8")
                seen.append(data)
        ws.close()
    assert seen == [
        ("ping", b"beat"),
        "tick",
        b"\x01",
        ("pong", b""),
        ("close", b"\x03\xe9going"),
    ]


def test_container_attach_reads_binary(server: Recorder) -> None:
    ws = websocket.create_connection(f"{server.url}containers/1/attach/ws?stream=1")
    ws.send_binary(b"ls\n")
    assert ws.recv() == b"ls\n"
    ws.send("exit")
    assert ws.recv_data() == (ABNF.OPCODE_TEXT, b"exit")
    ws.close()
    ws.close()


def test_close_with_every_argument(server: Recorder) -> None:
    ws = create_connection(server.url)
    ws.close(status=1001, reason=b"going away", timeout=2)
    assert server.session().of(CLOSE) == [b"\x03\xe9going away"]
    ws = create_connection(server.url)
    ws.close(1000, b"", 1)
    assert server.session().of(CLOSE) == [b"\x03\xe8"]


def test_close_leaves_nothing_open(server: Recorder) -> None:
    ws = create_connection(server.url)
    raw = ws.sock
    ws.close()
    assert ws.sock is None
    assert raw.fileno() == -1
    assert ws.connected is False


def test_iteration_ends_with_the_connection() -> None:
    with record(tell("one", "two")) as server:
        ws = create_connection(server.url)
        assert next(ws) == "one"
        assert ws.next() == "two"
        ws.close()


def test_one_side_sends_in_a_thread_pool(server: Recorder) -> None:
    ws = create_connection(server.url, enable_multithread=True)
    threads = [
        threading.Thread(target=lambda n=n: [ws.send(f"{n}-{i}") for i in range(50)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    got = [ws.recv() for _ in range(200)]
    for thread in threads:
        joined(thread)
    assert sorted(got) == sorted(f"{n}-{i}" for n in range(4) for i in range(50))
    ws.close()


def test_wait_on_the_descriptor(server: Recorder) -> None:
    ws = create_connection(server.url)
    assert ws.fileno() == ws.sock.fileno()
    assert select.select([ws.sock], [], [], 0)[0] == []
    ws.send("hello")
    assert select.select([ws], [], [], DEADLINE)[0] == [ws]
    assert ws.recv() == "hello"
    ws.close()


def test_socket_methods_of_the_raw_socket(server: Recorder) -> None:
    ws = create_connection(server.url)
    ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert ws.sock.getpeername()[1] == server.port
    ws.sock.settimeout(0.05)
    with pytest.raises(websocket.WebSocketTimeoutException):
        ws.recv()
    ws.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        ws.recv()
    ws.close()


def test_handshake_response_is_read(server: Recorder) -> None:
    ws = create_connection(server.url)
    assert ws.status == ws.getstatus() == 101
    headers = ws.getheaders()
    assert headers is not None
    assert headers["server"] == "Recorder"
    assert ws.headers == headers
    assert ws.handshake_response is not None
    assert ws.handshake_response.status == 101
    ws.close()


# Logging


def test_trace_goes_to_the_handler_given(server: Recorder) -> None:
    class Keep(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[str] = []

        def emit(self, record: logging.LogRecord) -> None:
            self.lines.append(record.getMessage())

    handler = Keep()
    websocket.enableTrace(True, handler=handler)
    try:
        ws = create_connection(server.url, header=["Authorization: Bearer secret"])
        ws.send("hello")
        ws.close()
    finally:
        websocket.enableTrace(False)
    text = "\n".join(handler.lines)
    assert "--- request header ---" in text
    assert "secret" not in text
    assert sum(line.startswith("send: ") for line in handler.lines) == 2


def test_silenced_by_logger_name(server: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("websocket")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        app = WebSocketApp(
            server.url,
            on_open=lambda app: app.close(),
            on_close=lambda *_: 1 / 0,
        )
        app.run_forever()
    finally:
        logger.setLevel(before)
    assert caplog.records == []


# Introspection


def test_wrappers_read_the_signature_of_run_forever() -> None:
    # Wrappers pass on only the options that this release knows.
    known = inspect.signature(WebSocketApp.run_forever).parameters
    for name in ("http_proxy_host", "http_proxy_port", "proxy_type", "reconnect", "sslopt"):
        assert name in known
    assert "on_reconnect" in inspect.signature(WebSocketApp.__init__).parameters
    assert "opcode" in inspect.signature(WebSocket.send).parameters
