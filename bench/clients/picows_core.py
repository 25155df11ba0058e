"""picows' own interface: a listener that is called for each frame, without queue or task.

It hands each message to the program as str or bytes, as all the others do.
"""

from __future__ import annotations

import asyncio
import time
from itertools import repeat
from typing import Any

from picows import WSListener, WSMsgType, ws_connect

from ._loop import run, tls
from ._timing import Timing, timed_async


async def _connect(url: str, ca_file: str, listener: Any) -> Any:
    context = tls(url, ca_file)
    transport, _ = await ws_connect(
        lambda: listener, url, ssl_context=context, max_frame_size=1 << 30
    )
    return transport


def _kind(message: str | bytes) -> tuple[Any, bytes]:
    # Its send takes bytes only, so text has to be encoded by the program.
    if isinstance(message, str):
        return WSMsgType.TEXT, message.encode()
    return WSMsgType.BINARY, message


def echo(
    url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str, loop: str
) -> Timing:
    text = isinstance(message, str)

    class Echo(WSListener):
        left = 0
        done: Any = None

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            answer = frame.get_payload_as_utf8_text() if text else frame.get_payload_as_bytes()
            assert answer
            self.left -= 1
            if self.left:
                if text:
                    transport.send(WSMsgType.TEXT, message.encode())  # type: ignore[union-attr]
                else:
                    transport.send(WSMsgType.BINARY, message)
            else:
                self.done.set_result(None)

    async def main() -> Timing:
        listener = Echo()
        transport = await _connect(url, ca_file, listener)

        async def some(count: int) -> None:
            listener.left = count
            listener.done = asyncio.get_running_loop().create_future()
            transport.send(*_kind(message))
            await listener.done

        timing = await timed_async(some, chunk, seconds)
        transport.disconnect()
        return timing

    timing: Timing = run(loop, main())
    return timing


def receive(url: str, size: int, chunk: int, seconds: float, ca_file: str, loop: str) -> Timing:
    text = "/flood/b/" not in url

    class Receiver(WSListener):
        count = -1
        start = cpu = 0.0
        done: Any = None

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if text:
                frame.get_payload_as_utf8_text()
            else:
                frame.get_payload_as_bytes()
            self.count += 1
            if self.count % chunk:
                return
            now = time.perf_counter()
            if not self.count:
                self.start, self.cpu = now, time.process_time()
            elif now - self.start >= seconds and not self.done.done():
                cpu = time.process_time() - self.cpu
                self.done.set_result(Timing(self.count, now - self.start, cpu))
                transport.disconnect()

    async def main() -> Timing:
        listener = Receiver()
        listener.done = asyncio.get_running_loop().create_future()
        transport = await _connect(url, ca_file, listener)
        timing: Timing = await listener.done
        transport.disconnect()
        return timing

    timing: Timing = run(loop, main())
    return timing


def send(
    url: str, message: str | bytes, chunk: int, seconds: float, ca_file: str, loop: str
) -> Timing:
    class Answered(WSListener):
        done: Any = None
        room: Any = None

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            self.done.set_result(None)

        def pause_writing(self) -> None:
            self.room.clear()

        def resume_writing(self) -> None:
            self.room.set()

    async def main() -> Timing:
        listener = Answered()
        listener.room = asyncio.Event()
        listener.room.set()
        transport = await _connect(url, ca_file, listener)
        kind, _ = _kind(message)
        text = isinstance(message, str)
        write = transport.send
        is_set = listener.room.is_set

        async def some(count: int) -> None:
            for _ in repeat(None, count):
                write(kind, message.encode() if text else message)  # type: ignore[union-attr]
                if not is_set():
                    await listener.room.wait()
            listener.done = asyncio.get_running_loop().create_future()
            write(WSMsgType.BINARY, b"!")
            await listener.done

        timing = await timed_async(some, chunk, seconds)
        transport.disconnect()
        return timing

    timing: Timing = run(loop, main())
    return timing


def connect(url: str, chunk: int, seconds: float, ca_file: str, loop: str) -> Timing:
    async def some(count: int) -> None:
        for _ in repeat(None, count):
            transport = await _connect(url, ca_file, WSListener())
            transport.send_close()
            await transport.wait_disconnected()

    async def main() -> Timing:
        return await timed_async(some, chunk, seconds)

    timing: Timing = run(loop, main())
    return timing
