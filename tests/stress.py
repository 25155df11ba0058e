"""Threads, interrupts and many apps at once, as often as one likes.

``python tests/stress.py threads --rounds 200``, ``... interrupts --rounds 200``,
``... apps --rounds 1000``. The seed is printed; ``--seed`` plays the same again.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import websocket
from websocket import Backoff, WebSocketConnectionClosedException, WebSocketTimeoutException
from websocket.testing import FaultyProxy, Server, ServerConnection, cut, freeze

DEADLINE = 30.0
SENDERS = 16
SIZES = (0, 1, 125, 126, 1000, 65535, 65536)


def check(holds: object, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def join(threads: list[threading.Thread]) -> None:
    end = time.monotonic() + DEADLINE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
        check(not thread.is_alive(), f"{thread} is stuck")


# --- threads: many send, one receives, some close


def breathe() -> None:
    """Let others go on; green threads, which nobody interrupts, need more than this."""


class Counting:
    """The server's side: each sender's messages must come whole and in their order."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    def __call__(self, connection: ServerConnection) -> None:
        for message in connection:
            sender, number, rest = str(message).split(":")
            if int(number) != self.counts[sender] or rest.strip("x"):
                self.wrong.append(f"{sender}:{number} instead of {self.counts[sender]}")
            self.counts[sender] += 1
            if sender == "0":
                connection.send(number)


