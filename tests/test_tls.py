from __future__ import annotations

import gc
import importlib
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from conftest import wait_until_in
from loopback import DEADLINE, Server, read_until, serve, unused_port, wait_for_end
from support.programs import program
from support.recorder import accept_value, record

from websocket import ABNF, _http, _tls, create_connection
from websocket._exceptions import (
    WebSocketArgumentException,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketTimeoutException,
)
from websocket._http import connect, proxy_info
from websocket._socket import Deadline, sock_opt

try:
    TRUSTSTORE: Any = importlib.import_module("truststore")
except ImportError:
    TRUSTSTORE = None

AUTHORITY = trustme.CA()
HOST = "server.example"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("WEBSOCKET_CLIENT_CA_BUNDLE", raising=False)
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    monkeypatch.setattr(_tls, "_warned", set())
    # Whether it is installed must make no difference.
    monkeypatch.setitem(sys.modules, "truststore", None)
    yield
    # A socket that is still open when it is collected warns, and warnings are errors.
    gc.collect()


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="module")
def ca_folder(tmp_path_factory: pytest.TempPathFactory, ca_file: str) -> str:
    """A folder as OpenSSL looks authorities up: by the hash of their names."""
    folder = tmp_path_factory.mktemp("hashed")
    try:
        done = subprocess.run(
            ["openssl", "x509", "-noout", "-subject_hash", "-in", ca_file],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except FileNotFoundError:
        pytest.skip("the openssl command, which names the files of such a folder, is missing")
    (folder / f"{done.stdout.strip()}.0").write_bytes(Path(ca_file).read_bytes())
    return str(folder)


def server_context(
    *names: str, version: ssl.TLSVersion | None = None, seen: list[str | None] | None = None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*names or ("127.0.0.1",)).configure_cert(context)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if seen is not None:
        context.sni_callback = lambda _sock, name, _context: seen.append(name)
    return context


def tls_echo(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    def handle(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as wrapped:
            while data := wrapped.recv(4096):
                wrapped.sendall(data)

    return handle


def dial(
    server: Server, timeout: float | None = DEADLINE, host: str = "127.0.0.1", **sslopt: Any
) -> Any:
    options = sock_opt(None, sslopt)
    options.timeout = timeout
    return connect(f"wss://{host}:{server.port}/", options, proxy_info(), None)[0]


def assert_echoes(sock: Any) -> None:
    sock.sendall(b"hello")
    assert sock.recv(100) == b"hello"


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name is this machine."""
    monkeypatch.setattr(
        "websocket._http.socket.getaddrinfo",
        lambda _host, port, *_: [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))
        ],
    )


# --- verification ------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["ca_certs", "ca_cert", "ca_cert_path"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_own_authorities(
    option: str, kind: str, ca_file: str, request: pytest.FixtureRequest
) -> None:
    path = ca_file if kind == "file" else request.getfixturevalue("ca_folder")
    with serve(tls_echo(server_context())) as server, dial(server, 5, **{option: path}) as sock:
        assert isinstance(sock, ssl.SSLSocket)
        assert sock.gettimeout() == 5
        assert_echoes(sock)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_authorities_of_the_environment(
    kind: str, ca_file: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    path = ca_file if kind == "file" else request.getfixturevalue("ca_folder")
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", path)
    with serve(tls_echo(server_context())) as server, dial(server) as sock:
        assert_echoes(sock)


def test_an_option_counts_more_than_the_environment(
    ca_file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", ca_file)
    with (
        serve(tls_echo(server_context())) as server,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        dial(server, ca_certs=str(other))


def test_a_variable_that_names_nothing_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", "/nonexistent/ca.pem")
    _tls.build_context({})
    _tls.build_context({})
    assert [record.message for record in caplog.records] == [
        "WEBSOCKET_CLIENT_CA_BUNDLE names no file or folder and was ignored: '/nonexistent/ca.pem'"
    ]


def test_an_unknown_authority_is_refused_with_advice() -> None:
    with (
        serve(tls_echo(server_context())) as server,
        pytest.raises(ssl.SSLCertVerificationError) as caught,
    ):
        dial(server)
    assert "ca_certs" in str(caught.value)


def test_a_wrong_name_is_refused(ca_file: str) -> None:
    with (
        serve(tls_echo(server_context("other.example"))) as server,
        pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"),
    ):
        dial(server, ca_certs=ca_file)


@pytest.mark.parametrize(
    "sslopt",
    [
        {"cert_reqs": ssl.CERT_NONE},
        {"cert_reqs": ssl.CERT_NONE, "check_hostname": False},
        {"cert_reqs": ssl.CERT_NONE, "check_hostname": True},
        {"cert_reqs": 0},
    ],
)
def test_no_verification(sslopt: dict[str, Any]) -> None:
    with (
        serve(tls_echo(server_context("other.example"))) as server,
        dial(server, **sslopt) as sock,
    ):
        assert_echoes(sock)


def test_check_hostname_alone(ca_file: str) -> None:
    with serve(tls_echo(server_context("other.example"))) as server:
        with dial(server, check_hostname=False, ca_certs=ca_file) as sock:
            assert_echoes(sock)
        with pytest.raises(ssl.SSLCertVerificationError):
            dial(server, check_hostname=False)


def test_cert_optional_checks_all_the_same() -> None:
    with (
        serve(tls_echo(server_context())) as server,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        dial(server, cert_reqs=ssl.CERT_OPTIONAL)


# --- names -------------------------------------------------------------------------------


def test_ip_addresses_send_no_name(ca_file: str) -> None:
    seen: list[str | None] = []
    with serve(tls_echo(server_context(seen=seen))) as server:
        dial(server, ca_certs=ca_file).close()
    assert seen == [None]


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize(
    ("host", "sent"),
    [
        (HOST, HOST),
        ("SERVER.Example", HOST),
        ("server.example.", HOST),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_names_are_sent_and_checked(host: str, sent: str, ca_file: str) -> None:
    seen: list[str | None] = []
    with (
        serve(tls_echo(server_context(sent, seen=seen))) as server,
        dial(server, host=host, ca_certs=ca_file) as sock,
    ):
        assert_echoes(sock)
    assert seen == [sent]


def test_server_hostname_is_sent_and_checked(ca_file: str) -> None:
    seen: list[str | None] = []
    with serve(tls_echo(server_context(HOST, seen=seen))) as server:
        dial(server, ca_certs=ca_file, server_hostname=HOST).close()
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            dial(server, ca_certs=ca_file, server_hostname="other.example")
    assert seen == [HOST, "other.example"]


def test_the_zone_of_an_address_is_not_part_of_its_name() -> None:
    assert _tls.prepare({}, "fe80::1%eth0").server_hostname == "fe80::1"
    assert _tls.prepare({"server_hostname": "[::1]"}, HOST).server_hostname == "::1"


# --- contexts ----------------------------------------------------------------------------


def test_a_context_wins(ca_file: str) -> None:
    context = ssl.create_default_context(cafile=ca_file)
    with (
        serve(tls_echo(server_context())) as server,
        dial(server, context=context, ca_certs="/nonexistent", cert_reqs=99) as sock,
    ):
        assert sock.context is context
        assert_echoes(sock)


def test_versions_and_defaults() -> None:
    context = _tls.build_context({})
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.get_ca_certs() == ssl.create_default_context().get_ca_certs()


@pytest.mark.parametrize(
    "version",
    [
        None,
        ssl.PROTOCOL_TLS_CLIENT,
        ssl.PROTOCOL_TLS,
        ssl.PROTOCOL_SSLv23,
        ssl.PROTOCOL_TLSv1_2,
        ssl.TLSVersion.TLSv1_2,
        ssl.TLSVersion.TLSv1_3,
    ],
)
def test_versions_that_can_be_asked_for_without_a_warning(version: Any, ca_file: str) -> None:
    with (
        serve(tls_echo(server_context())) as server,
        dial(server, ssl_version=version, ca_certs=ca_file) as sock,
    ):
        expected = "TLSv1.2" if version == ssl.PROTOCOL_TLSv1_2 else "TLSv1.3"
        assert sock.version() == expected


def test_old_versions_only_when_asked_for() -> None:
    with warnings.catch_warnings():
        # Python's own word on these versions.
        warnings.simplefilter("ignore", DeprecationWarning)
        context = _tls.build_context({"ssl_version": ssl.PROTOCOL_TLSv1_1})
        assert context.maximum_version == ssl.TLSVersion.TLSv1_1


@pytest.mark.usefixtures("named")
def test_client_certificates(ca_file: str, tmp_path: Path) -> None:
    leaf = AUTHORITY.issue_cert("client.example")
    both, cert, key = (str(tmp_path / name) for name in ("both.pem", "cert.pem", "key.pem"))
    leaf.private_key_and_cert_chain_pem.write_to_path(both)
    leaf.cert_chain_pems[0].write_to_path(cert)
    leaf.private_key_pem.write_to_path(key)
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(context)
    forms: list[dict[str, Any]] = [
        {"certfile": both},
        {"certfile": cert, "keyfile": key},
        {"certfile": cert, "keyfile": key, "password": "unused"},
        {"cert_chain": (cert, key)},
        {"cert_chain": (cert, key, None)},
        {"cert_chain": both},
    ]
    with serve(tls_echo(context)) as server:
        for form in forms:
            with dial(server, ca_certs=ca_file, **form) as sock:
                assert_echoes(sock)


def test_ciphers_and_curve(ca_file: str) -> None:
    context = server_context(version=ssl.TLSVersion.TLSv1_2)
    cipher = "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384"
    with (
        serve(tls_echo(context)) as server,
        dial(server, ca_certs=ca_file, ciphers=cipher, ecdh_curve="prime256v1") as sock,
    ):
        assert sock.cipher()[0] in cipher.split(":")


def test_key_log(ca_file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    with serve(tls_echo(server_context())) as server, dial(server, ca_certs=ca_file) as sock:
        assert_echoes(sock)
    assert "CLIENT_HANDSHAKE_TRAFFIC_SECRET" in log.read_text()


def test_a_key_log_that_can_not_be_written_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", "/nonexistent/keys")
    _tls.build_context({})
    assert "SSLKEYLOGFILE was ignored" in caplog.text


@pytest.mark.parametrize(
    ("sslopt", "words"),
    [
        ({"cert_reqs": 99}, "'cert_reqs'"),
        ({"cert_reqs": "none"}, "'cert_reqs'"),
        ({"ca_certs": "/nonexistent/ca.pem"}, r"'ca_certs'.*nonexistent"),
        ({"ca_certs": 7.5}, "'ca_certs'"),
        ({"ca_cert_path": "/nonexistent"}, "'ca_cert_path'"),
        ({"ca_certs": __file__}, "'ca_certs'"),
        ({"certfile": "/nonexistent"}, "'certfile'"),
        ({"certfile": __file__}, "'certfile'"),
        ({"keyfile": "/nonexistent"}, "needs.*'certfile'"),
        ({"cert_chain": ("/nonexistent", "/nonexistent")}, "'cert_chain'"),
        ({"ciphers": "NONSENSE"}, "'ciphers'.*NONSENSE"),
        ({"ecdh_curve": "nonsense"}, "'ecdh_curve'.*nonsense"),
        ({"ssl_version": 99}, "'ssl_version'"),
        ({"ssl_version": ssl.PROTOCOL_TLS_SERVER}, "'ssl_version'"),
        ({"server_hostname": 5}, "'server_hostname'"),
        ({"server_hostname": "a b"}, "a b"),
    ],
)
def test_bad_options_name_their_key_and_dial_nobody(sslopt: dict[str, Any], words: str) -> None:
    with serve(wait_for_end) as server:
        with pytest.raises(WebSocketArgumentException, match=words):
            dial(server, **sslopt)
        assert server.accepted == 0


def test_the_password_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(WebSocketArgumentException) as caught:
        _tls.build_context({"certfile": "/nonexistent", "password": "hunter2"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(WebSocketArgumentException) as caught:
        _tls.build_context({"cert_chain": ("/nonexistent", None, "hunter2")})
    assert "hunter2" not in str(caught.value)


def test_unknown_options_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        _tls.prepare({"check_hostnames": False}, HOST)
    assert len(caplog.records) == 1
    assert "'check_hostnames'" in caplog.text
    assert "check_hostname," in caplog.text


# --- handshake ---------------------------------------------------------------------------


def test_handshake_can_be_left_to_the_first_use(ca_file: str) -> None:
    with (
        serve(tls_echo(server_context())) as server,
        dial(server, ca_certs=ca_file, do_handshake_on_connect=False) as sock,
    ):
        assert sock.version() is None
        assert_echoes(sock)
        assert sock.version() is not None


@pytest.mark.parametrize("ragged", [True, False])
def test_ragged_ends(ragged: bool, ca_file: str) -> None:
    context = server_context(version=ssl.TLSVersion.TLSv1_2)

    def cut(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as wrapped:
            wrapped.recv(1)

    with (
        serve(cut) as server,
        dial(server, ca_certs=ca_file, suppress_ragged_eofs=ragged) as sock,
    ):
        sock.sendall(b"x")
        if ragged:
            assert sock.recv(1) == b""
        else:
            with pytest.raises(ssl.SSLEOFError):
                sock.recv(1)


def test_a_server_without_tls() -> None:
    def plain(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        wait_for_end(peer)

    with serve(plain) as server, pytest.raises(ssl.SSLError) as caught:
        dial(server)
    assert "ws://" in str(caught.value)


def test_a_server_that_hangs_up() -> None:
    def hang_up(peer: socket.socket) -> None:
        peer.recv(4096)

    with serve(hang_up) as server, pytest.raises((ssl.SSLEOFError, ConnectionError)) as caught:
        dial(server)
    assert "during the TLS handshake" in str(caught.value)


def test_a_server_that_says_nothing() -> None:
    with serve(wait_for_end) as server:
        began = time.monotonic()
        with pytest.raises(WebSocketTimeoutException, match=r"timed out after 0\.2 seconds"):
            dial(server, 0.2)
        assert time.monotonic() - began < 2


def test_a_dripping_handshake_can_not_stretch_the_deadline(ca_file: str) -> None:
    stop = threading.Event()

    def drip(peer: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server_context().wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(peer.recv(65536))
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        for byte in outgoing.read():
            peer.sendall(bytes([byte]))
            if stop.wait(0.02):
                return

    with serve(drip) as server:
        began = time.monotonic()
        try:
            with pytest.raises(WebSocketTimeoutException, match=r"timed out after 0\.3 seconds"):
                dial(server, 0.3, ca_certs=ca_file)
            assert time.monotonic() - began < 3
        finally:
            stop.set()


def test_an_interrupt_closes_the_socket() -> None:
    class Interrupting:
        def wrap_socket(self, sock: socket.socket, **_: Any) -> Any:
            raise KeyboardInterrupt

    left, right = socket.socketpair()
    with right:
        settings = _tls.Settings(Interrupting(), HOST, True, True)
        with pytest.raises(KeyboardInterrupt):
            _tls.wrap(left, settings, Deadline(DEADLINE))
        assert left.fileno() == -1


def test_a_python_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tls, "HAVE_SSL", False)
    with serve(wait_for_end) as server:
        with pytest.raises(WebSocketException, match="SSL not available"):
            dial(server)
        assert server.accepted == 0


def test_all_but_tls_works_on_a_python_without_tls() -> None:
    program = (
        "import sys; sys.modules['ssl'] = None; sys.modules['_ssl'] = None\n"
        "from websocket import _http, _ssl_compat\n"
        "assert _http.HAVE_SSL is False and _ssl_compat.ssl is None\n"
        "assert not _http._can_use_sni()\n"
        "assert issubclass(_ssl_compat.SSLWantReadError, _ssl_compat.SSLError)\n"
        "from websocket import create_connection, testing, __main__\n"
        "with testing.Server() as server, create_connection(server.url) as ws:\n"
        "    ws.send('fine')\n"
        "    assert not ws.is_ssl()\n"
        "    print(ws.recv())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_through_a_proxy(ca_file: str) -> None:
    requests: list[bytes] = []
    echo = tls_echo(server_context(HOST))

    def proxy(peer: socket.socket) -> None:
        requests.append(read_until(peer, b"\r\n\r\n"))
        peer.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        echo(peer)

    options = sock_opt(None, {"ca_certs": ca_file})
    options.timeout = DEADLINE
    with serve(proxy) as server:
        via = proxy_info(http_proxy_host="127.0.0.1", http_proxy_port=server.port)
        sock, where = connect(f"wss://{HOST}/chat", options, via, None)
        with sock:
            assert where == (HOST, 443, "/chat")
            assert_echoes(sock)
    assert requests[0].startswith(f"CONNECT {HOST}:443 HTTP/1.1\r\n".encode())


def test_legacy_functions(ca_file: str) -> None:
    with serve(tls_echo(server_context(HOST))) as server:
        for wrap in (
            lambda sock: _http._ssl_socket(sock, {"ca_certs": ca_file}, HOST),
            lambda sock: _http._wrap_sni_socket(sock, {"ca_certs": ca_file}, HOST, True),
            lambda sock: _http._wrap_sni_socket(sock, {"ca_certs": ca_file}, "other", False),
        ):
            plain = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
            with wrap(plain) as sock:
                assert sock.gettimeout() == DEADLINE
                assert_echoes(sock)
        plain = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
        with pytest.raises(ssl.SSLCertVerificationError):
            _http._wrap_sni_socket(plain, {"ca_certs": ca_file}, "other", True)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_failures_leave_no_descriptor() -> None:
    with serve(tls_echo(server_context())) as server:
        gc.collect()
        gc.disable()
        try:
            before = set(os.listdir("/proc/self/fd"))
            for _ in range(5):
                with pytest.raises(ssl.SSLCertVerificationError):
                    dial(server)
            deadline = Deadline(DEADLINE)
            # The server's ends close in their own threads.
            while len(os.listdir("/proc/self/fd")) > len(before):
                assert deadline.remaining()
                threading.Event().wait(0.01)
        finally:
            gc.enable()


# --- pins, versions, ALPN ----------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["", "abc", "0" * 63, "0" * 40, "zz" * 32, 5, [], ["0" * 64, "x"], b"0" * 64]
)
def test_fingerprints_that_are_none(value: Any) -> None:
    with pytest.raises(WebSocketArgumentException, match="fingerprint"):
        _tls.prepare({"fingerprint": value or [value]}, HOST)


def test_a_pin_is_checked_even_where_the_handshake_was_to_be_left_for_later(ca_file: str) -> None:
    options = {"fingerprint": "0" * 64, "do_handshake_on_connect": False, "ca_certs": ca_file}
    with (
        serve(tls_echo(server_context())) as server,
        pytest.raises(ssl.SSLCertVerificationError, match="another fingerprint") as caught,
    ):
        dial(server, **options)
    assert caught.value.verify_message == "fingerprint mismatch"


@pytest.mark.parametrize("version", ["TLSv1.3", ssl.TLSVersion.TLSv1_3])
def test_the_lowest_version(version: Any) -> None:
    assert _tls.build_context({"minimum_version": version}).minimum_version == 0x0304


@pytest.mark.parametrize("version", ["TLS 1.3", "TLSv1_3", 3, ssl.PROTOCOL_TLS])
def test_versions_that_do_not_exist(version: Any) -> None:
    with pytest.raises(WebSocketArgumentException, match="minimum_version"):
        _tls.build_context({"minimum_version": version})


def test_http_1_1_is_asked_for(ca_file: str) -> None:
    context = server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with serve(tls_echo(context)) as server, dial(server, ca_certs=ca_file) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_no_name_is_sent_for_an_address_but_the_address_is_checked(host: str, ca_file: str) -> None:
    seen: list[str | None] = []
    with serve(tls_echo(server_context("127.0.0.1", "::1", seen=seen))) as server:
        with dial(server, ca_certs=ca_file, server_hostname=host) as sock:
            assert_echoes(sock)
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address"):
            dial(server, ca_certs=ca_file, server_hostname="127.0.0.9")
    assert seen == [None, None]


# --- truststore --------------------------------------------------------------------------


class FakeTruststore:
    class SSLContext(ssl.SSLContext):
        pass


@pytest.mark.parametrize(
    ("sslopt", "used"),
    [
        ({}, True),
        ({"check_hostname": False}, True),
        ({"minimum_version": "TLSv1.3"}, True),
        ({"cert_reqs": ssl.CERT_NONE}, False),
        ({"ca_certs": "ca"}, False),
    ],
)
def test_truststore_is_used_where_it_is_there_and_no_authority_is_named(
    sslopt: dict[str, Any], used: bool, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "truststore", FakeTruststore)
    if "ca_certs" in sslopt:
        sslopt = {"ca_certs": ca_file}
    assert isinstance(_tls.build_context(sslopt), FakeTruststore.SSLContext) is used
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", ca_file)
    assert not isinstance(_tls.build_context(sslopt), FakeTruststore.SSLContext)


def test_the_real_truststore(monkeypatch: pytest.MonkeyPatch) -> None:
    if TRUSTSTORE is None:
        pytest.skip("truststore is not installed")
    monkeypatch.setitem(sys.modules, "truststore", TRUSTSTORE)
    context: Any = _tls.build_context({})
    assert type(context) is TRUSTSTORE.SSLContext
    with (
        serve(tls_echo(server_context())) as server,
        pytest.raises(ssl.SSLCertVerificationError, match=r"'127\.0\.0\.1'"),
    ):
        dial(server)


# --- the ends of a connection ------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("ragged", [True, False])
def test_the_end_without_a_goodbye_is_a_lost_connection(
    version: ssl.TLSVersion, ragged: bool, ca_file: str
) -> None:
    def cut(session: Any) -> None:
        socket.socket.shutdown(session.sock, socket.SHUT_RDWR)

    with record(cut, tls=server_context("127.0.0.1", "localhost", version=version)) as recorder:
        ws = create_connection(
            recorder.url,
            sslopt={"ca_certs": ca_file, "suppress_ragged_eofs": ragged},
            timeout=DEADLINE,
        )
        with pytest.raises(WebSocketConnectionClosedException, match="was lost"):
            ws.recv()


def test_a_certificate_of_the_client_is_missed_after_the_handshake(ca_file: str) -> None:
    """As TLS 1.3 has it; the sentence is the same as where the handshake fails."""
    context = server_context(version=ssl.TLSVersion.TLSv1_3)
    context.load_verify_locations(ca_file)
    context.verify_mode = ssl.CERT_REQUIRED

    def demand(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True, do_handshake_on_connect=False) as wrapped:
            with pytest.raises(ssl.SSLError):
                wrapped.do_handshake()
            # What is unread at the end would reset the connection, and the alert be lost.
            while socket.socket.recv(wrapped, 4096):
                pass

    with (
        serve(demand) as server,
        pytest.raises(WebSocketConnectionClosedException, match="demands a certificate"),
    ):
        create_connection(
            f"wss://127.0.0.1:{server.port}/", sslopt={"ca_certs": ca_file}, timeout=DEADLINE
        )


def test_closing_while_another_thread_writes(ca_file: str) -> None:
    """The server reads nothing, so the writer waits until the connection is closed under it."""

    def deaf(session: Any) -> None:
        done.wait(DEADLINE)

    done = threading.Event()
    ended: list[Exception] = []
    with record(deaf, tls=server_context("127.0.0.1", "localhost")) as recorder:
        ws = create_connection(recorder.url, sslopt={"ca_certs": ca_file}, timeout=DEADLINE)

        def write() -> None:
            try:
                while True:
                    ws.send("x" * 100000)
            except WebSocketException as error:
                ended.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        wait_until_in("wait_ready", writer)
        began = time.monotonic()
        ws.close(timeout=0.2)
        writer.join(DEADLINE)
        assert not writer.is_alive()
        assert time.monotonic() - began < DEADLINE / 2
        done.set()
    assert len(ended) == 1


def test_keys_are_updated_in_the_middle(ca_file: str, tmp_path: Path) -> None:
    """OpenSSL's own server can ask for new keys, which Python's can't (RFC 8446 section 4.6.3)."""
    pem = tmp_path / "server.pem"
    AUTHORITY.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    port = unused_port()
    server = subprocess.Popen(
        [
            *(program("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-naccept", "1"),
            *("-cert", str(pem), "-key", str(pem), "-tls1_3", "-msg"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    output = server.stdout

    def read_until_seen(pattern: bytes) -> re.Match[bytes]:
        seen = b""
        while (match := re.search(pattern, seen, re.DOTALL)) is None:
            assert select.select([output], [], [], DEADLINE)[0], seen
            piece = os.read(output.fileno(), 65536)
            assert piece, seen
            seen += piece
        return match

    def say(data: bytes) -> None:
        assert server.stdin is not None
        server.stdin.write(data)
        server.stdin.flush()

    answered: list[Any] = []

    def connect_there() -> None:
        answered.append(
            create_connection(
                f"wss://127.0.0.1:{port}/", sslopt={"ca_certs": ca_file}, timeout=DEADLINE
            )
        )

    try:
        read_until_seen(b"ACCEPT")
        client = threading.Thread(target=connect_there)
        client.start()
        key = read_until_seen(rb"Sec-WebSocket-Key: (\S+)\r\n.*?\r\n\r\n")[1].decode()
        say(
            b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept_value(key)}\r\n\r\n".encode()
        )
        client.join(DEADLINE)
        (ws,) = answered
        for number in range(3):
            say(b"K\n")
            # A command and what follows must not come in one piece.
            read_until_seen(b">>> [^\n]* KeyUpdate")
            say(b"\x81\x05hello")
            assert ws.recv() == "hello", number
            ws.send_frame(unmasked_by_zeros(b"back"))
            read_until_seen(b"\x81\x84\0\0\0\0back")
        ws.shutdown()
    finally:
        server.kill()
        server.stdin.close()
        output.close()
        server.wait(DEADLINE)


def unmasked_by_zeros(payload: bytes) -> ABNF:
    frame = ABNF.create_frame(payload, ABNF.OPCODE_TEXT)
    frame.get_mask_key = lambda _: bytes(4)
    return frame
