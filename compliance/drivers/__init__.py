"""One echo client per face, each run as ``python -m compliance.drivers.FACE URL NUMBER...``.

A driver returns what it receives until the connection ends, and does nothing else: every
close code that the fuzzing server sees was chosen by the library (RFC 6455 section 7.4).
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import websocket

__all__ = ["COMPRESSION", "FACES", "run_cases"]

FACES = ("blocking", "callback", "asyncio")

COMPRESSION = websocket.Deflate(threshold=0)
"""Offered in each case; the server takes it up in groups 12 and 13. All messages go through it."""


def run_cases(face: str, echo: Callable[[str], None]) -> None:
    """Run the cases with these numbers, in order, printing the number of each before it starts.

    The runner that started this process reads the numbers as signs of life.

    Args:
        face: name of the face, under which the server files the results.
        echo: connects to the URL that it is given and echoes until the connection ends.
    """
    base, *numbers = sys.argv[1:]
    for number in numbers:
        print(number, flush=True)
        echo(f"{base}/runCase?case={number}&agent={face}")
