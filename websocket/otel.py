"""Metrics of connections for OpenTelemetry: needs the extra ``websocket-client[otel]``.

::

    from websocket.otel import OpenTelemetryObserver

    app = websocket.WebSocketApp(url, observer=OpenTelemetryObserver({"feed": "prices"}))
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.metrics import MeterProvider, get_meter

from ._observe import Observer

__all__ = ["OpenTelemetryObserver"]


class OpenTelemetryObserver(Observer):
    """Records what happens to connections with instruments of OpenTelemetry.

    Parameters:
        attributes: go with each measurement.
        meter_provider: the program's own; default: the global one.
    """

    def __init__(
        self,
        attributes: Mapping[str, str] | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        meter = get_meter("websocket-client", meter_provider=meter_provider)
        self._attributes = dict(attributes or {})
        self._connections = meter.create_counter(
            "websocket.client.connections", "{connection}", "Connections opened"
        )
        self._losses = meter.create_counter(
            "websocket.client.losses", "{loss}", "Connections lost and attempts failed"
        )
        self._connecting = meter.create_histogram(
            "websocket.client.connect.duration", "s", "Time that connecting took"
        )
        self._round_trips = meter.create_histogram(
            "websocket.client.ping.duration", "s", "Time between a ping and its pong"
        )
        self._messages = meter.create_counter(
            "websocket.client.messages", "{message}", "Messages received and sent"
        )
        self._size = meter.create_counter(
            "websocket.client.message.size", "By", "Payload received and sent"
        )

    def connected(self, number: int, seconds: float) -> None:
        again = "yes" if number > 1 else "no"
        self._connections.add(1, {**self._attributes, "reconnect": again})
        self._connecting.record(seconds, self._attributes)

    def lost(self, error: Exception, attempt: int, delay: float) -> None:
        self._losses.add(1, {**self._attributes, "error.type": type(error).__name__})

    def received(self, messages: int, size: int) -> None:
        self._count("receive", messages, size)

    def sent(self, size: int) -> None:
        self._count("send", 1, size)

    def ponged(self, seconds: float) -> None:
        self._round_trips.record(seconds, self._attributes)

    def _count(self, direction: str, messages: int, size: int) -> None:
        attributes = {**self._attributes, "direction": direction}
        self._messages.add(messages, attributes)
        self._size.add(size, attributes)
