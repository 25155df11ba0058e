"""What programs and their tests touch of the library without running it as it was meant.

Private modules that they import, exceptions that they raise and read, doubles that they put in
the place of sockets and connections, patches and specifications by name, subclasses. Warnings
are errors here as everywhere, since many of them run their tests that way.
"""

from __future__ import annotations

import errno
import importlib
import json
import pickle
import socket
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from loopback import read_until, serve, unused_port
from support.recorder import (
    PING,
    PONG,
    TEXT,
    Recorder,
    Session,
    echo,
    record,
)

import websocket
from websocket import ABNF, WebSocket, WebSocketApp, create_connection

DEADLINE = 10.0


@pytest.fixture
def server() -> Iterator[Recorder]:
    with record(echo) as recorder:
        yield recorder


# Importing

PRIVATE_MODULES = (
    "_abnf",
    "_app",
    "_cookiejar",
    "_core",
    "_dispatcher",
    "_exceptions",
    "_handshake",
    "_http",
    "_logging",
    "_socket",
    "_ssl_compat",
    "_url",
    "_utils",
    "_wsdump",
)


@pytest.mark.parametrize("name", PRIVATE_MODULES)
def test_hidden_imports_of_a_packaged_program(name: str) -> None:
    module = importlib.import_module(f"websocket.{name}")
    assert getattr(websocket, name) is module
    assert module.__spec__ is not None


def test_submodules_are_attributes_of_the_package() -> None:
    # Programs write these without importing the module themselves.
    assert websocket._exceptions.WebSocketTimeoutException is websocket.WebSocketTimeoutException
    assert websocket._core.WebSocket is WebSocket
    assert websocket._app.WebSocketApp is WebSocketApp
    assert websocket._abnf.ABNF is ABNF
    assert websocket._logging.enableTrace is websocket.enableTrace
    assert websocket._url.parse_url("ws://a/b") == ("a", 80, "/b", False)


def test_names_that_programs_import_from_private_modules() -> None:
    from websocket._abnf import STATUS_NORMAL
    from websocket._app import WebSocketApp as App
    from websocket._core import create_connection as connect
    from websocket._exceptions import WebSocketBadStatusException as Refused
    from websocket._http import proxy_info
    from websocket._socket import DEFAULT_SOCKET_OPTION
    from websocket._utils import validate_utf8

    assert (App, connect) == (WebSocketApp, create_connection)
    assert STATUS_NORMAL == 1000
    assert issubclass(Refused, websocket.WebSocketException)
    assert proxy_info(http_proxy_host="proxy").proxy_port == 0
    assert DEFAULT_SOCKET_OPTION is websocket.DEFAULT_SOCKET_OPTION
    assert validate_utf8(b"\xc3\xa9")


# Exceptions


def test_raise_connection_closed_without_arguments() -> None:
    with pytest.raises(websocket.WebSocketException) as caught:
        raise websocket.WebSocketConnectionClosedException()
    assert str(caught.value) == ""


