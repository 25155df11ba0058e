"""TLS inside of TLS, over an outer socket that takes and gives as little as it likes."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import trustme
from conftest import Certificates
from loopback import DEADLINE
from support.connect_proxy import connect_proxy

import websocket
from websocket._nested_tls import NestedTLSSocket
from websocket._transport import TLSTransport, is_tls, transport_for
from websocket.testing import Server, ServerConnection

AUTHORITY = trustme.CA()
T = TypeVar("T")


class Outer:
    """The outer socket, in memory: the server of the inner layer is behind it.

    Args:
        room: bytes that a send takes before the next one has to wait; likewise for receives.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("server.example").configure_cert(context)
        self.peer = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.to_client = b""
        self.ended = False
        self.turn = False
        self.ready = False
        self.timeout: float | None = 5

    def gettimeout(self) -> float | None:
        return self.timeout

    def setblocking(self, flag: bool) -> None:
        self.timeout = None if flag else 0.0

    def _waits(self) -> bool:
        self.turn = not self.turn
        return self.turn and not self.ready

    def send(self, data: bytes) -> int:
        if self._waits():
            raise ssl.SSLWantWriteError
        return self.incoming.write(bytes(data[: self.room]))

    def recv(self, size: int) -> bytes:
        if self._waits():
            raise ssl.SSLWantReadError
        self.to_client += self.outgoing.read()
        piece, self.to_client = self.to_client[: self.room], self.to_client[self.room :]
        if not piece and not self.ended:
            raise ssl.SSLWantReadError
        return piece

    def pending(self) -> int:
        return 0

    def close(self) -> None:
        pass

    def fileno(self) -> int:
        return -1


def nested(outer: Outer, **options: Any) -> NestedTLSSocket:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    anything: Any = outer
    made = NestedTLSSocket(anything, context, server_hostname="server.example", **options)
    assert outer.timeout == 0
    assert made.gettimeout() == 5
    return made


def insist(operation: Callable[[], T], peer: Callable[[], object]) -> T:
    """Repeat what has to wait, letting the peer work in between."""
    for _ in range(100_000):
        try:
            return operation()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            try:
                peer()
            except ssl.SSLWantReadError:
                continue
    raise AssertionError("it never came to an end")


def opened(room: int) -> tuple[NestedTLSSocket, Outer]:
    outer = Outer(room)
    client = nested(outer)
    insist(client.do_handshake, outer.peer.do_handshake)
    insist(outer.peer.do_handshake, lambda: None)
    return client, outer


@pytest.mark.parametrize("room", [1, 7, 1000, 1 << 20])
def test_bytes_arrive_whole_and_once(room: int) -> None:
    client, outer = opened(room)
    sent = bytes(range(256)) * (8 if room < 100 else 600)
    received = bytearray()

    def drain() -> None:
        received.extend(outer.peer.read(65536))

    rest = sent
    while rest:
        piece = rest
        rest = rest[insist(lambda: client.send(piece), drain) :]  # noqa: B023
    while len(received) < len(sent):
        drain()
    assert bytes(received) == sent

    outer.peer.write(sent)
    back = bytearray()
    while len(back) < len(sent):
        back += insist(lambda: client.recv(4096), lambda: None)
    assert bytes(back) == sent
    assert client.pending() == 0


def test_pending_means_that_a_read_has_something() -> None:
    client, outer = opened(1 << 20)
    assert client.pending() == 0
    outer.peer.write(b"first")
    outer.peer.write(b"second")
    assert insist(lambda: client.recv(3), lambda: None) == b"fir"
    assert client.pending() > 0
    assert client.recv(100) == b"st"
    # The second record came along with the first, where no selector could see it.
    assert client.pending() > 0
    assert client.recv(100) == b"second"
    assert client.pending() == 0


@pytest.mark.parametrize("ragged", [True, False])
def test_the_end_without_a_goodbye(ragged: bool) -> None:
    outer = Outer(1 << 20)
    client = nested(outer, suppress_ragged_eofs=ragged)
    insist(client.do_handshake, outer.peer.do_handshake)
    insist(outer.peer.do_handshake, lambda: None)
    outer.peer.write(b"last")
    assert insist(lambda: client.recv(100), lambda: None) == b"last"
    outer.ended = True
    if ragged:
        assert insist(lambda: client.recv(100), lambda: None) == b""
    else:
        with pytest.raises(ssl.SSLEOFError):
            insist(lambda: client.recv(100), lambda: None)


def test_the_end_with_a_goodbye() -> None:
    client, outer = opened(1 << 20)
    with pytest.raises(ssl.SSLWantReadError):
        outer.peer.unwrap()
    assert insist(lambda: client.recv(100), lambda: None) == b""


def test_a_name_that_is_not_the_servers() -> None:
    outer = Outer(1 << 20)
    outer.ready = True
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    anything: Any = outer
    client = NestedTLSSocket(anything, context, server_hostname="other.example")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"other\.example"):
        insist(client.do_handshake, outer.peer.do_handshake)
    # The server is told why.
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        insist(outer.peer.do_handshake, lambda: None)


def test_it_is_a_tls_socket_for_the_rest_of_the_library() -> None:
    client, _ = opened(1 << 20)
    assert is_tls(client)
    assert isinstance(transport_for(client), TLSTransport)
    assert client.version() == "TLSv1.3"
    assert client.getpeercert()["subjectAltName"] == (("DNS", "server.example"),)
    assert client.server_hostname == "server.example"
    assert client.cipher() is not None


# --- a whole connection --------------------------------------------------------------------


@pytest.mark.usefixtures("no_leaks")
def test_timeouts_threads_and_the_close_code(certificates: Certificates) -> None:
    release = threading.Event()

    def handler(connection: ServerConnection) -> None:
        for message in connection:
            if message == "wait":
                assert release.wait(DEADLINE)
            connection.send(message)

    with (
        Server(handler, ssl_context=certificates.server) as server,
        connect_proxy(tls=certificates.server) as proxy,
    ):
        ws = websocket.create_connection(
            server.url,
            proxy=f"https://localhost:{proxy.port}",
            proxy_sslopt={"ca_certs": certificates.ca_file},
            sslopt={"ca_certs": certificates.ca_file},
            timeout=DEADLINE,
        )
        assert ws.is_ssl()
        ws.send("wait")
        began = time.monotonic()
        with pytest.raises(websocket.WebSocketTimeoutException):
            ws.recv(timeout=0.1)
        assert time.monotonic() - began < DEADLINE / 2
        release.set()
        assert ws.recv() == "wait"
        threads = [threading.Thread(target=ws.send, args=("x" * 5000,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        assert [ws.recv() for _ in threads] == ["x" * 5000] * 8
        for thread in threads:
            thread.join()
        ws.close()
        assert ws.close_code == 1000


@pytest.mark.usefixtures("no_leaks")
def test_a_tunnel_that_breaks_is_a_lost_connection(certificates: Certificates) -> None:
    with (
        Server(lambda connection: connection.recv(), ssl_context=certificates.server) as server,
        connect_proxy(tls=certificates.server) as proxy,
    ):
        ws = websocket.create_connection(
            server.url,
            proxy=f"https://localhost:{proxy.port}",
            proxy_sslopt={"ca_certs": certificates.ca_file},
            sslopt={"ca_certs": certificates.ca_file},
            timeout=DEADLINE,
        )
        proxy.cut()
        with pytest.raises(websocket.WebSocketConnectionClosedException, match="was lost"):
            ws.recv()
