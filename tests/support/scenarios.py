"""What the scenarios of ``chaos.py`` are made of: faults by chance, a feed, and what must hold."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

from websocket import Backoff, testing
from websocket.testing import ServerConnection

# Seconds: a scenario that takes longer hangs.
DEADLINE = 60.0
BURSTS = 4

FAULTS: tuple[Callable[[random.Random], Any], ...] = (
    lambda dice: testing.calm,
    lambda dice: testing.cut(dice.randrange(900), up=dice.random() < 0.3),
    lambda dice: testing.reset(dice.randrange(900), up=dice.random() < 0.3),
    lambda dice: testing.half_close(dice.randrange(900), up=dice.random() < 0.3),
    lambda dice: testing.freeze(dice.randrange(100, 900), up=dice.random() < 0.3),
    lambda dice: testing.corrupt(dice.randrange(900), up=dice.random() < 0.3),
    lambda dice: (testing.delay(dice.random() / 50), testing.cut(dice.randrange(900))),
    lambda dice: (
        testing.throttle(dice.randrange(5000, 50_000)),
        testing.reset(dice.randrange(900)),
    ),
    lambda dice: (testing.drip(0.0002), testing.cut(dice.randrange(900))),
    lambda dice: testing.duplicate(),
    lambda dice: (testing.drop_pongs(), testing.cut(dice.randrange(400, 900))),
    lambda dice: testing.close_with(dice.choice([1001, 1011, 1012, 1013, 4000, None]), after=3),
    lambda dice: testing.refuse(),
    lambda dice: testing.http(dice.choice([404, 429, 500, 503]), [("Retry-After", "0")]),
)


class Broken(AssertionError):
    """The invariant does not hold."""


def check(holds: object, message: str) -> None:
    if not holds:
        raise Broken(message)


class Feed:
    """The server's side: bursts of numbered messages, each of which must come back."""

    def __init__(self, dice: random.Random) -> None:
        self._numbers = itertools.count()
        self._bursts = [dice.randrange(1, 8) for _ in range(BURSTS)]
        self.wrong: list[str] = []

    def __call__(self, connection: ServerConnection) -> None:
        name, number = next(self._numbers), 0
        for size in self._bursts:
            sent = [f"{name}:{number + step}:{'x' * 30}" for step in range(size)]
            number += size
            for message in sent:
                connection.send(message)
            for message in sent:
                back = connection.recv(DEADLINE)
                # A second connection that says the same is answered by nobody who listens.
                if back != message and back.split(":")[0] == str(name):  # type: ignore[arg-type]
                    self.wrong.append(f"{message[:10]} came back as {back[:10]!r}")
        connection.close(1000, "end")


class Seen:
    """What a client has seen, checked while it comes."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._connection = self._number = -1
        self._lost = True

    def lost(self) -> None:
        self.calls.append("loss")
        self._lost = True

    def message(self, text: str) -> None:
        self.calls.append("message")
        connection, number, _ = text.split(":")
        if int(connection) != self._connection:
            check(int(connection) > self._connection, f"{text[:10]} is of an earlier connection")
            check(self._lost, f"{text[:10]}: nobody reported the loss before it")
            self._connection, self._number = int(connection), -1
            self._lost = False
        check(int(number) == self._number + 1, f"{text[:10]} came after {self._number}")
        self._number = int(number)


def again(reason: Any) -> bool:
    return reason != 1000


POLICY = Backoff(0.001, 0.05, attempts=None, first=True, timeout=2, retry_on=again)
PINGS = {"ping_interval": 0.4, "ping_timeout": 0.3}
