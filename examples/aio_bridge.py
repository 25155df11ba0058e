"""An asyncio connection for code that blocks: a loop in a thread, calls from any other.

    python examples/aio_bridge.py [URL]

The URL has to be that of an echo server. Without one it talks to a server of its own on this
machine. For a program that only blocks, websocket.WebSocket is the shorter way.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from websocket import aio
from websocket.testing import Server

T = TypeVar("T")


class Bridge:
    """The loop and the connection; use it in a ``with`` block."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Bridge:
        self._thread.start()
        try:
            self._ws = self.call(self._connect())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.call(self._ws.close())
        self._stop()

    def _stop(self) -> None:
        self.call(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _connect(self) -> aio.Connection:
        return await aio.connect(self._url, timeout=10)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop, and wait here for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def send(self, message: str | bytes) -> None:
        self.call(self._ws.send(message))

    def recv(self, timeout: float | None = None) -> str | bytes:
        return self.call(self._ws.recv(timeout=timeout))


def main(url: str) -> None:
    with Bridge(url) as bridge:
        for thread in [threading.Thread(target=bridge.send, args=(f"{i}",)) for i in range(3)]:
            thread.start()
        received = sorted(bridge.recv(timeout=10) for _ in range(3))
        print(f"from blocking code: {received}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with Server() as server:
            main(server.url)
