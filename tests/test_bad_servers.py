"""Every face against every bad server: the right exception, the right close code, in time,
and nothing left behind."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from badservers import CASES, CLOSE, TEXT, UNHEARD, BadServer, Case, Peer, close_payload
from conftest import Certificates, LeakCheck
from faces import FACES, Face, Outcome
from loopback import DEADLINE, serve
from wire import frame

from websocket import (
    WebSocketConnectionClosedException,
    WebSocketHandshakeException,
    WebSocketMessageTooBigException,
    WebSocketTimeoutException,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

each_face = pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)


def meet(face: Face, case: Case) -> tuple[Outcome, list[int | None], float]:
    """Let the client meet the server; returns what it saw, and what the server saw."""
    bad = BadServer(case.script)
    with serve(bad) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        before = time.monotonic()
        outcome = face.run(url, timeout=case.timeout, **case.options)
        elapsed = time.monotonic() - before
    return outcome, bad.close_codes, elapsed


def test_the_corpus_is_large_and_has_no_twins() -> None:
    names = [case.name for case in CASES]
    assert len(names) >= 60
    assert len(set(names)) == len(names)


@each_face
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_server(face: Face, case: Case, no_leaks: LeakCheck) -> None:
    outcome, close_codes, elapsed = meet(face, case)
    error = outcome.error
    assert tuple(outcome.messages) == case.messages
    if case.error is None:
        assert error is None, repr(error)
        assert outcome.closed is not None
        assert outcome.closed.reason == case.match
    else:
        assert type(error) is case.error, repr(error)
        assert re.search(case.match, str(error)), str(error)
    if case.close_code != UNHEARD:
        assert close_codes[-1] == case.close_code
    if case.status is not None:
        assert getattr(error, "status_code", None) == case.status
    if case.body is not None:
        assert getattr(error, "resp_body", None) == case.body
    assert elapsed < case.deadline


@each_face
def test_the_end_at_every_byte_of_the_opening_handshake(face: Face) -> None:
    sizes: list[int] = []

    def script(peer: Peer) -> None:
        peer.request()
        head = peer.head()
        cut = len(sizes)
        sizes.append(len(head))
        peer.send(head[:cut])
        peer.end_sending()

    with serve(BadServer(script)) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        while not sizes or len(sizes) < sizes[0]:
            error = face.run(url, DEADLINE).error
            assert type(error) is WebSocketConnectionClosedException, (len(sizes), error)
        # The whole head, and then the end: an opened connection is lost.
        error = face.run(url, DEADLINE).error
    assert type(error) is WebSocketConnectionClosedException
    assert str(error) == "Connection to remote host was lost."


@each_face
def test_the_end_at_every_byte_of_a_refusal(face: Face) -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\n"
    whole = head + b"stop"
    cuts = iter(range(len(whole) + 1))

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(whole[: next(cuts)])
        peer.end_sending()

    with serve(BadServer(script)) as server:
        for cut in range(len(whole) + 1):
            error: Any = face.run(f"ws://127.0.0.1:{server.port}/", DEADLINE).error
            if cut < len(head):
                assert type(error) is WebSocketConnectionClosedException, (cut, error)
            else:
                assert error.status_code == 403
                assert error.resp_body == whole[len(head) : cut]


@each_face
@pytest.mark.parametrize("size", [5, 300])
def test_the_end_at_every_byte_of_a_frame(face: Face, size: int) -> None:
    whole = frame(TEXT, b"a" * size)
    places = [*range(12), *range(12, len(whole), 17), len(whole)]
    places = sorted({place for place in places if place <= len(whole)})
    cuts = iter(places)

    def script(peer: Peer) -> None:
        peer.accept(then=whole[: next(cuts)])
        peer.end_sending()

    with serve(BadServer(script)) as server:
        for cut in places:
            outcome = face.run(f"ws://127.0.0.1:{server.port}/", DEADLINE)
            assert type(outcome.error) is WebSocketConnectionClosedException, (cut, outcome)
            assert outcome.messages == (["a" * size] if cut == len(whole) else [])


@each_face
def test_the_end_at_every_byte_of_a_close_frame(face: Face) -> None:
    whole = frame(CLOSE, close_payload(1001, b"bye"))
    cuts = iter(range(len(whole) + 1))

    def script(peer: Peer) -> None:
        peer.accept(then=whole[: next(cuts)])
        peer.end_sending()

    bad = BadServer(script)
    with serve(bad) as server:
        for cut in range(len(whole) + 1):
            outcome = face.run(f"ws://127.0.0.1:{server.port}/", DEADLINE)
            if cut < len(whole):
                assert type(outcome.error) is WebSocketConnectionClosedException
            else:
                assert outcome.closed == (1001, "bye")
    # Each connection has a thread, and the last one may be faster than one before it.
    assert bad.close_codes.count(1001) == 1


@each_face
def test_bytes_one_by_one_make_a_connection(face: Face) -> None:
    """Slow is not bad: the same bytes in the smallest pieces."""
    message = frame(TEXT, "é€".encode()) + frame(CLOSE, close_payload(1000))

    def script(peer: Peer) -> None:
        peer.request()
        for octet in peer.head() + message:
            peer.send(bytes([octet]))

    with serve(BadServer(script)) as server:
        outcome = face.run(f"ws://127.0.0.1:{server.port}/", DEADLINE)
    assert outcome == (["é€"], None, (1000, ""))


@each_face
def test_a_reset_in_the_middle(face: Face) -> None:
    def script(peer: Peer) -> None:
        peer.accept(then=frame(TEXT, b"hello"))
        # The client's message shows that it has taken ours: a reset would overtake it.
        peer.sock.recv(100)
        peer.reset()

    with serve(script_only(script)) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        with face.open(url) as session:
            assert session.recv() == "hello"
            session.send("go")
            with pytest.raises(WebSocketConnectionClosedException, match="lost"):
                session.recv()


def script_only(script: Any) -> Any:
    return lambda sock: script(Peer(sock))


@each_face
def test_redirect_from_wss_to_ws(face: Face, certificates: Certificates) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 302 Found\r\nLocation: ws://localhost/\r\n\r\n")

    def handler(sock: Any) -> None:
        with certificates.server.wrap_socket(sock, server_side=True) as tls:
            BadServer(script)(tls)

    with serve(handler) as server:
        url = f"wss://localhost:{server.port}/"
        outcome = face.run(url, DEADLINE, sslopt={"ca_certs": certificates.ca_file})
    assert type(outcome.error) is WebSocketHandshakeException
    assert "from wss to" in str(outcome.error)


def test_too_big_says_how_big() -> None:
    def script(peer: Peer) -> None:
        peer.accept(then=frame(TEXT, length=2000, form=16))

    with serve(BadServer(script)) as server:
        outcome = FACES[0].run(f"ws://127.0.0.1:{server.port}/", DEADLINE, max_size=1000)
    assert isinstance(outcome.error, WebSocketMessageTooBigException)
    assert (outcome.error.size, outcome.error.limit) == (2000, 1000)


@each_face
def test_the_timeout_of_connecting_covers_all_steps(face: Face) -> None:
    """Neither redirects nor drops of the head may stretch it."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.drip(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /\r\n\r\n", 0.004)

    with serve(BadServer(script)) as server:
        before = time.monotonic()
        outcome = face.run(f"ws://127.0.0.1:{server.port}/", 0.5, redirect_limit=1000)
    assert type(outcome.error) is WebSocketTimeoutException
    assert time.monotonic() - before < 2
