"""Both faces through proxies of every kind, and past proxies that do it wrong.

The proxies here are scripts on loopback; real ones are in ``test_real_proxies``.
"""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Certificates
from faces import FACES, Face
from loopback import DEADLINE, read_until, serve, unused_port, wait_for_end
from support.connect_proxy import ConnectProxy, connect_proxy
from support.socks_proxy import socks_proxy

import websocket
from websocket import (
    WebSocketProxyConnectionException,
    WebSocketProxyException,
    WebSocketTimeoutException,
)
from websocket.testing import Server

pytestmark = pytest.mark.usefixtures("no_leaks", "_own_environment")

each_face = pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)
AUTH = ("jürgen", "hunter2 %@:/")
TOKEN = base64.b64encode(":".join(AUTH).encode()).decode()
SECRETS = ("hunter2", TOKEN)
KINDS = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"]


@pytest.fixture
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def _trace_off() -> Iterator[None]:
    yield
    websocket.enableTrace(False)


def quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def echo_through(face: Face, url: str, **options: Any) -> None:
    with face.open(url, **options) as session:
        for message in ("hello", b"\0" * 70000, ""):
            session.send(message)
            assert session.recv() == message


@contextlib.contextmanager
def proxy_of(kind: str, certificates: Certificates) -> Iterator[tuple[Any, str, dict[str, Any]]]:
    """A proxy of a kind: its record, its URL and the options that it takes beside that."""
    credentials = None if kind.startswith("socks4") else AUTH
    user = f"{quoted(AUTH[0])}:{quoted(AUTH[1])}@" if credentials else "joe@"
    if kind.startswith("socks"):
        with socks_proxy(credentials, {"server.example": "127.0.0.1"}) as socks:
            yield socks, f"{kind}://{user}127.0.0.1:{socks.port}", {}
        return
    tls = certificates.server if kind == "https" else None
    with connect_proxy(credentials, tls=tls) as proxy:
        options = {"proxy_sslopt": {"ca_certs": certificates.ca_file}} if tls else {}
        user = user if credentials else ""
        yield proxy, f"{kind}://{user}localhost:{proxy.port}", options


# --- proxies that work ---------------------------------------------------------------------


@each_face
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_as_a_url(face: Face, kind: str, secure: bool, certificates: Certificates) -> None:
    with (
        Server(ssl_context=certificates.server if secure else None) as server,
        proxy_of(kind, certificates) as (proxy, url, options),
    ):
        if secure:
            options["sslopt"] = {"ca_certs": certificates.ca_file}
        echo_through(face, server.url, proxy=url, **options)
        assert len(proxy.requests) == 1


@each_face
@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_in_parts(face: Face, kind: str, certificates: Certificates) -> None:
    with Server() as server, proxy_of(kind, certificates) as (proxy, _, options):
        echo_through(
            face,
            server.url,
            http_proxy_host="127.0.0.1",
            http_proxy_port=str(proxy.port),
            http_proxy_auth=("joe", "") if kind.startswith("socks4") else AUTH,
            proxy_type=kind.upper(),
            **options,
        )
        assert len(proxy.requests) == 1


