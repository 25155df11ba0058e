"""websocket.testing: the small local server."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable

import pytest

from websocket import create_connection
from websocket._exceptions import (
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketHandshakeException,
    WebSocketProtocolException,
    WebSocketTimeoutException,
)
from websocket.testing import Refusal, Server, ServerConnection, echo

pytestmark = pytest.mark.usefixtures("no_leaks")

DEADLINE = 5.0


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)


def server_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "websocket-testing" in thread.name]


def test_echoes_text_binary_and_fragments():
    with Server() as server, create_connection(server.url, timeout=DEADLINE) as ws:
        assert server.url == f"ws://127.0.0.1:{server.port}/"
        for message in ("text \u20ac", b"\x00\xff", "", b"", "x" * 100_000):
            ws.send(message) if isinstance(message, str) else ws.send_bytes(message)
            assert ws.recv() == message
    assert server.errors == []


def test_answers_pings_and_measures_its_own():
    times: list[float] = []

    def handler(connection: ServerConnection) -> None:
        times.append(connection.ping("are you there").wait(DEADLINE))
        connection.send("measured")
        echo(connection)

    with Server(handler) as server, create_connection(server.url, timeout=DEADLINE) as ws:
        assert ws.recv() == "measured"
        assert 0 < times[0] < DEADLINE
        assert ws.ping("and you").wait(DEADLINE) > 0


def test_handler_sees_the_request_and_the_subprotocol():
    seen: list[ServerConnection] = []

    def handler(connection: ServerConnection) -> None:
        seen.append(connection)
        connection.send("seen")

    with Server(
        handler, subprotocols=["chat", "news"], headers=[("X-Served-By", "test")]
    ) as server:
        ws = create_connection(
            server.url + "path?query=1",
            subprotocols=["other", "news", "chat"],
            header={"X-Asked": "yes"},
            timeout=DEADLINE,
        )
        assert ws.recv() == "seen"
        assert ws.headers is not None
        assert ws.headers["x-served-by"] == "test"
        assert ws.subprotocol == "news"
        ws.close()
    (connection,) = seen
    assert connection.subprotocol == "news"
    assert connection.request.target == "/path?query=1"
    assert connection.request.headers["X-Asked"] == "yes"


def test_send_fragments_may_cut_characters_and_ping_in_between():
    def handler(connection: ServerConnection) -> None:
        def pieces():
            yield "one "
            connection.ping("between")
            yield "\u20ac".encode()[:2]
            yield "\u20ac".encode()[2:]

        connection.send_fragments(pieces())
        connection.send_fragments([b"\x00", b"\x01"])
        connection.send_fragments(["whole"])
        with pytest.raises(ValueError, match="at least one piece"):
            connection.send_fragments([])

    with Server(handler) as server, create_connection(server.url, timeout=DEADLINE) as ws:
        assert [ws.recv(), ws.recv(), ws.recv()] == ["one \u20ac", b"\x00\x01", "whole"]
        assert ws.recv() == ""
        assert ws.close_code == 1000
    assert server.errors == []


@pytest.mark.parametrize(("code", "shown"), [(1000, 1000), (3001, 3001), (None, 1005)])
def test_close_carries_code_and_reason(code: int | None, shown: int):
    reason = "so long" if code else ""
    with (
        Server(lambda connection: connection.close(code, reason)) as server,
        create_connection(server.url, timeout=DEADLINE) as ws,
    ):
        assert ws.recv() == ""
        assert ws.close_code == shown
        assert ws.close_reason == reason


def test_close_that_cannot_be_sent_is_refused():
    def handler(connection: ServerConnection) -> None:
        connection.close(1006)

    with Server(handler) as server, create_connection(server.url, timeout=DEADLINE) as ws:
        assert ws.recv() == ""
        assert ws.close_code == 1011
    assert "1006" in str(server.errors[0])


def test_recv_tells_how_the_client_closed():
    done = threading.Event()
    told: list[object] = []

    def handler(connection: ServerConnection) -> None:
        with pytest.raises(WebSocketTimeoutException):
            connection.recv(timeout=0.01)
        connection.send("ready")
        try:
            connection.recv(DEADLINE)
        except WebSocketConnectionClosedException as error:
            told.extend([str(error), connection.close_code, connection.close_reason])
        done.set()

    with Server(handler) as server:
        ws = create_connection(server.url, timeout=DEADLINE)
        assert ws.recv() == "ready"
        ws.close(4000, "enough")
        assert done.wait(DEADLINE)
    assert told == ["The client closed the connection with code 4000.", 4000, "enough"]


def test_abort_resets():
    with (
        Server(lambda connection: connection.abort()) as server,
        create_connection(server.url, timeout=DEADLINE) as ws,
    ):
        with pytest.raises(WebSocketConnectionClosedException) as caught:
            ws.recv()
        assert isinstance(caught.value.__cause__, ConnectionResetError)


def test_send_raw_reaches_the_client_as_it_is():
    def handler(connection: ServerConnection) -> None:
        connection.send_raw(b"\x83\x00")
        echo(connection)

    with (
        Server(handler) as server,
        create_connection(server.url, timeout=DEADLINE) as ws,
        pytest.raises(WebSocketProtocolException, match="Invalid opcode"),
    ):
        ws.recv()


def test_client_that_breaks_the_protocol_is_noted():
    with Server() as server:
        ws = create_connection(server.url, timeout=DEADLINE)
        ws.sock.sendall(b"\x81\x00")  # not masked
        assert ws.recv() == ""
        assert ws.close_code == 1002
        ws.close()
        wait_until(lambda: server.errors)
    assert isinstance(server.errors[0], WebSocketProtocolException)


def test_handler_that_raises_closes_with_1011(caplog: pytest.LogCaptureFixture):
    def handler(connection: ServerConnection) -> None:
        raise LookupError("lost my way")

    with Server(handler) as server, create_connection(server.url, timeout=DEADLINE) as ws:
        assert ws.recv() == ""
        assert ws.close_code == 1011
    assert isinstance(server.errors[0], LookupError)
    assert "lost my way" in caplog.text


def test_process_request_refuses():
    def process(head):
        return (
            None if head.target == "/open" else Refusal(403, "Go Away", "not here", [("X-A", "b")])
        )

    with Server(process_request=process) as server:
        with create_connection(server.url + "open", timeout=DEADLINE) as ws:
            assert ws.status == 101
        with pytest.raises(WebSocketBadStatusException) as caught:
            create_connection(server.url, timeout=DEADLINE)
        assert (caught.value.status_code, caught.value.status_message) == (403, "Go Away")
        assert caught.value.resp_body == b"not here"
        assert caught.value.resp_headers is not None
        assert caught.value.resp_headers["x-a"] == "b"
    assert server.errors == []


def test_process_request_that_raises_is_a_500(caplog: pytest.LogCaptureFixture):
    def process(head):
        raise LookupError("no such room")

    with Server(process_request=process) as server:
        with pytest.raises(WebSocketBadStatusException) as caught:
            create_connection(server.url, timeout=DEADLINE)
        assert caught.value.status_code == 500
    assert isinstance(server.errors[0], LookupError)
    assert "no such room" in caplog.text


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"426"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_opening_handshake_gets_an_http_answer(request_bytes: bytes, status: bytes):
    with Server() as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
            sock.sendall(request_bytes)
            answer = b""
            while chunk := sock.recv(4096):
                answer += chunk
        assert answer.startswith(b"HTTP/1.1 " + status)
    assert isinstance(server.errors[0], WebSocketHandshakeException)


def test_tls(certificates):
    with Server(ssl_context=certificates.server) as server:
        assert server.url.startswith("wss://")
        options = {"sslopt": {"context": certificates.client}, "timeout": DEADLINE}
        with create_connection(server.url, **options) as ws:
            ws.send("secret")
            assert ws.recv() == "secret"
        with pytest.raises(ssl.SSLCertVerificationError):
            create_connection(server.url, timeout=DEADLINE)
        wait_until(lambda: server.errors)
    assert isinstance(server.errors[0], ssl.SSLError)


def test_ipv6():
    try:
        server = Server(host="::1")
        server.start()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    try:
        assert server.url == f"ws://[::1]:{server.port}/"
        with create_connection(server.url, timeout=DEADLINE) as ws:
            ws.send("six")
            assert ws.recv() == "six"
    finally:
        server.close()


def test_messages_over_max_size_are_refused():
    with Server(max_size=10) as server, create_connection(server.url, timeout=DEADLINE) as ws:
        ws.send("x" * 11)
        assert ws.recv() == ""
        assert ws.close_code == 1009


def test_end_closes_open_connections_with_1001_and_leaves_nothing():
    with Server() as server:
        # Before the others: whom the server never came to accept would be reset.
        half_open = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE)
        clients = [create_connection(server.url, timeout=DEADLINE) for _ in range(5)]
        wait_until(lambda: len(server.connections) == 5)
        begin = time.monotonic()
    assert time.monotonic() - begin < 2
    assert server_threads() == []
    assert server.errors == []
    for ws in clients:
        assert ws.recv() == ""
        assert ws.close_code == 1001
        ws.close()
    assert half_open.recv(1) == b""
    half_open.close()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.port


def test_end_frees_a_handler_that_is_blocked_in_a_send():
    def flood(connection: ServerConnection) -> None:
        while True:
            connection.send(b"x" * 1_000_000)

    with Server(flood) as server:
        ws = create_connection(server.url, timeout=DEADLINE)
        wait_until(lambda: server.connections)
        begin = time.monotonic()
    assert time.monotonic() - begin < 3
    assert server_threads() == []
    ws.shutdown()


def test_handler_that_does_not_end_is_warned_about():
    release = threading.Event()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        server = Server(lambda connection: release.wait(DEADLINE * 2))
        server.start()
        ws = create_connection(server.url, timeout=DEADLINE)
        wait_until(lambda: server.connections)
        server.close()
    release.set()
    ws.shutdown()
    assert [warning.category for warning in caught] == [ResourceWarning]
    assert "did not end with their connection" in str(caught[0].message)
    wait_until(lambda: not server_threads())


def test_start_twice_is_refused_and_close_twice_is_not():
    server = Server()
    server.start()
    with pytest.raises(RuntimeError, match="running already"):
        server.start()
    server.close()
    server.close()
    with server, create_connection(server.url, timeout=DEADLINE) as ws:
        ws.send("again")
        assert ws.recv() == "again"


def test_many_threads_may_send():
    def handler(connection: ServerConnection) -> None:
        threads = [
            threading.Thread(target=lambda: [connection.send("y" * 1000) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with Server(handler) as server, create_connection(server.url, timeout=DEADLINE) as ws:
        assert [ws.recv() for _ in range(200)] == ["y" * 1000] * 200
        assert ws.recv() == ""
    assert server.errors == []


def test_sending_after_the_end_raises():
    raised: list[BaseException] = []

    def handler(connection: ServerConnection) -> None:
        connection.close()
        for call in (lambda: connection.send("x"), connection.recv):
            try:
                call()
            except WebSocketException as error:
                raised.append(error)

    with Server(handler) as server, create_connection(server.url, timeout=DEADLINE) as ws:
        assert ws.recv() == ""
    assert [type(error) for error in raised] == [WebSocketConnectionClosedException] * 2
