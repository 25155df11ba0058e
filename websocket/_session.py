"""One call of ``run_forever``: the runs that follow one another, and the waits between them.

A run is one connection (``_run``). The session decides with the policy of ``_reconnect``
whether another one follows, and is a flat loop: however often a connection is lost, the stack
stays as it is. Under a loop that the program brought along, the waits are that loop's timers.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._core import WebSocket
from ._dispatcher import DispatcherBase, Pause, WrappedDispatcher
from ._exceptions import WebSocketConnectionClosedException
from ._logging import event
from ._observe import tell
from ._protocol.frames import CLOSE_NO_STATUS
from ._protocol.messages import Close
from ._reconnect import Attempts, Backoff, Next
from ._run import Run
from ._socket import getdefaulttimeout
from ._stats import Tally

if TYPE_CHECKING:
    from ._app import WebSocketApp


@dataclass(frozen=True)
class Settings:
    """What ``run_forever`` was told.

    Attributes:
        new_socket: makes the object of each connection.
        options: those of ``WebSocket.connect``; callables among ``header``, ``cookie`` and
            ``subprotocols`` are asked anew for each connection.
        keepalive: interval and timeout of pings in seconds.
        ping_payload: what pings carry.
        dispatcher: a loop that the program brought along, or None.
        policy: None for a single connection.
    """

    new_socket: Callable[[], WebSocket]
    options: dict[str, Any]
    keepalive: tuple[float, float | None]
    ping_payload: str | bytes
    dispatcher: Any
    policy: Backoff | None


class Session:
    """See the module's text.

    Parameters:
        app: whose callbacks are called.
        settings: what ``run_forever`` was told.

    Attributes:
        run: the run that goes on now, None between two.
        finished: ``on_close`` has been called, or is about to be.
        failed: what ``run_forever`` returns.
        opened: how many connections there have been.
        tally: what has gone over them.
    """

    def __init__(self, app: WebSocketApp, settings: Settings) -> None:
        self.app = app
        self.run: Run | None = None
        self.finished = False
        self.failed = False
        self.opened = 0
        self.tally = Tally()
        self._settings = settings
        self._attempts = Attempts(settings.policy)
        self._next: Next | None = None
        # Reentrant, as a signal handler may close what its own thread is about to begin.
        self._lock = threading.RLock()
        self._close_request: tuple[int | None, bytes, float | None] | None = None
        self._driving = False
        self._began = 0.0  # when the connection of now was dialled
        self._pause = Pause()
        # Whether a timer of a foreign loop will bring the next run, and whether it has.
        self._timer_set = False
        self._timer_due = False

    # The loop

    def drive(self) -> bool:
        """Connect, run, wait, again and again; see ``WebSocketApp.run_forever``."""
        self._driving = True
        try:
            while self._run_once() and self._wait():
                pass
        except BaseException as error:
            self.finish(error)
            if not isinstance(error, (Exception, KeyboardInterrupt)):
                raise
        finally:
            self._driving = False
        if self._timer_set and self._close_request is not None:
            self.finish(None)
        return self.failed

    def _run_once(self) -> bool:
        """One connection, from dialling to its end; False where none is to follow it now."""
        run = self._begin()
        if run is None:
            return False
        dispatcher: Any = None
        try:
            self._began = time.monotonic()
            url, options = self._ask_again()
            if run.connect(url, options):
                run.ws.settimeout(getdefaulttimeout())
                sender = self.app._sender
                if sender is not None:
                    sender.begin(run.ws)
                self._announce(run)
                if sender is not None:
                    sender.flush()
                dispatcher = self._dispatcher_for(run)
                run.loop(dispatcher)
                # A foreign loop may go on with the run after its read has returned, unless
                # it has returned because the app is to stop.
                if not self.app.keep_running and not run.finished:
                    run.close_now()
        except BaseException as error:
            if run.finished:
                # Interrupted while it was ending.
                run.end_connection(error)
                raise
            run.finish(error)
            if not isinstance(error, (Exception, KeyboardInterrupt)):
                raise
        finally:
            if isinstance(dispatcher, DispatcherBase):
                dispatcher.close()
                run.dispatcher = None
        return self._next is not None

    def _begin(self) -> Run | None:
        settings = self._settings
        ws = settings.new_socket()
        if self._next is not None and settings.policy is not None and ws.gettimeout() is None:
            ws.settimeout(settings.policy.timeout)
        run = Run(
            self.app,
            ws,
            settings.keepalive,
            settings.ping_payload,
            self._on_end,
        )
        with self._lock:
            closing = self._close_request is not None
            if not closing and not self.finished:
                self.run = run
                self.app.sock = run.ws
                self.app._keep_running = True
        if closing:
            self.finish(None)
            return None
        self._next = None
        return None if self.finished else run

    def _ask_again(self) -> tuple[str, dict[str, Any]]:
        """URL and options of this connection: what is a callable may answer anew each time."""
        options = dict(self._settings.options)
        for name in ("cookie", "subprotocols"):
            options[name] = _value(options[name])
        return _value(self.app.url), options

    def _announce(self, run: Run) -> None:
        app = self.app
        self.opened += 1
        self.tally.begin(run.ws)
        tell(app.observer, "connected", self.opened, time.monotonic() - self._began)
        renewed = self.opened > 1
        app.reconnect_count = self.opened - 1
        event(
            "reconnected" if renewed else "connected",
            "connection %d is open",
            self.opened,
            attempt=app.reconnect_attempt,
        )
        app.reconnect_attempt, app.reconnect_delay = 0, None
        app._callback(app.on_reconnect if renewed and app.on_reconnect else app.on_open)

    def _dispatcher_for(self, run: Run) -> Any:
        dispatcher = self.app.create_dispatcher(
            self._settings.keepalive[1],
            self._settings.dispatcher,
            run.ws.is_ssl(),
            run.disconnect,
        )
        if isinstance(dispatcher, DispatcherBase):
            dispatcher.going = run.going
            dispatcher.until_check = run.until_check
            dispatcher.backlog = run.backlog
        elif isinstance(dispatcher, WrappedDispatcher) and dispatcher.has_writer:
            run.ws.use_dispatcher(dispatcher)
        return dispatcher

    # Between two runs

    def _on_end(self, run: Run, error: BaseException | None, close: Close | None) -> None:
        """A run has ended; decide what follows, and tell the program."""
        app = self.app
        uncertain = [] if app._sender is None else app._sender.lost()
        following = self._following(run, error, close)
        if following is not None and error is None:
            error = _closed_for_now(close)
        if following is not None:
            app.reconnect_attempt, app.reconnect_delay = following
        if error is not None and not isinstance(error, SystemExit):
            app._callback(app.on_error, error)
        if uncertain and app._outbox is not None:
            app._guarded(app._outbox.on_uncertain, uncertain)
        run.end_connection(error)
        # The goodbye of an interrupted run may have brought the peer's Close frame.
        close = close or run.ws._core.close_received
        self.tally.end()
        with self._lock:
            self.run = None
            app.sock = None
            # Loops of programs run for as long as this says so, and need a socket then.
            app._keep_running = self._settings.dispatcher is None
            going_on = following is not None and self._close_request is None
        if not going_on:
            # A program that closes when it hears of a loss wanted the end.
            self.finish(None if following is not None else error, close, told=True)
            return
        assert following is not None
        event(
            "reconnecting",
            "attempt %d to connect again in %.1f s, after: %s",
            *following,
            error,
            attempt=following.number,
            delay=following.delay,
            error=error,
        )
        self.tally.lost()
        tell(app.observer, "lost", error, *following)
        self._next = following
        if not self._driving:
            self._set_timer(following.delay)

    def _following(self, run: Run, error: BaseException | None, close: Close | None) -> Next | None:
        closed_past_us = error is None and close is None
        if closed_past_us or self._close_request is not None or not self._can_wait():
            return None
        reason: BaseException | int
        if error is not None:
            reason = error
        else:
            assert close is not None
            reason = CLOSE_NO_STATUS if close.code is None else close.code
        if not isinstance(reason, (Exception, int)):
            return None
        try:
            attempts = self._attempts.after(reason, run.lasted())
        except Exception as failure:
            self.app._callback_failed(self._settings.policy, failure)
            return None
        if attempts is None:
            return None
        self._attempts = attempts
        return attempts.next(reason, random.random(), time.time())

    def _can_wait(self) -> bool:
        # A socket that the program has connected itself can't be dialled again. And a foreign
        # loop that has the run to itself must have a timer for the wait.
        if self._settings.options.get("socket") is not None:
            return False
        return self._driving or _has_timers(self._settings.dispatcher)

    def _wait(self) -> bool:
        """Wait until the next attempt is due; False where the loop ends here."""
        assert self._next is not None
        delay = self._next.delay
        if _has_timers(self._settings.dispatcher):
            return self._set_timer(delay)
        # Where the wait was ended, the next beginning is the end.
        self._pause.wait(delay)
        return True

    def _set_timer(self, delay: float) -> bool:
        """Let the foreign loop call when the attempt is due; True if it has done so already."""
        self._timer_set, self._timer_due = True, False
        loop = self._settings.dispatcher
        if hasattr(loop, "reconnect"):
            loop.reconnect(delay, self._on_timer)
        else:
            loop.timeout(delay, self._on_timer)
        return self._timer_due

    def _on_timer(self, reconnecting: bool = True) -> None:
        self._timer_set = False
        if self.finished:
            return
        if self._driving:
            self._timer_due = True
        else:
            self.drive()

    # The end

    def request_close(self, status: int | None, reason: bytes, timeout: float | None) -> None:
        """End the session, whatever it is at; from any thread and from signal handlers."""
        with self._lock:
            if self._close_request is not None or self.finished:
                return
            self._close_request = (status, reason, timeout)
            run = self.run
        if run is not None:
            run.request_close(status, reason, timeout)
            return
        self._pause.end()
        if self._timer_set and not self._driving:
            self.finish(None)

    def finish(
        self, error: BaseException | None, close: Close | None = None, *, told: bool = False
    ) -> None:
        """The end of it all: exactly one ``on_close``.

        Parameters:
            told: whether the program has heard of ``error`` already.
        """
        with self._lock:
            if self.finished:
                return
            self.finished = True
            self.failed = isinstance(error, Exception)
        app = self.app
        self._next = None
        try:
            event(
                "closed",
                "the connection has ended: %s",
                error or close or "closed by the program",
                error=error,
                close_code=None if close is None else close.code,
            )
            tell(app.observer, "closed", error, None if close is None else close.code)
            if not (told or error is None or isinstance(error, SystemExit)):
                app._callback(app.on_error, error)
        finally:
            if app._sender is not None:
                app._sender.end()
            app._session_ended(self)
            app._callback(app.on_close, *app._close_arguments(close))


def _has_timers(dispatcher: Any) -> bool:
    return hasattr(dispatcher, "timeout") or hasattr(dispatcher, "reconnect")


def _value(value: Any) -> Any:
    return value() if callable(value) else value


def _closed_for_now(close: Close | None) -> WebSocketConnectionClosedException:
    code, reason = (None, "") if close is None else (close.code, close.reason)
    words = f" ({reason})" if reason else ""
    return WebSocketConnectionClosedException(
        f"The server closed the connection with code {code}{words}."
    )
