"""picows under the interface of the ``websockets`` library."""

from __future__ import annotations

import websockets.asyncio.client
from picows.websockets import connect as open_connection

# One interface, one way to use it: the other module gets its connections here.
websockets.asyncio.client.connect = open_connection  # type: ignore[assignment,misc]

from .websockets_asyncio import connect, echo, receive, send  # noqa: E402

__all__ = ["connect", "echo", "receive", "send"]
