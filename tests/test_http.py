from __future__ import annotations

import base64
import contextlib
import gc
import io
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loopback import DEADLINE, Server, read_until, serve, unused_port, wait_for_end

from websocket import _http, _url
from websocket._exceptions import (
    WebSocketAddressException,
    WebSocketArgumentException,
    WebSocketConnectionClosedException,
    WebSocketHandshakeException,
    WebSocketProxyException,
    WebSocketProxyTypeException,
    WebSocketTimeoutException,
    WebSocketURLException,
)
from websocket._http import connect, proxy_info, read_headers
from websocket._logging import enableTrace
from websocket._socket import DEFAULT_SOCKET_OPTION, Deadline, sock_opt

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def _nothing_leaks() -> Iterator[None]:
    gc.collect()
    before = open_descriptors()
    yield
    # A socket that is still open when it is collected warns, and warnings are errors.
    gc.collect()
    assert open_descriptors() == before


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def options(timeout: float | None = DEADLINE, sockopt: Any = None) -> sock_opt:
    made = sock_opt(sockopt, None)
    made.timeout = timeout
    return made


def dial(url: str, made: sock_opt | None = None, **proxy: Any) -> Any:
    return connect(url, made or options(), proxy_info(**proxy), None)[0]


def echo(peer: socket.socket) -> None:
    while data := peer.recv(4096):
        peer.sendall(data)


def assert_echoes(sock: socket.socket) -> None:
    sock.sendall(b"hello")
    assert sock.recv(100) == b"hello"


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> list[str]:
    """Name lookup without a name server; returns the names asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, *_: Any) -> list[Any]:
        asked.append(host)
        return [
            (
                socket.AF_INET6 if ":" in address[0] else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                address,
            )
            for address in addresses
        ]

    monkeypatch.setattr("websocket._http.socket.getaddrinfo", getaddrinfo)
    return asked


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port that answers no SYN: its queue of connections is full."""
    if sys.platform != "linux":
        pytest.skip("only Linux drops a SYN when the queue is full")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener.getsockname()[1]


# --- TCP ---------------------------------------------------------------------------------


def test_connect_returns_the_socket_and_the_parts_of_the_url() -> None:
    with serve(echo) as server:
        sock, where = connect(
            f"ws://127.0.0.1:{server.port}/chat?room=1", options(5), proxy_info(), None
        )
        with sock:
            assert where == ("127.0.0.1", server.port, "/chat?room=1")
            assert sock.gettimeout() == 5
            assert_echoes(sock)


@pytest.mark.parametrize("timeout", [None, 0, 3])
def test_the_socket_has_the_timeout_of_the_options(timeout: float | None) -> None:
    with serve(echo) as server:
        deadline = Deadline(DEADLINE)
        url = f"ws://127.0.0.1:{server.port}/"
        with connect(url, options(timeout), None, None, deadline)[0] as sock:
            assert sock.gettimeout() == timeout


def test_ipv6() -> None:
    try:
        served = Server(echo, socket.AF_INET6, "::1")
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    try:
        with dial(f"ws://[::1]:{served.port}/") as sock:
            assert_echoes(sock)
    finally:
        served.close()


def test_default_options_then_those_of_the_program() -> None:
    own = [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),
        (socket.SOL_SOCKET, socket.SO_LINGER, bytes(8)),
    ]
    with serve(echo) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        with dial(url) as sock:
            for level, name, value in DEFAULT_SOCKET_OPTION:
                assert bool(sock.getsockopt(level, name)) is bool(value)
        with dial(url, options(sockopt=own)) as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_option_that_the_system_refuses() -> None:
    with serve(echo) as server, pytest.raises(OSError, match="Protocol not available"):
        dial(f"ws://127.0.0.1:{server.port}/", options(sockopt=[(socket.IPPROTO_TCP, 9999, 1)]))


