"""What every face must do, over every transport, against a server of another library."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import DEADLINE, Certificates, LeakCheck, wait_until_in
from faces import FACES, Closed, Face, Session
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve, unix_serve

from websocket import (
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    WebSocketMessageTooBigException,
)

SIZES = (0, 1, 125, 126, 127, 65535, 65536, 200_000)


def echo(peer: ServerConnection, query: dict[str, list[str]]) -> None:
    for message in peer:
        peer.send(message)


def close(peer: ServerConnection, query: dict[str, list[str]]) -> None:
    peer.close(int(query["code"][0]), query["reason"][0])


def close_without_code(peer: ServerConnection, query: dict[str, list[str]]) -> None:
    with peer.send_context():
        peer.protocol.send_close()


def wait(peer: ServerConnection, query: dict[str, list[str]] | None = None) -> None:
    """Receive until the client closes."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            peer.recv()


def drop(peer: ServerConnection, query: dict[str, list[str]]) -> None:
    peer.send("last words")
    peer.recv()
    socket.socket.shutdown(peer.socket, socket.SHUT_RDWR)


def count(peer: ServerConnection, query: dict[str, list[str]]) -> None:
    for number in range(int(query["to"][0])):
        peer.send(str(number))
    wait(peer)


def pieces(peer: ServerConnection, query: dict[str, list[str]]) -> None:
    peer.send(iter(["é", "", "€", "\U0001f600"]))
    peer.send(iter([b"\0", b"", b"\xff"]))
    wait(peer)


def ping(peer: ServerConnection, query: dict[str, list[str]]) -> None:
    pongs = [peer.ping(payload) for payload in ("", "one", b"\xff" * 125)]
    for pong in pongs:
        assert pong.wait(DEADLINE)
    peer.send("pongs have come")
    wait(peer)


def tell(peer: ServerConnection, query: dict[str, list[str]]) -> None:
    """Send the request back."""
    assert peer.request is not None
    peer.send(json.dumps([peer.request.path, list(peer.request.headers.raw_items())]))
    wait(peer)


def flood(peer: ServerConnection, query: dict[str, list[str]]) -> None:
    while True:
        peer.send(b"x" * 100_000)


HANDLERS: dict[str, Callable[[ServerConnection, dict[str, list[str]]], None]] = {
    "/" + handler.__name__: handler
    for handler in (echo, close, close_without_code, wait, drop, count, pieces, ping, tell, flood)
}


class Target:
    """A running server and how to reach it."""

    def __init__(self, url: str, connect: Callable[[], dict[str, Any]]) -> None:
        self._url = url
        self._connect = connect
        self.closes: list[tuple[int | None, str | None]] = []
        self.closed = threading.Semaphore(0)

    def url(self, path: str) -> str:
        return self._url + path

    def options(self) -> dict[str, Any]:
        """What a client must give to connect; a socket is good for one connection."""
        return self._connect()

    def handle(self, peer: ServerConnection) -> None:
        assert peer.request is not None
        parts = urlsplit(peer.request.path)
        with contextlib.suppress(ConnectionClosed):
            HANDLERS[parts.path](peer, parse_qs(parts.query, keep_blank_values=True))
        self.closes.append((peer.close_code, peer.close_reason))
        self.closed.release()

    def client_closed(self) -> tuple[int | None, str | None]:
        """The code and reason that the server saw last."""
        assert self.closed.acquire(timeout=DEADLINE)
        return self.closes[-1]


def refuse(peer: ServerConnection, request: Request) -> Response | None:
    if request.path == "/refuse":
        return peer.respond(HTTPStatus.FORBIDDEN, "not you\n")
    return None


