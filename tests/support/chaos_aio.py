"""The asyncio face in the scenarios of ``chaos.py``: iterated, awaited, and as a listener."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from websocket import WebSocketException, aio

from .loops import loop_makers, run_on
from .scenarios import DEADLINE, PINGS, POLICY, Seen, check

OPTIONS: dict[str, Any] = {**PINGS, "close_timeout": 1}
# A cancelled connect, a turn that is left early: one in so many.
RARELY = 0.03
LOOPS = tuple(loop_makers().values())
TIMEOUTS = (TimeoutError, asyncio.TimeoutError)


def iterated(url: str, seen: Seen, dice: random.Random) -> None:
    _run(_iterated(url, seen), dice)


def awaited(url: str, seen: Seen, dice: random.Random) -> None:
    _run(_awaited(url, seen, dice), dice)


def listened(url: str, seen: Seen, dice: random.Random) -> None:
    _run(_listened(url, seen), dice)


def _run(main: Coroutine[Any, Any, None], dice: random.Random) -> None:
    run_on(dice.choice(LOOPS), main, DEADLINE, debug=dice.random() < 0.2)


async def _iterated(url: str, seen: Seen) -> None:
    """``async for ws in connect(url)``: the library connects again."""
    last: aio.Connection | None = None
    async for ws in aio.connect(url, reconnect=POLICY, **OPTIONS):
        check(last is None or last._driver.closed, "the connection before this one is open still")
        last = ws
        with contextlib.suppress(WebSocketException):
            async for message in ws:
                seen.message(str(message))
                await ws.send(message)
        if ws.close_code != 1000:
            seen.lost()
    check(last is not None and last._driver.closed, "the last connection is open still")
    check(last is None or last.close_code == 1000, "it ended without a Close for good")


async def _awaited(url: str, seen: Seen, dice: random.Random) -> None:
    """The program connects again, and uses all ways to send and to receive."""
    while True:
        try:
            limit = dice.random() / 50 if dice.random() < RARELY else DEADLINE
            ws = await asyncio.wait_for(aio.connect(url, timeout=2, **OPTIONS), limit)
        except (WebSocketException, OSError, *TIMEOUTS):
            seen.lost()
            await asyncio.sleep(0.01)
            continue
        async with ws:
            with contextlib.suppress(WebSocketException):
                while dice.random() >= RARELY:
                    message = await _receive(ws, dice)
                    seen.message(message)
                    await _send(ws, message, dice)
        check(ws._driver.closed, "it is open after the end of its block")
        if ws.close_code == 1000 and ws.closed_by == "server":
            return
        seen.lost()


async def _receive(ws: aio.Connection, dice: random.Random) -> str:
    way = dice.randrange(5)
    if way == 0:
        return (await ws.recv(decode=False)).decode()
    if way == 1:
        return "".join([str(piece) async for piece in ws.recv_stream()])
    while way == 2:
        with contextlib.suppress(*TIMEOUTS):
            return str(await asyncio.wait_for(ws.recv(), 0.001))
    if way == 3:
        pong = await ws.ping()
        if dice.random() < 0.5:
            await pong
    return str(await ws.recv())


async def _send(ws: aio.Connection, message: str, dice: random.Random) -> None:
    async def pieces() -> AsyncIterator[str]:
        yield message[:3]
        await asyncio.sleep(0)
        yield message[3:]

    way = dice.randrange(4)
    if way == 0:
        await ws.send(message.encode(), text=True)
    elif way == 1:
        await ws.send(pieces())
    elif way == 2:
        check(await ws.send_many([message]) == 1, "one message was sent")
    else:
        await ws.send(message)


class Numbered(aio.Listener):
    def __init__(self, seen: Seen) -> None:
        self.done = asyncio.Event()
        self._seen = seen
        self._order: list[str] = []

    def on_open(self) -> None:
        check(not self._order, f"on_open came after {self._order}")
        self._order.append("open")

    def on_message(self, message: str | bytes) -> None:
        check(self._order == ["open"], f"a message came after {self._order}")
        self._seen.message(str(message))
        with contextlib.suppress(WebSocketException):
            self.send(message)

    def on_close(self, error: Exception | None) -> None:
        self.done.set()
        check(self._order == ["open"], f"on_close came after {self._order}")
        self._order.append("close")
        check(error is not None or self.closed_by is not None, "nobody says why it has ended")


async def _listened(url: str, seen: Seen) -> None:
    while True:
        listener = Numbered(seen)
        try:
            await aio.connect_listener(listener, url, timeout=2, **OPTIONS)
        except (WebSocketException, OSError):
            check(not listener._order, f"no connection, but {listener._order}")
            seen.lost()
            await asyncio.sleep(0.01)
            continue
        await listener.done.wait()
        if listener.close_code == 1000:
            return
        seen.lost()