def test_refused_connections_keep_their_class() -> None:
    with pytest.raises(ConnectionRefusedError):
        dial(f"ws://127.0.0.1:{unused_port()}/")


def test_every_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(echo) as server:
        resolve_to(
            monkeypatch,
            ("127.0.0.1", unused_port()),
            ("::1", unused_port()),
            ("127.0.0.1", server.port),
        )
        with dial("ws://example.com/") as sock:
            assert_echoes(sock)


def test_the_first_of_many_errors_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = unused_port(), unused_port()
    resolve_to(monkeypatch, ("127.0.0.1", first), ("255.255.255.255", second))
    with pytest.raises(ConnectionRefusedError) as caught:
        dial("ws://example.com/")
    other = caught.value.__context__
    assert isinstance(other, OSError)
    assert not isinstance(other, ConnectionRefusedError)
    if sys.version_info >= (3, 11):
        notes = "\n".join(caught.value.__notes__)
        assert f"127.0.0.1 port {first}" in notes
        assert str(other) in notes


def test_a_name_without_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("websocket._http.socket.getaddrinfo", getaddrinfo)
    with pytest.raises(WebSocketAddressException, match=r"'nowhere\.example'.*not known") as caught:
        dial("ws://nowhere.example/")
    assert isinstance(caught.value.__cause__, socket.gaierror)


def test_a_lookup_that_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch)
    with pytest.raises(WebSocketAddressException, match="has no address"):
        dial("ws://nowhere.example/")


def test_international_names_are_looked_up_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(echo) as server:
        asked = resolve_to(monkeypatch, ("127.0.0.1", server.port))
        with dial("ws://bücher.example/"):
            pass
        assert asked == ["xn--bcher-kva.example"]


@pytest.mark.parametrize("url", ["http://x/", "ws://", "nonsense", "ws://a b/"])
def test_bad_urls(url: str) -> None:
    with pytest.raises(WebSocketURLException):
        dial(url)


# --- time --------------------------------------------------------------------------------


def test_a_server_that_does_not_answer() -> None:
    with black_hole() as port:
        began = time.monotonic()
        with pytest.raises(WebSocketTimeoutException, match=r"timed out after 0\.2 seconds"):
            dial(f"ws://127.0.0.1:{port}/", options(0.2))
        assert time.monotonic() - began < 2


def test_a_silent_address_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole() as port, serve(echo) as server:
        resolve_to(monkeypatch, ("127.0.0.1", port), ("127.0.0.1", server.port))
        with dial("ws://example.com/", options(1)) as sock:
            assert_echoes(sock)


def test_a_silent_address_and_a_refused_one_are_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole() as port:
        resolve_to(monkeypatch, ("127.0.0.1", port), ("127.0.0.1", unused_port()))
        with pytest.raises(WebSocketTimeoutException, match="timed out") as caught:
            dial("ws://example.com/", options(0.4))
    if sys.version_info >= (3, 11):
        notes = "\n".join(caught.value.__notes__)
        assert f"No answer came from 127.0.0.1 port {port}" in notes
        assert "refused" in notes


def test_a_deadline_that_has_passed_dials_nobody() -> None:
    with serve(echo) as server:
        with pytest.raises(WebSocketTimeoutException, match="timed out"):
            connect(f"ws://127.0.0.1:{server.port}/", options(), None, None, Deadline(0))
        assert server.accepted == 0


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs a signal to send to itself")
def test_an_interrupt_closes_the_socket() -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    timer = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGUSR1])
    try:
        with black_hole() as port:
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                dial(f"ws://127.0.0.1:{port}/")
    finally:
        timer.cancel()
        signal.signal(signal.SIGUSR1, before)


def test_an_option_that_no_socket_takes() -> None:
    with serve(echo) as server, pytest.raises(WebSocketArgumentException, match=r"sockopt.*'on'"):
        dial(f"ws://127.0.0.1:{server.port}/", options(sockopt=[(1, 9, "on")]))


