"""The ``websockets`` library, its threaded client."""

from __future__ import annotations

from itertools import repeat
from typing import Any

from websockets.sync.client import connect as open_connection

from ._loop import tls
from ._timing import Timing, timed


def _connect(url: str, ca_file: str) -> Any:
    return open_connection(
        url, ssl=tls(url, ca_file), compression=None, max_size=None, ping_interval=None, proxy=None
    )


def echo(url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str) -> Timing:
    def some(count: int) -> None:
        for _ in repeat(None, count):
            ws.send(message)
            ws.recv()

    with _connect(url, ca_file) as ws:
        return timed(some, chunk, seconds)


def receive(url: str, size: int, chunk: int, seconds: float, ca_file: str) -> Timing:
    ws = _connect(url, ca_file)

    def some(count: int) -> None:
        for _ in repeat(None, count):
            ws.recv()

    try:
        return timed(some, chunk, seconds)
    finally:
        ws.close_socket()


def send(url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str) -> Timing:
    def some(count: int) -> None:
        for _ in repeat(None, count):
            ws.send(message)
        ws.send(b"!")
        ws.recv()

    with _connect(url, ca_file) as ws:
        return timed(some, chunk, seconds)


def connect(url: str, chunk: int, seconds: float, ca_file: str) -> Timing:
    def some(count: int) -> None:
        for _ in repeat(None, count):
            _connect(url, ca_file).close()

    return timed(some, chunk, seconds)


def idle(url: str, count: int) -> list[object]:
    """So many open connections, for as long as the list lives."""
    return [_connect(url, "") for _ in range(count)]
