"""The event loop that a contestant runs on: asyncio's, or uvloop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from typing import Any


def run(loop: str, main: Coroutine[Any, Any, Any]) -> Any:
    if loop != "uvloop":
        return asyncio.run(main)
    import uvloop

    return uvloop.run(main)


def tls(url: str, ca_file: str) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=ca_file) if url.startswith("wss:") else None