def threads_round(dice: random.Random, server_tls: Any = None, client_tls: Any = None) -> None:
    handler = Counting()
    sent: Counter[str] = Counter()
    surprises: list[BaseException] = []

    def guarded(function: Callable[..., None], *args: Any) -> None:
        try:
            function(*args)
        except (WebSocketConnectionClosedException, WebSocketTimeoutException):
            pass
        except BaseException as error:
            surprises.append(error)

    def send(ws: websocket.WebSocket, name: str, sizes: list[int]) -> None:
        while True:
            size = sizes[sent[name] % len(sizes)]
            ws.send(f"{name}:{sent[name]}:{'x' * size}")
            sent[name] += 1
            breathe()

    def receive(ws: websocket.WebSocket) -> None:
        for expected, message in enumerate(ws):
            check(message == str(expected), f"{message!r} came instead of {expected}")

    def close(ws: websocket.WebSocket, after: float) -> None:
        time.sleep(after)
        ws.close(timeout=DEADLINE)

    with Server(handler, ssl_context=server_tls) as server:
        sslopt = {"context": client_tls} if client_tls is not None else None
        ws = websocket.create_connection(server.url, timeout=DEADLINE, sslopt=sslopt)
        jobs: list[tuple[Any, ...]] = [(receive, ws)]
        jobs += [(send, ws, str(name), dice.choices(SIZES, k=7)) for name in range(SENDERS)]
        jobs += [(close, ws, dice.random() / 50) for _ in range(2)]
        threads = [threading.Thread(target=guarded, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        join(threads)
        check(not surprises, f"undocumented: {surprises}")
        check(ws.sock is None, "a socket is left")
        check(ws.close_code == 1000, f"closed with {ws.close_code}")
    check(not handler.wrong, f"the server got {handler.wrong[:3]}")
    # What was sent before the Close has arrived before it.
    check(handler.counts == +sent, f"sent {dict(sent)}, but the server got {dict(handler.counts)}")
    check(not server.errors, f"the server found {server.errors}")


# --- interrupts: Ctrl-C at any moment


# Where an interrupt came: the function of the library or of this script that tells.
PHASES = {
    "open_connection": "connecting",
    "recv": "receiving",
    "_messages": "receiving",
    "send": "sending",
    "send_binary": "sending",
    "busy": "in a callback",
    "_goes_on": "waiting to connect again",
    "_wait": "waiting to connect again",
    "loop": "in an app's loop",
    "close": "closing",
}
phases: Counter[str] = Counter()


def phase_of(frame: FrameType | None) -> str:
    """The outermost of these functions; callbacks before the loop that they are called from."""
    names: list[str] = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    if "busy" in names:
        return PHASES["busy"]
    return next((PHASES[name] for name in reversed(names) if name in PHASES), "elsewhere")


class Interrupt:
    """One Ctrl-C in the main thread, after a while."""

    def __init__(self, after: float) -> None:
        self._after = after
        self._armed = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._strike)
        self._before = signal.signal(signal.SIGINT, self._on_signal)
        self._thread.start()

    def _strike(self) -> None:
        while not self._done.wait(self._after):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def _on_signal(self, _: int, frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            phases[phase_of(frame)] += 1
            raise KeyboardInterrupt

    def strike(self, function: Callable[[], None]) -> None:
        """Call ``function`` until it is struck, or ends by itself."""
        # Twice, as the one interrupt may come when the first is about to be left.
        with contextlib.suppress(KeyboardInterrupt), contextlib.suppress(KeyboardInterrupt):
            self._armed = True
            function()
            self._armed = False

    def stop(self) -> None:
        self._armed = False
        self._done.set()
        self._thread.join()
        signal.signal(signal.SIGINT, self._before)


def interrupt_connect(url: str) -> None:
    while True:
        websocket.create_connection(url, timeout=DEADLINE).close()


def interrupt_receive(url: str) -> None:
    with websocket.create_connection(url, timeout=DEADLINE) as ws:
        while True:
            ws.send("a")
            ws.recv()


def interrupt_send(url: str) -> None:
    with websocket.create_connection(url, timeout=DEADLINE) as ws:
        while True:
            ws.send_binary(bytes(100_000))


def interrupt_iteration(url: str) -> None:
    with websocket.reconnecting(url, DEADLINE, reconnect=60) as feed:
        for message in feed:
            feed.send(message)


def interrupt_app(url: str) -> None:
    """In a callback, in the loop, in connecting, or in a wait."""
    closes: list[Any] = []

    def busy(app: websocket.WebSocketApp, *args: Any) -> None:
        end = time.monotonic() + 0.002
        while time.monotonic() < end:
            pass
        with contextlib.suppress(websocket.WebSocketException):
            app.send("a")

    app = websocket.WebSocketApp(
        url,
        on_open=busy,
        on_message=busy,
        on_close=lambda app, code, reason: closes.append(code),
    )
    policy = Backoff(0.005, 0.005, attempts=None, first=True)
    try:
        failed = app.run_forever(ping_interval=0.01, ping_timeout=0.009, reconnect=policy)
        check(failed is False, "run_forever returned True after an interrupt")
    finally:
        check(app.sock is None and not app.keep_running, "the app still runs")
        check(len(closes) <= 1, f"on_close was called with {closes}")


def interrupt_wait(url: str) -> None:
    """Each connection is cut, and the next attempt comes after a minute."""
    closes: list[Any] = []
    app = websocket.WebSocketApp(url, on_close=lambda app, *args: closes.append(args))
    failed = app.run_forever(reconnect=ENDLESS)
    check(failed is False, "run_forever returned True after an interrupt")
    check(closes == [(None, None)], f"on_close was called with {closes}")
    check(app.sock is None and not app.keep_running, "the app still runs")


def interrupt_wait_of_iteration(url: str) -> None:
    for message in websocket.reconnecting(url, DEADLINE, reconnect=ENDLESS):
        raise AssertionError(f"{message!r} came over a line that is cut")


ENDLESS = Backoff(60, attempts=None, first=True)
WAITS = (interrupt_wait, interrupt_wait_of_iteration)
MODES = (
    interrupt_connect,
    interrupt_receive,
    interrupt_send,
    interrupt_iteration,
    interrupt_app,
    interrupt_app,
    *WAITS,
)


def interrupts_round(dice: random.Random) -> None:
    mode = dice.choice(MODES)
    script = [dice.choice([cut(dice.randrange(600)), freeze(dice.randrange(600))])] * 3
    line = script if dice.random() < 0.5 and mode is interrupt_app else []
    if mode in WAITS:
        line = [cut(0)]
    with Server() as server, FaultyProxy(server.url, *line) as proxy:
        began = time.monotonic()
        interrupt = Interrupt(dice.random() / 10)
        try:
            interrupt.strike(lambda: mode(proxy.url))
        finally:
            interrupt.stop()
        took = time.monotonic() - began
        check(took < 10, f"{mode.__name__} took {took:.1f} s to stop")


# --- apps: many at once


def apps(count: int) -> None:
    opened, lock = [0], threading.Lock()
    all_open = threading.Event()

    def on_open(app: websocket.WebSocketApp) -> None:
        with lock:
            opened[0] += 1
            if opened[0] == count:
                print(f"{count} apps, {descriptors()} descriptors", flush=True)
                all_open.set()

    def handler(connection: ServerConnection) -> None:
        if all_open.wait(DEADLINE * 4):
            connection.send("that's all")
        list(connection)

    with Server(handler) as server:
        running = [
            websocket.WebSocketApp(
                server.url, on_open=on_open, on_message=lambda app, message: app.close()
            )
            for _ in range(count)
        ]
        results: list[bool] = []
        threads = [
            threading.Thread(target=lambda app=app: results.append(app.run_forever(reconnect=True)))
            for app in running
        ]
        for thread in threads:
            thread.start()
        check(all_open.wait(DEADLINE * 4), f"only {opened[0]} of {count} apps have connected")
        join(threads)
    check(results == [False] * count, "a run has failed")


ROUNDS: dict[str, Callable[[random.Random], None]] = {
    "threads": threads_round,
    "interrupts": interrupts_round,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["threads", "interrupts", "apps"])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=180, help="no round begins after that")
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}", flush=True)
    before = descriptors(), threading.active_count()
    began, done = time.monotonic(), 0
    if arguments.what == "apps":
        apps(arguments.rounds)
        done = 1
    while arguments.what != "apps" and done < arguments.rounds:
        if time.monotonic() - began > arguments.seconds:
            break
        ROUNDS[arguments.what](random.Random(f"{seed}/{done}"))
        done += 1
    # What an interrupt has cut off between a socket and its owner is Python's to close, and
    # where the interrupt's traceback is part of a cycle, its collector's.
    gc.collect()
    after = descriptors(), threading.active_count()
    print(f"{arguments.what}: {done} rounds in {time.monotonic() - began:.0f} s, left: {after}")
    if phases:
        print(", ".join(f"{name}: {count}" for name, count in phases.most_common()))
    check(after <= before, f"descriptors and threads: {before} before, {after} after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
