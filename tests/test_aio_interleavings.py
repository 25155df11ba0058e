"""Random interleavings of several tasks on one connection, in a loop whose time is virtual.

Nothing here waits for anything real: the transport is a pair of byte queues, and which bytes
move when, who is cancelled, and which task runs in between is what Hypothesis tries.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from websocket import WebSocketConnectionClosedException, WebSocketException
from websocket._protocol.connection import Connection as Core
from websocket._protocol.connection import Role
from websocket._protocol.messages import Close, Ping
from websocket.aio import Connection
from websocket.aio._options import settle

MAX_QUEUE = 4
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
        self.peer_close: Close | None = None

    # What a protocol may ask of it

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
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


class Play:
    """What the tasks did, and what must be true of it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.pipe = Pipe(loop)
        self.tasks: list[asyncio.Task[None]] = []
        self.sent: set[str] = set()  # sends that came back
        self.tried: list[str] = []
        self.peer_sent: list[str] = []
        self.received: list[str | bytes] = []
        self.pongs = 0
        self.broken = False  # a message in pieces could not be finished
        opened: Any = type("Opened", (), {"request": None, "response": None})
        options = settle({"max_queue": MAX_QUEUE, "ping_interval": None, "close_timeout": 5})
        self.ws = Connection(opened, options)
        self.pipe.protocol = self.ws._driver
        self.ws._driver.connection_made(self.pipe)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.ensure_future(coroutine))

    async def send(self, pieces: int) -> None:
        text = f"{len(self.tried)}" * 20
        self.tried.append(text)
        begun = False

        async def parts() -> AsyncIterator[str]:
            nonlocal begun
            size = -(-len(text) // pieces)
            for start in range(0, len(text), size):
                yield text[start : start + size]
                begun = True
                await asyncio.sleep(0)

        try:
            await self.ws.send(text if pieces == 1 else parts())
        except asyncio.CancelledError:
            self.broken = self.broken or begun
            raise
        except WebSocketConnectionClosedException:
            return
        self.sent.add(text)

    async def receive(self) -> None:
        with contextlib.suppress(WebSocketException):
            self.received.append(await self.ws.recv())

    async def ping(self) -> None:
        with contextlib.suppress(WebSocketConnectionClosedException):
            pong = await self.ws.ping()
            assert await pong >= 0
            self.pongs += 1

    def peer_sends(self, pieces: int) -> None:
        if self.pipe.peer.close_sent is None:
            text = f"{len(self.peer_sent)}" * 9
            self.peer_sent.append(text)
            for i in range(pieces):
                part = text[i * 3 :] if i == pieces - 1 else text[i * 3 : i * 3 + 3]
                self.pipe.incoming += self.pipe.peer.encode(0 if i else 1, part, i == pieces - 1)

    def check_bounds(self) -> None:
        # One read may bring all that a buffer holds; here, what one step moves.
        assert len(self.ws._events) <= MAX_QUEUE + 40
        if len(self.ws._events) > MAX_QUEUE and not self.ws._driver.core.ended:
            assert not self.pipe.reading

    async def finish(self) -> None:
        """Let everything come to its end, and look at what has become of it."""
        for _ in range(200):
            self.pipe.move_out(10_000)
            self.pipe.move_in(10_000)
            await asyncio.sleep(0)
            if self.ws._events:
                self.start(self.receive())
        before_close = list(self.received)
        assert not self.ws._events
        open_still = self.ws.connected
        closing = asyncio.ensure_future(self.ws.close())
        while not closing.done():
            self.pipe.move_out(10_000)
            self.pipe.move_in(10_000)
            await asyncio.sleep(0.1)
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert self.received == before_close == self.peer_sent[: len(before_close)]
        if open_still:
            assert self.received == self.peer_sent
            assert self.sent <= set(self.pipe.read)
        # Whole messages only, each at most once, none that was never sent.
        assert len(set(self.pipe.read)) == len(self.pipe.read)
        assert set(self.pipe.read) <= set(self.tried)
        assert self.pipe.peer_close is not None or self.pipe.closing
        assert len(asyncio.all_tasks()) == 1


STEPS = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 4)),
    st.tuples(st.just("receive"), st.just(0)),
    st.tuples(st.just("ping"), st.just(0)),
    st.tuples(st.just("peer"), st.integers(1, 3)),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("out"), st.integers(1, 300)),
    st.tuples(st.just("in"), st.integers(1, 100)),
    st.tuples(st.just("turn"), st.integers(1, 3)),
)
CLOSING = st.one_of(STEPS, st.tuples(st.sampled_from(["close", "peer closes"]), st.just(0)))


async def play(loop: VirtualLoop, steps: list[tuple[str, int]]) -> None:
    acts = Play(loop)
    for name, number in steps:
        if name == "send":
            acts.start(acts.send(number))
        elif name == "receive":
            acts.start(acts.receive())
        elif name == "ping":
            acts.start(acts.ping())
        elif name == "peer":
            acts.peer_sends(number)
        elif name == "cancel" and acts.tasks:
            acts.tasks[number % len(acts.tasks)].cancel()
        elif name == "out":
            acts.pipe.move_out(number)
        elif name == "in":
            acts.pipe.move_in(number)
        elif name == "close":
            acts.start(acts.ws.close())
        elif name == "peer closes" and acts.pipe.peer.close_sent is None:
            acts.pipe.incoming += acts.pipe.peer.close(1001)
        elif name == "turn":
            for _ in range(number):
                await asyncio.sleep(0)
        acts.check_bounds()
    await acts.finish()


def run(steps: list[tuple[str, int]]) -> None:
    loop = VirtualLoop()
    loop.set_debug(True)
    complaints: list[Any] = []
    loop.set_exception_handler(lambda loop, context: complaints.append(context))
    try:
        loop.run_until_complete(play(loop, steps))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
    assert not complaints


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_nothing_is_lost_twice_or_torn(steps: list[tuple[str, int]]) -> None:
    run(steps)


@settings(max_examples=150, deadline=None)
@given(st.lists(CLOSING, max_size=40))
def test_closing_at_any_moment(steps: list[tuple[str, int]]) -> None:
    run(steps)
