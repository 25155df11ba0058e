"""TCP connections: resolving in time, racing addresses, and the options of sockets by name."""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Certificates
from faces import FACES, Face
from loopback import DEADLINE, serve, unused_port, wait_for_end
from test_http import black_hole

import websocket
from websocket import _dial, _resolve
from websocket._dial import Dialing, connect_any
from websocket._exceptions import (
    WebSocketAddressException,
    WebSocketArgumentException,
    WebSocketBadStatusException,
    WebSocketTimeoutException,
    WebSocketURLException,
)
from websocket._happy_eyeballs import DELAY
from websocket._resolve import lookup
from websocket._socket import Deadline
from websocket.testing import Server

pytestmark = pytest.mark.usefixtures("no_leaks")

each_face = pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)


def info(port: int, host: str = "127.0.0.1", family: int = socket.AF_INET) -> Any:
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))


def echoes(face: Face, url: str, **options: Any) -> None:
    with face.open(url, **options) as session:
        session.send("hello")
        assert session.recv() == "hello"


# --- Happy Eyeballs ------------------------------------------------------------------------


def test_a_dead_address_costs_a_quarter_of_a_second_not_a_timeout() -> None:
    with black_hole() as dead, serve(wait_for_end) as server:
        began = time.monotonic()
        sock = connect_any([info(dead), info(server.port)], Dialing(), Deadline(DEADLINE))
        elapsed = time.monotonic() - began
        assert sock.getpeername()[1] == server.port
        sock.close()
    assert DELAY * 0.9 < elapsed < DEADLINE / 2


def test_without_a_deadline_as_well() -> None:
    with (
        black_hole() as dead,
        serve(wait_for_end) as server,
        connect_any([info(dead), info(server.port)], Dialing(), Deadline(None)) as sock,
    ):
        assert sock.getpeername()[1] == server.port


def test_a_refused_address_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever waited for the delay would never come to the end.
    monkeypatch.setattr(_dial, "Race", lambda count: _dial_race(count, delay=3600))
    with serve(wait_for_end) as server:
        addresses = [info(unused_port()), info(unused_port()), info(server.port)]
        with connect_any(addresses, Dialing(), Deadline(DEADLINE)) as sock:
            assert sock.getpeername()[1] == server.port


_dial_race = _dial.Race


def test_the_first_address_wins_where_all_answer() -> None:
    with serve(wait_for_end) as first, serve(wait_for_end) as second:
        for _ in range(5):
            addresses = [info(first.port), info(second.port)]
            with connect_any(addresses, Dialing(), Deadline(DEADLINE)) as sock:
                assert sock.getpeername()[1] == first.port
        assert second.accepted == 0


class FakeSocket:
    """A socket that takes as many turns of the selector to connect as its address says."""

    made: list[Any]

    def __init__(self, family: int, *_: Any) -> None:
        self.family = family
        self.closed = False
        self.made.append(self)

    def setblocking(self, flag: bool) -> None:
        assert flag is False

    def setsockopt(self, *_: Any) -> None:
        pass

    def connect_ex(self, address: Any) -> int:
        self.address = address
        return _dial.errno.EINPROGRESS

    def getsockopt(self, *_: Any) -> int:
        result: int = self.address[1]
        return result

    def close(self) -> None:
        self.closed = True


