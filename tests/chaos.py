"""Random scenarios from a seed: what a client promises must hold whatever the line does.

``python tests/chaos.py --rounds 500 --seconds 180`` plays as many as the time allows and prints
the seed; ``--seed`` plays the same ones again.

In each scenario a server sends numbered messages and gets them back, over a line on which each
connection is broken in another way. The invariant: no message comes twice or out of order; a
connection's messages have no gap, and another connection begins only where a loss was
reported; callbacks come in a legal order; at the end nothing is left open.

The faces take turns: blocking, callback, and the three ways to use asyncio's.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from support import chaos_aio
from support.scenarios import DEADLINE, FAULTS, PINGS, POLICY, Broken, Feed, Seen, check

import websocket
from websocket import WebSocketException
from websocket._run import Run
from websocket._stream import Stream
from websocket.aio._exchange import Exchange
from websocket.aio._sending import SendingProtocol
from websocket.testing import FaultyProxy, Server, _proxy

Face = Callable[[str, Seen, random.Random], None]


def blocking(url: str, seen: Seen, dice: random.Random) -> None:
    opened: list[int] = []

    def loss(error: Exception) -> None:
        seen.lost()

    feed = websocket.reconnecting(
        url, 5, reconnect=POLICY, on_connect=lambda ws: opened.append(1), on_loss=loss, **PINGS
    )
    with guarded(feed.close):
        for message in feed:
            check(opened, "a message came before on_connect")
            seen.message(str(message))
            with contextlib.suppress(WebSocketException):
                feed.send(message)
    check(feed.close_code == 1000, f"it ended with {feed.close_code}")
    check(feed.connection is None, "a connection is left")


def callback(url: str, seen: Seen, dice: random.Random) -> None:
    order: list[str] = []
    broken: list[BaseException] = []

    def on_message(app: Any, message: str) -> None:
        order.append("message")
        try:
            seen.message(message)
        except Broken as error:
            broken.append(error)
        with contextlib.suppress(WebSocketException):
            app.send(message)

    def on_error(app: Any, error: Exception) -> None:
        order.append("error")
        seen.lost()

    closes: list[Any] = []
    app = websocket.WebSocketApp(
        url,
        on_open=lambda app: order.append("open"),
        on_reconnect=lambda app: order.append("again"),
        on_message=on_message,
        on_error=on_error,
        on_close=lambda app, code, reason: closes.append(code),
    )
    with guarded(app.close):
        failed = app.run_forever(reconnect=POLICY, **PINGS)  # type: ignore[arg-type]
    if broken:
        raise broken[0]
    check(closes == [1000], f"on_close was called with {closes}")
    check(failed is False, "run_forever returned True")
    check(app.sock is None and not app.keep_running, "the app still runs")
    check_order(order)
    check(app.reconnect_count == order.count("again"), "reconnect_count is wrong")


def check_order(order: list[str]) -> None:
    is_open, ever = False, False
    for call in order:
        if call in ("open", "again"):
            check(not is_open, f"{call} in the middle of a connection: {order}")
            check((call == "again") is ever, f"{call} at the wrong time: {order}")
            is_open = ever = True
        elif call == "error":
            is_open = False
        else:
            check(is_open, f"a message without a connection: {order}")


@contextlib.contextmanager
def guarded(close: Callable[[], object]) -> Any:
    """Whatever hangs is closed after the deadline, and told."""
    late = threading.Event()

    def end() -> None:
        late.set()
        close()

    timer = threading.Timer(DEADLINE, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
    check(not late.is_set(), f"it hung for {DEADLINE:g} s")


FACES: dict[str, tuple[Face, ...]] = {
    "blocking": (blocking,),
    "callback": (callback,),
    "asyncio": (chaos_aio.iterated, chaos_aio.awaited, chaos_aio.listened),
}


class Outcome(NamedTuple):
    number: int
    losses: int
    messages: int
    problem: str | None


def play(seed: int, number: int, faces: Sequence[Face]) -> Outcome:
    """One scenario; the same for the same seed and number."""
    dice = random.Random(f"{seed}/{number}")
    script = [dice.choice(FAULTS)(dice) for _ in range(dice.randrange(1, 6))]
    face = faces[number % len(faces)]
    feed, seen = Feed(dice), Seen()
    problem = None
    with Server(feed) as server, FaultyProxy(server.url, *script) as proxy:
        try:
            face(proxy.url, seen, dice)
            check(not feed.wrong, f"the server got something else: {feed.wrong[:3]}")
        except Exception as error:
            problem = f"scenario {number} ({face.__name__}, {proxy.played}): {error!r}"
    return Outcome(number, seen.calls.count("loss"), seen.calls.count("message"), problem)


def left_over() -> list[str]:
    """Connections that nobody has freed."""
    gc.collect()
    kinds = (Stream, Run, websocket.WebSocket, _proxy._Link, Exchange, SendingProtocol)
    return [type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, kinds)]


def play_all(
    seed: int, rounds: int, seconds: float, names: Iterable[str] = FACES, workers: int = 6
) -> list[Outcome]:
    """As many scenarios as there is time for, several at once; raises where one is broken."""
    end = time.monotonic() + seconds
    faces = [face for name in names for face in FACES[name]]
    before = len(left_over())
    timeout = websocket.getdefaulttimeout()
    # A first connection has no limit by itself, and a line may freeze in its handshake.
    websocket.setdefaulttimeout(3)

    def within_time(number: int) -> Outcome | None:
        return play(seed, number, faces) if time.monotonic() < end else None

    try:
        with ThreadPoolExecutor(workers) as pool:
            outcomes = [outcome for outcome in pool.map(within_time, range(rounds)) if outcome]
    finally:
        websocket.setdefaulttimeout(timeout)
    problems = [outcome.problem for outcome in outcomes if outcome.problem]
    check(not problems, f"seed {seed}:\n" + "\n".join(map(str, problems)))
    after = left_over()
    check(len(after) <= before, f"seed {seed}: left over: {after}")
    return outcomes


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=None, help="a fresh one if not given")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument(
        "--face", action="append", choices=FACES, help="only this one (repeatable; default: all)"
    )
    parser.add_argument("--seconds", type=float, default=180)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}", flush=True)
    before = descriptors()
    began = time.monotonic()
    outcomes = play_all(seed, arguments.rounds, arguments.seconds, arguments.face or FACES)
    print(
        f"{len(outcomes)} scenarios in {time.monotonic() - began:.0f} s:"
        f" {sum(outcome.messages for outcome in outcomes)} messages,"
        f" {sum(outcome.losses for outcome in outcomes)} losses, descriptors"
        f" {before} before and {descriptors()} after"
    )
    check(descriptors() <= before, "descriptors are left open")
    return 0


if __name__ == "__main__":
    sys.exit(main())
