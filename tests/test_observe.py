"""What observers hear."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from badservers import BINARY, PONG, TEXT, Peer, scripted
from conftest import DEADLINE
from test_app import BYE
from test_session import QUICK, Turns, drop, refuse
from wire import frame

import websocket
from websocket import Observer, WebSocketApp, reconnecting

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


each_face = pytest.mark.parametrize("run", [run_app, run_loop])


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
            assert run is run_loop
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