@each_face
@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("kind", ["http", "socks5h"])
def test_a_proxy_of_the_environment(
    face: Face,
    kind: str,
    variable: str,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # This machine is exempt, so the server goes by a name that only the proxy knows.
    with Server() as server, proxy_of(kind, certificates) as (proxy, url, _):
        monkeypatch.setenv(variable, url)
        if kind == "socks5h":
            echo_through(face, f"ws://server.example:{server.port}/")
            assert proxy.requests == ["server.example"]
        else:
            outcome = face.run(f"ws://server.invalid:{server.port}/", DEADLINE)
            assert isinstance(outcome.error, Exception)
            assert proxy.requests[0].startswith(f"CONNECT server.invalid:{server.port} ")


@each_face
@pytest.mark.parametrize("off", [None, False])
def test_the_environment_switched_off(
    face: Face, off: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setattr("websocket._url._is_loopback", lambda _: False)
    with Server() as server:
        echo_through(face, server.url, proxy=off)
        assert isinstance(face.run(server.url, DEADLINE).error, WebSocketProxyConnectionException)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("socks4", "127.0.0.1"),
        ("socks5", "127.0.0.1"),
        ("socks4a", "server.example"),
        ("socks5h", "server.example"),
    ],
)
def test_who_looks_the_name_up(
    kind: str, asked: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    names = []

    def getaddrinfo(host: str, *args: Any) -> Any:
        names.append(host)
        if host != "server.example":
            return real(host, *args)
        # SOCKS 4 has no room for the first of these.
        found = [] if kind == "socks5" else real("::1", *args)
        return [*found, *real("127.0.0.1", *args)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with Server() as server, proxy_of(kind, certificates) as (proxy, url, _):
        ws = websocket.create_connection(
            f"ws://server.example:{server.port}/", proxy=url, timeout=DEADLINE
        )
        ws.close()
        assert proxy.requests == [asked]
    assert ("server.example" in names) is (asked == "127.0.0.1")


def test_socks5_tries_the_next_address(certificates: Certificates) -> None:
    with Server() as server, proxy_of("socks5", certificates) as (proxy, url, _):
        ws = websocket.create_connection(
            f"ws://both.families:{server.port}/",
            proxy=url,
            resolver=lambda host, port: ["127.0.0.2", "::1", "127.0.0.1"],
            timeout=DEADLINE,
        )
        ws.close()
        # The proxy can't reach the first two. They take turns, as when dialling directly.
        assert proxy.requests == ["127.0.0.2", "::1", "127.0.0.1"]
        with pytest.raises(WebSocketProxyException, match="reply 5") as caught:
            websocket.create_connection(
                f"ws://both.families:{unused_port()}/",
                proxy=url,
                resolver=lambda host, port: ["::1", "127.0.0.1"],
                timeout=DEADLINE,
            )
        assert caught.value.status_code == 5


def test_a_resolver_of_the_program_for_socks5(certificates: Certificates) -> None:
    with Server() as server, proxy_of("socks5", certificates) as (proxy, url, _):
        ws = websocket.create_connection(
            f"ws://only.known.here:{server.port}/",
            proxy=url,
            resolver=lambda host, port: ["127.0.0.1"],
            timeout=DEADLINE,
        )
        ws.close()
        assert proxy.requests == ["127.0.0.1"]


@each_face
def test_no_proxy_counts_for_a_proxy_as_a_url(face: Face) -> None:
    with Server() as server:
        dead = f"http://127.0.0.1:{unused_port()}"
        echo_through(face, server.url, proxy=dead, http_no_proxy=["127.0.0.0/8"])


def test_redirects_go_through_the_proxy_too(certificates: Certificates) -> None:
    with Server() as target:

        def redirect(peer: socket.socket) -> None:
            read_until(peer, b"\r\n\r\n")
            peer.sendall(f"HTTP/1.1 302 Found\r\nLocation: {target.url}\r\n\r\n".encode())

        with serve(redirect) as server, proxy_of("socks5h", certificates) as (proxy, url, _):
            ws = websocket.create_connection(
                f"ws://127.0.0.1:{server.port}/", proxy=url, timeout=DEADLINE
            )
            ws.close()
            assert len(proxy.requests) == 2


# --- Digest --------------------------------------------------------------------------------


def digest_proxy(challenge: str, seen: list[str]) -> Callable[[socket.socket], None]:
    """Asks each connection that brings no Digest for one, and does not read on then."""

    def handle(peer: socket.socket) -> None:
        head = read_until(peer, b"\r\n\r\n").decode()
        seen.append(head)
        if "Digest" not in head:
            body = "who are you?"
            peer.sendall(
                f"HTTP/1.1 407 Who\r\nProxy-Authenticate: {challenge}\r\n"
                f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            return
        target = head.split(" ")[1]
        ConnectProxy(None).tunnel(peer, target)

    return handle


@each_face
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "MD5-sess"])
def test_digest(face: Face, algorithm: str) -> None:
    seen: list[str] = []
    challenge = f'Digest realm="r", nonce="n", qop="auth", algorithm={algorithm}'
    with Server() as server, serve(digest_proxy(challenge, seen)) as proxy:
        echo_through(face, server.url, proxy=f"http://127.0.0.1:{proxy.port}", http_proxy_auth=AUTH)
    assert len(seen) == 2
    assert "Proxy-Authorization: Basic " in seen[0]
    assert "Proxy-Authorization: Digest " in seen[1]
    assert "hunter2" not in seen[1]


@each_face
def test_digest_without_credentials(face: Face) -> None:
    seen: list[str] = []
    with serve(digest_proxy('Digest realm="r", nonce="n", Basic realm=x', seen)) as proxy:
        error = face.run(
            "ws://server.example/", DEADLINE, proxy=f"http://127.0.0.1:{proxy.port}"
        ).error
    assert isinstance(error, WebSocketProxyException)
    assert (error.status_code, error.auth_schemes) == (407, ("Digest", "Basic"))
    assert error.resp_body == b"who are you?"
    assert len(seen) == 1


# --- proxies that refuse or break ----------------------------------------------------------


def after_request(*pieces: bytes) -> Callable[[socket.socket], None]:
    """Answers the client's first words, then what follows piece by piece."""

    def handle(peer: socket.socket) -> None:
        peer.recv(65536)
        for number, piece in enumerate(pieces):
            if number:
                peer.recv(65536)
            peer.sendall(piece)
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_WR)
        wait_for_end(peer)

    return handle


