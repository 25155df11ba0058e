"""A corpus of servers that do it wrong, each a script on a raw TCP connection.

A case says what the client must make of it: its exception, what that says, the code of the
Close frame that the server gets to see, and how long all of it may take.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from loopback import DEADLINE, read_until, serve
from wire import Parsed, frame, parse

from websocket import (
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    WebSocketHandshakeException,
    WebSocketMessageTooBigException,
    WebSocketPayloadException,
    WebSocketProtocolException,
    WebSocketTimeoutException,
)

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

UNHEARD = -1
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self._accept = b""

    def request(self) -> None:
        """Read the client's opening handshake."""
        head = read_until(self.sock, b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            if name.lower() == b"sec-websocket-key":
                digest = hashlib.sha1(value + GUID).digest()
                self._accept = base64.b64encode(digest)

    def head(
        self, *extra: bytes, without: bytes = b"", status: bytes = b"HTTP/1.1 101 OK"
    ) -> bytes:
        """A good answer, but for what the arguments say."""
        lines = [
            status,
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + self._accept,
        ]
        if without:
            lines = [line for line in lines if not line.startswith(without)]
        return b"\r\n".join([*lines, *extra]) + b"\r\n\r\n"

    def accept(self, *extra: bytes, then: bytes = b"") -> None:
        self.request()
        self.send(self.head(*extra) + then)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes, pause: float) -> None:
        """A byte, a pause, a byte: until the client has had enough."""
        with contextlib.suppress(OSError):
            for octet in data:
                self.send(bytes([octet]))
                time.sleep(pause)

    def endless(self, piece: bytes) -> None:
        """Send until the client hangs up, or says something."""
        with contextlib.suppress(OSError):
            while not select.select([self.sock], [], [], 0)[0]:
                self.send(piece)

    def endless_and_deaf(self, piece: bytes) -> None:
        """Send until the client hangs up, and never read."""
        with contextlib.suppress(OSError):
            while True:
                self.send(piece)

    def reset(self) -> None:
        """End the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def end_sending(self) -> None:
        """Half close: nothing more comes, but all is read."""
        # The client may have had enough before that.
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def wait_for_end(self) -> None:
        """Read until the client hangs up."""
        with contextlib.suppress(ConnectionError):
            while data := self.sock.recv(65536):
                self.received += data

    def next_frame(self) -> Parsed:
        """The client's next frame."""
        size = self._need(2)[1] & 127
        header = 6
        if size > 125:
            header += {126: 2, 127: 8}[size]
            size = int.from_bytes(self._need(header)[2 : header - 4], "big")
        data = self._need(header + size)
        del self.received[: header + size]
        (only,) = parse(data)
        return only

    def _need(self, size: int) -> bytes:
        while len(self.received) < size:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("the client hung up")
            self.received += data
        return bytes(self.received[:size])

    def finish(self) -> int | None:
        """The client's Close is answered; its code is returned, None if there was none."""
        payload = self.close_frame()
        if payload is not None:
            with contextlib.suppress(OSError):
                self.send(frame(CLOSE, payload))
        return int.from_bytes(payload[:2], "big") if payload else None

    def close_frame(self) -> bytes | None:
        """Payload of the Close frame that the client sent: waits for it, or for the end."""
        while True:
            with contextlib.suppress(AssertionError):
                frames = parse(bytes(self.received))
                assert all(f.key is not None for f in frames), "a client masks its frames"
                if frames and frames[-1].opcode == CLOSE:
                    return frames[-1].payload
            try:
                data = self.sock.recv(65536)
            except OSError:
                return None
            if not data:
                return None
            self.received += data


class BadServer:
    """Handler for ``loopback.serve`` that runs a script and notes how the client ended it."""

    def __init__(self, script: Callable[[Peer], None]) -> None:
        self._script = script
        self.close_codes: list[int | None] = []

    def __call__(self, sock: socket.socket) -> None:
        peer = Peer(sock)
        try:
            self._script(peer)
            payload = peer.close_frame()
        finally:
            sock.close()
        self.close_codes.append(int.from_bytes(payload[:2], "big") if payload else None)


@contextlib.contextmanager
def scripted(script: Callable[[Peer], None]) -> Iterator[str]:
    """A server that runs ``script`` for each connection, then closes it; yields its URL."""
    with serve(lambda sock: script(Peer(sock))) as server:
        yield f"ws://127.0.0.1:{server.port}/"


