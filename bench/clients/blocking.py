"""``import websocket``: this library's blocking face, or the old websocket-client's.

Which one it is, and with which accelerator, the environment decides that this runs in.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any

import websocket

from ._timing import Timing, timed

# The old library's default, which this one shares, so that both do the same work.
_OPTIONS = {"enable_multithread": True}


def _connect(url: str, ca_file: str = "") -> Any:
    return websocket.create_connection(url, sslopt={"ca_certs": ca_file}, **_OPTIONS)


def _sender(ws: Any, message: str | bytes) -> Any:
    return ws.send if isinstance(message, str) else ws.send_binary


def echo(url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str) -> Timing:
    ws = _connect(url, ca_file)
    send, recv = _sender(ws, message), ws.recv

    def some(count: int) -> None:
        for _ in repeat(None, count):
            send(message)
            recv()

    try:
        return timed(some, chunk, seconds)
    finally:
        ws.shutdown()


def receive(url: str, size: int, chunk: int, seconds: float, ca_file: str) -> Timing:
    ws = _connect(url, ca_file)
    recv = ws.recv

    def some(count: int) -> None:
        for _ in repeat(None, count):
            recv()

    try:
        return timed(some, chunk, seconds)
    finally:
        ws.shutdown()


def send(url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str) -> Timing:
    ws = _connect(url, ca_file)
    send = _sender(ws, message)

    def some(count: int) -> None:
        for _ in repeat(None, count):
            send(message)
        ws.send_binary(b"!")
        ws.recv()

    try:
        return timed(some, chunk, seconds)
    finally:
        ws.shutdown()


def batch(url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str) -> Timing:
    ws = _connect(url, ca_file)

    def some(count: int) -> None:
        ws.send_many(repeat(message, count))
        ws.send_binary(b"!")
        ws.recv()

    try:
        return timed(some, chunk, seconds)
    finally:
        ws.shutdown()


def connect(url: str, chunk: int, seconds: float, ca_file: str) -> Timing:
    def some(count: int) -> None:
        for _ in repeat(None, count):
            _connect(url, ca_file).close()

    return timed(some, chunk, seconds)


def idle(url: str, count: int) -> list[object]:
    """So many open connections, for as long as the list lives."""
    return [_connect(url) for _ in range(count)]
