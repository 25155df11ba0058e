"""The asyncio face: ``async with websocket.aio.connect(url) as ws``."""

from __future__ import annotations

from .._stats import Stats
from ._connect import connect, connect_listener
from ._connection import Connection
from ._listener import Listener
from ._options import Options
from ._pieces import MessageStream

__all__ = [
    "Connection",
    "Listener",
    "MessageStream",
    "Options",
    "Stats",
    "connect",
    "connect_listener",
]
