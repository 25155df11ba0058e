"""A connection that has ended is freed at once, and leaves nothing for Python's collector.

A program that runs for months makes many of them, and what waits for the collector looks like a
leak until it comes.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import DEADLINE
from loopback import unused_port

import websocket
from websocket import Backoff, WebSocketApp
from websocket.testing import FaultyProxy, Server, cut

QUICK = Backoff(0.001, 0.001, attempts=None)


@contextlib.contextmanager
def nothing_to_collect() -> Iterator[None]:
    """No object of the client's may be left in a cycle by what is done meanwhile."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        found = [type(item) for item in gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        if was:
            gc.enable()
    ours = [
        kind.__qualname__
        for kind in found
        if kind.__module__.startswith("websocket.") and "testing" not in kind.__module__
    ]
    assert ours == []


def closed(url: str, **options: Any) -> None:
    with websocket.create_connection(url, DEADLINE, **options) as ws:
        ws.send("a")
        assert ws.recv() == "a"
        assert ws.ping().wait(DEADLINE) >= 0


def timed_out(url: str) -> None:
    with websocket.create_connection(url) as ws, pytest.raises(websocket.WebSocketTimeoutException):
        ws.recv(timeout=0.001)


def lost(url: str) -> None:
    with contextlib.suppress(websocket.WebSocketConnectionClosedException):
        ws = websocket.create_connection(url, DEADLINE)
        while True:
            ws.send("a" * 100)
            ws.recv()


def iterated(url: str) -> None:
    def hello(ws: websocket.WebSocket) -> None:
        ws.send("a" * 100)

    with websocket.reconnecting(url, DEADLINE, reconnect=QUICK, on_connect=hello) as feed:
        for message in feed:
            if feed.reconnect_count == 2:
                break
            with contextlib.suppress(websocket.WebSocketConnectionClosedException):
                feed.send(message)


def called_back(url: str) -> None:
    def on_message(app: WebSocketApp, message: str) -> None:
        if app.reconnect_count == 2:
            app.close()
            return
        with contextlib.suppress(websocket.WebSocketConnectionClosedException):
            app.send(message)

    app = WebSocketApp(
        url,
        on_open=lambda app: app.send("a" * 100),
        on_message=on_message,
        on_error=lambda app, error: None,
    )
    assert app.run_forever(reconnect=QUICK, ping_interval=5) is False
    assert app.reconnect_count == 2


@pytest.mark.parametrize("options", [{}, {"compression": "deflate"}], ids=["plain", "deflate"])
def test_a_connection_that_was_closed(options: dict[str, Any]) -> None:
    with Server() as server:
        closed(server.url)  # what is imported and cached once
        with nothing_to_collect():
            closed(server.url, **options)


@pytest.mark.parametrize(
    "use", [timed_out, lost, iterated, called_back], ids=lambda use: use.__name__
)
def test_connections_that_were_lost(use: Callable[[str], None]) -> None:
    faults = [] if use is timed_out else [cut(700), cut(700)]
    with (
        Server() as server,
        FaultyProxy(server.url, *faults) as first,
        FaultyProxy(server.url, *faults) as second,
    ):
        use(first.url)  # what is imported and cached once
        with nothing_to_collect():
            use(second.url)


def test_attempts_that_failed() -> None:
    with nothing_to_collect():
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(OSError, match="onnection"):
                websocket.create_connection(f"ws://{host}:{unused_port()}/", DEADLINE)
