"""Programs that wait on the connection's socket themselves, with ``select`` or ``poll``.

What the socket no longer shows they never come to read: a receive must leave in it what does
not belong to the message that it returns, and so must the opening handshake.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Certificates
from support.recorder import PING, PONG, Recorder, Session, echo, record

from websocket import ABNF, WebSocket, create_connection

WAIT = 5.0


def frame(payload: bytes, opcode: int = ABNF.OPCODE_TEXT, fin: bool = True) -> bytes:
    head = bytes([opcode | (0x80 if fin else 0)])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 65536:
        return head + b"\x7e" + len(payload).to_bytes(2, "big") + payload
    return head + b"\x7f" + len(payload).to_bytes(8, "big") + payload


MESSAGES = [b"a", b"b" * 300, b"", b"c" * 70000, b"d"]


def at_once(session: Session) -> None:
    """All messages in one write, right behind the head of the opening handshake."""
    session.sock.sendall(b"".join(frame(message) for message in MESSAGES))
    echo(session)


def readable(ws: WebSocket) -> bool:
    if isinstance(ws.sock, ssl.SSLSocket) and ws.sock.pending():
        return True
    return bool(select.select([ws.sock], [], [], WAIT)[0])


@pytest.fixture(params=["ws", "wss"])
def server(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Recorder]:
    with record(at_once, tls=certificates.server if request.param == "wss" else None) as recorder:
        yield recorder


def connect(server: Recorder, **options: Any) -> WebSocket:
    return create_connection(server.url, sslopt={"cert_reqs": ssl.CERT_NONE}, **options)


def test_select_on_the_socket_sees_each_message(server: Recorder) -> None:
    ws = connect(server)
    for message in MESSAGES:
        assert readable(ws), "a message was taken from the socket too early"
        assert ws.recv_data_frame(True)[1].data == message
    ws.close()


def test_select_on_the_connection_sees_each_message(server: Recorder) -> None:
    ws = connect(server)
    for message in MESSAGES:
        if not (ws.is_ssl() and ws.sock.pending()):
            assert select.select([ws], [], [], WAIT)[0] == [ws]
        assert ws.recv() == message.decode()
    ws.close()


@pytest.mark.skipif(not hasattr(select, "poll"), reason="no poll on this platform")
def test_poll_in_the_style_of_a_cluster_client(server: Recorder) -> None:
    ws = WebSocket(sslopt={"cert_reqs": ssl.CERT_NONE}, skip_utf8_validation=False)
    ws.connect(server.url, header=["authorization: Bearer x"])
    received: list[bytes] = []
    while len(received) < len(MESSAGES):
        ready: Any = ws.is_ssl() and ws.sock.pending()
        if not ready:
            poll = select.poll()
            poll.register(ws.sock, select.POLLIN)
            ready = poll.poll(WAIT * 1000)
            poll.unregister(ws.sock)
        assert ready, f"nothing to read after {len(received)} messages"
        opcode, got = ws.recv_data_frame(True)
        assert opcode == ABNF.OPCODE_TEXT
        received.append(got.data)
    assert received == MESSAGES
    ws.close()


def test_nothing_is_readable_when_all_was_received(server: Recorder) -> None:
    ws = connect(server)
    for _ in MESSAGES:
        assert readable(ws)
        ws.recv()
    if ws.is_ssl():
        # Whatever else TLS itself still brings is no message.
        ws.settimeout(0.1)
        with pytest.raises(Exception, match="timed out"):
            ws.recv()
    else:
        assert select.select([ws.sock], [], [], 0)[0] == []
    ws.close()


def test_control_frames_and_fragments_between() -> None:
    def script(session: Session) -> None:
        session.sock.sendall(
            frame(b"one", fin=False)
            + frame(b"?", PING)
            + frame(b" two", ABNF.OPCODE_CONT)
            + frame(b"three")
        )
        echo(session)

    with record(script) as server:
        ws = create_connection(server.url)
        assert readable(ws)
        assert ws.recv() == "one two"
        assert readable(ws)
        assert ws.recv() == "three"
        ws.close()
        assert server.session().of(PONG) == [b"?"]


def test_a_message_of_a_slow_server_is_put_together() -> None:
    def script(session: Session) -> None:
        for byte in frame("größer".encode()):
            session.sock.sendall(bytes([byte]))
        echo(session)

    with record(script) as server:
        ws = create_connection(server.url)
        assert readable(ws)
        assert ws.recv() == "größer"
        ws.close()


def test_head_and_messages_in_one_segment() -> None:
    """The server's kernel can't keep them apart: one write carries both."""
    sent: list[bytes] = []

    class OneWrite:
        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

        def sendall(self, data: bytes) -> None:
            sent.append(data)
            if len(sent) == 2:
                self._sock.sendall(b"".join(sent))
                self.sendall = self._sock.sendall  # type: ignore[method-assign]

    with record(at_once, wrap=OneWrite) as server:
        ws = create_connection(server.url)
        for message in MESSAGES:
            assert readable(ws)
            assert ws.recv() == message.decode()
        ws.close()