BAD = {
    "forbidden": (
        "http",
        [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nnever"],
        r"refused the tunnel to server.example:80 with status 403 Forbidden; it may allow",
        (403, b"never"),
    ),
    "body that is cut": (
        "http",
        [b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 500\r\n\r\nno ro"],
        "status 502 Bad Gateway; it could not reach the server",
        (502, b"no ro"),
    ),
    "407 with credentials sent": (
        "http",
        [b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"],
        r"407 No \(it asks for Basic\)",
        (407, b""),
    ),
    "garbage": ("http", [b"\0\xff\0\xff garbage"], "not valid", (None, None)),
    "nothing": ("http", [b""], "closed the connection", (None, None)),
    "half a head": ("http", [b"HTTP/1.1 200 OK\r\nVia: x"], "closed", (None, None)),
    "SOCKS at an HTTP port": ("http", [b"\5\xff"], "not valid", (None, None)),
    "HTTP at a SOCKS port": ("socks5h", [b"HTTP/1.1 400"], "not speak SOCKS5", (None, None)),
    "HTTP at a SOCKS4 port": ("socks4a", [b"HTTP/1.1 400"], "not speak SOCKS4", (None, None)),
    "SOCKS that hangs up": ("socks5h", [b"\5\0", b""], "speak SOCKS5", (None, None)),
    "wrong password": ("socks5h", [b"\5\2", b"\1\1"], "refused the user name", (1, None)),
    "no method": ("socks5h", [b"\5\xff"], "correct http_proxy_auth", (255, None)),
    "server refuses": (
        "socks5h",
        [b"\5\0", b"\5\5\0\1" + bytes(6)],
        "the server refused the connection .SOCKS5 reply 5",
        (5, None),
    ),
}


@each_face
@pytest.mark.parametrize("name", BAD)
def test_a_bad_proxy(face: Face, name: str) -> None:
    kind, pieces, words, (status, body) = BAD[name]
    auth = ("jo", "") if kind == "socks4a" else ("jo", "hunter2")
    with serve(after_request(*pieces)) as proxy:
        outcome = face.run(
            "ws://server.example/",
            DEADLINE,
            proxy=f"{kind}://127.0.0.1:{proxy.port}",
            http_proxy_auth=auth,
        )
    error = outcome.error
    assert type(error) is WebSocketProxyException, repr(error)
    assert f"The proxy 127.0.0.1:{proxy.port} " in str(error)
    assert re.search(words, str(error)), str(error)
    assert (error.status_code, error.resp_body) == (status, body)
    assert not any(secret in repr(error) + str(error) for secret in SECRETS)


OPENINGS = {
    "http": [b"HTTP/1.1 200 Established\r\nVia: squid\r\n\r\n"],
    "socks4a": [b"\0\x5a" + bytes(6)],
    "socks5h": [b"\5\2", b"\1\0", b"\5\0\0\3\5proxy\0\0"],
}


@pytest.mark.parametrize("kind", OPENINGS)
def test_a_proxy_that_hangs_up_at_each_byte(kind: str) -> None:
    whole = OPENINGS[kind]
    cuts = iter(range(sum(map(len, whole))))
    auth = ("jo", "") if kind == "socks4a" else ("jo", "pass")

    def handle(peer: socket.socket) -> None:
        left = next(cuts)
        for answer in whole:
            peer.recv(65536)
            peer.sendall(answer[:left])
            left -= len(answer)
            if left < 0:
                break
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_WR)
        wait_for_end(peer)

    with serve(handle) as proxy:
        for _ in range(sum(map(len, whole))):
            with pytest.raises(WebSocketProxyException, match="closed the connection"):
                websocket.create_connection(
                    "ws://server.example/",
                    timeout=DEADLINE,
                    proxy=f"{kind}://127.0.0.1:{proxy.port}",
                    http_proxy_auth=auth,
                )


@pytest.mark.parametrize("kind", OPENINGS)
def test_a_proxy_that_answers_byte_by_byte(kind: str) -> None:
    """Nothing is read that belongs to the server, however the answer is cut."""

    def handle(peer: socket.socket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for answer in OPENINGS[kind]:
            peer.recv(65536)
            for octet in answer:
                peer.sendall(bytes([octet]))
        ConnectProxy(None).relay(peer, ("127.0.0.1", server.port))

    with Server() as server, serve(handle) as proxy:
        auth = ("jo", "") if kind == "socks4a" else ("jo", "pass")
        echo_through(
            FACES[0],
            server.url,
            proxy=f"{kind}://127.0.0.1:{proxy.port}",
            http_proxy_auth=auth,
        )


def drip(peer: socket.socket) -> None:
    """One byte at a time, each well within any timeout of a single read."""
    pause = threading.Event()
    peer.recv(65536)
    peer.sendall(b"HTTP/1.1 200 OK\r\n")
    with contextlib.suppress(OSError):
        while True:
            peer.sendall(b"x")
            pause.wait(0.02)


@each_face
@pytest.mark.parametrize("limit", ["timeout", "http_proxy_timeout"])
def test_a_dripping_proxy_stretches_no_deadline(face: Face, limit: str) -> None:
    timeout = 0.4 if limit == "timeout" else DEADLINE
    options = {} if limit == "timeout" else {"http_proxy_timeout": 0.4}
    with serve(drip) as proxy:
        began = time.monotonic()
        error = face.run(
            "ws://server.example/", timeout, proxy=f"http://127.0.0.1:{proxy.port}", **options
        ).error
        assert time.monotonic() - began < DEADLINE / 2
    assert type(error) is WebSocketTimeoutException
    assert f"The proxy 127.0.0.1:{proxy.port} did not answer" in str(error)


def test_a_refusal_whose_body_never_ends_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("websocket._http._BODY_WAIT", 0.3)

    def handle(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        peer.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9999\r\n\r\nbegun")
        wait_for_end(peer)

    with (
        serve(handle) as proxy,
        pytest.raises(WebSocketProxyException, match="403") as caught,
    ):
        websocket.create_connection(
            "ws://server.example/", proxy=f"http://127.0.0.1:{proxy.port}", timeout=DEADLINE
        )
    assert caught.value.resp_body == b"begun"


@each_face
@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_that_is_not_there(face: Face, kind: str) -> None:
    port = unused_port()
    error = face.run("ws://192.0.2.1/", DEADLINE, proxy=f"{kind}://127.0.0.1:{port}").error
    assert type(error) is WebSocketProxyConnectionException
    assert str(error) == f"The proxy 127.0.0.1:{port} can't be reached: Connection refused"
    assert isinstance(error, OSError)
    assert isinstance(error.__cause__, ConnectionRefusedError)
    assert error.errno == error.__cause__.errno


def test_an_https_proxy_with_an_unknown_certificate(certificates: Certificates) -> None:
    with (
        connect_proxy(tls=certificates.server) as proxy,
        pytest.raises(ssl.SSLCertVerificationError, match=r"'localhost' comes .*set proxy_sslopt="),
    ):
        websocket.create_connection(
            "ws://server.example/", proxy=f"https://localhost:{proxy.port}", timeout=DEADLINE
        )


def test_a_server_without_tls_behind_an_https_proxy(certificates: Certificates) -> None:
    def plain(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 400 This is no TLS\r\n\r\n")
        wait_for_end(peer)

    with serve(plain) as server, connect_proxy(tls=certificates.server) as proxy:
        began = time.monotonic()
        with pytest.raises(ssl.SSLError, match="is not TLS; use ws://"):
            websocket.create_connection(
                f"wss://127.0.0.1:{server.port}/",
                proxy=f"https://localhost:{proxy.port}",
                proxy_sslopt={"ca_certs": certificates.ca_file},
                timeout=DEADLINE,
            )
        # At its first bytes, not at the end of a record that never comes.
        assert time.monotonic() - began < DEADLINE / 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"proxy": "gopher://u:hunter2@h"}, "gopher"),
        ({"proxy": "http://u:hunter2@"}, "names no host"),
        ({"proxy": "http://u:hunter2@h:port"}, "no number"),
        ({"proxy": 5}, "must be a URL"),
        ({"proxy": "http://u:hunter2@h", "http_proxy_host": "h2"}, "Two proxies"),
        (
            {"proxy": "https://h", "proxy_sslopt": {"ca_certs": "/none"}},
            "In proxy_sslopt: .*ca_certs",
        ),
        ({"proxy": "socks4://u:hunter2@127.0.0.1"}, "no passwords"),
        ({"proxy": "socks5h://h", "http_proxy_auth": ("u" * 300, "hunter2")}, "255"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(websocket.WebSocketException, match=words) as caught:
        websocket.create_connection("ws://127.0.0.1:1/", timeout=DEADLINE, **options)
    assert "hunter2" not in str(caught.value)


# --- secrets -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "socks5h"])
def test_credentials_are_in_no_trace_and_no_repr(kind: str, certificates: Certificates) -> None:
    stream = io.StringIO()
    websocket.enableTrace(True, logging.StreamHandler(stream))
    with Server() as server, proxy_of(kind, certificates) as (_, url, options):
        app = websocket.WebSocketApp(server.url, on_open=lambda app: app.close())
        app.run_forever(proxy=url, **options)
        info = websocket._http.proxy_info(proxy=url)
    assert "101 Switching Protocols" in stream.getvalue()
    for secret in (*SECRETS, quoted(AUTH[1])):
        assert secret not in stream.getvalue() + repr(info)