@dataclass(frozen=True)
class Case:
    """One bad server, and what becomes of a client that meets it.

    ``close_code`` None means that the server gets no Close frame, UNHEARD that it doesn't
    look; ``error`` None that the connection ends with the server's Close.
    """

    name: str
    script: Callable[[Peer], None]
    error: type[Exception] | None
    match: str = ""
    close_code: int | None = None
    messages: tuple[str | bytes, ...] = ()
    timeout: float = DEADLINE
    deadline: float = 3.0
    options: dict[str, Any] = field(default_factory=dict)
    # What the exception of a refused handshake must carry.
    status: int | None = None
    body: bytes | None = None

    def __str__(self) -> str:
        return self.name


def _answers(*extra: bytes, **changes: bytes) -> Callable[[Peer], None]:
    """The opening handshake, done wrong as the arguments say."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(peer.head(*extra, **changes))

    return script


def _says(raw: bytes, stay: bool = True) -> Callable[[Peer], None]:
    """These bytes instead of an answer; then the connection stays open, or is closed."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(raw)
        if not stay:
            peer.end_sending()

    return script


def _streams(start: bytes, piece: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(start)
        peer.endless(piece)

    return script


def handshake_cases() -> Iterator[Case]:
    bad = WebSocketHandshakeException
    ok = b"HTTP/1.1 101 Switching Protocols\r\n"
    for name, raw, match in [
        ("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n", "did not answer in HTTP"),
        ("a lone line end", b"\r\n\r\n", "did not answer in HTTP"),
        ("TLS alert", b"\x15\x03\x01\x00\x02\x02\x46", "did not answer in HTTP"),
        ("no status", b"HTTP/1.1\r\n", "status line"),
        ("status of two digits", b"HTTP/1.1 99 Odd\r\n", "status line"),
        ("status of four digits", b"HTTP/1.1 1010 Odd\r\n", "status line"),
        ("status in letters", b"HTTP/1.1 abc Odd\r\n", "status line"),
        ("two spaces before the status", b"HTTP/1.1  101 Odd\r\n", "status line"),
        ("HTTP/2", b"HTTP/2.0 101 Odd\r\n", "HTTP version"),
        ("folded header", ok + b"Upgrade: websocket\r\n and: more\r\n", "folded"),
        ("space before the colon", ok + b"Upgrade : websocket\r\n", "header line"),
        ("header without colon", ok + b"Upgrade websocket\r\n", "header line"),
        ("header without name", ok + b": websocket\r\n", "header line"),
        ("NUL in a header", ok + b"X: a\x00b\r\n", "header line"),
        ("CR in a header", ok + b"X: a\rb\r\n", "header line"),
        ("control character in a name", ok + b"X\x01: a\r\n", "header line"),
        ("conflicting lengths", b"HTTP/1.1 400 Bad\r\nContent-Length: 1, 2\r\n\r\n", "Length"),
        ("negative length", b"HTTP/1.1 400 Bad\r\nContent-Length: -1\r\n\r\n", "Length"),
    ]:
        yield Case(name, _says(raw), bad, match)
    accept = b"Sec-WebSocket-Accept: "
    for name, script, match in [
        ("HTTP/1.0", _answers(status=b"HTTP/1.0 101 OK"), "HTTP/1.0"),
        ("no Upgrade", _answers(without=b"Upgrade"), "Upgrade header is missing"),
        ("Upgrade to h2c", _answers(b"Upgrade: h2c", without=b"Upgrade"), "h2c"),
        ("no Connection", _answers(without=b"Connection"), "Connection header is missing"),
        ("Connection: close", _answers(b"Connection: close", without=b"Connection"), "close"),
        ("no accept", _answers(without=accept), "no Sec-WebSocket-Accept"),
        ("wrong accept", _answers(accept + b"AAAA", without=accept), "AAAA"),
        ("empty accept", _answers(accept, without=accept), "Accept is ''"),
        ("two accepts", _answers(accept + b"AAAA"), "2 Sec-WebSocket-Accept"),
        ("unsolicited extension", _answers(b"Sec-WebSocket-Extensions: x-odd"), "x-odd"),
        ("unsolicited subprotocol", _answers(b"Sec-WebSocket-Protocol: odd"), "odd"),
    ]:
        yield Case(name, script, bad, match)
    offer = {"subprotocols": ["chat", "v2.chat"]}
    protocol = b"Sec-WebSocket-Protocol: "
    yield Case("no subprotocol", _answers(), bad, "none of the subprotocols", options=offer)
    yield Case("another subprotocol", _answers(protocol + b"odd"), bad, "odd", options=offer)
    two = _answers(protocol + b"chat", protocol + b"v2.chat")
    yield Case("two subprotocols", two, bad, "more than one", options=offer)
    both = _answers(protocol + b"chat, v2.chat")
    yield Case("a list of subprotocols", both, bad, "not offered", options=offer)
    yield Case("endless head line", _streams(ok + b"X: ", b"a" * 4096), bad, "65536 bytes")
    yield Case("endless head", _streams(ok, b"X: " + b"a" * 4000 + b"\r\n"), bad, "65536 bytes")
    yield Case("endless head lines", _streams(ok, b"X: a\r\n"), bad, "256 header lines")
    yield Case("endless reason", _streams(b"HTTP/1.1 101 ", b"a" * 4096), bad, "65536 bytes")
    interim = _streams(b"", b"HTTP/1.1 100 Continue\r\n\r\n")
    yield Case("endless interim responses", interim, bad, "interim responses")
    yield from _lost_handshake_cases()


def _lost_handshake_cases() -> Iterator[Case]:
    lost = WebSocketConnectionClosedException

    def reset(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 101 Sw")
        peer.reset()

    def at_once(peer: Peer) -> None:
        peer.sock.close()

    def drip(peer: Peer) -> None:
        peer.request()
        peer.drip(peer.head(b"X: " + b"a" * 4000), 0.02)

    yield Case("closed at once", at_once, lost, "lost")
    yield Case("closed without an answer", _says(b"", stay=False), lost, "no byte of it")
    yield Case("reset in the head", reset, lost, "lost")
    late = WebSocketTimeoutException
    yield Case("silence", _says(b""), late, "timed out", timeout=0.3, deadline=1.5)
    yield Case("dripping head", drip, late, "timed out", timeout=0.3, deadline=1.5)
    stall = _says(b"HTTP/1.1 101 OK\r\nUpgrade: webs")
    yield Case("half a head", stall, late, "timed out", timeout=0.3, deadline=1.5)


def _refusal(
    name: str, raw: bytes, status: int, body: bytes = b"", *, stay: bool = False, **more: Any
) -> Case:
    return Case(
        name,
        _says(raw, stay),
        WebSocketBadStatusException,
        f"Handshake status {status}",
        status=status,
        body=body,
        **more,
    )


def refusal_cases() -> Iterator[Case]:
    http = b"HTTP/1.1 "
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    forbidden = http + b"403 Forbidden\r\n"
    error = http + b"500 Internal Server Error\r\n"
    yield _refusal(
        "403 with a counted body", forbidden + b"Content-Length: 4\r\n\r\nstop", 403, b"stop"
    )
    yield _refusal("403 without a body", forbidden + b"Content-Length: 0\r\n\r\n", 403, stay=True)
    yield _refusal("404 with a body to the end", http + b"404 Not Found\r\n\r\ngone", 404, b"gone")
    yield _refusal(
        "500 with chunks", error + chunked + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 500, b"abcde"
    )
    yield _refusal("500 with a bad chunk", error + chunked + b"zz\r\nabc", 500, stay=True)
    cut = error + b"Content-Length: 100\r\n\r\nonly this"
    yield _refusal("500 with a body cut short", cut, 500, b"only this")
    yield _refusal("500 with a stalled body", cut, 500, b"only this", stay=True, timeout=0.4)
    yield _refusal("500 with a stalled body, no hurry", cut, 500, b"only this", stay=True)
    yield _refusal("200", http + b"200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok")
    yield _refusal("204", http + b"204 No Content\r\n\r\n", 204, stay=True)
    yield _refusal("401", http + b"401 Unauthorized\r\n\r\n", 401)
    yield _refusal("407", http + b"407 Proxy Authentication Required\r\n\r\n", 407)
    yield _refusal("426", http + b"426 \r\nSec-WebSocket-Version: 8\r\n\r\n", 426)
    yield _refusal("999", http + b"999 Odd\r\n\r\n", 999)
    bad = WebSocketBadStatusException
    yield Case(
        "503 with an endless body",
        _streams(http + b"503 Busy\r\n\r\n", b"x" * 4096),
        bad,
        "status 503",
        status=503,
        body=b"x" * 65536,
    )
    yield Case(
        "503 with endless chunks",
        _streams(http + b"503 Busy\r\n" + chunked, b"1000\r\n" + b"x" * 4096 + b"\r\n"),
        bad,
        "status 503",
        status=503,
        body=b"x" * 65536,
    )
    yield Case(
        "503 with an endless chunk size",
        _streams(http + b"503 Busy\r\n" + chunked, b"0" * 4096),
        bad,
        "status 503",
        status=503,
        body=b"",
    )


def redirect_cases() -> Iterator[Case]:
    def redirect(status: bytes, *lines: bytes) -> Callable[[Peer], None]:
        return _says(b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"Content-Length: 0", b"", b""]))

    bad = WebSocketHandshakeException
    for status in (301, 302, 303, 307, 308):
        loop = redirect(str(status).encode() + b" Over", b"Location: /again")
        limit = "redirect_limit"
        yield Case(
            f"redirect loop with {status}", loop, WebSocketBadStatusException, limit, status=status
        )
    yield Case("redirect to nowhere", redirect(b"302 Found"), bad, "Location")
    for name, location in [
        ("to another scheme", b"ftp://127.0.0.1/"),
        ("to a bad port", b"ws://127.0.0.1:99999/"),
        ("without a host", b"ws:///path"),
    ]:
        yield Case(f"redirect {name}", redirect(b"302 Found", b"Location: " + location), bad, "302")
    refused = redirect(b"301 Moved", b"Location: ws://127.0.0.1:1/")
    yield Case("redirect to a dead port", refused, ConnectionRefusedError)