@contextlib.contextmanager
def running(target: Target, listener: socket.socket, tls: ssl.SSLContext | None) -> Iterator[None]:
    make = unix_serve if listener.family == getattr(socket, "AF_UNIX", None) else serve
    server: Server = make(
        target.handle,
        sock=listener,
        ssl=tls,
        subprotocols=["chat", "v2.chat"],  # type: ignore[list-item]
        select_subprotocol=lambda peer, offered: offered[-1] if offered else None,
        process_request=refuse,
        ping_interval=None,
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    # From here on it opens nothing but connections.
    wait_until_in("select", thread)
    try:
        yield
    finally:
        server.shutdown()
        thread.join(DEADLINE)


@pytest.fixture(params=["tcp", "tls", "unix"])
def target(
    request: pytest.FixtureRequest,
    certificates: Certificates,
    tmp_path: Path,
) -> Iterator[Target]:
    if request.param == "unix":
        if not hasattr(socket, "AF_UNIX"):
            pytest.skip("no Unix sockets on this platform")
        address = str(tmp_path / "socket")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(address)
        listener.listen(16)

        def connect() -> dict[str, Any]:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.connect(address)
            return {"socket": sock}

        target = Target("ws://localhost", connect)
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        if request.param == "tls":
            sslopt = {"ca_certs": certificates.ca_file}
            target = Target(f"wss://localhost:{port}", lambda: {"sslopt": sslopt})
        else:
            target = Target(f"ws://127.0.0.1:{port}", dict)
    with running(target, listener, certificates.server if request.param == "tls" else None):
        yield target


@pytest.fixture(params=FACES, ids=lambda face: face.name)
def face(request: pytest.FixtureRequest) -> Face:
    face: Face = request.param
    return face


Open = Callable[..., contextlib.AbstractContextManager[Session]]


@pytest.fixture
def open_session(face: Face, target: Target) -> Iterator[Open]:
    # While the server still runs: what it leaves behind itself is not ours to count.
    check = LeakCheck()
    yield lambda path, **more: face.open(target.url(path), **target.options(), **more)
    check.verify()


def test_messages_of_all_sizes_come_back(open_session: Open) -> None:
    with open_session("/echo") as session:
        for size in SIZES:
            for message in (
                "a" * size,
                "é€\U0001f600" * (size // 9),
                bytes(range(256)) * (size // 256),
            ):
                session.send(message)
                assert session.recv() == message


def test_str_is_text_and_bytes_are_binary(open_session: Open) -> None:
    with open_session("/echo") as session:
        session.send("text")
        assert type(session.recv()) is str
        session.send(b"text")
        assert type(session.recv()) is bytes


def test_a_big_message(open_session: Open) -> None:
    message = b"0123456789" * 90_000
    with open_session("/echo") as session:
        session.send(message)
        assert session.recv() == message


def test_a_message_over_max_size_is_refused(open_session: Open, target: Target) -> None:
    with open_session("/echo", max_size=1000) as session:
        session.send("a" * 1000)
        assert session.recv() == "a" * 1000
        session.send("a" * 1001)
        with pytest.raises(WebSocketMessageTooBigException, match="max_size"):
            session.recv()
    assert target.client_closed()[0] == 1009


def test_messages_keep_their_order(open_session: Open) -> None:
    with open_session("/count?to=2000") as session:
        assert [session.recv() for _ in range(2000)] == [str(number) for number in range(2000)]


def test_fragments_are_joined(open_session: Open) -> None:
    with open_session("/pieces") as session:
        assert session.recv() == "é€\U0001f600"
        assert session.recv() == b"\0\xff"


def test_pings_are_answered(open_session: Open) -> None:
    with open_session("/ping") as session:
        assert session.recv() == "pongs have come"


def test_a_ping_gets_its_pong(open_session: Open) -> None:
    with open_session("/echo") as session:
        assert session.ping("are you there?") == b"are you there?"
        session.send("afterwards")
        assert session.recv() == "afterwards"


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_the_server_closes(open_session: Open, target: Target, code: int) -> None:
    with open_session(f"/close?code={code}&reason=b%C3%BDe") as session:
        assert session.recv() == Closed(code, "býe")
    # The answer carries the code of the question. (Over TLS, this server can give up its read
    # before the answer: it sets a timeout on the socket while another thread is reading it.)
    if not target.url("").startswith("wss"):
        assert target.client_closed()[0] == code


def test_the_server_closes_without_a_code(open_session: Open) -> None:
    with open_session("/close_without_code") as session:
        assert session.recv() == Closed(None, None)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (4000, "€" * 41)])
def test_the_client_closes(open_session: Open, target: Target, code: int, reason: str) -> None:
    with open_session("/wait") as session:
        # The answer of this server repeats the reason as well.
        assert session.close(code, reason) == Closed(code, reason)
    assert target.client_closed() == (code, reason)


def test_the_client_closes_without_a_code(open_session: Open, target: Target) -> None:
    with open_session("/wait") as session:
        session.close(None)
    assert target.client_closed()[0] == 1005


def test_leaving_the_session_closes_it_cleanly(open_session: Open, target: Target) -> None:
    with open_session("/wait"):
        pass
    assert target.client_closed() == (1000, "")


def test_closing_while_the_server_floods(open_session: Open, target: Target) -> None:
    with open_session("/flood") as session:
        session.recv()
        session.close(1001, "enough")
    assert target.client_closed() == (1001, "enough")


def test_a_drop_is_an_error(open_session: Open) -> None:
    with open_session("/drop") as session:
        assert session.recv() == "last words"
        session.send("drop it")
        with pytest.raises(WebSocketConnectionClosedException) as caught:
            session.recv()
    assert str(caught.value) == "Connection to remote host was lost."


def test_status_and_headers(open_session: Open) -> None:
    with open_session("/wait") as session:
        assert session.status == 101
        assert session.headers is not None
        assert session.headers["upgrade"].lower() == "websocket"
        assert session.subprotocol is None


def test_subprotocols(open_session: Open) -> None:
    with open_session("/wait", subprotocols=["chat", "v2.chat"]) as session:
        assert session.subprotocol == "v2.chat"


def requested(session: Session) -> tuple[str, dict[str, str]]:
    """Path and headers of the session's request, as the server saw them."""
    told = session.recv()
    assert isinstance(told, str)
    path, pairs = json.loads(told)
    headers = {name.lower(): value for name, value in pairs}
    assert len(headers) == len(pairs), "a header was sent twice"
    return path, headers


def test_the_plain_request(open_session: Open, target: Target) -> None:
    with open_session("/tell?a=b%20c") as session:
        path, headers = requested(session)
    assert path == "/tell?a=b%20c"
    address = urlsplit(target.url("")).netloc
    assert headers["host"] == address
    scheme = "https" if target.url("").startswith("wss") else "http"
    assert headers["origin"] == f"{scheme}://{address}"
    assert headers["sec-websocket-version"] == "13"
    assert not headers.keys() & {"cookie", "authorization", "sec-websocket-protocol"}


@pytest.mark.parametrize(
    "header",
    [
        ["X-One: 1", "X-Two: a:b"],
        {"X-One": "1", "X-Two": "a:b", "X-None": None},
        lambda: ["X-One: 1", "X-Two: a:b"],
        lambda: {"X-One": "1", "X-Two": "a:b"},
    ],
    ids=["list", "dict", "callable list", "callable dict"],
)
def test_headers_of_the_program(open_session: Open, header: Any) -> None:
    with open_session("/tell", header=header) as session:
        _, headers = requested(session)
    assert (headers["x-one"], headers["x-two"]) == ("1", "a:b")
    assert "x-none" not in headers


def test_options_of_the_request(open_session: Open) -> None:
    options = {"cookie": "a=b; c=d", "host": "example.org", "origin": "https://o.example"}
    with open_session("/tell", **options) as session:
        _, headers = requested(session)
    assert headers["cookie"] == "a=b; c=d"
    assert headers["host"] == "example.org"
    assert headers["origin"] == "https://o.example"


def test_the_origin_can_be_left_out(open_session: Open) -> None:
    with open_session("/tell", suppress_origin=True) as session:
        assert "origin" not in requested(session)[1]


def test_a_refusal_carries_status_and_body(open_session: Open) -> None:
    with pytest.raises(WebSocketBadStatusException) as caught, open_session("/refuse"):
        pass
    assert caught.value.status_code == 403
    assert caught.value.status_message == "Forbidden"
    assert caught.value.resp_body == b"not you\n"
    assert str(caught.value).startswith("Handshake status 403 Forbidden -+-+- {")
    assert "not you" in str(caught.value)


def test_sessions_do_not_disturb_each_other(open_session: Open) -> None:
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(open_session("/echo")) for _ in range(10)]
        for number, session in enumerate(sessions):
            session.send(str(number))
        for number, session in reversed(list(enumerate(sessions))):
            assert session.recv() == str(number)


def test_a_header_that_breaks_out_of_its_line_is_never_sent(face: Face, target: Target) -> None:
    for options in ({"header": ["X: a\r\nY: b"]}, {"cookie": "a\nb"}, {"host": "a\r\nb"}):
        outcome = face.run(target.url("/tell"), DEADLINE, **target.options(), **options)
        assert isinstance(outcome.error, ValueError)
