"""What observers hear."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from badservers import BINARY, PONG, TEXT, Peer, scripted
from conftest import DEADLINE
from test_app import BYE
from test_session import QUICK, Turns, drop, refuse
from wire import frame

import websocket
from websocket import Observer, WebSocketApp, aio, reconnecting
from websocket.testing import Server

pytestmark = pytest.mark.usefixtures("no_leaks")


class Heard(Observer):
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in vars(Observer) and not name.startswith("__"):
            return lambda *args: self.calls.append((name, *args))
        return super().__getattribute__(name)


def talk(peer: Peer) -> None:
    peer.accept(then=frame(TEXT, "é".encode()) + frame(BINARY, b"four"))
    assert peer.next_frame().payload == b"hello"
    ping = peer.next_frame()
    peer.send(frame(PONG, ping.payload) + BYE)
    peer.finish()


def run_app(url: str, observer: Observer) -> None:
    app = WebSocketApp(
        url,
        observer=observer,
        on_message=lambda app, message: app.send("hello") if message == "é" else None,
    )
    app.run_forever(ping_interval=0.1, reconnect=QUICK)


def run_loop(url: str, observer: Observer) -> None:
    feed = reconnecting(url, DEADLINE, reconnect=QUICK, ping_interval=0.1, observer=observer)
    for message in feed:
        if message == "é":
            feed.send("hello")


def run_awaited(url: str, observer: Observer, **options: Any) -> None:
    async def main() -> None:
        feed = aio.connect(
            url,
            reconnect=QUICK,
            timeout=DEADLINE,
            ping_interval=0.1,
            observer=observer,
            **options,
        )
        async for ws in feed:
            try:
                async for message in ws:
                    if message == "é":
                        await ws.send("hello")
            except websocket.WebSocketConnectionClosedException:
                continue

    asyncio.run(main())


def run_awaited_by_the_outer_road(url: str, observer: Observer) -> None:
    run_awaited(url, observer, get_mask_key=lambda size: b"\1\2\3\4")


each_face = pytest.mark.parametrize(
    "run", [run_app, run_loop, run_awaited, run_awaited_by_the_outer_road]
)


@each_face
def test_what_is_heard(run: Any) -> None:
    heard = Heard()
    with scripted(Turns(drop, refuse(503), talk)) as url:
        run(url, heard)
    names = [call[0] for call in heard.calls]
    assert names[:4] == ["connected", "lost", "lost", "connected"]
    assert sorted(set(names[4:])) == ["closed", "ponged", "received", "sent"]
    assert names[-1] == "closed"
    assert heard.calls[-1] == ("closed", None, 1001)
    assert [call[1] for call in heard.calls if call[0] == "connected"] == [1, 2]
    assert [call[2:] for call in heard.calls if call[0] == "lost"] == [(1, 0.01), (2, 0.02)]
    assert ("sent", 5) in heard.calls
    messages = [call[1:] for call in heard.calls if call[0] == "received"]
    assert (sum(count for count, _ in messages), sum(size for _, size in messages)) == (2, 5)


@each_face
def test_the_end_with_an_error(run: Any) -> None:
    heard = Heard()
    with scripted(Turns(drop, refuse(404))) as url:
        try:
            run(url, heard)
        except websocket.WebSocketBadStatusException:
            assert run is not run_app
    name, error, code = heard.calls[-1]
    assert (name, error.status_code, code) == ("closed", 404, None)


@each_face
def test_an_observer_that_raises(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Observer):
        def connected(self, number: int, seconds: float) -> None:
            raise ZeroDivisionError

    with caplog.at_level(logging.ERROR, "websocket"), scripted(talk) as url:
        run(url, Failing())
    assert "ZeroDivisionError" in caplog.text


@each_face
def test_open_telemetry(run: Any) -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.metrics")
    export = pytest.importorskip("opentelemetry.sdk.metrics.export")
    otel = pytest.importorskip("websocket.otel")
    reader = export.InMemoryMetricReader()
    provider = sdk.MeterProvider([reader])
    observer = otel.OpenTelemetryObserver({"feed": "prices"}, provider)
    with scripted(Turns(drop, talk)) as url:
        run(url, observer)
    data = reader.get_metrics_data()
    found: dict[str, dict[tuple[Any, ...], Any]] = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        points = found.setdefault(metric.name.removeprefix("websocket.client."), {})
        for point in metric.data.data_points:
            assert point.attributes["feed"] == "prices"
            rest = {k: v for k, v in point.attributes.items() if k != "feed"}
            points[tuple(rest.values())] = getattr(point, "value", getattr(point, "count", None))
    provider.shutdown()
    assert found == {
        "connections": {("no",): 1, ("yes",): 1},
        "losses": {("WebSocketConnectionClosedException",): 1},
        "connect.duration": {(): 2},
        "ping.duration": {(): 1},
        "messages": {("receive",): 2, ("send",): 1},
        "message.size": {("receive",): 5, ("send",): 5},
    }


# One connection of the asyncio face is a run of its own


def test_one_connection() -> None:
    heard = Heard()

    async def main(url: str) -> None:
        async with aio.connect(url, timeout=DEADLINE, observer=heard) as ws:
            await ws.send(["in ", "pieces"])
            await ws.send_many(["é", b"four"])
            assert "".join([str(piece) async for piece in ws.recv_stream()]) == "in pieces"
            assert [await ws.recv(), await ws.recv()] == ["é", b"four"]
            await (await ws.ping())

    with Server() as server:
        asyncio.run(main(server.url))
    assert heard.calls[0][:2] == ("connected", 1)
    assert heard.calls[-1] == ("closed", None, 1000)
    assert [call[1] for call in heard.calls if call[0] == "sent"] == [9, 1, 4]
    received = [call[1:] for call in heard.calls if call[0] == "received"]
    assert (sum(count for count, _ in received), sum(size for _, size in received)) == (3, 14)
    assert sum(call[0] == "ponged" for call in heard.calls) == 1


def test_a_listener() -> None:
    heard = Heard()

    async def main(url: str) -> None:
        listener = aio.Listener()
        await aio.connect_listener(listener, url, timeout=DEADLINE, observer=heard)
        listener.send("hello")
        await listener.close(1001)

    with Server() as server:
        asyncio.run(main(server.url))
    names = [call[0] for call in heard.calls if call[0] != "received"]
    assert names == ["connected", "sent", "closed"]
    assert heard.calls[-1] == ("closed", None, 1001)


def test_a_connection_that_is_lost_or_never_made() -> None:
    heard = Heard()

    async def main(url: str) -> None:
        ws = await aio.connect(url, timeout=DEADLINE, observer=heard)
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            await ws.recv()
        await ws.wait_closed()
        with pytest.raises(websocket.WebSocketBadStatusException):
            await aio.connect(url, timeout=DEADLINE, observer=heard)

    with scripted(Turns(drop, refuse(403))) as url:
        asyncio.run(main(url))
    assert [call[0] for call in heard.calls] == ["connected", "closed", "closed"]
    assert isinstance(heard.calls[1][1], websocket.WebSocketConnectionClosedException)
    assert isinstance(heard.calls[2][1], websocket.WebSocketBadStatusException)


def test_leaving_the_loop_is_the_end() -> None:
    heard = Heard()

    async def main(url: str) -> None:
        connections = aio.connect(url, timeout=DEADLINE, observer=heard).__aiter__()
        await anext(connections)
        await connections.aclose()

    with Server() as server:
        asyncio.run(main(server.url))
    assert [call[0] for call in heard.calls] == ["connected", "closed"]
    assert heard.calls[-1] == ("closed", None, 1000)


@each_face
def test_records_of_the_log(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO, "websocket"),
        scripted(Turns(drop, refuse(503), talk)) as url,
    ):
        run(url, Observer())
    records = [record for record in caplog.records if hasattr(record, "ws_event")]
    names = [getattr(record, "ws_event", None) for record in records]
    expected = ["connected", "reconnecting", "reconnecting", "reconnected", "closed"]
    assert names == expected
    again: Any = records[2]
    assert (again.ws_attempt, again.ws_delay, again.ws_error.status_code) == (2, 0.02, 503)
    end: Any = records[-1]
    assert (end.ws_error, end.ws_close_code) == (None, 1001)


def test_closing_the_iteration_is_its_end() -> None:
    heard = Heard()

    def end(error: Exception) -> None:
        feed.close()

    def greet(peer: Peer) -> None:
        peer.accept(then=frame(TEXT, b"hello"))
        peer.finish()

    with scripted(greet) as url:
        feed = reconnecting(url, DEADLINE, reconnect=QUICK, observer=heard)
        for _ in feed:
            feed.close()
    assert [call[0] for call in heard.calls if call[0] != "received"] == ["connected", "closed"]
    assert heard.calls[-1][1] is None
    heard.calls.clear()
    with scripted(drop) as url:
        feed = reconnecting(url, DEADLINE, reconnect=30, on_loss=end, observer=heard)
        assert list(feed) == []
    assert [call[0] for call in heard.calls] == ["connected", "lost", "closed"]
