"""One echo client per face, each run as ``python -m compliance.drivers.FACE URL COUNT``.

A driver returns what it receives until the connection ends, and does nothing else: every
close code that the fuzzing server sees was chosen by the library (RFC 6455 section 7.4).
"""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["FACES", "run_cases"]

FACES = ("blocking", "callback")


def run_cases(face: str, echo: Callable[[str], None]) -> None:
    """Run every case once, in order, printing the number of each before it starts.

    The runner that started this process reads the numbers as signs of life.

    Args:
        face: name of the face, under which the server files the results.
        echo: connects to the URL that it is given and echoes until the connection ends.
    """
    base, count = sys.argv[1], int(sys.argv[2])
    for number in range(1, count + 1):
        print(number, flush=True)
        echo(f"{base}/runCase?case={number}&agent={face}")
