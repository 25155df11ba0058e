"""The library under the monkey patching of gevent or eventlet, whichever its environment has.

``python tests/green.py eventlet --rounds 20`` runs the stress of ``stress.py`` with green threads,
over TCP and over TLS, and ends what waits: to reconnect, to connect, and to receive.
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
import ssl
import threading
import time
from typing import Any

import stress
import trustme

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
        listener.settimeout(10)
        port = listener.getsockname()[1]
        for options in ({}, {"proxy": f"http://127.0.0.1:{port}"}):
            errors: list[Any] = []
            app = websocket.WebSocketApp(
                f"wss://127.0.0.1:{port}/",
                on_error=lambda app, error: errors.append(error),  # noqa: B023
            )
            ws = websocket.WebSocket()

            def connect() -> None:
                try:
                    ws.connect(f"wss://127.0.0.1:{port}/", **options)  # noqa: B023
                except websocket.WebSocketConnectionClosedException as error:
                    ended.append(error)  # noqa: B023

            ended: list[Any] = []
            for run, close in (
                (lambda: app.run_forever(**options), app.close),  # noqa: B023
                (connect, ws.close),
            ):
                thread = threading.Thread(target=run)
                thread.start()
                peer, _ = listener.accept()
                with peer:
                    time.sleep(0.05)
                    close()
                    thread.join(10)
                    stress.check(not thread.is_alive(), "close() does not end connecting")
            stress.check(errors == [], f"the app has seen {errors}")
            stress.check(len(ended) == 1, "connect() has not said that it was ended")


def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts for a server on 127.0.0.1 and its clients."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client


def many_over_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, count: int) -> None:
    """Many connections at once, each in a green thread: none keeps the others waiting."""
    echoed: list[str] = []
    sslopt = {"context": client_tls}
    all_open = threading.Event()
    opened: list[int] = []

    def talk(number: int) -> None:
        with websocket.create_connection(server.url, timeout=30, sslopt=sslopt) as ws:
            opened.append(number)
            if len(opened) == count:
                all_open.set()
            # Each waits here until the last has connected.
            all_open.wait(60)
            for size in (1, 1000, 100_000):
                text = f"{number}:" + "x" * size
                ws.send(text)
                stress.check(ws.recv() == text, "something else came back")
            echoed.append(str(number))

    with Server(ssl_context=server_tls) as server:
        threads = [threading.Thread(target=talk, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        stress.join(threads)
    stress.check(len(echoed) == count, f"only {len(echoed)} of {count} have got their echoes")


def waiting_over_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """A receive ends with its timeout, and with a close() of another green thread."""
    with Server(ssl_context=server_tls) as server:
        sslopt = {"context": client_tls}
        ws = websocket.create_connection(server.url, timeout=30, sslopt=sslopt)
        ticks: list[float] = []
        over = threading.Event()

        def tick() -> None:
            while not over.wait(0.01):
                ticks.append(time.monotonic())

        ticker = threading.Thread(target=tick)
        ticker.start()
        try:
            ws.recv(timeout=0.3)
        except websocket.WebSocketTimeoutException:
            pass
        else:
            raise AssertionError("a receive does not end with its timeout")
        stress.check(len(ticks) > 3, "a receive that waits keeps others from going on")
        ws.send("still there")
        stress.check(ws.recv() == "still there", "something else came back")
        received: list[Any] = []
        thread = threading.Thread(target=lambda: received.append(ws.recv()))
        thread.start()
        time.sleep(0.05)
        ws.close()
        thread.join(10)
        stress.check(received == [""], f"close() ended a receive with {received}")
        over.set()
        ticker.join(10)


def an_app_over_tls(server_tls: ssl.SSLContext) -> None:
    """As programs have it: authorities by name, pings, and a certificate that nobody trusts."""
    with Server(ssl_context=server_tls) as server:
        seen: list[Any] = []
        app = websocket.WebSocketApp(
            server.url,
            on_open=lambda app: seen.append("open"),
            on_pong=lambda app, _: app.close(),
            on_error=lambda app, error: seen.append(type(error)),
        )
        unchecked = {"cert_reqs": ssl.CERT_NONE}
        stress.check(app.run_forever(ping_interval=0.05, sslopt=unchecked) is False, f"{seen}")
        stress.check(app.run_forever() is True, "a certificate that nobody trusts was taken")
        stress.check(seen == ["open", ssl.SSLCertVerificationError], f"the app has seen {seen}")


def breathe() -> None:
    # A green thread that never waits keeps all others from going on, close() included.
    time.sleep(0)


def main() -> None:
    stress.breathe = breathe
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    contexts = tls()
    for number in range(rounds):
        stress.threads_round(random.Random(number), *(contexts if number % 2 else ()))
    closing_ends_a_wait()
    closing_ends_connecting()
    many_over_tls(*contexts, 50)
    waiting_over_tls(*contexts)
    an_app_over_tls(contexts[0])
    stress.apps(50)
    print(f"{library}: {rounds} rounds, {stress.descriptors()} descriptors")


if __name__ == "__main__":
    main()
