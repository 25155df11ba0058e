"""The library under the monkey patching of gevent, which it needs in its environment.

``python tests/green.py --rounds 20`` runs the stress of ``stress.py`` with green threads, and a
wait to reconnect that is ended.
"""

# ruff: noqa: E402

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse
import random
import threading
import time

import stress

import websocket
from websocket.testing import Server


def closing_ends_a_wait() -> None:
    """A wait of a minute ends at once, and others go on meanwhile."""
    with Server(lambda connection: None) as server:
        app = websocket.WebSocketApp(server.url)
        policy = websocket.Backoff(60, retry_on=lambda reason: True)
        thread = threading.Thread(target=lambda: app.run_forever(reconnect=policy))
        thread.start()
        deadline = time.monotonic() + 10
        while app.reconnect_delay is None:
            stress.check(time.monotonic() < deadline, "the connection was not lost")
            time.sleep(0.01)
        app.close()
        thread.join(10)
        stress.check(not thread.is_alive(), "close() does not end the wait")


def breathe() -> None:
    # A green thread that never waits keeps all others from going on, close() included.
    time.sleep(0)


def main() -> None:
    stress.breathe = breathe
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    for number in range(rounds):
        stress.threads_round(random.Random(number))
    closing_ends_a_wait()
    stress.apps(50)
    print(f"gevent: {rounds} rounds, {stress.descriptors()} descriptors")


if __name__ == "__main__":
    main()
