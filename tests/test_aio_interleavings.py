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
from support.virtual import Pipe, connection, run_virtually

from websocket import WebSocketConnectionClosedException, WebSocketException

MAX_QUEUE = 4


class Play:
    """What the tasks did, and what must be true of it."""

    def __init__(self) -> None:
        self.pipe = Pipe(asyncio.get_running_loop())
        self.tasks: list[asyncio.Task[None]] = []
        self.sent: set[str] = set()  # sends that came back
        self.tried: list[str] = []
        self.peer_sent: list[str] = []
        self.received: list[str | bytes] = []
        self.ws = connection(self.pipe, max_queue=MAX_QUEUE, ping_interval=None, close_timeout=5)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.ensure_future(coroutine))

    async def send(self, pieces: int) -> None:
        text = f"{len(self.tried)}" * 20
        self.tried.append(text)

        async def parts() -> AsyncIterator[str]:
            size = -(-len(text) // pieces)
            for start in range(0, len(text), size):
                yield text[start : start + size]
                await asyncio.sleep(0)

        try:
            await self.ws.send(text if pieces == 1 else parts())
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
        for _ in range(200):
            self.pipe.move_out(10_000)
            self.pipe.move_in(10_000)
            await asyncio.sleep(0.1)
        assert closing.done(), "closing has no end"
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert self.received == before_close == self.peer_sent[: len(before_close)]
        if open_still:
            assert self.received == self.peer_sent
            assert self.sent <= set(self.pipe.read)
        # Whole messages only, each at most once, none that was never sent.
        assert len(set(self.pipe.read)) == len(self.pipe.read)
        assert set(self.pipe.read) <= set(self.tried)
        assert self.pipe.peer_close is not None or self.pipe.closing


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


async def play(steps: list[tuple[str, int]]) -> None:
    acts = Play()
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


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_nothing_is_lost_twice_or_torn(steps: list[tuple[str, int]]) -> None:
    run_virtually(play(steps))


@settings(max_examples=150, deadline=None)
@given(st.lists(CLOSING, max_size=40))
def test_closing_at_any_moment(steps: list[tuple[str, int]]) -> None:
    run_virtually(play(steps))
