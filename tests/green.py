"""The library under the monkey patching of gevent or eventlet, whichever its environment has.

``python tests/green.py eventlet --rounds 20`` runs the stress of ``stress.py`` with green threads,
and a wait to reconnect that is ended.
"""

# ruff: noqa: E402

from __future__ import annotations

import importlib
import sys

# Before anything else is imported.
library = sys.argv.pop(1)
if library == "gevent":
    importlib.import_module("gevent.monkey").patch_all()
else:
    importlib.import_module("eventlet").monkey_patch()

import argparse
import random
import socket
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


def closing_ends_connecting() -> None:
    """A server, and a proxy, that take the connection and say nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for options in ({}, {"proxy": f"http://127.0.0.1:{port}"}):
            app = websocket.WebSocketApp(f"wss://127.0.0.1:{port}/")
            thread = threading.Thread(target=lambda: app.run_forever(**options))  # noqa: B023
            thread.start()
            peer, _ = listener.accept()
            with peer:
                time.sleep(0.05)
                app.close()
                thread.join(10)
                stress.check(not thread.is_alive(), "close() does not end connecting")


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
    closing_ends_connecting()
    stress.apps(50)
    print(f"{library}: {rounds} rounds, {stress.descriptors()} descriptors")


if __name__ == "__main__":
    main()
