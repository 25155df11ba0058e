"""Both faces through the proxies that people have: squid, tinyproxy, dante, microsocks, stunnel."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from conftest import Certificates
from faces import FACES, Face, skip_unless_tls_in_tls
from loopback import unused_port
from support import real_proxies
from support.real_proxies import PASSWORD, USER

from websocket import WebSocketProxyException
from websocket.testing import Server

DEADLINE = 20.0
KNOWN = f"{USER}:{quote(PASSWORD)}@127.0.0.1"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the proxies are Unix daemons")

each_face = pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)
each_scheme = pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])


class Servers(NamedTuple):
    plain: str
    secure: str
    ca_file: str

    def url(self, secure: bool) -> str:
        return self.secure if secure else self.plain


@pytest.fixture(scope="module")
def servers(certificates: Certificates) -> Iterator[Servers]:
    with Server() as plain, Server(ssl_context=certificates.server) as secure:
        yield Servers(plain.url, secure.url, certificates.ca_file)


@pytest.fixture(scope="module")
def squid_basic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    with real_proxies.squid(tmp_path_factory.mktemp("squid"), "basic") as ports:
        yield ports


@pytest.fixture(scope="module")
def squid_digest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    with real_proxies.squid(tmp_path_factory.mktemp("squid"), "digest") as ports:
        yield ports


@pytest.fixture(scope="module")
def tinyproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with real_proxies.tinyproxy(tmp_path_factory.mktemp("tinyproxy")) as ports:
        yield ports[0]


@pytest.fixture(scope="module")
def tinyproxy_closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with real_proxies.tinyproxy(tmp_path_factory.mktemp("tinyproxy"), closed=True) as ports:
        yield ports[0]


@pytest.fixture(scope="module")
def dante(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with real_proxies.dante(tmp_path_factory.mktemp("dante")) as ports:
        yield ports[0]


@pytest.fixture(scope="module")
def microsocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with real_proxies.microsocks(tmp_path_factory.mktemp("microsocks")) as ports:
        yield ports[0]


@pytest.fixture(scope="module")
def microsocks_closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with real_proxies.microsocks(tmp_path_factory.mktemp("microsocks"), closed=True) as ports:
        yield ports[0]


@pytest.fixture(scope="module")
def stunnel(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, tinyproxy: int
) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("stunnel")
    with real_proxies.stunnel(folder, Path(certificates.server_file), tinyproxy) as ports:
        yield ports[0]


def echo_through(face: Face, servers: Servers, secure: bool, proxy: str, **options: Any) -> None:
    if secure:
        options["sslopt"] = {"ca_certs": servers.ca_file}
    with face.open(servers.url(secure), proxy=proxy, **options) as session:
        for message in ("hello", b"\0" * 300000, ""):
            session.send(message)
            assert session.recv() == message


def refusal(face: Face, url: str, proxy: str, **options: Any) -> WebSocketProxyException:
    error = face.run(url, DEADLINE, proxy=proxy, **options).error
    assert type(error) is WebSocketProxyException, repr(error)
    assert PASSWORD not in str(error)
    return error


# --- HTTP ----------------------------------------------------------------------------------


@each_face
@each_scheme
def test_squid(face: Face, secure: bool, servers: Servers, squid_basic: list[int]) -> None:
    echo_through(face, servers, secure, f"http://127.0.0.1:{squid_basic[0]}")


@each_face
@each_scheme
def test_squid_basic(face: Face, secure: bool, servers: Servers, squid_basic: list[int]) -> None:
    echo_through(face, servers, secure, f"http://{KNOWN}:{squid_basic[1]}")


@each_face
@each_scheme
def test_squid_digest(face: Face, secure: bool, servers: Servers, squid_digest: list[int]) -> None:
    echo_through(face, servers, secure, f"http://{KNOWN}:{squid_digest[1]}")


@pytest.mark.parametrize("scheme", ["basic", "digest"])
@pytest.mark.parametrize("auth", [None, (USER, "wrong")])
def test_squid_wants_to_know_who(
    scheme: str, auth: Any, servers: Servers, request: pytest.FixtureRequest
) -> None:
    port = request.getfixturevalue(f"squid_{scheme}")[1]
    error = refusal(FACES[0], servers.plain, f"http://127.0.0.1:{port}", http_proxy_auth=auth)
    assert error.status_code == 407
    assert error.auth_schemes == (scheme.capitalize(),)
    assert b"Access Denied" in (error.resp_body or b"")
    assert f"asks for {scheme.capitalize()}" in str(error)


def test_squid_forbids_and_can_not_reach(squid_basic: list[int]) -> None:
    proxy = f"http://127.0.0.1:{squid_basic[0]}"
    error = refusal(FACES[0], "ws://forbidden.example/", proxy)
    assert error.status_code == 403
    error = refusal(FACES[0], f"ws://127.0.0.1:{unused_port()}/", proxy)
    assert error.status_code == 503
    assert "could not reach the server" in str(error)


@each_face
@each_scheme
def test_tinyproxy(face: Face, secure: bool, servers: Servers, tinyproxy: int) -> None:
    echo_through(face, servers, secure, f"http://127.0.0.1:{tinyproxy}")


def test_tinyproxy_basic(servers: Servers, tinyproxy_closed: int) -> None:
    proxy = f"http://127.0.0.1:{tinyproxy_closed}"
    auth = (USER, PASSWORD.replace(" ", "-"))
    echo_through(FACES[0], servers, False, proxy, http_proxy_auth=auth)
    error = refusal(FACES[0], servers.plain, proxy)
    assert (error.status_code, error.auth_schemes) == (407, ("Basic",))


@each_face
@each_scheme
def test_tls_with_the_proxy(
    face: Face, secure: bool, servers: Servers, certificates: Certificates, stunnel: int
) -> None:
    if secure:
        skip_unless_tls_in_tls(face)
    echo_through(
        face,
        servers,
        secure,
        f"https://localhost:{stunnel}",
        proxy_sslopt={"ca_certs": certificates.ca_file},
    )


# --- SOCKS ---------------------------------------------------------------------------------


@each_face
@each_scheme
@pytest.mark.parametrize("kind", ["socks4", "socks4a", "socks5", "socks5h"])
def test_dante(face: Face, kind: str, secure: bool, servers: Servers, dante: int) -> None:
    echo_through(face, servers, secure, f"{kind}://127.0.0.1:{dante}")


def test_dante_looks_names_up(servers: Servers, dante: int) -> None:
    # With SOCKS 4a it refuses every name, curl's requests as well.
    local = Servers(servers.plain.replace("127.0.0.1", "localhost"), "", "")
    echo_through(FACES[0], local, False, f"socks5h://127.0.0.1:{dante}")


@pytest.mark.parametrize("kind", ["socks4", "socks5"])
def test_dante_can_not_reach(kind: str, dante: int) -> None:
    error = refusal(FACES[0], f"ws://127.0.0.1:{unused_port()}/", f"{kind}://127.0.0.1:{dante}")
    assert error.status_code == (91 if kind == "socks4" else 5)


@each_face
@each_scheme
def test_microsocks(face: Face, secure: bool, servers: Servers, microsocks: int) -> None:
    echo_through(face, servers, secure, f"socks5h://127.0.0.1:{microsocks}")


@each_face
@each_scheme
def test_microsocks_with_a_password(
    face: Face, secure: bool, servers: Servers, microsocks_closed: int
) -> None:
    echo_through(face, servers, secure, f"socks5://{KNOWN}:{microsocks_closed}")


def test_microsocks_wants_to_know_who(servers: Servers, microsocks_closed: int) -> None:
    proxy = f"socks5://127.0.0.1:{microsocks_closed}"
    assert "set http_proxy_auth" in str(refusal(FACES[0], servers.plain, proxy))
    error = refusal(FACES[0], servers.plain, proxy, http_proxy_auth=(USER, "wrong"))
    assert "refused the user name or password" in str(error)
