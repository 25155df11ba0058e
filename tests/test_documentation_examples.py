"""The examples that documentation of earlier releases gave, run against local servers.

Programs were written after them, so each stands here as it was shown: only its URL leads to
a server on loopback, and a timeout is shorter. What the example promised is what is asserted.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Certificates
from loopback import serve, wait_for_end
from support.connect_proxy import connect_proxy
from support.recorder import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    RESPONSE_LINES,
    TEXT,
    Recorder,
    Session,
    accept_value,
    echo,
    record,
    tell,
    tell_then_echo,
)
from support.socks_proxy import socks_proxy

import websocket
from websocket import WebSocket, create_connection

DEADLINE = 10.0


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """The examples change settings of the whole process."""
    yield
    websocket.enableTrace(False)
    websocket.setdefaulttimeout(None)


@pytest.fixture
def server() -> Iterator[Recorder]:
    """What the public echo server was."""
    with record(echo) as recorder:
        yield recorder


@pytest.fixture
def stream(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A wss server that a program trusts, sends one message by itself and closes."""
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", certificates.ca_file)
    with record(tell("an event"), tls=certificates.server) as recorder:
        yield recorder


@pytest.fixture
def chatty(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """The same, but it leaves the closing to the client."""
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", certificates.ca_file)
    with record(tell_then_echo("an event"), tls=certificates.server) as recorder:
        yield recorder


# The first connection


def test_first_connection(server: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    ws = websocket.WebSocket()
    ws.connect(server.url)
    ws.send("Hello, Server")
    print(ws.recv())
    ws.close()

    assert capsys.readouterr().out == "Hello, Server\n"
    session = server.session()
    assert session.of(TEXT) == [b"Hello, Server"]
    assert session.of(CLOSE) == [b"\x03\xe8"]


def test_first_app(stream: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    def on_message(wsapp: Any, message: Any) -> None:
        print(message)

    wsapp = websocket.WebSocketApp(stream.url, on_message=on_message)
    wsapp.run_forever()

    assert capsys.readouterr().out == "an event\n"
    assert stream.session().of(CLOSE) == [b"\x03\xe8"]


# Trace


def test_trace_prints_the_documented_form(
    server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    websocket.enableTrace(True)
    ws = websocket.WebSocket()
    ws.connect(server.url, origin="testing_websockets.com")
    ws.send("Hello, Server")
    print(ws.recv())
    ws.close()

    session = server.session()
    key = session.header("Sec-WebSocket-Key") or ""
    response = [line.format(accept=accept_value(key)) for line in RESPONSE_LINES]
    text, goodbye = session.frames
    assert text.key is not None
    assert goodbye.key is not None
    expected = [
        "--- request header ---",
        "GET / HTTP/1.1",
        "Upgrade: websocket",
        f"Host: {server.netloc}",
        "Origin: testing_websockets.com",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        "Connection: Upgrade",
        "",
        "-----",
        "--- response header ---",
        *response,
        "-----",
        f"send: {b'%b%b%b' % (bytes([0x81, 0x8D]), text.key, text.raw)!r}",
        f"send: {b'%b%b%b' % (bytes([0x88, 0x82]), goodbye.key, goodbye.raw)!r}",
    ]
    printed = capsys.readouterr().err.splitlines()
    # Received frames were not shown in that text; they are now, each in a line of its own.
    assert [line for line in printed if not line.startswith("recv: ")] == expected
    assert "recv: b'\\x81\\rHello, Server'" in printed
    assert "recv: b'\\x88\\x02\\x03\\xe8'" in printed


# Connection options: common headers


def test_common_headers(server: Recorder) -> None:
    ws = websocket.WebSocket()
    ws.connect(
        server.url,
        cookie="chocolate",
        origin="testing_websockets.com",
        host="echo.websocket.org/websocket-client-test",
    )
    ws.close()

    session = server.session()
    assert session.header("Cookie") == "chocolate"
    assert session.header("Origin") == "testing_websockets.com"
    assert session.header("Host") == "echo.websocket.org/websocket-client-test"


def test_common_headers_of_an_app(stream: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    def on_message(wsapp: Any, message: Any) -> None:
        print(message)

    wsapp = websocket.WebSocketApp(stream.url, cookie="chocolate", on_message=on_message)
    wsapp.run_forever(origin="testing_websockets.com", host="127.0.0.1")

    assert capsys.readouterr().out == "an event\n"
    session = stream.session()
    assert session.header("Cookie") == "chocolate"
    assert session.header("Origin") == "testing_websockets.com"
    assert session.header("Host") == "127.0.0.1"


@pytest.fixture
def kraken(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", certificates.ca_file)
    with record(
        tell_then_echo("an event"), tls=certificates.server, subprotocol="testproto"
    ) as recorder:
        yield recorder


def test_subprotocols(kraken: Recorder) -> None:
    ws = websocket.WebSocket()
    ws.connect(kraken.url, subprotocols=["testproto"])
    assert ws.subprotocol == "testproto"
    ws.close()
    assert kraken.session().header("Sec-WebSocket-Protocol") == "testproto"


def test_subprotocols_of_an_app(kraken: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    def on_message(wsapp: Any, message: Any) -> None:
        print(message)
        wsapp.close()

    wsapp = websocket.WebSocketApp(kraken.url, subprotocols=["testproto"], on_message=on_message)
    wsapp.run_forever()

    assert capsys.readouterr().out == "an event\n"
    assert kraken.session().header("Sec-WebSocket-Protocol") == "testproto"


def test_server_that_picks_no_subprotocol_is_refused_as_it_was(server: Recorder) -> None:
    ws = websocket.WebSocket()
    with pytest.raises(websocket.WebSocketException, match=r"subprotocol.*testproto"):
        ws.connect(server.url, subprotocols=["testproto"])


def test_subprotocols_of_the_questions() -> None:
    with record(subprotocol="base64") as server:
        ws = websocket.create_connection(
            f"{server.url}websocket", subprotocols=["binary", "base64"]
        )
        assert ws.getsubprotocol() == "base64"
        ws.close()
        session = server.session()
        assert session.header("Sec-WebSocket-Protocol") == "binary,base64"
        assert session.lines[0] == "GET /websocket HTTP/1.1"


# Connection options: Origin and custom headers


def test_suppress_origin(server: Recorder) -> None:
    ws = websocket.WebSocket()
    ws.connect(server.url, suppress_origin=True)
    ws.close()

    assert server.session().header("Origin") is None


def test_origin_is_sent_otherwise(server: Recorder) -> None:
    ws = websocket.WebSocket()
    ws.connect(server.url)
    ws.close()

    assert server.session().header("Origin") == f"http://{server.netloc}"


def test_suppress_origin_of_an_app(stream: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    def on_message(wsapp: Any, message: Any) -> None:
        print(message)

    wsapp = websocket.WebSocketApp(stream.url, on_message=on_message)
    wsapp.run_forever(suppress_origin=True)

    assert capsys.readouterr().out == "an event\n"
    assert stream.session().header("Origin") is None


def test_custom_headers(server: Recorder) -> None:
    ws = websocket.WebSocket()
    ws.connect(server.url, header={"CustomHeader1": "123", "NewHeader2": "Test"})
    ws.close()

    session = server.session()
    assert "CustomHeader1: 123" in session.lines
    assert "NewHeader2: Test" in session.lines


def test_custom_headers_of_an_app(stream: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    def on_message(wsapp: Any, message: Any) -> None:
        print(message)

    wsapp = websocket.WebSocketApp(
        stream.url,
        header={"CustomHeader1": "123", "NewHeader2": "Test"},
        on_message=on_message,
    )
    wsapp.run_forever()

    assert capsys.readouterr().out == "an event\n"
    session = stream.session()
    assert "CustomHeader1: 123" in session.lines
    assert "NewHeader2: Test" in session.lines


# Connection options: a custom class


def test_custom_class_with_one_flat_socket_option(
    server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    class MyWebSocket(WebSocket):
        def recv_frame(self) -> Any:
            frame = super().recv_frame()
            print("yay! I got this frame: ", frame)
            return frame

    ws = create_connection(
        server.url, sockopt=(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), class_=MyWebSocket
    )
    assert isinstance(ws, MyWebSocket)
    assert ws.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    ws.send("hello")
    assert ws.recv() == "hello"
    out = capsys.readouterr().out
    assert out.startswith("yay! I got this frame: ")
    assert "hello" in out
    ws.close()


def test_flat_socket_option_takes_effect(server: Recorder) -> None:
    # The example sets what is set anyway; this one would be seen missing.
    ws = create_connection(server.url, sockopt=(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0))
    assert ws.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
    ws.close()


# Connection options: timeouts


def test_timeout_of_a_receive(server: Recorder) -> None:
    ws = websocket.WebSocket()
    ws.connect(server.url, timeout=0.2)
    with pytest.raises(websocket.WebSocketTimeoutException, match="timed out"):
        print(ws.recv())

    # The connection stays usable.
    ws.send("Hello, Server")
    assert ws.recv() == "Hello, Server"
    ws.close()


def test_timeout_of_connecting_an_app(capsys: pytest.CaptureFixture[str]) -> None:
    def on_error(wsapp: Any, err: Any) -> None:
        print("Got a an error: ", err)

    with serve(wait_for_end) as silent:
        websocket.setdefaulttimeout(0.2)
        wsapp = websocket.WebSocketApp(f"ws://127.0.0.1:{silent.port}", on_error=on_error)
        wsapp.run_forever()

    out = capsys.readouterr().out
    assert out.count("Got a an error: ") == 1
    assert "timed out" in out


def test_default_timeout_of_an_app_does_not_end_an_idle_connection() -> None:
    def script(session: Session) -> None:
        assert not finished.wait(0.5)
        tell("late")(session)

    finished = threading.Event()
    messages: list[Any] = []
    errors: list[Any] = []
    with record(script) as server:
        websocket.setdefaulttimeout(0.1)
        wsapp = websocket.WebSocketApp(
            server.url,
            on_message=lambda _, message: messages.append(message),
            on_error=lambda _, error: errors.append(error),
        )
        wsapp.run_forever()
        finished.set()
    assert messages == ["late"]
    assert errors == []


# Connection options: proxies


def test_http_proxy(server: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    with connect_proxy() as proxy:
        ws = websocket.WebSocket()
        ws.connect(
            server.url,
            http_proxy_host="127.0.0.1",
            http_proxy_port=str(proxy.port),
            proxy_type="http",
        )
        ws.send("Hello, Server")
        print(ws.recv())
        ws.close()

        assert capsys.readouterr().out == "Hello, Server\n"
        assert [head.split("\r\n")[0] for head in proxy.requests] == [
            f"CONNECT {server.netloc} HTTP/1.1"
        ]


def test_http_proxy_with_credentials(server: Recorder) -> None:
    with connect_proxy(("alice", "open sesame")) as proxy:
        options = {"http_proxy_host": "127.0.0.1", "http_proxy_port": proxy.port}
        ws = websocket.WebSocket()
        ws.connect(server.url, http_proxy_auth=("alice", "open sesame"), **options)
        ws.send("Hello, Server")
        assert ws.recv() == "Hello, Server"
        ws.close()

        with pytest.raises(websocket.WebSocketProxyException, match="407") as caught:
            websocket.WebSocket().connect(
                server.url, http_proxy_auth=("alice", "wrong word"), **options
            )
        assert "wrong word" not in str(caught.value)


def test_http_proxy_of_an_app(capsys: pytest.CaptureFixture[str]) -> None:
    with record(tell("an event")) as server, connect_proxy() as proxy:
        wsapp = websocket.WebSocketApp(server.url, on_message=lambda _, text: print(text))
        # Without proxy_type it is an HTTP proxy.
        wsapp.run_forever(http_proxy_host="127.0.0.1", http_proxy_port=proxy.port)
        assert capsys.readouterr().out == "an event\n"
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("proxy_type", ["socks4", "socks4a", "socks5", "socks5h"])
def test_socks_proxy(server: Recorder, proxy_type: str) -> None:
    with socks_proxy() as proxy:
        ws = websocket.WebSocket()
        ws.connect(
            server.url,
            http_proxy_host="127.0.0.1",
            http_proxy_port=str(proxy.port),
            proxy_type=proxy_type,
        )
        ws.send("Hello, Server")
        assert ws.recv() == "Hello, Server"
        ws.close()
        assert proxy.requests == ["127.0.0.1"]


# Connection options: Unix sockets


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """The path of a Unix socket has room for about 100 bytes: less than pytest's folders."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets on this platform")
def test_unix_socket(short_folder: Path) -> None:
    path = str(short_folder / "unix.socket")
    with record(unix_path=path) as server:
        my_socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        my_socket.connect(path)
        ws = create_connection(
            "ws://localhost/",
            socket=my_socket,
            sockopt=((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),),
        )
        assert ws.sock is my_socket
        ws.send("Hello, Server")
        assert ws.recv() == "Hello, Server"
        ws.close()
        session = server.session()
        assert session.header("Host") == "localhost"
        assert session.of(TEXT) == [b"Hello, Server"]
        my_socket.close()


# Pings and pongs


def test_ping_and_pong(server: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    websocket.enableTrace(True)
    ws = websocket.WebSocket()
    ws.connect(server.url)
    ws.ping()
    ws.ping("This is an optional ping payload")
    ws.pong()
    ws.close()

    session = server.session()
    assert [(frame.opcode, frame.payload) for frame in session.frames] == [
        (PING, b""),
        (PING, b"This is an optional ping payload"),
        (PONG, b""),
        (CLOSE, b"\x03\xe8"),
    ]
    assert capsys.readouterr().err.count("send: ") == 4


def test_ping_and_pong_of_an_app(
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", certificates.ca_file)

    def script(session: Session) -> None:
        session.send(PING, b"are you there")
        while not session.of(PONG):
            session.recv()
        # The first ping of the client's own keepalive.
        while not session.of(PING):
            session.recv()
        session.send(PONG, session.of(PING)[0])
        tell("an event")(session)

    def on_message(wsapp: Any, message: Any) -> None:
        print(message)

    def on_ping(wsapp: Any, message: Any) -> None:
        print("Got a ping!")

    def on_pong(wsapp: Any, message: Any) -> None:
        print("Got a pong! No need to respond")

    with record(script, tls=certificates.server) as server:
        wsapp = websocket.WebSocketApp(
            server.url, on_message=on_message, on_ping=on_ping, on_pong=on_pong
        )
        wsapp.run_forever(
            ping_interval=0.3, ping_timeout=0.2, ping_payload="This is an optional ping payload"
        )
        session = server.session()

    assert capsys.readouterr().out.splitlines() == [
        "Got a ping!",
        "Got a pong! No need to respond",
        "an event",
    ]
    assert session.of(PONG) == [b"are you there"]
    assert session.of(PING) == [b"This is an optional ping payload"]


# Close codes


@pytest.mark.parametrize("spelling", ["positional", "keyword"])
def test_close_code(server: Recorder, capsys: pytest.CaptureFixture[str], spelling: str) -> None:
    websocket.enableTrace(True)

    ws = websocket.WebSocket()
    ws.connect(server.url)
    ws.send("Hello, Server")
    print(ws.recv())
    if spelling == "positional":
        ws.close(websocket.STATUS_PROTOCOL_ERROR)
    else:
        ws.close(status=1002)

    assert capsys.readouterr().out == "Hello, Server\n"
    assert server.session().of(CLOSE) == [b"\x03\xea"]


@pytest.mark.parametrize("status", [websocket.STATUS_PROTOCOL_ERROR, 1002, 3000, 4999])
def test_close_code_of_an_app(
    chatty: Recorder, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    websocket.enableTrace(True)

    def on_message(wsapp: Any, message: Any) -> None:
        print(message)
        wsapp.close(status=status)

    wsapp = websocket.WebSocketApp(chatty.url, on_message=on_message)
    wsapp.run_forever(skip_utf8_validation=True)

    assert capsys.readouterr().out == "an event\n"
    assert chatty.session().of(CLOSE) == [status.to_bytes(2, "big")]


# Mask keys and opcodes


def zero_mask_key(_: Any) -> str:
    return "\x00\x00\x00\x00"


def test_zero_mask_key(server: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    websocket.enableTrace(True)

    ws = websocket.WebSocket()
    ws.set_mask_key(zero_mask_key)
    ws.connect(server.url)
    ws.send("Hello, Server")
    print(ws.recv())
    ws.close()

    captured = capsys.readouterr()
    assert captured.out == "Hello, Server\n"
    assert "send: b'\\x81\\x8d\\x00\\x00\\x00\\x00Hello, Server'" in captured.err
    session = server.session()
    assert [frame.key for frame in session.frames] == [bytes(4), bytes(4)]
    assert session.frames[0].raw == b"Hello, Server"


def test_zero_mask_key_without_trace(server: Recorder) -> None:
    ws = websocket.WebSocket()
    ws.set_mask_key(zero_mask_key)
    ws.connect(server.url)
    ws.send("Hello, Server")
    assert ws.recv() == "Hello, Server"
    ws.close()
    assert [frame.key for frame in server.session().frames] == [bytes(4), bytes(4)]


def test_zero_mask_key_of_an_app(chatty: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    websocket.enableTrace(True)

    def on_message(wsapp: Any, message: Any) -> None:
        print(message)
        wsapp.send("thanks")
        wsapp.close()

    wsapp = websocket.WebSocketApp(chatty.url, on_message=on_message, get_mask_key=zero_mask_key)
    wsapp.run_forever()

    assert capsys.readouterr().out == "an event\n"
    session = chatty.session()
    assert session.frames[0].raw == b"thanks"
    assert [frame.key for frame in session.frames] == [bytes(4), bytes(4)]


def test_custom_opcode(server: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    websocket.enableTrace(True)

    ws = websocket.WebSocket()
    ws.connect(server.url)
    ws.send("Hello, Server", websocket.ABNF.OPCODE_TEXT)
    print(ws.recv())
    ws.send("This is a ping", websocket.ABNF.OPCODE_PING)
    ws.close()

    assert capsys.readouterr().out == "Hello, Server\n"
    session = server.session()
    assert session.of(TEXT) == [b"Hello, Server"]
    assert session.of(PING) == [b"This is a ping"]


@pytest.mark.parametrize("opcode", [websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY])
def test_custom_opcode_of_an_app(opcode: int) -> None:
    received: list[Any] = []

    def on_open(wsapp: Any) -> None:
        wsapp.send("Hello, Server", opcode)

    def on_data(wsapp: Any, data: Any, kind: int, last: Any) -> None:
        received.append((data, kind, bool(last)))
        wsapp.close()

    with record() as server:
        wsapp = websocket.WebSocketApp(server.url, on_open=on_open, on_data=on_data)
        wsapp.run_forever()
    expected: str | bytes = "Hello, Server" if opcode == TEXT else b"Hello, Server"
    assert received == [(expected, opcode, True)]
    assert opcode in (TEXT, BINARY)


# Threads and asyncio


def test_receive_in_an_executor(server: Recorder) -> None:
    async def mylisten(ws: WebSocket) -> Any:
        return await asyncio.get_event_loop().run_in_executor(None, ws.recv)

    async def main() -> Any:
        ws = websocket.create_connection(server.url)
        try:
            listening = asyncio.ensure_future(mylisten(ws))
            ws.send("Hello, Server")
            return await asyncio.wait_for(listening, DEADLINE)
        finally:
            ws.close()

    assert asyncio.run(main()) == "Hello, Server"


def test_on_close_without_a_thread(
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", certificates.ca_file)
    websocket.enableTrace(True)

    def on_open(ws: Any) -> None:
        ws.send("hi")

    def on_message(ws: Any, message: Any) -> None:
        print(message)
        ws.close()
        print("Message received...")

    def on_close(ws: Any) -> None:
        print(">>>>>CLOSED")

    with record(tls=certificates.server) as server:
        wsapp = websocket.WebSocketApp(
            server.url, on_open=on_open, on_message=on_message, on_close=on_close
        )
        assert wsapp.run_forever() is False
    assert capsys.readouterr().out.splitlines() == ["hi", "Message received...", ">>>>>CLOSED"]


def test_on_close_with_a_thread(
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", certificates.ca_file)
    websocket.enableTrace(True)
    threads: list[threading.Thread] = []

    def on_open(ws: Any) -> None:
        ws.send("hi")

    def on_message(ws: Any, message: Any) -> None:
        def run(*args: Any) -> None:
            print(message)
            ws.close()
            print("Message received...")

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    def on_close(ws: Any) -> None:
        print(">>>>>CLOSED")

    with record(tls=certificates.server) as server:
        wsapp = websocket.WebSocketApp(
            server.url, on_open=on_open, on_message=on_message, on_close=on_close
        )
        assert wsapp.run_forever() is False
        for thread in threads:
            thread.join(DEADLINE)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "hi"
    # The thread and the loop print in either order.
    assert sorted(out[1:]) == [">>>>>CLOSED", "Message received..."]


# Questions: the closed connection, certificates and host names


def test_closed_connection_says_so_and_connects_again(server: Recorder) -> None:
    ws = websocket.WebSocket()
    ws.connect(server.url)
    ws.close()
    for use in (lambda: ws.send("hello"), ws.recv):
        with pytest.raises(
            websocket.WebSocketConnectionClosedException, match=r"^Connection is already closed\.$"
        ):
            use()
    ws.connect(server.url)
    ws.send("hello again")
    assert ws.recv() == "hello again"
    ws.close()


SECURE_APIS = ("app", "create_connection", "WebSocket")


def connect_securely(api: str, url: str, **options: Any) -> None:
    """The three forms in which the documentation passes ``sslopt``; raises what went wrong."""
    if api == "app":
        errors: list[Exception] = []
        opened: list[Any] = []

        def on_open(wsapp: Any) -> None:
            opened.append(True)
            wsapp.close()

        app = websocket.WebSocketApp(
            url, on_open=on_open, on_error=lambda _, error: errors.append(error)
        )
        app.run_forever(**options)
        for error in errors:
            raise error
        assert opened == [True]
    elif api == "create_connection":
        ws = websocket.create_connection(url, **options)
        ws.close()
    else:
        ws = websocket.WebSocket(**options)
        ws.connect(url)
        ws.close()


@pytest.mark.parametrize("api", SECURE_APIS)
def test_unknown_certificate(certificates: Certificates, api: str) -> None:
    with record(tls=certificates.server) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            connect_securely(api, server.url)
        connect_securely(api, server.url, sslopt={"cert_reqs": ssl.CERT_NONE})


@pytest.fixture
def elsewhere(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A server whose certificate is trusted, but for another host."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("somewhere.example").configure_cert(context)
    with authority.cert_pem.tempfile() as ca_file:
        monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", ca_file)
        with record(tls=context) as recorder:
            yield recorder


@pytest.mark.parametrize("api", SECURE_APIS)
def test_certificate_of_another_host(elsewhere: Recorder, api: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)hostname mismatch"):
        connect_securely(api, elsewhere.url)
    connect_securely(api, elsewhere.url, sslopt={"check_hostname": False})


def test_check_hostname_false_still_verifies_the_certificate(certificates: Certificates) -> None:
    with record(tls=certificates.server) as server, pytest.raises(ssl.SSLCertVerificationError):
        create_connection(server.url, sslopt={"check_hostname": False})


@pytest.mark.skipif(not ssl.HAS_SNI, reason="this OpenSSL has no SNI")
def test_server_name_is_indicated(certificates: Certificates) -> None:
    names: list[str | None] = []
    trustme = pytest.importorskip("trustme")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert("localhost").configure_cert(context)
    context.sni_callback = lambda _sock, name, _context: names.append(name)
    with record(tls=context) as server:
        create_connection(server.url, sslopt={"cert_reqs": ssl.CERT_NONE}).close()
    assert names == ["localhost"]
