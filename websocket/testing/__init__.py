"""A small WebSocket server on this machine, for demos and for a program's own tests; and a
proxy to it on which things go wrong.

The server stands on the same protocol core as the client, in the server role, and serves each
connection in a thread of its own. It is not made for the open internet.

::

    from websocket import create_connection
    from websocket.testing import Server

    with Server() as server:  # echoes by default
        with create_connection(server.url) as ws:
            ws.send("hello")
            assert ws.recv() == "hello"
"""

from __future__ import annotations

from ._connection import ServerConnection
from ._faults import (
    Fault,
    calm,
    close_with,
    corrupt,
    cut,
    delay,
    drip,
    drop_pongs,
    duplicate,
    freeze,
    half_close,
    http,
    refuse,
    reset,
    throttle,
)
from ._proxy import FaultyProxy
from ._server import Handler, ProcessRequest, Refusal, Server, echo

__all__ = [
    "Fault",
    "FaultyProxy",
    "Handler",
    "ProcessRequest",
    "Refusal",
    "Server",
    "ServerConnection",
    "calm",
    "close_with",
    "corrupt",
    "cut",
    "delay",
    "drip",
    "drop_pongs",
    "duplicate",
    "echo",
    "freeze",
    "half_close",
    "http",
    "refuse",
    "reset",
    "throttle",
]
