"""The limit: a raw socket that sends frames made beforehand and looks at no byte it receives.

No WebSocket client can be faster in the same language; each table shows how close one comes.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
from itertools import repeat
from urllib.parse import urlsplit

from ._timing import Timing, timed

_KEY = b"\x12\x34\x56\x78"


def _connect(url: str, ca_file: str | None = None) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname is not None
    sock = socket.create_connection((parts.hostname, parts.port or 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if parts.scheme == "wss":
        context = ssl.create_default_context(cafile=ca_file)
        sock = context.wrap_socket(sock, server_hostname="localhost")
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)  # no byte of what follows
    return sock


def _header(first: int, size: int, masked: bool) -> bytes:
    bit = 0x80 if masked else 0
    if size < 126:
        return bytes([first, bit | size])
    if size < 65536:
        return bytes([first, bit | 126]) + size.to_bytes(2, "big")
    return bytes([first, bit | 127]) + size.to_bytes(8, "big")


def _frame(message: str | bytes) -> bytes:
    payload = message.encode() if isinstance(message, str) else message
    size = len(payload)
    key = _KEY * (size // 4) + _KEY[: size % 4]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    first = 0x81 if isinstance(message, str) else 0x82
    return _header(first, size, True) + _KEY + masked.to_bytes(size, "big")


def echo(url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str) -> Timing:
    frame = _frame(message)
    expected = len(frame) - 4
    with _connect(url, ca_file) as sock:
        send, recv = sock.send, sock.recv

        def some(count: int) -> None:
            for _ in repeat(None, count):
                send(frame)
                left = expected
                while left:
                    left -= len(recv(left))

        return timed(some, chunk, seconds)


def receive(url: str, size: int, chunk: int, seconds: float, ca_file: str) -> Timing:
    whole = len(_header(0x82, size, False)) + size
    # A large message is read to its end, as its receiver must; of small ones as many as come.
    room = whole if whole > 1 << 18 else 1 << 18
    with _connect(url, ca_file) as sock, memoryview(bytearray(room)) as view:
        left = 0

        def some(count: int) -> None:
            nonlocal left
            left += count * whole
            while left > 0:
                left -= sock.recv_into(view[:left])

        return timed(some, chunk, seconds)


def send(url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str) -> Timing:
    frame = _frame(message)
    mark = _frame(b"!")
    with _connect(url, ca_file) as sock:
        sendall = sock.sendall

        def some(count: int) -> None:
            for _ in repeat(None, count):
                sendall(frame)
            sendall(mark)
            assert len(sock.recv(3)) == 3

        return timed(some, chunk, seconds)


def batch(url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str) -> Timing:
    frames = _frame(message) * chunk + _frame(b"!")
    with _connect(url, ca_file) as sock:

        def some(count: int) -> None:
            sock.sendall(frames)
            assert len(sock.recv(3)) == 3

        return timed(some, chunk, seconds)


def connect(url: str, chunk: int, seconds: float, ca_file: str) -> Timing:
    close = _header(0x88, 0, True) + _KEY

    def some(count: int) -> None:
        for _ in repeat(None, count):
            with _connect(url, ca_file) as sock:
                sock.sendall(close)
                while sock.recv(64):
                    pass

    return timed(some, chunk, seconds)


def idle(url: str, count: int) -> list[object]:
    """So many open connections, for as long as the list lives."""
    return [_connect(url) for _ in range(count)]
