"""One open connection as a protocol of asyncio's: bytes in, events out, and its end.

What it receives is in ``_receiving``, what it sends in ``_sending``. The rules are in
``_protocol``; what a program sees is in ``_connection`` and ``_listener``. All of it runs in
the thread of the loop, in callbacks and without a task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import time as now
from typing import Final, Literal

from .._accel import mask_key
from .._exceptions import (
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketTimeoutException,
)
from .._keepalive import Due, Keepalive
from .._pong import PATIENCE
from .._protocol.connection import Connection as Core
from .._protocol.connection import State
from .._protocol.frames import OP_CLOSE, OP_PING
from .._protocol.messages import Close, Ping, Pong
from .._protocol.sending import close_payload, failure
from .._socket import CONNECTION_LOST
from ._options import Settings
from ._receiving import ReceivingProtocol
from ._waiters import Waiters

# How long to wait for the peer to end the TCP connection after the closing handshake, which
# a server should do first (RFC 6455 section 7.1.1), or after an error.
LINGER: Final = 0.5

# For how long a Close of the peer's may wait for a program to take the messages before it.
_PATIENCE: Final = 3.0


class Driver(ReceivingProtocol):
    """See the module's text.

    Parameters:
        core: the protocol state.
        settings: the connection's options.
        deliver: called with the size of a read when ``core.events`` has grown, or ``end``
            was set, or the connection is gone.

    Attributes:
        end: why nothing more will be received: the peer's Close or an error. None before the
            program has got there.
        closed_by: whose Close frame was the first.
        on_end: called when the connection is gone.
    """

    __slots__ = (
        "_close_timeout",
        "_close_timer",
        "_end_timer",
        "_ending",
        "_keepalive",
        "_pong_timer",
        "_timer",
        "closed_by",
        "closers",
        "end",
        "on_end",
    )

    def __init__(self, core: Core, settings: Settings, deliver: Callable[[int], None]) -> None:
        super().__init__(core, settings, deliver)
        self.end: Close | Exception | None = None
        self._ending: Close | Exception | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self.closed_by: Literal["client", "server"] | None = None
        self._keepalive = Keepalive(settings.ping_interval or 0, settings.ping_timeout, self.time())
        self._timer: asyncio.TimerHandle | None = None
        self._close_timeout = settings.close_timeout
        self._close_timer: asyncio.TimerHandle | None = None
        self._pong_timer: asyncio.TimerHandle | None = None
        self.closers = Waiters(self.loop)
        self.on_end: Callable[[Driver], None] | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.core.counts.opened_at = now()
        self._arm_keepalive()

    def _sort_out(self, before: int, nbytes: int) -> None:
        core = self.core
        # Nothing but messages stays among the events.
        if core.ended:
            self._note_end()
        if core.controls:
            self._take_controls(before)
        if self._dropping:
            self._drop(before)
        self._deliver(nbytes)
        if core.ended and (not core.events or self._dropping):
            self.reach_end()

    def _drop(self, before: int) -> None:
        core = self.core
        while len(core.events) > before:
            core.events.pop()
            if core.streaming and not core.ended and not core.events:
                core.go_on()
                if core.ended:
                    self._note_end()

    def eof_received(self) -> None:
        # Nothing is to be answered any more: the transport closes itself.
        self._lose(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.note_counts()
        self.closed = True
        self.blocked = False
        self._lose(exc)
        for timer in (self._timer, self._close_timer, self._pong_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._close_timer = self._pong_timer = None
        # The TLS transport of Python 3.10 believes to be open until it is told.
        self.transport.abort()
        self.pongs.fail(self.closed_error)
        self.senders.wake_all()
        self.closers.wake_all()
        if self.on_end is not None:
            self.on_end(self)
        # Whoever is called by this object holds it: a cycle, which only the collector can free.
        self._deliver = _ignore
        self.on_pause = self.on_resume = None
        # And transports of TLS keep their protocol.
        self.transport.set_protocol(asyncio.BufferedProtocol())

    def _lose(self, cause: Exception | None) -> None:
        """The stream has ended, with or without a Close."""
        core = self.core
        if core.ended:
            core.eof()
        else:
            lost = None
            if core.close_sent is None:
                lost = WebSocketConnectionClosedException(CONNECTION_LOST)
                lost.__cause__ = cause
            core.eof(lost)
            self._note_end()
        self.reach_end()
        self._deliver(0)

    def pause_reading(self) -> None:
        super().pause_reading()
        if self.pongs.awaited:
            self._mind_pongs()

    # Receiving

    def _take_controls(self, before: int) -> None:
        """Answer the pings, note the pongs, and take both out of the events since ``before``."""
        core = self.core
        events = core.events
        fresh = [events.pop() for _ in range(len(events) - before)]
        events.extend(e for e in reversed(fresh) if not isinstance(e, (Ping, Pong)))
        while core.controls:
            control = core.controls.popleft()
            if isinstance(control, Ping):
                self.answer_ping(control.payload)
            else:
                self._keepalive.pong(control.payload)
                self._acknowledge(control.payload)

    def _acknowledge(self, payload: bytes) -> None:
        latency = self.pongs.acknowledge(payload, self.time())
        if latency is not None:
            self.answered(latency)

    def answered(self, latency: float) -> None:
        """A ping has been answered after so many seconds."""
        self.core.counts.answered(latency)

    def _note_end(self) -> None:
        """The last event ends the stream. The program may have to do with those before it."""
        end = self.core.events.pop()
        assert isinstance(end, (Close, Exception))
        self._ending = end
        if self.closed_by is None:
            if isinstance(end, Close):
                self.closed_by = "server"
            elif _close_code(end) is not None:
                self.closed_by = "client"
        self.resume_reading()
        self._end_timer = self.loop.call_later(_PATIENCE, self.reach_end)

    def reach_end(self) -> None:
        """Carry out what ended the stream, if that has come: all before it was taken."""
        end, self._ending = self._ending, None
        if end is None:
            return
        self.end = end
        if self._end_timer is not None:
            self._end_timer.cancel()
            self._end_timer = None
        if isinstance(end, Close):
            self.core.close_received = end
            # Section 5.5.1: the answer carries the code of the question.
            self._send_close(close_payload(end.code, b""))
        elif _close_code(end) is not None:
            self._send_close(close_payload(*failure(end)))
        self._expire_in(LINGER)
        self._deliver(0)

    # Closing

    def send_close(self, code: int | None, reason: str | bytes) -> None:
        """Send our Close frame, unless one was sent.

        Raises:
            WebSocketArgumentException: the code must not be sent, or the reason is not UTF-8
                or too long.
        """
        payload = close_payload(code, reason)
        if self.core.close_sent is not None or self.core.state is State.CLOSED:
            return
        if self.closed_by is None:
            self.closed_by = "client"
        self._send_close(payload)
        if self._close_timeout is not None:
            self._expire_in(self._close_timeout)

    def close(self, code: int | None, reason: str | bytes) -> None:
        """``send_close``, and drop what the peer still sends before its own Close."""
        self.send_close(code, reason)
        self._dropping = True
        self._see_to_fast_path()
        self.resume_reading()
        if self.core.streaming:
            # The rest of a message is of no use, and nothing is parsed while it waits here.
            self.core.events.clear()
            self.go_on()
        self.reach_end()

    def _send_close(self, payload: bytes) -> None:
        if self.core.close_sent is None and self.core.state is not State.CLOSED:
            self.send(OP_CLOSE, payload)
            self.senders.wake_all()

    def abort(self) -> None:
        """End the connection now."""
        if not self.closed and self.transport is not None:
            self.transport.abort()

    def _expire_in(self, seconds: float) -> None:
        """End the connection after so many seconds, or sooner if that was said before."""
        when = self.time() + seconds
        timer = self._close_timer
        if self.closed or (timer is not None and timer.when() <= when):
            return
        if timer is not None:
            timer.cancel()
        self._close_timer = self.loop.call_at(when, self.abort)

    def closed_error(self) -> WebSocketConnectionClosedException:
        """What is raised where the connection is needed but closed."""
        close = self.core.close_received
        error = WebSocketConnectionClosedException(
            "Connection is already closed.",
            code=self.core.close_code,
            reason=None if close is None else close.reason,
        )
        if isinstance(self.end, Exception):
            error.__cause__ = self.end
        return error

    @property
    def mishap(self) -> Exception | None:
        """What ended the connection, if it was no Close frame of either side."""
        if isinstance(self.end, Close):
            return None
        closed = isinstance(self.end, WebSocketConnectionClosedException)
        return None if closed and self.closed_by == "client" else self.end

    # Pongs behind what nobody receives

    def ping(self, payload: str | bytes | None) -> asyncio.Future[float]:
        pong = super().ping(payload)
        self._mind_pongs()
        return pong

    def _mind_pongs(self) -> None:
        """See to it that nobody waits for ever for a pong that can't be seen."""
        if self._pong_timer is None and not self._reading and not self.closed:
            self._pong_timer = self.loop.call_later(PATIENCE, self._give_up_pongs, self._standing)

    @property
    def _standing(self) -> tuple[int, int, int]:
        """Changes with each message or piece that the program takes."""
        core = self.core
        self.note_received()
        return core.counts.messages_received, len(core.events), len(core.buffer)

    def _give_up_pongs(self, before: tuple[int, int, int]) -> None:
        self._pong_timer = None
        if self._reading or not self.pongs.awaited:
            return
        if self._standing != before:
            self._mind_pongs()
            return
        unread = len(self.core.events)
        self.pongs.fail(
            lambda: WebSocketException(
                f"The pong can't be seen: reading has been paused, and none of {unread} messages"
                f" or pieces was received, for {PATIENCE:g} seconds: receive while waiting"
            )
        )

    # Keepalive

    def _arm_keepalive(self) -> None:
        deadline = self._keepalive.deadline()
        if deadline is not None and not self.core.ended:
            self._timer = self.loop.call_at(deadline, self._keep_alive)

    def _keep_alive(self) -> None:
        now = self.time()
        keepalive = self._keepalive
        self.note_received()
        # Asking the clock at each read would cost more than it tells. And while the program
        # does not read, no pong can be seen: that is not the peer's fault.
        if self._heard or not self._reading:
            self._heard = False
            keepalive.heard(now)
        due = keepalive.due(now)
        if due is Due.TIMEOUT:
            self._time_out()
            return
        if due is Due.PING:
            payload = mask_key()
            keepalive.pinged(payload, now)
            # A full transport is a sign of its own; the ping would only make it fuller.
            if not self._full and self.core.close_sent is None:
                self.send(OP_PING, payload)
                self.pongs.expect(payload, now)
        self._arm_keepalive()

    def _time_out(self) -> None:
        if self.core.ended:
            return
        self.core.ended = True
        self.core.events.append(WebSocketTimeoutException("ping/pong timed out"))
        self._note_end()
        self.reach_end()
        self.abort()


def _close_code(error: Exception) -> int | None:
    """The code that the peer is to be told because of this error, None if it is not its fault."""
    code: int | None = getattr(error, "close_code", None)
    return code


def _ignore(count: int) -> None:
    """``Driver._deliver`` when there is nothing more to say."""
