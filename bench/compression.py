"""Compression: ``python -m bench.compression [feed] [libraries] [memory]``, all three by default.

feed: a JSON feed, received compressed, by this library and its rivals, against Python's own
``zlib.decompressobj`` that does nothing else. libraries: zlib, zlib-ng and isal on JSON and binary
messages. memory: what a compressed connection costs. It brings its own server, which sends a
stream that was compressed beforehand, again and again. Times are processor time per message: so
what else the machine does counts least.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

COUNT = 4000
LONG = 25 * COUNT
TAIL = b"\x00\x00\xff\xff"
CLIENTS = {
    "websocket": "ours",
    "websocket, zlib-ng": "ours",
    "websocket.aio, asyncio": "ours",
    "websocket.aio, uvloop": "ours",
    "websocket.aio listener, uvloop": "ours",
    "websocket.aio listener, uvloop, zlib-ng": "ours",
    "websockets, threads": "rivals",
    "websockets, asyncio": "rivals",
    "websockets, uvloop": "rivals",
    "aiohttp, uvloop": "rivals",
    "picows.websockets, uvloop": "rivals",
}


# --- what is sent


def json_messages(count: int = COUNT) -> list[bytes]:
    """Order book updates as exchanges send them, 500 B to 2 KiB."""
    dice = random.Random(1)
    price = 42_000.0
    found: list[bytes] = []
    for number in range(count):
        price += dice.gauss(0, 5)
        depth = dice.randint(6, 24)
        update = {
            "type": "l2update",
            "product_id": dice.choice(["BTC-USD", "ETH-USD", "SOL-USD"]),
            "time": f"2026-11-25T01:{number // 60 % 60:02}:{number % 60:02}"
            f".{dice.randrange(10**6):06}Z",
            "sequence": 10**9 + number * 3,
            "bids": [
                [f"{price - dice.random() * 10:.2f}", f"{dice.expovariate(1):.8f}"]
                for _ in range(depth)
            ],
            "asks": [
                [f"{price + dice.random() * 10:.2f}", f"{dice.expovariate(1):.8f}"]
                for _ in range(depth)
            ],
        }
        found.append(json.dumps(update).encode())
    return found


def binary_messages(count: int = COUNT // 2) -> list[bytes]:
    """Trades as packed numbers: time, price, size, side."""
    dice = random.Random(2)
    price = 42_000.0
    found: list[bytes] = []
    for number in range(count):
        rows: list[bytes] = []
        for _ in range(dice.randint(20, 60)):
            price += dice.gauss(0, 0.5)
            row = (1764036000000 + number * 7, price, dice.expovariate(1), dice.randint(0, 1))
            rows.append(struct.pack("<qdfB", *row))
        found.append(b"".join(rows))
    return found


def compressed(messages: list[bytes]) -> list[bytes]:
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    return [
        (stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
        for message in messages
    ]


def framed(payloads: list[bytes]) -> bytes:
    parts: list[bytes] = []
    for payload in payloads:
        size = len(payload)
        head = bytes([0xC1, size]) if size < 126 else struct.pack("!BBH", 0xC1, 126, size)
        parts += [head, payload]
    return b"".join(parts)


# --- the server


def serve(stream: bytes) -> None:
    """One connection after the other; prints the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            peer, _ = listener.accept()
            with peer, contextlib.suppress(OSError):
                _accept(peer)
                while True:
                    peer.sendall(stream)


