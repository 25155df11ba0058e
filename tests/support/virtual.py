"""A loop whose time is virtual, and a transport that moves bytes when a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from websocket._protocol.connection import Connection as Core
from websocket._protocol.connection import Role
from websocket._protocol.messages import Close, Ping
from websocket.aio import Connection
from websocket.aio._options import settle

HIGH, LOW = 400, 100


class VirtualLoop(asyncio.BaseEventLoop):
    """Where a real loop would wait, the clock jumps."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = self

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        assert timeout is not None, "everybody waits for somebody"
        self._now += timeout
        return []

    def _process_events(self, events: list[Any]) -> None: ...
    def _write_to_self(self) -> None: ...


class Pipe(asyncio.Transport):
    """A transport that moves bytes when it is told to, and the peer behind it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.protocol: Any = None
        self.peer = Core(Role.SERVER)
        self.outgoing = bytearray()
        self.incoming = bytearray()
        self.reading = True
        self.full = False
        self.closing = False
        self.read: list[str | bytes] = []  # what the peer got
        self.pings = 0
        self.peer_close: Close | None = None

    # What a protocol may ask of it

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...
    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: Any) -> None:
        if not self.closing:
            self.outgoing += data
            if len(self.outgoing) > HIGH and not self.full:
                self.full = True
                self.protocol.pause_writing()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.closing:
            self.closing = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    # What the test does with it

    def move_out(self, count: int) -> None:
        """The peer takes so many bytes, answers pings, and a Close."""
        part = bytes(self.outgoing[:count])
        del self.outgoing[:count]
        self.peer.feed(part)
        while self.peer.events:
            event = self.peer.events.popleft()
            if isinstance(event, (str, bytes)):
                self.read.append(event)
            elif isinstance(event, Ping):
                self.pings += 1
                if self.peer.close_sent is None:
                    self.incoming += self.peer.encode(0xA, event.payload)
            elif isinstance(event, Close):
                self.peer_close = event
                self.incoming += self.peer.answer_close(event)
            else:
                assert not isinstance(event, Exception), event
        self.peer.controls.clear()
        if self.full and len(self.outgoing) <= LOW and not self.closing:
            self.full = False
            self.protocol.resume_writing()

    def move_in(self, count: int) -> None:
        """The client gets so many bytes, if it reads."""
        while count and self.incoming and self.reading and not self.closing:
            free = self.protocol.get_buffer(-1)
            size = min(count, len(free), len(self.incoming))
            free[:size] = self.incoming[:size]
            del self.incoming[:size]
            self.protocol.buffer_updated(size)
            count -= size


def connection(pipe: Pipe, **options: Any) -> Connection:
    """A connection as ``connect`` makes it, on a pipe."""
    opened: Any = type(
        "Opened", (), {"request": None, "response": type("Response", (), {"codec": None})}
    )
    ws = Connection(opened, settle(options))
    pipe.protocol = ws._driver
    ws._driver.connection_made(pipe)
    return ws


def run_virtually(main: Coroutine[Any, Any, Any]) -> Any:
    """``asyncio.run`` in virtual time and debug mode; nobody may have complained."""
    loop = VirtualLoop()
    loop.set_debug(True)
    complaints: list[Any] = []
    loop.set_exception_handler(lambda loop, context: complaints.append(context))
    try:
        result = loop.run_until_complete(main)
        assert not asyncio.all_tasks(loop), "a task was left behind"
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
    assert not complaints
    return result
