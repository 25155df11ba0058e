"""The documentation's examples run, its option tables tell the truth, its links lead somewhere.

A block runs if the line before it is ``<!-- runs -->``, or ``<!-- runs: raises SomeError -->``.
A comment behind a ``print(...)`` is a part of what must be printed.
"""

from __future__ import annotations

import builtins
import contextlib
import contextlib as stack
import inspect
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.connect_proxy import connect_proxy

import websocket
from websocket.testing import Refusal, Server, ServerConnection

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.joinpath("docs").rglob("*.md"))]

BLOCK = re.compile(
    r"^<!-- runs(?:: raises (?P<raises>\w+))? -->\n```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PROMISE = re.compile(r"\bprint\(.*\).*?\s# (.+)$", re.MULTILINE)
FIVE_SECONDS = re.compile(r"(timeout[=(])5\b")
IDLE = 0.2