def _accept(peer: socket.socket) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += peer.recv(4096)
    lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
    key = next(value for name, value in lines.items() if name.lower() == "sec-websocket-key")
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    peer.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    command = [sys.executable, __file__, "--server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"ws://127.0.0.1:{process.stdout.readline().strip()}/"
        finally:
            process.kill()


# --- the clients: microseconds of processor time per message


def client(name: str, url: str) -> float:
    if CLIENTS[name] == "ours":
        deflate: Any = importlib.import_module("websocket._protocol.deflate")
        deflate.zlib = importlib.import_module("zlib_ng.zlib_ng" if "zlib-ng" in name else "zlib")
    library, *more = name.split(", ")
    if library == "websocket":
        ws = importlib.import_module("websocket").create_connection(url, compression="deflate")
        try:
            return timed(ws.recv)
        finally:
            ws.shutdown()
    if name == "websockets, threads":
        ws = importlib.import_module("websockets.sync.client").connect(url, max_size=None)
        try:
            return timed(ws.recv)
        finally:
            ws.close_socket()
    if more[0] == "uvloop":
        importlib.import_module("uvloop").install()
    asyncio = importlib.import_module("asyncio")
    result: float = asyncio.run(_on_a_loop(library, url))
    return result


async def _on_a_loop(library: str, url: str) -> float:
    if library == "aiohttp":
        aiohttp = importlib.import_module("aiohttp")
        async with aiohttp.ClientSession() as session:
            ws = await session.ws_connect(url, compress=15)
            return await timed_async(ws.receive)
    if library.startswith("websocket.aio"):
        return await _on_our_face(library, url)
    module = "websockets.asyncio.client" if library == "websockets" else "picows.websockets"
    connect = importlib.import_module(module).connect
    ws = await connect(url, compression="deflate", max_size=None, close_timeout=0.1)
    result = await timed_async(ws.recv)
    os.write(1, f"{result}\n".encode())
    os._exit(0)  # the server sends on, and would never answer a Close


async def _on_our_face(face: str, url: str) -> float:
    aio: Any = importlib.import_module("websocket.aio")
    if face == "websocket.aio":
        ws = await aio.connect(url, compression="deflate")
        result = await timed_async(ws.recv)
        ws.abort()
        await ws.wait_closed()
        return result

    class Receiver(aio.Listener):  # type: ignore[misc]
        count = 0
        start = 0.0
        result = 0.0

        def on_message(self, message: str | bytes) -> None:
            self.count += 1
            if self.count == COUNT:
                self.start = time.process_time()
            elif self.count == COUNT + LONG:
                self.result = (time.process_time() - self.start) / LONG * 1e6
                self.abort()

    receiver = await aio.connect_listener(Receiver(), url, compression="deflate")
    await receiver.wait_closed()
    return receiver.result


def timed(receive: Callable[[], Any]) -> float:
    for _ in range(COUNT):
        receive()
    start = time.process_time()
    for _ in range(LONG):
        receive()
    return (time.process_time() - start) / LONG * 1e6


async def timed_async(receive: Callable[[], Any]) -> float:
    # Some read ahead: only over a long time it counts for nothing.
    for _ in range(COUNT):
        await receive()
    start = time.process_time()
    for _ in range(LONG):
        await receive()
    return (time.process_time() - start) / LONG * 1e6


def bare(payloads: list[bytes]) -> float:
    """The limit: the payloads taken apart beforehand, and nothing done with what comes out."""
    start = time.process_time()
    for _ in range(LONG // len(payloads)):
        stream = zlib.decompressobj(-15)
        for payload in payloads:
            stream.decompress(payload + TAIL)
    return (time.process_time() - start) / LONG * 1e6


# --- the three tables


def feed(rounds: int = 5) -> None:
    """By turns, so that a busy moment hits all; the median of the rounds."""
    from .environments import python_of

    messages = json_messages()
    payloads = compressed(messages)
    home = Path(__file__).parent / ".environments"
    home.mkdir(exist_ok=True)
    pythons = {name: python_of(environment, home) for name, environment in CLIENTS.items()}
    if importlib.util.find_spec("zlib_ng") is None:
        del pythons["websocket, zlib-ng"]
    times: dict[str, list[float]] = {"zlib.decompressobj": [], **{name: [] for name in pythons}}
    with running_server() as url:
        for _ in range(rounds):
            times["zlib.decompressobj"].append(bare(payloads))
            for name, python in pythons.items():
                command = [python, __file__, "--client", name, url]
                output = subprocess.check_output(command, text=True, cwd=Path(__file__).parent)
                times[name].append(float(output))
    sizes = [sum(map(len, kind)) / len(kind) for kind in (messages, payloads)]
    print(f"JSON feed: {sizes[0]:.0f} B a message, {sizes[1]:.0f} B compressed\n")
    print("| | microseconds a message | of the limit |\n|---|---|---|")
    limit = statistics.median(times["zlib.decompressobj"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.2f} | {limit / median:.2f} |")
    print()


def libraries() -> None:
    found: list[Any] = [zlib]
    for name in ("zlib_ng.zlib_ng", "isal.isal_zlib"):
        with contextlib.suppress(ImportError):
            found.append(importlib.import_module(name))
    print("| | receive | send | smaller by |\n|---|---|---|---|")
    for kind, messages in (("JSON", json_messages()), ("binary", binary_messages())):
        payloads = compressed(messages)
        for library in found:
            receiving = min(_inflate(library, payloads) for _ in range(5)) / len(messages) * 1e6
            for level in (1, 3) if library.__name__.startswith("isal") else (1, 6):
                seconds, size = min(_deflate(library, messages, level) for _ in range(3))
                print(
                    f"| {kind}, {library.__name__.split('.')[0]}, level {level} | {receiving:.1f} |"
                    f" {seconds / len(messages) * 1e6:.1f} |"
                    f" {sum(map(len, messages)) / size:.2f} |"
                )
    print()


def _inflate(library: Any, payloads: list[bytes]) -> float:
    stream = library.decompressobj(-15)
    start = time.process_time()
    for payload in payloads:
        stream.decompress(payload + TAIL)
    return time.process_time() - start


def _deflate(library: Any, messages: list[bytes], level: int) -> tuple[float, int]:
    stream = library.compressobj(level, zlib.DEFLATED, -15, 8)
    size = 0
    start = time.process_time()
    for message in messages:
        size += len(stream.compress(message)) + len(stream.flush(zlib.Z_SYNC_FLUSH))
    return time.process_time() - start, size


def memory(count: int = 200) -> None:
    """Resident memory of so many connections' codecs after a message each way."""
    print("| Settings | KiB per connection |\n|---|---|")
    for settings in (
        "Deflate()",
        "Deflate(memory_level=5, client_max_window_bits=12, server_max_window_bits=12)",
        "Deflate(client_no_context_takeover=True)",
        "Deflate(client_no_context_takeover=True, server_no_context_takeover=True)",
    ):
        command = [sys.executable, __file__, "--memory", settings, str(count)]
        output = subprocess.check_output(command, text=True, cwd=Path(__file__).parent.parent)
        print(f"| `{settings}` | {float(output):.0f} |")
    print()


def _memory_of(settings: str, count: int) -> float:
    websocket = importlib.import_module("websocket")
    extensions = importlib.import_module("websocket._protocol.extensions")
    ours = eval(settings, {"Deflate": websocket.Deflate})
    message = json_messages(1)[0]
    kept: list[Any] = []

    def connection() -> Any:
        answer, server = extensions.accept(ours, [extensions.offer(ours)])
        client = extensions.agree(ours, [answer])
        for part in client.decode(server.encode(message), True):
            assert part
        client.encode(message)
        return client

    connection()
    before = _resident()
    kept.extend(connection() for _ in range(count))
    return (_resident() - before) / count


def _resident() -> float:
    """KiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def main() -> None:
    match sys.argv[1:]:
        case ["--server"]:
            serve(framed(compressed(json_messages())))
        case ["--client", name, url]:
            print(client(name, url))
        case ["--memory", settings, count]:
            print(_memory_of(settings, int(count)))
        case wanted:
            for part in (feed, libraries, memory):
                if not wanted or part.__name__ in wanted:
                    part()


if __name__ == "__main__":
    main()
