"""Three ways to receive without waiting for the next message.

    python examples/receive_without_blocking.py [URL]

The URL has to be that of an echo server. Without one it talks to a server of its own on this
machine.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading

from websocket import WebSocket, WebSocketTimeoutException, create_connection
from websocket.testing import Server


def take_what_is_there(ws: WebSocket) -> list[str | bytes]:
    """All messages that have arrived by now, without waiting."""
    messages: list[str | bytes] = []
    try:
        while True:
            messages.append(ws.recv(timeout=0))
    except WebSocketTimeoutException:
        return messages


def with_a_selector(ws: WebSocket) -> None:
    """Wait on the descriptor, next to those of other things.

    Messages may wait in memory, where no selector sees them: take them all before waiting.
    """
    ws.send("one")
    ws.send("two")
    received: list[str | bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(ws, selectors.EVENT_READ)
        while len(received) < 2:
            received += take_what_is_there(ws)
            if len(received) < 2:
                selector.select(timeout=10)
    print(f"with a selector: {received}")


def with_a_thread(ws: WebSocket) -> None:
    """Receive in a thread; the main thread is free to send."""
    done = threading.Event()

    def receive() -> None:
        print(f"with a thread: {ws.recv()!r}")
        done.set()

    threading.Thread(target=receive, daemon=True).start()
    ws.send("three")
    done.wait(10)


async def with_asyncio(ws: WebSocket) -> None:
    """Wait in a thread of asyncio's pool; other tasks go on."""
    ws.send("four")
    message = await asyncio.get_running_loop().run_in_executor(None, ws.recv)
    print(f"with asyncio: {message!r}")


def main(url: str) -> None:
    with create_connection(url, timeout=10) as ws:
        print(f"nothing has arrived yet: {take_what_is_there(ws)}")
        with_a_selector(ws)
        with_a_thread(ws)
        asyncio.run(with_asyncio(ws))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with Server() as server:
            main(server.url)
