"""The blocking face over reconnects: ``reconnecting``.

Which end is a loss, and when to dial again, is decided in ``_reconnect``; when to ping, in
``_keepalive``.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from ._call_off import CallOff
from ._core import WebSocket, create_connection
from ._deadline import Deadline
from ._dispatcher import Pause
from ._exceptions import (
    WebSocketArgumentException,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketTimeoutException,
)
from ._keepalive import RoundTrips, check_settings
from ._observe import Observer, tell, tell_ended, tell_lost, tell_opened, tell_received
from ._outbox import Outbox, Sender
from ._pinger import Pinger
from ._protocol.frames import OP_BINARY, OP_CLOSE, OP_TEXT
from ._protocol.sending import Payload, close_payload
from ._reconnect import Attempts, Backoff, Reason, policy_of
from ._socket import getdefaulttimeout
from ._stats import Stats, Tally

__all__ = ["Reconnecting", "reconnecting"]


class Reconnecting:
    """Messages of one connection after the other, see ``reconnecting``.

    One thread iterates; any thread may send and close.

    Attributes:
        connection: the ``WebSocket`` of now, None while there is none.
        reconnect_count: how many connections have been made again.
        close_code, close_reason: what the Close of the latest connection said, None where it
            has none.
        round_trips: the times between pings and pongs, as in ``WebSocketApp``.
    """

    def __init__(
        self,
        connect: Callable[[float | None, CallOff], WebSocket],
        policy: Backoff | None,
        keepalive: tuple[float, float | None],
        on_connect: Callable[[WebSocket], Any] | None,
        on_loss: Callable[[Exception], Any] | None,
        outbox: Outbox | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.connection: WebSocket | None = None
        self.reconnect_count = 0
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self.round_trips = RoundTrips(
            None if observer is None else lambda seconds: tell(observer, "ponged", seconds)
        )
        self._connect = connect
        self._attempts = Attempts(policy)
        self._keepalive = keepalive
        self._on_connect = on_connect
        self._on_loss = on_loss
        self._outbox = outbox
        self._observer = observer
        self._sender = None if outbox is None else Sender(outbox)
        self._opened = 0
        self._tally = Tally()
        self._closed = False
        self._connecting = CallOff()
        self._pause = Pause()
        self._lock = threading.RLock()

    @property
    def stats(self) -> Stats:
        """What has gone over all connections so far together."""
        return self._tally.stats

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield messages until the server closes for good, or this side does.

        Raises:
            the error of the last connection or attempt, where the policy gives up.
        """
        while not self._closed:
            opened_at: float | None = None
            try:
                ws = self._open()
                if ws is None:
                    tell_ended(self._observer, None, None)
                    return
                opened_at = time.monotonic()
                if self._sender is not None:
                    self._sender.begin(ws)
                if self._on_connect is not None:
                    self._on_connect(ws)
                if self._sender is not None:
                    self._sender.flush()
                yield from self._messages(ws)
                reason: Reason = ws.close_code or 0
            except (WebSocketException, OSError) as error:
                # No goodbye: whom should it reach?
                self._drop(WebSocket.shutdown)
                reason = error
            finally:
                self._drop()
            lasted = None if opened_at is None else time.monotonic() - opened_at
            try:
                if self._closed:
                    tell_ended(self._observer, None, self.close_code)
                    return
                if not self._goes_on(reason, lasted):
                    return
            finally:
                # An exception that is held by a frame of its own is never freed at once.
                del reason

    def _open(self) -> WebSocket | None:
        began = time.monotonic()
        policy = self._attempts.policy
        limit = policy.timeout if policy is not None and self._attempts.made else None
        try:
            ws = self._connect(limit, self._connecting)
        except (WebSocketException, OSError):
            if self._closed:
                return None
            raise
        finally:
            self._connecting.done()
        with self._lock:
            closed = self._closed
            self.connection = None if closed else ws
        if closed:
            ws.close()
            return None
        self._opened += 1
        self._tally.begin(ws)
        self.reconnect_count = self._opened - 1
        tell_opened(self._observer, self._opened, time.monotonic() - began)
        return ws

    def _drop(self, end: Callable[[WebSocket], object] = WebSocket.close) -> None:
        with self._lock:
            ws, self.connection = self.connection, None
        uncertain = [] if self._sender is None else self._sender.lost()
        if uncertain and self._outbox is not None and self._outbox.on_uncertain is not None:
            self._outbox.on_uncertain(uncertain)
        if ws is not None:
            self.close_code, self.close_reason = ws.close_code, ws.close_reason
            if not self._closed:
                end(ws)
            self._tally.end()

    def _goes_on(self, reason: Reason, lasted: float | None) -> bool:
        """Wait for the next attempt; False at a Close for good. Raises the error that is final."""
        attempts = self._attempts.after(reason, lasted)
        if attempts is None:
            if isinstance(reason, BaseException):
                tell_ended(self._observer, reason, None)
                raise reason
            tell_ended(self._observer, None, reason)
            return False
        self._attempts = attempts
        number, delay = attempts.next(reason, random.random(), time.time())
        error = (
            reason
            if isinstance(reason, Exception)
            else WebSocketConnectionClosedException(
                f"The server closed the connection with code {reason}."
            )
        )
        self._tally.lost()
        tell_lost(self._observer, error, number, delay)
        if self._on_loss is not None:
            self._on_loss(error)
        if self._pause.wait(delay):
            return True
        tell_ended(self._observer, None, None)
        return False

    # Receiving

    def _messages(self, ws: WebSocket) -> Iterator[str | bytes]:
        pinger = Pinger(ws._open_stream(), *self._keepalive, b"", self.round_trips)
        while True:
            self._await_event(ws, pinger)
            if self._sender is not None:
                self._measure(ws, self._sender)
            try:
                message = ws.recv(timeout=0)
            except WebSocketTimeoutException:
                continue  # a piece of one, or a control frame
            if not message and ws.close_code is not None:
                return
            if self._observer is not None:
                tell_received(self._observer, (message,))
            yield message

    @staticmethod
    def _measure(ws: WebSocket, sender: Sender) -> None:
        # An error that is taken closes the socket, which then can't tell any more.
        events = ws._core.events
        if events and isinstance(events[0], Exception):
            sender.measure()

    def _await_event(self, ws: WebSocket, pinger: Pinger) -> None:
        """Wait until something has arrived, and ping meanwhile."""
        stream = ws._open_stream()
        while not ws._core.events:
            wait = pinger.wait()
            try:
                # When a ping is due, what has arrived in the meantime still comes first.
                stream.fill(None if wait is None else Deadline(wait))
                pinger.heard()
            except WebSocketTimeoutException:
                if pinger.peer_is_gone():
                    raise WebSocketTimeoutException("ping/pong timed out") from None

    # Sending and closing

    def send(self, payload: Payload, opcode: int = OP_TEXT) -> None:
        """Send a message on the connection of now, see ``WebSocket.send``.

        Raises:
            WebSocketConnectionClosedException: there is none, or it was lost, and there is no
                outbox.
            WebSocketOutboxFullException: the outbox is full.
        """
        ws = self.connection
        if self._sender is not None:
            self._sender.send(payload, opcode)
        elif ws is not None:
            ws.send(payload, opcode)
        else:
            raise WebSocketConnectionClosedException("Connection is already closed.")
        if self._observer is not None and opcode < OP_CLOSE:
            tell(self._observer, "sent", len(payload))

    def send_text(self, text_data: str) -> None:
        """Send a text message."""
        self.send(text_data, OP_TEXT)

    def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send a binary message."""
        self.send(data, OP_BINARY)

    def close(
        self, status: int | None = 1000, reason: str | bytes = b"", timeout: float | None = 3
    ) -> None:
        """End it: the iteration stops, also where it waits to connect again.

        Parameters:
            status, reason, timeout: see ``WebSocket.close``.
        """
        close_payload(status, reason)
        with self._lock:
            self._closed = True
            ws = self.connection
        self._pause.end()
        if self._sender is not None:
            self._sender.end()
        self._connecting.call()
        if ws is not None:
            ws.close(status, reason, timeout)

    def __enter__(self) -> Reconnecting:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def reconnecting(
    url: str | Callable[[], str],
    timeout: float | None = None,
    *,
    reconnect: Backoff | float | None = None,
    ping_interval: float = 0,
    ping_timeout: float | None = None,
    on_connect: Callable[[WebSocket], Any] | None = None,
    on_loss: Callable[[Exception], Any] | None = None,
    outbox: Outbox | None = None,
    observer: Observer | None = None,
    **options: Any,
) -> Reconnecting:
    """Iterate over the messages of a connection, and over those of the next where it is lost.

    ::

        with websocket.reconnecting("wss://feed.example.com/") as feed:
            for message in feed:
                print(message)

    Nothing is dialled before the iteration begins.

    Parameters:
        url: ``ws://`` or ``wss://``, or a callable that returns the URL of each connection.
        timeout: seconds for connecting, and for each send. Receiving waits without a limit.
        reconnect: as in ``WebSocketApp.run_forever``; ``set_reconnect`` does not count here.
        ping_interval: seconds between pings, 0 for none.
        ping_timeout: seconds without any sign of life after a ping that make a loss.
        on_connect(ws): called with each new connection, before its messages: the place to
            authenticate and to subscribe. What it raises counts as a loss, if it is an OSError
            or a WebSocketException.
        on_loss(error): called for each loss and each failed attempt that another attempt
            follows.
        outbox: keeps messages that are sent while there is no connection. They are sent after
            ``on_connect``, in their order.
        observer: hears of all that a metrics library may want to be told.
        **options: those of ``create_connection``; ``cookie`` and ``subprotocols`` may be
            callables, too, which are asked anew for each connection.

    Raises:
        WebSocketArgumentException: settings that can't work.
    """
    check_settings(ping_interval, ping_timeout)
    policy = policy_of(reconnect)
    if options.get("socket") is not None:
        raise WebSocketArgumentException(
            "reconnecting() dials by itself, so it can't take a connected socket"
        )

    def connect(limit: float | None, call_off: CallOff) -> WebSocket:
        answers: dict[str, Any] = {
            name: value() if name in _ASKED and callable(value) else value
            for name, value in options.items()
        }
        ws = create_connection(
            url() if callable(url) else url,
            limit if timeout is None else timeout,
            call_off=call_off,
            **answers,
        )
        if timeout is None:
            ws.settimeout(getdefaulttimeout())
        return ws

    keepalive = (ping_interval, ping_timeout)
    return Reconnecting(connect, policy, keepalive, on_connect, on_loss, outbox, observer)


_ASKED = frozenset({"cookie", "subprotocols"})
