"""Chat in the terminal: what you type goes out, what the others write is shown.

    python examples/aio_chat.py [URL [NAME]]

Without a URL it talks to a chat of its own on this machine, where you will be alone. End it
with Ctrl-D (Ctrl-Z and Enter on Windows).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading

from websocket import WebSocketConnectionClosedException, aio
from websocket.testing import Server, ServerConnection


def lines_of_stdin() -> asyncio.Queue[str | None]:
    """Lines as they are typed, None at the end.

    A thread that waits for the keyboard can't be cancelled: a daemon doesn't have to be.
    """
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        # The chat may be over before the typing is.
        with contextlib.suppress(RuntimeError):
            for line in sys.stdin:
                loop.call_soon_threadsafe(queue.put_nowait, line.rstrip("\n"))
            loop.call_soon_threadsafe(queue.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    return queue


async def show(ws: aio.Connection) -> None:
    try:
        async for message in ws:
            print(message)
    except WebSocketConnectionClosedException as error:
        print(error)
    else:
        print(f"the chat is over: {ws.close_code} {ws.close_reason}")


async def say(ws: aio.Connection, name: str) -> None:
    typed = lines_of_stdin()
    while (line := await typed.get()) is not None:
        await ws.send(f"{name}: {line}")
    await ws.close()


async def main(url: str, name: str) -> None:
    async with aio.connect(url, timeout=10) as ws:
        await ws.send(f"{name} has joined")
        print(await ws.recv())
        tasks = [asyncio.create_task(show(ws)), asyncio.create_task(say(ws, name))]
        # Whichever ends first ends the other: the chat, or the typing.
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        tasks[1].cancel()
        with contextlib.suppress(asyncio.CancelledError, WebSocketConnectionClosedException):
            await asyncio.gather(*tasks)


def chat() -> Server:
    def handler(connection: ServerConnection) -> None:
        for message in connection:
            for other in server.connections:
                other.send(message)

    server = Server(handler)
    return server


if __name__ == "__main__":
    name = sys.argv[2] if len(sys.argv) > 2 else "somebody"
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1], name))
    else:
        with chat() as server:
            asyncio.run(main(server.url, name))
