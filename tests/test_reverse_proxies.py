"""The documentation's recipes for nginx and haproxy, and what their timeouts look like."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Certificates
from faces import FACES, Face
from support.reverse_proxies import haproxy, nginx, plain_server, recipe

import websocket
from websocket import WebSocketConnectionClosedException
from websocket.testing import Server

DEADLINE = 20.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these are Unix daemons")

each_face = pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)
HTTP = "haproxy, HTTP mode"
TCP = "haproxy, TCP mode"


@contextlib.contextmanager
def in_front(kind: str, folder: Path, port: int, **changes: str) -> Iterator[str]:
    """A recipe with a server behind it; its URL."""
    config = recipe(kind, port, **changes)
    proxy = nginx(folder, [plain_server(config)]) if kind == "nginx" else haproxy(folder, config)
    with proxy as ports:
        yield f"ws://127.0.0.1:{ports[0]}/"


@pytest.fixture(scope="module", params=["nginx", HTTP, TCP])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("proxy")
    with Server(subprotocols=["chat"]) as server, in_front(request.param, folder, server.port) as u:
        yield u


@each_face
def test_messages_pass(face: Face, url: str) -> None:
    with face.open(url, subprotocols=["chat"]) as session:
        assert session.subprotocol == "chat"
        for message in ("hello", b"\0" * 300000, ""):
            session.send(message)
            assert session.recv() == message
        assert session.ping("still there") == b"still there"
        assert session.close(1000).code == 1000


def test_tls_passes_haproxy(tmp_path: Path, certificates: Certificates) -> None:
    with (
        Server(ssl_context=certificates.server) as server,
        in_front(TCP, tmp_path, server.port) as url,
    ):
        ws = websocket.create_connection(
            url.replace("ws:", "wss:"),
            sslopt={"ca_certs": certificates.ca_file},
            timeout=DEADLINE,
        )
        ws.send("hello")
        assert ws.recv() == "hello"
        ws.close()


CUTS = {
    "nginx": {"proxy_read_timeout": "2s"},
    HTTP: {"timeout_tunnel": "2s"},
    TCP: {"timeout_client": "2s"},
}


def test_a_silent_connection_is_cut_and_one_that_pings_is_not(tmp_path: Path) -> None:
    """All of them at once, as it takes its time."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server())
        silent, pinging = [], []
        for kind, timeout in CUTS.items():
            folder = tmp_path / kind.replace(", ", "-")
            folder.mkdir()
            url = stack.enter_context(in_front(kind, folder, server.port, **timeout))
            silent.append(websocket.create_connection(url, timeout=DEADLINE))
            pinging.append(websocket.create_connection(url, timeout=DEADLINE))
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            for ws in pinging:
                ws.ping().wait(DEADLINE)
            time.sleep(0.1)
        for ws in silent:
            with pytest.raises(WebSocketConnectionClosedException, match="was lost"):
                ws.recv()
        for ws in pinging:
            ws.send("hello")
            assert ws.recv() == "hello"
            ws.close()


def test_nginx_that_still_speaks_http_1_0(tmp_path: Path) -> None:
    with Server() as server:
        bare = f"location / {{ proxy_pass http://127.0.0.1:{server.port}; }}"
        with nginx(tmp_path, [plain_server(bare)]) as ports:
            with pytest.raises(websocket.WebSocketBadStatusException) as caught:
                websocket.create_connection(f"ws://127.0.0.1:{ports[0]}/", timeout=DEADLINE)
            assert caught.value.status_code == 505


def test_nothing_behind(tmp_path: Path) -> None:
    from loopback import unused_port

    with in_front("nginx", tmp_path, unused_port()) as url:
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            websocket.create_connection(url, timeout=DEADLINE)
        assert caught.value.status_code == 502
        assert b"502 Bad Gateway" in (caught.value.resp_body or b"")