def _then(data: bytes, *, end: bool = False) -> Callable[[Peer], None]:
    """A good opening handshake, then these bytes."""

    def script(peer: Peer) -> None:
        peer.accept(then=data)
        if end:
            peer.end_sending()

    return script


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + reason


def frame_cases() -> Iterator[Case]:
    bad = WebSocketProtocolException
    good = frame(TEXT, b"good")
    key = b"abcd"
    for name, data, match in [
        ("masked text", frame(TEXT, b"odd", key=key), "must not be masked"),
        ("masked Close", frame(CLOSE, close_payload(1000), key=key), "must not be masked"),
        ("masked ping", frame(PING, key=key), "must not be masked"),
        *((f"reserved bit {rsv}", frame(TEXT, b"odd", rsv=rsv), "Reserved") for rsv in (1, 2, 4)),
        ("reserved bit in a ping", frame(PING, rsv=4), "Reserved"),
        *((f"opcode {op}", frame(op, b"odd"), "opcode") for op in (3, 4, 5, 6, 7)),
        *((f"opcode {op}", frame(op, b"odd"), "opcode") for op in (11, 12, 13, 14, 15)),
        ("ping of 126 bytes", frame(PING, bytes(126)), "125 bytes"),
        ("pong of 126 bytes", frame(PONG, bytes(126)), "125 bytes"),
        ("pong of 64 KiB", frame(PONG, bytes(65536)), "125 bytes"),
        ("Close of 126 bytes", frame(CLOSE, close_payload(1000, bytes(124))), "125 bytes"),
        ("ping in fragments", frame(PING, b"a", fin=False), "fragmented"),
        ("pong in fragments", frame(PONG, b"a", fin=False), "fragmented"),
        ("Close in fragments", frame(CLOSE, b"", fin=False), "fragmented"),
        ("continuation of nothing", frame(CONT, b"odd"), "continue"),
        ("open continuation of nothing", frame(CONT, b"odd", fin=False), "continue"),
        ("text in text", frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), "finished"),
        ("binary in text", frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"), "finished"),
        ("text in binary", frame(BINARY, b"a", fin=False) + frame(TEXT, b"b"), "finished"),
        ("16 bits for 125", frame(TEXT, bytes(125), form=16), "shortest"),
        ("16 bits for 0", frame(TEXT, form=16), "shortest"),
        ("64 bits for 125", frame(TEXT, bytes(125), form=64), "shortest"),
        ("64 bits for 65535", frame(BINARY, bytes(65535), form=64), "shortest"),
        ("length of 2^63", frame(BINARY, form=64, length=1 << 63), "highest bit"),
        ("length of 2^64-1", frame(BINARY, form=64, length=(1 << 64) - 1), "highest bit"),
        ("Close of one byte", frame(CLOSE, b"\x03"), "one byte"),
    ]:
        yield Case(name, _then(good + data), bad, match, 1002, ("good",))
    codes = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    for code in codes:
        script = _then(good + frame(CLOSE, close_payload(code)))
        yield Case(f"close code {code}", script, bad, f"code {code} ", 1002, ("good",))
    big = WebSocketMessageTooBigException
    for name, data in [
        ("length of 2^63-1", frame(BINARY, form=64, length=(1 << 63) - 1)),
        ("length of 2^40", frame(TEXT, form=64, length=1 << 40)),
    ]:
        yield Case(name, _then(data), big, "max_size", 1009)
    fragments = frame(BINARY, bytes(600), fin=False) + frame(CONT, bytes(600), fin=False)
    yield Case(
        "too big in fragments", _then(fragments), big, "max_size", 1009, options={"max_size": 1000}
    )

    def endless_fragments(peer: Peer) -> None:
        peer.accept(then=frame(TEXT, b"a", fin=False))
        peer.endless(frame(CONT, b"a" * 1000, fin=False))

    yield Case(
        "endless fragments", endless_fragments, big, "max_size", 1009, options={"max_size": 1 << 20}
    )