def test_families_take_turns_and_losers_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network: the clock moves only while the selector waits."""
    clock = [100.0]
    begun: list[tuple[str, float]] = []
    FakeSocket.made = []

    class Selector:
        def __init__(self) -> None:
            self.registered: list[Any] = []

        def __enter__(self) -> Selector:
            return self

        def __exit__(self, *_: Any) -> None:
            pass

        def register(self, sock: Any, _: int) -> None:
            if (sock.address[0], 0) not in [(name, 0) for name, _ in begun]:
                begun.append((sock.address[0], clock[0]))
            self.registered.append(sock)

        def select(self, seconds: float | None) -> list[Any]:
            assert seconds is not None
            clock[0] += seconds
            ready = [sock for sock in self.registered if sock.address[0] == "v6-second"]
            return [(type("Key", (), {"fileobj": sock}), 0) for sock in ready]

    monkeypatch.setattr(_dial.socket, "socket", FakeSocket)
    monkeypatch.setattr(_dial.selectors, "PollSelector", Selector, raising=False)
    monkeypatch.setattr(_dial.time, "monotonic", lambda: clock[0])
    addresses = [
        info(0, "v6-first", socket.AF_INET6),
        info(0, "v6-second", socket.AF_INET6),
        info(0, "v4-first"),
        info(0, "v4-second"),
    ]
    winner: Any = connect_any(addresses, Dialing(), Deadline(60, lambda: clock[0]))
    assert winner.address[0] == "v6-second"
    assert begun == [("v6-first", 100.0), ("v4-first", 100.25), ("v6-second", 100.5)]
    assert [sock.closed for sock in FakeSocket.made] == [True, True, False]


# --- names ---------------------------------------------------------------------------------


def test_resolving_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def getaddrinfo(*_: Any) -> Any:
        release.wait(DEADLINE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    began = time.monotonic()
    with pytest.raises(WebSocketTimeoutException, match=r"was not resolved, 'slow\.example'"):
        websocket.create_connection("ws://slow.example/", timeout=0.2)
    assert time.monotonic() - began < DEADLINE / 2
    release.set()


def test_errors_of_the_resolver_come_out_of_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for deadline in (None, Deadline(DEADLINE)):
        with pytest.raises(WebSocketAddressException, match="not known"):
            lookup("nowhere.example", 80, deadline=deadline)


def test_addresses_need_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_resolve, "threading", None)
    assert lookup("127.0.0.1", 80, deadline=Deadline(5))[0][4] == ("127.0.0.1", 80)
    assert lookup("::1", 80, deadline=Deadline(5))[0][4][:2] == ("::1", 80)


@each_face
def test_a_resolver_of_the_program(face: Face) -> None:
    asked = []

    def resolver(host: str, port: int) -> list[Any]:
        asked.append((host, port))
        # Both forms: what getaddrinfo returns, and just an address.
        return [info(unused_port()), "127.0.0.1"]

    with Server() as server:
        echoes(face, f"ws://service.consul:{server.port}/", resolver=resolver)
        assert asked == [("service.consul", server.port)]


@pytest.mark.parametrize("entry", [5, ("127.0.0.1", 80), None])
def test_a_resolver_that_returns_something_else(entry: Any) -> None:
    with pytest.raises(WebSocketArgumentException, match="resolver must return"):
        websocket.create_connection("ws://a.example/", resolver=lambda *_: [entry], timeout=5)


def test_a_resolver_that_finds_nothing() -> None:
    with pytest.raises(WebSocketAddressException, match="has no address"):
        websocket.create_connection("ws://a.example/", resolver=lambda host, port: [], timeout=5)


# --- sockets -------------------------------------------------------------------------------


@each_face
def test_a_source_address(face: Face) -> None:
    seen: list[str] = []
    with serve(lambda peer: seen.append(peer.getpeername()[0])) as server:
        for source in ("127.0.0.2", ("127.0.0.3", 0)):
            face.run(f"ws://127.0.0.1:{server.port}/", DEADLINE, source_address=source)
    assert seen == ["127.0.0.2", "127.0.0.3"]


def test_a_source_address_of_the_other_family() -> None:
    with pytest.raises(OSError, match="another family"):
        websocket.create_connection("ws://127.0.0.1:1/", source_address="::1", timeout=5)


def options_of(**dialing: Any) -> socket.socket:
    with serve(wait_for_end) as server:
        return connect_any([info(server.port)], Dialing(**dialing), Deadline(DEADLINE))


@pytest.mark.skipif(sys.platform != "linux", reason="options have other names elsewhere")
def test_options_by_name() -> None:
    keepalive = {"idle": 7, "interval": 3, "count": 2}
    with options_of(keepalive=keepalive, tcp_user_timeout=2.5) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        values = [
            sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        ]
        assert values == [7, 3, 2, 2500]
    with options_of(keepalive=False) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
    # What sockopt says comes last.
    sockopt = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    with options_of(keepalive=False, sockopt=sockopt) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs TCP_USER_TIMEOUT")
def test_endless_and_very_long_times() -> None:
    assert Dialing(tcp_user_timeout=float("inf")).options() == []
    with options_of(tcp_user_timeout=10**9) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2**31 - 1


def test_an_option_that_this_system_lacks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
    assert Dialing(tcp_user_timeout=1).options() == []
    assert "tcp_user_timeout was ignored" in caplog.text


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("keepalive", {"idel": 5}),
        ("keepalive", {"idle": 0}),
        ("keepalive", {"idle": 2**40}),
        ("keepalive", {"idle": "5"}),
        ("keepalive", 5),
        ("tcp_user_timeout", -1),
        ("source_address", 5),
        ("source_address", ("127.0.0.1", 70000)),
        ("source_address", ("127.0.0.1", "80")),
        ("source_address", ("a", 1, 2)),
        ("socket_factory", "x"),
        ("resolver", 5),
    ],
)
@each_face
def test_values_that_can_not_be_used(face: Face, option: str, value: Any) -> None:
    error = face.run("ws://127.0.0.1:1/", 5, **{option: value}).error
    assert isinstance(error, WebSocketArgumentException), repr(error)
    assert option in str(error)


def test_an_option_that_does_not_exist() -> None:
    app = websocket.WebSocketApp("ws://127.0.0.1:1/")
    with pytest.raises(TypeError, match="'socket_faktory'"):
        app.run_forever(socket_faktory=None)  # type: ignore[call-arg]


# --- a socket factory ----------------------------------------------------------------------


@each_face
def test_a_socket_factory(face: Face, certificates: Certificates) -> None:
    dialled = []

    def factory(address: tuple[str, int], timeout: float | None) -> socket.socket:
        dialled.append(address)
        return socket.create_connection(("127.0.0.1", address[1]), timeout)

    for context in (None, certificates.server):
        with Server(ssl_context=context) as server:
            scheme = "wss" if context else "ws"
            echoes(
                face,
                f"{scheme}://localhost:{server.port}/",
                socket_factory=factory,
                sslopt={"ca_certs": certificates.ca_file},
            )
            assert dialled.pop() == ("localhost", server.port)


def test_a_factory_dials_the_proxy_where_there_is_one() -> None:
    from support.socks_proxy import socks_proxy

    with Server() as server, socks_proxy() as proxy:
        ws = websocket.create_connection(
            server.url,
            proxy="socks5h://proxy.invalid:1080",
            socket_factory=lambda address, timeout: socket.create_connection(
                ("127.0.0.1", proxy.port), timeout
            ),
            timeout=DEADLINE,
        )
        ws.close()
        assert proxy.requests == ["127.0.0.1"]


def test_a_factory_may_return_what_is_no_socket() -> None:
    class Channel:
        """As a channel of an SSH library has it: no descriptor, no options."""

        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock
            self.recv, self.send, self.close = sock.recv, sock.send, sock.close
            self.settimeout, self.gettimeout = sock.settimeout, sock.gettimeout

    def factory(address: tuple[str, int], timeout: float | None) -> Any:
        return Channel(socket.create_connection(address, timeout))

    with Server() as server:
        ws = websocket.create_connection(server.url, socket_factory=factory, timeout=DEADLINE)
        ws.send("hello")
        assert ws.recv() == "hello"
        ws.close()
        with pytest.raises(WebSocketArgumentException, match=r"real socket.*Channel"):
            websocket.create_connection(
                server.url.replace("ws:", "wss:"), socket_factory=factory, timeout=DEADLINE
            )
    with pytest.raises(WebSocketArgumentException, match="returned None"):
        websocket.create_connection(
            "ws://127.0.0.1:1/", socket_factory=lambda address, timeout: None
        )


# --- Unix sockets by URL -------------------------------------------------------------------

unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")


@unix
@each_face
def test_a_unix_socket_by_url(face: Face, tmp_path: Path) -> None:
    from support.recorder import record

    path = tmp_path / "a socket"
    with record(unix_path=str(path)) as recorder:
        echoes(face, f"ws+unix://{str(path).replace(' ', '%20')}:/chat?room=1")
        lines = recorder.session().lines
    assert lines[0] == "GET /chat?room=1 HTTP/1.1"
    assert "Host: localhost" in lines


@unix
def test_tls_on_a_unix_socket(tmp_path: Path, certificates: Certificates) -> None:
    from support.recorder import record

    path = tmp_path / "socket"
    with record(unix_path=str(path), tls=certificates.server):
        echoes(FACES[0], f"wss+unix://{path}:/", sslopt={"ca_certs": certificates.ca_file})


@unix
def test_a_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        websocket.create_connection(f"ws+unix://{tmp_path}/none:/", timeout=5)
    with pytest.raises(WebSocketArgumentException, match="no Unix socket's path"):
        websocket.create_connection(f"ws+unix:///{'long' * 100}:/", timeout=5)


@pytest.mark.parametrize("url", ["ws+unix://host/path:/", "ws+unix://", "ws+unix:///", "ws+unix:x"])
def test_unix_urls_that_make_no_sense(url: str) -> None:
    with pytest.raises(WebSocketURLException, match=r"path/of/the\.sock"):
        websocket.create_connection(url)


@unix
def test_a_redirect_does_not_lead_out_of_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(1)

    def redirect() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n\r\n")

    thread = threading.Thread(target=redirect)
    thread.start()
    with pytest.raises(WebSocketBadStatusException, match="one server only"):
        websocket.create_connection(f"ws+unix://{path}:/", timeout=DEADLINE)
    thread.join()
    listener.close()
