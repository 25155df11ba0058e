"""The options auth and netrc, on both faces, and that credentials go to nobody else."""

from __future__ import annotations

import base64
import http.cookiejar
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faces import FACES, Face
from loopback import DEADLINE, read_until, serve
from support.recorder import record

import websocket
from websocket import WebSocketArgumentException
from websocket._auth import authorization_for
from websocket._protocol.uri import URL

each_face = pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def sent(face: Face, user: str = "", **options: Any) -> str | None:
    """The Authorization header that a server gets."""
    with record() as recorder:
        url = recorder.url.replace("ws://", f"ws://{user}")
        with face.open(url, **options) as session:
            session.close()
        return recorder.session().header("Authorization")


@each_face
@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (("user", "pass:word"), basic("user:pass:word")),
        (["jürgen", "ü"], basic("jürgen:ü")),
        ("Bearer abc.def", "Bearer abc.def"),
        (lambda url: ("called", url.partition(":")[0]), basic("called:ws")),
        (lambda url: "Bearer fresh", "Bearer fresh"),
        (lambda url: None, None),
        (None, None),
    ],
)
def test_auth(face: Face, auth: Any, expected: str | None) -> None:
    assert sent(face, auth=auth) == expected


def test_which_one_counts(tmp_path: Path) -> None:
    blocking = FACES[0]
    file = tmp_path / "netrc"
    file.write_text("default login n password n\n")
    header = {"Authorization": "Own"}
    everything = {"auth": ("a", "a"), "netrc": str(file)}
    assert sent(blocking, "u:u@", header=header, **everything) == "Own"
    assert sent(blocking, "u:u@", **everything) == basic("a:a")
    assert sent(blocking, "u:u@", netrc=str(file)) == basic("u:u")
    assert sent(blocking, netrc=str(file)) == basic("n:n")
    assert sent(blocking, netrc=False) is None


@each_face
def test_a_callable_is_asked_for_each_connection(face: Face) -> None:
    tokens = iter(["Bearer 1", "Bearer 2"])
    with record() as recorder:
        for expected in ("Bearer 1", "Bearer 2"):
            with face.open(recorder.url, auth=lambda url: next(tokens)) as session:
                session.close()
            assert recorder.session().header("Authorization") == expected


@pytest.mark.parametrize("auth", [5, ("user",), ("a", "b", "c"), ("user", 5), ("us:er", "x"), {}])
def test_what_auth_can_not_be(auth: Any) -> None:
    with pytest.raises(WebSocketArgumentException):
        websocket.create_connection("ws://127.0.0.1:1/", auth=auth, socket=_Never(), timeout=5)


class _Never:
    """A socket on which nothing may happen."""

    def close(self) -> None:
        pass


def test_a_line_break_is_refused() -> None:
    with pytest.raises(WebSocketArgumentException, match="Authorization") as caught:
        websocket.create_connection(
            "ws://127.0.0.1:1/", auth="Bearer hunter2\r\nX: y", socket=_Never(), timeout=5
        )
    assert "hunter2" not in str(caught.value)


# --- netrc ---------------------------------------------------------------------------------

TARGET = URL.parse("wss://api.example.com/")


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "credentials"
        path.write_text(text)
        path.chmod(0o600)
        monkeypatch.setenv("NETRC", str(path))
        return path

    return write


def test_netrc_of_the_environment(netrc: Callable[[str], Path]) -> None:
    path = netrc("machine other login x password y\nmachine api.example.com login u password p\n")
    assert authorization_for(TARGET, netrc=True) == basic("u:p")
    assert authorization_for(TARGET, netrc=path) == basic("u:p")
    assert authorization_for(URL.parse("ws://unknown.example/"), netrc=True) is None


def test_netrc_is_not_read_unasked(netrc: Callable[[str], Path]) -> None:
    netrc("machine api.example.com login u password p\n")
    assert authorization_for(TARGET) is None


def test_netrc_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert authorization_for(TARGET, netrc=True) is None
    path = tmp_path / ".netrc"
    path.write_text("machine api.example.com login u password p\n")
    path.chmod(0o600)
    assert authorization_for(TARGET, netrc=True) == basic("u:p")


def test_netrc_files_that_can_not_be_used(tmp_path: Path, netrc: Callable[[str], Path]) -> None:
    with pytest.raises(WebSocketArgumentException, match="does not exist"):
        authorization_for(TARGET, netrc=str(tmp_path / "none"))
    path = netrc("machine api.example.com hunter2 hunter2\n")
    with pytest.raises(WebSocketArgumentException, match="line 1") as caught:
        authorization_for(TARGET, netrc=path)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


# --- redirects, cookies --------------------------------------------------------------------


@each_face
def test_credentials_do_not_follow_a_redirect_to_another_origin(face: Face) -> None:
    with record() as target:

        def redirect(peer: socket.socket) -> None:
            read_until(peer, b"\r\n\r\n")
            peer.sendall(f"HTTP/1.1 302 Found\r\nLocation: {target.url}\r\n\r\n".encode())

        with serve(redirect) as server:
            url = f"ws://127.0.0.1:{server.port}/"
            for auth in (("user", "hunter2"), "Bearer hunter2", lambda url: "Bearer hunter2"):
                with face.open(url, auth=auth) as session:
                    session.close()
                assert target.session().header("Authorization") is None


@each_face
def test_a_jar_that_is_a_mapping_too(face: Face) -> None:
    """As the jar of a session of the package requests is: a CookieJar with more methods."""

    class Jar(http.cookiejar.CookieJar):
        def __getitem__(self, name: str) -> Any:
            return {cookie.name: cookie.value for cookie in self}[name]

        def keys(self) -> list[str]:
            return [cookie.name for cookie in self]

    jar = Jar()
    with record(headers=("Set-Cookie: token=abc; Path=/",)) as recorder:
        for expected in (None, "token=abc"):
            with face.open(recorder.url, cookie_jar=jar) as session:
                session.close()
            assert recorder.session().header("Cookie") == expected
    assert jar["token"] == "abc"


def test_the_jar_of_a_requests_session() -> None:
    requests = pytest.importorskip("requests")
    session = requests.Session()
    session.cookies.set("token", "abc", domain="localhost.local", path="/")
    with record() as recorder:
        url = recorder.url.replace("127.0.0.1", "localhost")
        ws = websocket.create_connection(url, cookie_jar=session.cookies, timeout=DEADLINE)
        ws.close()
        assert recorder.session().header("Cookie") == "token=abc"