# --- prepared sockets --------------------------------------------------------------------


def test_a_prepared_socket_is_used_as_it_is() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.settimeout(7)
        prepared = options(None, sockopt=[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)])
        sock, where = connect("wss://example.com/path", prepared, proxy_info(), left)
        assert sock is left
        assert where == ("example.com", 443, "/path")
        assert left.gettimeout() == 7
        connect("ws://localhost/", options(3), proxy_info(http_proxy_host="nowhere"), left)
        assert left.gettimeout() == 3


def test_a_prepared_object_needs_no_settimeout() -> None:
    class Double:
        def __bool__(self) -> bool:
            return False

    double = Double()
    assert connect("ws://localhost/", options(3), None, double)[0] is double


# --- proxies -----------------------------------------------------------------------------


def http_proxy(
    seen: list[bytes], answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n"
) -> Callable[[socket.socket], None]:
    def handle(peer: socket.socket) -> None:
        seen.append(read_until(peer, b"\r\n\r\n"))
        peer.sendall(answer)
        echo(peer)

    return handle


def test_tunnel_through_an_http_proxy() -> None:
    seen: list[bytes] = []
    with serve(http_proxy(seen)) as server:
        proxy = {"http_proxy_host": "127.0.0.1", "http_proxy_port": str(server.port)}
        with dial("ws://bücher.example:8080/chat", options(4), **proxy) as sock:
            assert sock.gettimeout() == 4
            assert_echoes(sock)
    assert seen == [
        b"CONNECT xn--bcher-kva.example:8080 HTTP/1.1\r\nHost: xn--bcher-kva.example:8080\r\n\r\n"
    ]


def test_credentials_for_the_proxy() -> None:
    seen: list[bytes] = []
    with (
        serve(http_proxy(seen)) as server,
        dial(
            "ws://example.com/",
            http_proxy_host="127.0.0.1",
            http_proxy_port=server.port,
            http_proxy_auth=("user", "hunter2"),
        ),
    ):
        pass
    expected = b"Proxy-Authorization: Basic " + base64.b64encode(b"user:hunter2") + b"\r\n"
    assert expected in seen[0]


def test_credentials_are_not_traced() -> None:
    stream = io.StringIO()
    with serve(http_proxy([])) as server:
        enableTrace(True, logging.StreamHandler(stream))
        try:
            with dial(
                "ws://example.com/",
                http_proxy_host="127.0.0.1",
                http_proxy_port=server.port,
                http_proxy_auth=("user", "hunter2"),
            ):
                pass
        finally:
            enableTrace(False)
    assert "CONNECT example.com:80 HTTP/1.1" in stream.getvalue()
    assert "Proxy-Authorization: ***" in stream.getvalue()
    assert "HTTP/1.1 200 Connected" in stream.getvalue()
    assert base64.b64encode(b"user:hunter2").decode() not in stream.getvalue()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n", "407 Auth.*http_proxy_auth"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "502 Bad Gateway"),
        (b"garbage\r\n\r\n", "not valid"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101", "sent data behind"),
    ],
)
def test_proxies_that_refuse(answer: bytes, words: str) -> None:
    with (
        serve(http_proxy([], answer)) as server,
        pytest.raises(WebSocketProxyException, match=words),
    ):
        dial("ws://example.com/", http_proxy_host="127.0.0.1", http_proxy_port=server.port)


