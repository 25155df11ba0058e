"""One run of a ``WebSocketApp``: connect, call back, close. An object that is used once.

A run is one connection; which runs follow one another is for ``_session`` to say.

The run decides nothing about frames (``_stream`` and ``_protocol`` do) and nothing about time
(``_keepalive`` does); it is what a loop, ours or one that the program brought along, calls
when there is something to read or a deadline has come.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ._call_off import CallOff
from ._core import WebSocket
from ._deadline import Deadline
from ._dispatcher import WrappedDispatcher
from ._exceptions import (
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketTimeoutException,
)
from ._keepalive import Keepalive
from ._observe import tell_received
from ._pinger import Pinger
from ._protocol.frames import OP_BINARY, OP_CONT, OP_TEXT
from ._protocol.messages import Close, Fragment, Ping, Pong
from ._stream import LINGER

if TYPE_CHECKING:
    from ._app import WebSocketApp


class Run:
    """See the module's text.

    Parameters:
        app: whose callbacks are called.
        ws: the connection, not connected yet.
        keepalive: interval and timeout of pings in seconds.
        ping_payload: what pings carry.
        on_end: called once with this run, its error and the server's Close frame (either may
            be None); it is to call ``end_connection``.
    """

    def __init__(
        self,
        app: WebSocketApp,
        ws: WebSocket,
        keepalive: tuple[float, float | None],
        ping_payload: str | bytes,
        on_end: Callable[[Run, BaseException | None, Close | None], None],
    ) -> None:
        self.app = app
        self.ws = ws
        self.dispatcher: Any = None
        self.finished = False
        self._on_end = on_end
        self._opened_at: float | None = None
        self._pinger: Pinger | None = None
        self._ping_settings = keepalive
        self._ping_payload = ping_payload
        # Reentrant, as a signal handler may close what its own thread is about to end.
        self._lock = threading.RLock()
        self._close_request: tuple[int | None, bytes, Deadline] | None = None
        # Set once both Close frames are exchanged: the server has so long to end the stream.
        self._drain: Deadline | None = None
        self._stream: Any = None
        self._connecting = CallOff()
        self._patience: threading.Timer | None = None
        self._timer_at: float | None = None
        self._verdict: Exception | None = None
        self._expired = False

    # What the app's thread does

    def connect(self, url: str, options: dict[str, Any]) -> bool:
        """Connect; False where the program has closed in the meantime."""
        if self._close_request is None:
            try:
                self.ws.connect(url, call_off=self._connecting, **options)
            except Exception:
                # The program wanted the end, here or of the socket, and this may be its doing.
                if self._close_request is None and not self._connecting.called:
                    raise
                self._settle()
                return False
            finally:
                self._stop_dialling()
        with self._lock:
            self._stream = self.ws._stream
            closing = self._close_request is not None
        if closing:
            # Closed while it was opened: the server is told, the program sees no on_open.
            self.close_now()
            return False
        self._stream.on_shutdown = self._wake
        self._opened_at = time.monotonic()
        self.restart_keepalive()
        return True

    def _stop_dialling(self) -> None:
        self._connecting.done()
        with self._lock:
            timer, self._patience = self._patience, None
        if timer is not None:
            timer.cancel()
            timer.join()

    def lasted(self) -> float | None:
        """For how many seconds the connection has been open; None if it never was."""
        return None if self._opened_at is None else time.monotonic() - self._opened_at

    def loop(self, dispatcher: Any) -> None:
        """Hand the connection to the loop; returns when the loop's ``read`` does."""
        self.dispatcher = dispatcher
        # What came along with the opening handshake is in memory: no selector would tell.
        if not self._deliver_all() or not self._take_stored():
            return
        try:
            dispatcher.read(self._stream.sock, self.on_readable, self.on_check)
        except (OSError, ValueError):
            # The socket may have been closed just before it was to be watched.
            if self.ws._stream is not None:
                raise
            self._settle()
        self._arm_timer()

    def _take_stored(self) -> bool:
        """Deliver the whole frames that the outer road finds in memory; False ends the loop."""
        buffer = self.ws._core.buffer
        stored = len(buffer) if self._stream.read_frame is not None else 0
        while stored:
            if not self.on_readable():
                return False
            before, stored = stored, len(buffer)
            if stored == before:
                break
        return True

    def finish(self, error: BaseException | None, close: Close | None = None) -> None:
        """End the run, once."""
        with self._lock:
            if self.finished:
                return
            self.finished = True
        self._on_end(self, error, close)

    def end_connection(self, error: BaseException | None) -> None:
        """Give the socket back."""
        if error is None or isinstance(error, Exception):
            self.ws.shutdown()
        else:
            # KeyboardInterrupt and its kin: the server hears a proper goodbye, if it listens.
            self.ws.close(1000, b"", LINGER)

    # What the loop calls

    def on_readable(self) -> bool:
        """Take what has arrived; False ends the loop."""
        if self.finished:
            return False
        if self._expired:
            return self._conclude()
        if self._drain is not None:
            return not self._stream.drained() or self._settle()
        while True:
            try:
                self._stream.fill(Deadline(0))
            except WebSocketTimeoutException:
                return True
            except WebSocketConnectionClosedException:
                # Somebody closed the socket without asking the app.
                return self._settle()
            if self._pinger is not None:
                self._pinger.heard()
            if not self._deliver_all():
                return False
            # A loop that the program brought along can't see what TLS holds already.
            if self._drain is not None or not self._stream.transport.pending():
                return True

    def on_check(self) -> bool:
        """See to the deadlines; False ends the loop."""
        if self.finished:
            return False
        if not self._is_over():
            return True
        return self._conclude()

    def _is_over(self) -> bool:
        """Whether a deadline ends the run now; a ping that is due is sent."""
        if self.ws._stream is None or self._verdict is not None or self._stream.deaf:
            return True
        deadline = self._end_deadline()
        if deadline is not None:
            return deadline.expired
        pinger = self._pinger
        if pinger is None or not pinger.peer_is_gone():
            return False
        # A callback that took longer than the timeout has kept us from reading its sign of
        # life, which is there by now.
        if self._arrived():
            pinger.heard()
            return not self._deliver_all()
        self._verdict = WebSocketTimeoutException("ping/pong timed out")
        return True

    def _arrived(self) -> bool:
        """Whether something can be read at once; it is."""
        try:
            self._stream.fill(Deadline(0))
        except WebSocketException:
            return False
        return True

    def _conclude(self) -> bool:
        if self._verdict is None:
            return self._settle()
        self.finish(self._verdict)
        return False

    def _end_deadline(self) -> Deadline | None:
        if self._drain is None and self._close_request is not None:
            return self._close_request[2]
        return self._drain

    def until_check(self) -> float | None:
        """Seconds until ``on_check`` has something to do, None if it never has."""
        deadline = self._end_deadline()
        if deadline is not None:
            return deadline.left()
        return None if self._pinger is None else self._pinger.wait()

    def going(self) -> bool:
        return not self.finished

    def backlog(self) -> bool:
        """Whether the loop should call ``on_readable`` for room to write as well."""
        return bool(self._stream.backlog)

    def _arm_timer(self) -> None:
        """Ask a foreign loop to call at the next deadline."""
        if not isinstance(self.dispatcher, WrappedDispatcher):
            return
        if self._expired or self.finished:
            return
        delay = self.until_check()
        if delay is None or not self.dispatcher.has_timers:
            return
        at = time.monotonic() + delay
        if self._timer_at is None or at < self._timer_at:
            self._timer_at = at
            self.dispatcher.timeout(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer_at = None
        if not self.finished and self._is_over():
            # The loop still watches the socket: it lets go of it only when on_readable says
            # so, and the end of the stream makes it readable.
            self._expired = True
            self._stream.transport.shutdown()
        self._arm_timer()

    def _wake(self) -> None:
        wake = getattr(self.dispatcher, "wake", None)
        if wake is not None:
            wake()

    def _settle(self) -> bool:
        """End the run after a closing handshake, whole or not."""
        core = self.ws._core
        self.finish(None, core.close_received)
        return False

    # Events

    def _deliver_all(self) -> bool:
        """Call back for all events that are there; False ends the loop."""
        app = self.app
        events = self.ws._core.events
        if app.observer is not None:
            tell_received(app.observer, tuple(events))
        while events:
            try:
                event = events.popleft()
            except IndexError:
                break  # a thread that receives by itself was faster
            kind = event.__class__
            if (kind is str or kind is bytes) and self._close_request is None:
                if app.on_data is not None:
                    app._callback(app.on_data, event, OP_TEXT if kind is str else OP_BINARY, True)
                # The hot path: _callback() written out, as each call counts.
                on_message = app.on_message
                if on_message is not None:
                    try:
                        on_message(app, event)
                    except Exception as error:
                        app._callback_failed(on_message, error)
                continue
            self._deliver_rare(event)
            if self.finished:
                break
        self._arm_timer()
        return not self.finished

    def _deliver_rare(self, event: Any) -> None:
        app = self.app
        if isinstance(event, Close):
            self._stream.answer_close(event)
            self._drain = Deadline(LINGER)
            if isinstance(self.dispatcher, WrappedDispatcher) and not self.dispatcher.has_timers:
                self._settle()
        elif isinstance(event, Exception):
            self._on_failure(event)
        elif isinstance(event, Pong):
            app.last_pong_tm = time.time()
            app._callback(app.on_pong, event.payload)
        elif isinstance(event, Ping):
            app._callback(app.on_ping, event.payload)
        elif isinstance(event, Fragment) and self._close_request is None:
            data = event.payload if event.text is None else event.text
            app._callback(app.on_data, data, event.opcode, int(event.fin))
            if event.opcode == OP_CONT:
                app._callback(app.on_cont_message, data, int(event.fin))
            else:
                app._callback(app.on_message, data)

    def _on_failure(self, error: Exception) -> None:
        if self._close_request is not None and isinstance(
            error, WebSocketConnectionClosedException
        ):
            # The program wanted the end, and here it is.
            self._settle()
            return
        if self.app._sender is not None:
            self.app._sender.measure()
        self._stream.fail(error)
        self.finish(error)

    # What any thread may do

    def request_close(self, status: int | None, reason: bytes, timeout: float | None) -> None:
        """Start the closing handshake; the loop sees it to its end."""
        stream = self._stream
        if stream is not None and stream.forked:
            # The connection is the parent's; this process has a copy of the socket to give back.
            self.ws.shutdown()
            return
        deadline = Deadline(timeout)
        with self._lock:
            if self._close_request is not None or self.finished:
                return
            self._close_request = (status, reason, deadline)
            stream = self._stream
            if stream is None and self._connecting.asked and timeout is not None:
                # The server still has that long to answer, and then hears a proper goodbye.
                self._patience = threading.Timer(timeout, self._connecting.call)
                self._patience.daemon = True
                self._patience.start()
        if stream is None:
            if not self._connecting.asked:
                self._connecting.call()
            return
        try:
            stream.send_close(status, reason, deadline)
        except WebSocketTimeoutException:
            # The loop itself may be what waits for room, in a callback that sends.
            stream.transport.shutdown()
        except WebSocketException:
            pass  # the loop finds the end of a connection that is lost
        if not isinstance(self.dispatcher, WrappedDispatcher):
            self._wake()
        elif self.dispatcher.has_timers:
            self._arm_timer()
        else:
            # Nothing would wake a loop without timers, and it may stop reading any time.
            self.close_now()

    def close_now(self) -> None:
        """The rest of the closing handshake at once, without the loop."""
        status, reason, deadline = self._close_request or (1000, b"", Deadline(0))
        self.ws.close(status, reason, deadline.left())
        self._settle()

    def disconnect(self, *_: Any) -> None:
        """A foreign loop failed to write: let its reader find the end of the stream."""
        self._stream.transport.shutdown()

    @property
    def keepalive(self) -> Keepalive | None:
        return None if self._pinger is None else self._pinger.keepalive

    def restart_keepalive(self) -> None:
        """The next ping is due one interval from now."""
        payload = self._ping_payload
        self._pinger = Pinger(
            self._stream,
            *self._ping_settings,
            payload.encode() if isinstance(payload, str) else bytes(payload),
            self.app.round_trips,
            partial(_note_ping, self.app),
        )

    def send_ping(self) -> None:
        """Send one ping of the keepalive."""
        if self._pinger is not None:
            self._pinger.ping()


def _note_ping(app: WebSocketApp) -> None:
    app.last_ping_tm = time.time()