ERRORS = [
    websocket.WebSocketException("text"),
    websocket.WebSocketProtocolException("text"),
    websocket.WebSocketPayloadException("text"),
    websocket.WebSocketConnectionClosedException("text"),
    websocket.WebSocketTimeoutException("text"),
    websocket.WebSocketProxyException("text"),
    websocket.WebSocketAddressException("text"),
    websocket.WebSocketBadStatusException("text", 403, "Forbidden", {"a": "b"}, b"body"),
    websocket.WebSocketHandshakeException("text", 200, {"a": "b"}, b"body"),
    websocket.WebSocketMessageTooBigException("text", 5, 4),
    websocket.WebSocketArgumentException("text"),
    websocket.WebSocketURLException("text"),
    websocket.WebSocketProxyTypeException("text"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_exceptions_travel_between_processes(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def refuse(head: str, body: str) -> Callable[[socket.socket], None]:
    def handler(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        text = f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nX-Reason: quota\r\n\r\n{body}"
        peer.sendall(text.encode())

    return handler


def test_refusal_is_read_from_text_and_fields() -> None:
    with (
        serve(refuse("403 Forbidden", '{"error": "no such token"}')) as gate,
        pytest.raises(websocket.WebSocketBadStatusException) as caught,
    ):
        create_connection(f"ws://127.0.0.1:{gate.port}/")
    error = caught.value
    assert "Handshake status 403 Forbidden" in str(error)
    assert "no such token" in str(error)
    assert error.status_code == 403
    assert error.status_message == "Forbidden"
    assert json.loads(error.resp_body or b"") == {"error": "no such token"}
    assert error.resp_headers is not None
    assert error.resp_headers["x-reason"] == "quota"


def test_refusal_reaches_on_error_of_an_app() -> None:
    errors: list[Any] = []
    with serve(refuse("401 Unauthorized", "log in first")) as gate:
        app = WebSocketApp(
            f"ws://127.0.0.1:{gate.port}/", on_error=lambda _, error: errors.append(error)
        )
        assert app.run_forever() is True
    (error,) = errors
    assert getattr(error, "status_code", None) == 401
    assert "401 Unauthorized" in str(error)
    assert app.has_errored


def test_nobody_listens() -> None:
    with pytest.raises(ConnectionRefusedError) as caught:
        create_connection(f"ws://127.0.0.1:{unused_port()}/", timeout=5)
    assert caught.value.errno == errno.ECONNREFUSED


def test_unknown_name() -> None:
    with pytest.raises(websocket.WebSocketAddressException):
        create_connection("ws://no-such-host.invalid/", timeout=5)


@pytest.mark.parametrize("url", ["http://localhost/", "localhost:80", "ws:/localhost", ""])
def test_bad_url_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        create_connection(url)


# Doubles and patches in the tests of dependents


class FakeSocket:
    """What a test assigns to ``ws.sock``: these four methods and no more."""

    def __init__(self, *chunks: bytes) -> None:
        self.incoming = b"".join(chunks)
        self.outgoing = b""
        self.closed = False

    def recv(self, size: int) -> bytes:
        data, self.incoming = self.incoming[:size], self.incoming[size:]
        return data

    def send(self, data: bytes) -> int:
        self.outgoing += bytes(data)
        return len(data)

    def close(self) -> None:
        self.closed = True

    def gettimeout(self) -> float | None:
        return None


def unmask(data: bytes) -> tuple[int, bytes]:
    key, payload = data[2:6], data[6:]
    return data[0], bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


def test_fake_socket_is_assigned() -> None:
    ws = WebSocket()
    fake = FakeSocket(b"\x81\x05hello", b"\x82\x02\x00\x01", b"\x88\x02\x03\xe8")
    ws.sock = fake
    ws.connected = True
    assert ws.sock is fake
    assert ws.connected is True
    assert ws.send("hi") == 8
    assert unmask(fake.outgoing) == (0x81, b"hi")
    assert ws.recv() == "hello"
    assert ws.recv() == b"\x00\x01"
    assert ws.recv() == ""
    assert ws.connected is False
    ws.close()
    assert fake.closed


def test_fake_socket_that_ends() -> None:
    ws = WebSocket()
    ws.sock = FakeSocket(b"\x81\x05hel")
    with pytest.raises(websocket.WebSocketConnectionClosedException, match="lost"):
        ws.recv()


def test_mock_as_a_socket() -> None:
    ws = WebSocket()
    ws.sock = mock.Mock()
    ws.sock.recv.side_effect = [b"\x81", b"\x02", b"ok"]
    ws.sock.send.side_effect = len
    ws.sock.gettimeout.return_value = 1
    assert ws.recv() == "ok"
    ws.send("fine")
    assert ws.sock.send.call_count == 1


def test_assigning_none_forgets_the_socket(server: Recorder) -> None:
    ws = create_connection(server.url)
    raw = ws.sock
    ws.sock = None
    ws.connected = False
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        ws.send("hello")
    assert raw.fileno() != -1, "whoever takes the socket away owns it"
    raw.close()


def test_connection_functions_are_patched_by_name() -> None:
    with mock.patch("websocket.create_connection") as patched:
        patched.return_value.recv.return_value = "pong"
        ws = websocket.create_connection("ws://server/", timeout=3)
        assert ws.recv() == "pong"
        patched.assert_called_once_with("ws://server/", timeout=3)
    with mock.patch("websocket.WebSocket") as patched:
        websocket.WebSocket(sslopt={}).connect("ws://server/")
        patched.return_value.connect.assert_called_once_with("ws://server/")
    with mock.patch("websocket.WebSocketApp") as patched:
        websocket.WebSocketApp("ws://server/", on_message=print).run_forever(ping_interval=5)
        patched.return_value.run_forever.assert_called_once_with(ping_interval=5)


@pytest.mark.parametrize(
    "target",
    ["websocket.create_connection", "websocket.WebSocket", "websocket.WebSocketApp"],
)
def test_patches_with_autospec(target: str) -> None:
    with mock.patch(target, autospec=True) as patched:
        name = target.rpartition(".")[2]
        assert getattr(websocket, name) is patched
        getattr(websocket, name)("ws://server/")
        with pytest.raises(TypeError):
            getattr(websocket, name)("ws://server/", *range(30))


def test_autospec_of_a_connection_has_its_methods() -> None:
    double = mock.create_autospec(WebSocket, instance=True)
    double.recv.return_value = "hello"
    double.send("text", opcode=ABNF.OPCODE_TEXT)
    double.settimeout(5)
    double.close(status=1000, reason=b"bye", timeout=2)
    double.connect("ws://server/", header=["A: b"], timeout=5)
    assert double.recv() == "hello"
    assert double.recv_data_frame(True) is not None
    assert double.ping("x") is not None
    with pytest.raises(TypeError):
        double.settimeout()
    with pytest.raises(AttributeError):
        double.no_such_method()
    assert isinstance(double, WebSocket)


def test_autospec_of_an_app_has_its_methods() -> None:
    double = mock.create_autospec(WebSocketApp, instance=True)
    double.run_forever(ping_interval=20, ping_timeout=10, sslopt={}, http_proxy_host="proxy")
    double.send(b"data", websocket.ABNF.OPCODE_BINARY)
    double.close()
    assert isinstance(double, WebSocketApp)


def test_patched_methods_of_the_class_are_called(server: Recorder) -> None:
    ws = create_connection(server.url)
    with mock.patch.object(WebSocket, "send", return_value=7) as send:
        assert ws.send("hello") == 7
        send.assert_called_once()
    with (
        mock.patch.object(ws, "recv", side_effect=websocket.WebSocketTimeoutException),
        pytest.raises(websocket.WebSocketTimeoutException),
    ):
        ws.recv()
    ws.close()
    assert server.session().of(TEXT) == []


def test_patched_run_forever(server: Recorder) -> None:
    app = WebSocketApp(server.url)
    with mock.patch.object(WebSocketApp, "run_forever", autospec=True) as patched:
        app.run_forever(ping_interval=1)
    patched.assert_called_once_with(app, ping_interval=1)


def test_callbacks_may_be_mocks(server: Recorder) -> None:
    calls = mock.Mock()
    app = WebSocketApp(
        server.url,
        on_open=lambda app: app.send("hello"),
        on_message=calls.message,
        on_close=calls.close,
        on_error=calls.error,
    )
    calls.message.side_effect = lambda app, _message: app.close()
    app.run_forever()
    calls.message.assert_called_once_with(app, "hello")
    calls.close.assert_called_once_with(app, 1000, "")
    calls.error.assert_not_called()


def test_app_is_driven_without_a_network() -> None:
    # Tests of dependents call what they registered through the app's attributes.
    seen: list[Any] = []
    app = WebSocketApp("ws://server/", on_message=lambda _, message: seen.append(message))
    assert app.on_message is not None
    app.on_message(app, "text")
    assert seen == ["text"]
    assert app.url == "ws://server/"
    assert app.sock is None
    app.sock = mock.Mock()
    app.send("out")
    assert app.sock.send.call_args.args[0] == "out"
    app.close()


# Subclasses


def test_subclass_of_the_connection_adds_and_overrides(server: Recorder) -> None:
    class Logged(WebSocket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.log: list[tuple[str, Any]] = []

        def send(self, payload: Any, opcode: int = ABNF.OPCODE_TEXT) -> int:
            self.log.append(("send", payload))
            return super().send(payload, opcode)

        def recv(self, *args: Any) -> Any:
            message = super().recv(*args)
            self.log.append(("recv", message))
            return message

    ws = create_connection(server.url, class_=Logged, enable_multithread=True)
    ws.send("hello")
    assert ws.recv() == "hello"
    assert isinstance(ws, Logged)
    assert ws.log == [("send", "hello"), ("recv", "hello")]
    ws.close()


@pytest.mark.parametrize(
    "method", ["recv_frame", "_recv", "_send", "send_frame", "recv_data_frame", "recv_data", "pong"]
)
def test_overridden_method_is_called(method: str) -> None:
    calls: list[str] = []
    original = getattr(WebSocket, method)

    def overriding(self: WebSocket, *args: Any, **kwargs: Any) -> Any:
        calls.append(method)
        return original(self, *args, **kwargs)

    def script(session: Session) -> None:
        session.send(PING, b"are you there")
        echo(session)

    cls = type("Overriding", (WebSocket,), {method: overriding})
    with record(script) as server:
        ws = create_connection(server.url, class_=cls)
        ws.send("hello")
        assert ws.recv() == "hello"
        ws.close()
        session = server.session()
    assert calls
    assert session.of(PONG) == [b"are you there"]
    assert session.of(TEXT) == [b"hello"]


def test_subclass_of_the_app_with_methods_as_callbacks(server: Recorder) -> None:
    class Client(WebSocketApp):
        def __init__(self, url: str) -> None:
            self.seen: list[Any] = []
            super().__init__(
                url,
                on_open=lambda _: self.opened(),
                on_message=lambda _, message: self.arrived(message),
                on_close=lambda _, code, reason: self.seen.append((code, reason)),
            )

        def opened(self) -> None:
            self.send("hello")

        def arrived(self, message: str) -> None:
            self.seen.append(message)
            self.close()

    client = Client(server.url)
    assert client.run_forever() is False
    assert client.seen == ["hello", (1000, "")]


def test_bound_methods_are_given_the_app_first(server: Recorder) -> None:
    class Bot:
        def __init__(self, url: str) -> None:
            self.seen: list[Any] = []
            self.app = WebSocketApp(
                url, on_open=self.on_open, on_message=self.on_message, on_close=self.on_close
            )

        def on_open(self, app: WebSocketApp) -> None:
            assert app is self.app
            app.send(b"\x00\x01", ABNF.OPCODE_BINARY)

        def on_message(self, app: WebSocketApp, message: Any) -> None:
            self.seen.append(message)
            app.close(status=4000, reason="done")

        def on_close(self, app: WebSocketApp, *args: Any) -> None:
            self.seen.append(args)

    bot = Bot(server.url)
    bot.app.run_forever()
    assert bot.seen == [b"\x00\x01", (4000, "done")]