def test_a_proxy_that_hangs_up() -> None:
    def hang_up(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")

    with serve(hang_up) as server, pytest.raises(WebSocketProxyException, match="closed"):
        dial("ws://example.com/", http_proxy_host="127.0.0.1", http_proxy_port=server.port)


def drip(peer: socket.socket) -> None:
    """Answer with one byte at a time, each well within any timeout per read."""
    stop = threading.Event()
    read_until(peer, b"\r\n\r\n")
    peer.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        peer.sendall(b"X")
        stop.wait(0.02)


@pytest.mark.parametrize("limit", ["timeout", "http_proxy_timeout"])
def test_a_dripping_proxy_can_not_stretch_the_deadline(limit: str) -> None:
    made = options(0.3 if limit == "timeout" else DEADLINE)
    extra = {} if limit == "timeout" else {"http_proxy_timeout": 0.3}
    with serve(drip) as server:
        began = time.monotonic()
        with pytest.raises(WebSocketTimeoutException, match=r"timed out after 0\.3 seconds"):
            dial(
                "ws://example.com/",
                made,
                http_proxy_host="127.0.0.1",
                http_proxy_port=server.port,
                **extra,
            )
        assert time.monotonic() - began < 3


def test_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    with serve(http_proxy(seen)) as server:
        monkeypatch.setenv("http_proxy", f"http://us%65r:p%40ss@127.0.0.1:{server.port}")
        with dial("ws://example.com/") as sock:
            assert_echoes(sock)
    assert base64.b64encode(b"user:p@ss") in seen[0]


@pytest.mark.parametrize("form", ["no_proxy", "list", "text"])
def test_exempt_hosts_are_dialled_directly(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    extra: dict[str, Any] = {}
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    if form == "no_proxy":
        monkeypatch.setenv("no_proxy", "example.com")
    else:
        extra["http_no_proxy"] = ["example.com"] if form == "list" else "other, example.com"
    with serve(echo) as server:
        resolve_to(monkeypatch, ("127.0.0.1", server.port))
        with dial(f"ws://www.example.com:{server.port}/", **extra) as sock:
            assert_echoes(sock)


def test_no_proxy_with_an_explicit_proxy() -> None:
    with (
        serve(echo) as server,
        dial(
            f"ws://127.0.0.1:{server.port}/",
            http_proxy_host="127.0.0.1",
            http_proxy_port=unused_port(),
            http_no_proxy=["127.0.0.1"],
        ) as sock,
    ):
        assert_echoes(sock)


@pytest.mark.parametrize("port", ["http", -1, 65536, "80 80"])
def test_bad_proxy_ports(port: Any) -> None:
    with pytest.raises(WebSocketProxyException, match="port"):
        dial("ws://example.com/", http_proxy_host="127.0.0.1", http_proxy_port=port)


@pytest.mark.parametrize(
    "host",
    ["http://user:hunter2@localhost", "user:hunter2@localhost", "localhost:8080", "a b", "a\r\nb"],
)
def test_bad_proxy_hosts_are_not_repeated(host: str) -> None:
    with pytest.raises(WebSocketProxyException, match="without scheme or port") as caught:
        dial("ws://example.com/", http_proxy_host=host, http_proxy_port=80)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_bad_credentials_close_the_connection() -> None:
    with serve(wait_for_end) as server, pytest.raises(WebSocketProxyException, match="colon"):
        dial(
            "ws://example.com/",
            http_proxy_host="127.0.0.1",
            http_proxy_port=server.port,
            http_proxy_auth=("us:er", "hunter2"),
        )


def test_proxy_info_attributes() -> None:
    info = proxy_info(
        http_proxy_host="proxy.example",
        http_proxy_port="8080",
        http_proxy_auth=("user", "hunter2"),
        http_no_proxy=["example.com"],
        http_proxy_timeout=3,
        proxy_type="socks5",
        timeout=9,
    )
    assert (info.proxy_host, info.proxy_port, info.proxy_protocol) == (
        "proxy.example",
        "8080",
        "socks5",
    )
    assert (info.host, info.port, info.type) == ("proxy.example", "8080", "socks5")
    assert info.auth == ("user", "hunter2")
    assert info.no_proxy == ["example.com"]
    assert info.proxy_timeout == 3
    assert "hunter2" not in repr(info)


def test_proxy_info_of_nothing() -> None:
    info = proxy_info()
    assert (info.proxy_host, info.proxy_port, info.proxy_protocol) == (None, 0, "http")
    assert (info.auth, info.no_proxy, info.proxy_timeout) == (None, None, None)


@pytest.mark.parametrize("kind", ["ftp", "socks6", 5])
def test_bad_proxy_type(kind: Any) -> None:
    with pytest.raises(ValueError, match="proxy") as caught:
        proxy_info(proxy_type=kind)
    assert isinstance(caught.value, WebSocketProxyTypeException)
    assert isinstance(caught.value, WebSocketProxyException)


def test_bad_proxy_timeout() -> None:
    with pytest.raises(WebSocketArgumentException, match="http_proxy_timeout"):
        proxy_info(http_proxy_timeout=-1)


# --- names of earlier releases -----------------------------------------------------------


def test_read_headers_takes_no_byte_behind_the_head() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00")
        status, headers, reason = read_headers(right)
        assert (status, headers["upgrade"], reason) == (101, "websocket", "Switching Protocols")
        assert right.recv(10) == b"\x81\x00"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"HTTP/1.1 101 Swi", WebSocketConnectionClosedException),
        (b"nonsense\r\n", WebSocketHandshakeException),
        (b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n", WebSocketHandshakeException),
    ],
)
def test_read_headers_of_bad_heads(data: bytes, error: type[Exception]) -> None:
    left, right = socket.socketpair()
    with right:
        with left:
            left.sendall(data)
        with pytest.raises(error):
            read_headers(right)