def text_cases() -> Iterator[Case]:
    bad = WebSocketPayloadException
    sample = "aé€\U0001f600z".encode()
    for position in range(len(sample) + 1):
        data = sample[:position] + b"\xff" + sample[position:]
        # 0xFF also breaks a character that it stands in, whose end then is bad as well.
        yield Case(f"0xFF at byte {position}", _then(frame(TEXT, data)), bad, "UTF-8", 1007)
    for name, data in [
        ("a lone continuation byte", b"\x80"),
        ("an overlong slash", b"\xc0\xaf"),
        ("an overlong NUL of three bytes", b"\xe0\x80\x80"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("beyond U+10FFFF", b"\xf4\x90\x80\x80"),
        ("a character cut short", b"\xe2\x82"),
    ]:
        yield Case(name, _then(frame(TEXT, data)), bad, "UTF-8", 1007)
        cut = frame(TEXT, data[:1], fin=False) + frame(CONT, data[1:])
        yield Case(f"{name}, in fragments", _then(cut), bad, "UTF-8", 1007)
    # The frame never comes to its end: it must not be waited for.
    early = frame(TEXT, b"\xff", length=1000)
    yield Case("bad text at the beginning of a frame", _then(early), bad, "UTF-8", 1007)
    second = frame(TEXT, "é".encode()[:1], fin=False) + frame(CONT, b"a", length=1000)
    yield Case("bad text at the beginning of a fragment", _then(second), bad, "UTF-8", 1007)
    for name, reason in [("bad", b"\xff"), ("half a character", b"\xe2\x82")]:
        script = _then(frame(CLOSE, close_payload(1000, reason)))
        yield Case(f"close reason: {name}", script, bad, "reason", 1007)


def end_cases() -> Iterator[Case]:
    lost = WebSocketConnectionClosedException
    good = frame(TEXT, b"good")

    def close_and_stay(peer: Peer) -> None:
        peer.accept(then=good + frame(CLOSE, close_payload(1001, b"bye")))
        peer.wait_for_end()

    def close_and_talk(peer: Peer) -> None:
        peer.accept(then=good + frame(CLOSE, close_payload(1001, b"bye")))
        peer.endless_and_deaf(frame(TEXT, b"and another thing" * 60))

    def stay_after_error(peer: Peer) -> None:
        peer.accept(then=good + frame(CONT))
        peer.wait_for_end()

    def talk_after_error(peer: Peer) -> None:
        peer.accept(then=good + frame(CONT))
        peer.endless_and_deaf(b"x" * 4096)

    yield Case("end at once", _then(b"", end=True), lost, "lost")
    yield Case("end after a message", _then(good, end=True), lost, "lost", messages=("good",))
    yield Case("end in a header", _then(good + b"\x81", end=True), lost, "lost", messages=("good",))
    half = frame(TEXT, b"half", length=1000)
    yield Case("end in a payload", _then(half, end=True), lost, "lost")
    part = frame(TEXT, b"part", fin=False)
    yield Case("end between fragments", _then(part, end=True), lost, "lost")
    yield Case("Close, but no end of TCP", close_and_stay, None, "bye", 1001, ("good",))
    yield Case("Close, then more", close_and_talk, None, "bye", UNHEARD, ("good",))
    yield Case(
        "error, but no end of TCP",
        stay_after_error,
        WebSocketProtocolException,
        "",
        1002,
        ("good",),
    )
    yield Case(
        "error, then more", talk_after_error, WebSocketProtocolException, "", UNHEARD, ("good",)
    )
    both = frame(CLOSE, close_payload(1000, b"bye")) * 2
    yield Case("two Close frames", _then(both), None, "bye", 1000)
    rubbish = frame(CLOSE, close_payload(4999, b"bye")) + b"\xff" * 100
    yield Case("rubbish after Close", _then(rubbish), None, "bye", 4999)


CASES = [
    *handshake_cases(),
    *refusal_cases(),
    *redirect_cases(),
    *frame_cases(),
    *text_cases(),
    *end_cases(),
]
