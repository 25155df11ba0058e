"""``wsdump --demo``: a server on this machine, one exchange of each kind, and its times."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from .._abnf import ABNF
from .._core import WebSocket
from .._exceptions import WebSocketException
from .._protocol.frames import OP_CONT, OP_TEXT
from .text import display_width

_TIMEOUT: Final = 5.0
_TEXT: Final = "Hello, WebSocket!"
_BINARY: Final = bytes(range(256))
_BINARY_SHOWN: Final = "00 01 02 ... fd fe ff (256 bytes)"
_PIECES: Final = ("one message", " in three", " frames")
_PING: Final = "demo"


class DemoFailed(WebSocketException):
    """An answer was not what was sent."""


def run_demo(ws: WebSocket, say: Callable[[str], None]) -> None:
    """Send one of each kind, and say what comes back and when.

    Raises:
        DemoFailed: an echo differs from what was sent.
        WebSocketException: the connection failed.
    """
    say(_row("sent", "", "came back as", "round trip"))
    _exchange(ws, say, "text", _TEXT, lambda: ws.send(_TEXT), _TEXT)
    _exchange(ws, say, "binary", _BINARY_SHOWN, lambda: ws.send_bytes(_BINARY), _BINARY)
    pieces = " + ".join(piece.strip() for piece in _PIECES)
    _exchange(ws, say, "fragments", pieces, lambda: _send_fragments(ws), "".join(_PIECES))
    seconds = ws.ping(_PING).wait(_TIMEOUT)
    say(_row("ping", _PING, "pong", _milliseconds(seconds)))


def _exchange(
    ws: WebSocket,
    say: Callable[[str], None],
    kind: str,
    shown: str,
    send: Callable[[], object],
    expected: str | bytes,
) -> None:
    start = time.perf_counter()
    send()
    answer = ws.recv(timeout=_TIMEOUT)
    seconds = time.perf_counter() - start
    if answer != expected:
        raise DemoFailed(f"The echo of the {kind} message is {answer!r:.60}, not what was sent.")
    came = "the same bytes" if isinstance(answer, bytes) else "the same text"
    say(_row(kind, shown, came, _milliseconds(seconds)))


def _send_fragments(ws: WebSocket) -> None:
    last = len(_PIECES) - 1
    for number, piece in enumerate(_PIECES):
        opcode = OP_CONT if number else OP_TEXT
        ws.send_frame(ABNF.create_frame(piece, opcode, fin=int(number == last)))


def _row(kind: str, shown: str, came: str, seconds: str) -> str:
    padding = " " * max(36 - display_width(shown), 0)
    return f"  {kind:<10} {shown}{padding} {came:<15} {seconds:>11}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"