def test_read_headers_without_a_reason() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"HTTP/1.1 404\r\n\r\n")
        assert read_headers(right)[::2] == (404, None)


def test_addresses_and_the_need_for_a_tunnel() -> None:
    direct, tunnel, auth = _http._get_addrinfo_list("127.0.0.1", 80, False, proxy_info())
    assert (direct[0][4], tunnel, auth) == (("127.0.0.1", 80), False, None)
    via = proxy_info(
        http_proxy_host="127.0.0.2", http_proxy_port=3128, http_proxy_auth=("user", "pass")
    )
    proxied, tunnel, auth = _http._get_addrinfo_list("example.com", 80, False, via)
    assert (proxied[0][4], tunnel, auth) == (("127.0.0.2", 3128), True, ("user", "pass"))


def test_the_steps_one_by_one() -> None:
    seen: list[bytes] = []
    with serve(http_proxy(seen)) as server:
        infos = _http._get_addrinfo_list("127.0.0.1", server.port, False, proxy_info())[0]
        with _http._open_socket(infos, [], 6) as sock:
            assert sock.gettimeout() == 6
            assert _http._tunnel(sock, "example.com", 443, None) is sock
            assert sock.gettimeout() == 6
            assert_echoes(sock)
    assert seen[0].startswith(b"CONNECT example.com:443 ")


def test_dialling_through_a_named_proxy() -> None:
    with serve(http_proxy([])) as server:
        via = proxy_info(http_proxy_host="127.0.0.1", http_proxy_port=server.port)
        for name in ("_start_proxied_socket", "_open_proxied_socket"):
            sock, where = getattr(_http, name)("ws://example.com/", options(), via)
            with sock:
                assert where == ("example.com", 80, "/")
                assert_echoes(sock)
    with pytest.raises(WebSocketProxyException, match="http_proxy_host"):
        _http._start_proxied_socket("ws://example.com/", options(), proxy_info())


def test_flags() -> None:
    assert _http.HAVE_SSL is True
    assert _http._can_use_sni() is True
    assert (_http.HAS_PYSOCKS, _http.HAVE_PYTHON_SOCKS) == (False, False)
    assert issubclass(_http.ProxyConnectionError, BaseException)
    assert set(_url.PROXY_TYPES) == {"http", "https", "socks4", "socks4a", "socks5", "socks5h"}
