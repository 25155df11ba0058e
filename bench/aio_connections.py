"""Many asyncio connections in one process: do they all work, what do they cost, what is left?

    python -m bench.aio_connections [--count 10000]

Each connection sends a message and receives it back, then all are idle while the memory is
read, then all are closed. What the loop's own transports need is measured in the same way,
without WebSocket, in a process of its own. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from websocket import aio
from websocket._protocol.accepting import build_response, check_request
from websocket._protocol.connection import Connection, Role
from websocket._protocol.http11 import RequestReader
from websocket._protocol.messages import Close

AT_A_TIME = 200
FLOOR = 12 * 1024


def resident() -> int:
    """Bytes of memory that this process uses."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Echo(asyncio.Protocol):
    """The server's end: an opening handshake, if one comes, and echoes."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._reader = RequestReader()
        self._core: Connection | None = None

    def data_received(self, data: bytes) -> None:
        if self._core is None:
            self._reader.feed(data)
            if self._reader.head is None:
                return
            self._transport.write(build_response(check_request(self._reader.head)))
            self._core = Connection(Role.SERVER)
            data = self._reader.rest
        self._core.feed(data)
        while self._core.events:
            event = self._core.events.popleft()
            if isinstance(event, (str, bytes)):
                self._transport.write(self._core.encode_message(event))
            elif isinstance(event, Close):
                self._transport.write(self._core.answer_close(event))
                self._transport.close()


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Idle(asyncio.BufferedProtocol):
    """What a transport needs at least."""

    buffer = bytearray(4096)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None: ...


async def in_batches(items: list[Any], act: Callable[[Any], Awaitable[Any]]) -> list[Any]:
    results: list[Any] = []
    for start in range(0, len(items), AT_A_TIME):
        results += await asyncio.gather(*(act(item) for item in items[start : start + AT_A_TIME]))
    return results


async def measure(
    count: int,
    open_one: Callable[[Any], Coroutine[Any, Any, Any]],
    close_one: Callable[[Any], Coroutine[Any, Any, Any]],
) -> dict[str, float]:
    """Open, read the memory, close."""
    await close_one(await open_one(None))
    opened_before, before, start = descriptors(), resident(), time.perf_counter()
    connections = await in_batches([None] * count, open_one)
    seconds = time.perf_counter() - start
    memory = (resident() - before) / count
    await in_batches(connections, close_one)
    return {"seconds": seconds, "memory": memory, "left": descriptors() - opened_before}


async def transports(port: int, count: int) -> dict[str, float]:
    loop = asyncio.get_running_loop()

    async def open_one(_: Any) -> Any:
        return (await loop.create_connection(Idle, "127.0.0.1", port))[0]

    async def close_one(transport: Any) -> None:
        transport.abort()
        await asyncio.sleep(0)

    return await measure(count, open_one, close_one)


async def connections(port: int, count: int) -> dict[str, float]:
    async def open_one(_: Any) -> aio.Connection:
        ws = await aio.connect(f"ws://127.0.0.1:{port}/")
        await ws.send("hello")
        assert await ws.recv() == "hello"
        return ws

    async def close_one(ws: aio.Connection) -> None:
        await ws.close()
        assert ws.close_code == 1000

    return await measure(count, open_one, close_one)


def child(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bench.aio_connections", *arguments]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--part", choices=["serve", "transports", "connections"])
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.part == "serve":
        asyncio.run(serve())
    elif options.part:
        part = transports if options.part == "transports" else connections
        print(json.dumps(asyncio.run(part(options.port, options.count))))
    else:
        return report(options.count)
    return 0


def report(count: int) -> int:
    """Run the parts in processes of their own; 1 if the floor was missed."""
    server = subprocess.Popen(child("--part", "serve"), stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        port = server.stdout.readline().strip()
        found = {}
        for part in ("transports", "connections"):
            command = child("--part", part, "--port", port, "--count", str(count))
            output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
            found[part] = json.loads(output)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    for part, result in found.items():
        print(
            f"{count} {part}: {result['seconds']:.1f} s to open,"
            f" {result['memory'] / 1024:.1f} KiB each, {result['left']} descriptors left"
        )
    beyond = found["connections"]["memory"] - found["transports"]["memory"]
    print(f"beyond the transport: {beyond / 1024:.1f} KiB each (floor {FLOOR // 1024} KiB)")
    return int(beyond > FLOOR or any(result["left"] for result in found.values()))


if __name__ == "__main__":
    sys.exit(main())
