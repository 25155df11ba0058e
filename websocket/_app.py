"""The callback face: ``WebSocketApp``. Signatures, checks and callbacks; a run is in ``_run``.

It is long because the documented class has so many parameters, each explained where it is taken.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ._abnf import ABNF
from ._core import WebSocket, _normalize_close_reason
from ._dispatcher import Dispatcher, SSLDispatcher, WrappedDispatcher
from ._exceptions import WebSocketConnectionClosedException, WebSocketException
from ._keepalive import RoundTrips, check_settings
from ._observe import Observer, tell
from ._open import DialingOptions, check_dialing
from ._outbox import Outbox, Sender
from ._protocol.connection import DEFAULT_MAX_SIZE
from ._protocol.extensions import Extension
from ._protocol.frames import OP_BINARY, OP_CLOSE, OP_TEXT
from ._protocol.messages import Close, parse_close
from ._protocol.sending import Payload, close_payload
from ._reconnect import DEFAULT, Backoff, policy_of
from ._run import Run
from ._session import Session, Settings
from ._socket import getdefaulttimeout
from ._stats import Stats, Tally

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["WebSocketApp", "setReconnect", "set_reconnect"]

_logger = logging.getLogger("websocket")

# What ``set_reconnect`` was given last, under the name that programs know.
RECONNECT: Backoff | float | None = 0
_default_policy: Backoff | None = DEFAULT


def set_reconnect(reconnectInterval: Backoff | float | None) -> None:
    """Set the default of ``run_forever(reconnect=...)``, for the whole process.

    Parameters:
        reconnectInterval: what ``run_forever`` takes: seconds between two attempts, 0 or False
            for none, True, or a ``Backoff``. None puts the first default back.

    Raises:
        WebSocketArgumentException: it is none of these.
    """
    global RECONNECT, _default_policy
    _default_policy = policy_of(reconnectInterval)
    RECONNECT = reconnectInterval  # pyright: ignore[reportConstantRedefinition]


setReconnect = set_reconnect


class WebSocketApp:
    """A WebSocket connection that calls back.

    Each callback is called with the app first. One that raises is logged with its traceback
    and reported to ``on_error``; the connection goes on.

    Parameters:
        url: ``ws://`` or ``wss://``. This, ``header``, ``cookie`` and ``subprotocols`` may be
            callables without parameters, which are asked anew for each connection.
        header: additional request headers: a list of ``"Name: value"``, or a dict.
        on_open(app): the connection is open.
        on_message(app, message): a message: str for text, bytes for binary.
        on_error(app, exception): something went wrong, in the connection or a callback.
        on_close(app, code, reason): the run has ended; both are None where the server sent no
            Close frame. Called exactly once for each run. A callback with the one parameter
            ``app`` is called with that.
        on_ping(app, payload), on_pong(app, payload): control frames, the payload as bytes.
            Pings are answered by themselves.
        on_cont_message(app, piece, fin): a further piece of a fragmented message; the first
            one goes to ``on_message``. Without this callback, messages arrive whole.
        keep_running: accepted for old programs; assign ``app.keep_running = False`` to end a
            run.
        get_mask_key: see ``WebSocket``.
        cookie: value of the Cookie header.
        subprotocols: names to offer, in the order of preference.
        on_data(app, data, opcode, fin): like ``on_message``, with the opcode, before it.
        on_reconnect(app): as ``on_open``, for a connection that was made again; without it,
            ``on_open`` is called.
        socket: a connected socket to use; the run owns and closes it, and does not reconnect.
        outbox: keeps messages that are sent while there is no connection. They are sent after
            ``on_reconnect`` (or ``on_open``), in their order.
        observer: hears of all that a metrics library may want to be told.

    Attributes:
        sock: the ``WebSocket`` of the connection, None between two of them.
        reconnect_count: how many connections this run has made again.
        reconnect_attempt: the number of the attempt that comes next or goes on, 0 if none.
        reconnect_delay: seconds from the loss (or the failed attempt) to that attempt, None if
            there is none.
        round_trips: the times between pings and pongs: ``last``, ``smoothed``, ``count`` and
            ``percentile(share)``, in seconds.
        has_errored: whether the last run failed.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        header: Any = None,
        on_open: Callable[..., Any] | None = None,
        on_message: Callable[..., Any] | None = None,
        on_error: Callable[..., Any] | None = None,
        on_close: Callable[..., Any] | None = None,
        on_ping: Callable[..., Any] | None = None,
        on_pong: Callable[..., Any] | None = None,
        on_cont_message: Callable[..., Any] | None = None,
        keep_running: bool = True,
        get_mask_key: Callable[[int], str | bytes] | None = None,
        cookie: str | Callable[[], str | None] | None = None,
        subprotocols: list[str] | Callable[[], list[str] | None] | None = None,
        on_data: Callable[..., Any] | None = None,
        *,
        on_reconnect: Callable[..., Any] | None = None,
        socket: Any = None,
        outbox: Outbox | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.url = url
        self.header: Any = header if header is not None else []
        self.cookie = cookie
        self.subprotocols = subprotocols
        self.get_mask_key = get_mask_key
        self.prepared_socket = socket
        self.on_open = on_open
        self.on_reconnect = on_reconnect
        self.on_message = on_message
        self.on_data = on_data
        self.on_error = on_error
        self.on_close = on_close
        self.on_ping = on_ping
        self.on_pong = on_pong
        self.on_cont_message = on_cont_message
        self.sock: WebSocket | None = None
        self.last_ping_tm = 0.0
        self.last_pong_tm = 0.0
        self.has_errored = False
        self.round_trips = RoundTrips(
            None if observer is None else lambda seconds: tell(observer, "ponged", seconds)
        )
        self.reconnect_count = 0
        self.reconnect_attempt = 0
        self.reconnect_delay: float | None = None
        self._keep_running = False
        self._sender = None if outbox is None else Sender(outbox)
        self._outbox = outbox
        self.observer = observer
        self._tally = Tally()
        self._session: Session | None = None
        # Reentrant, as a signal handler may close what its own thread is about to begin.
        self._lock = threading.RLock()
        # close() before the first run counts for it; after a run it has nothing to close.
        self._fresh = True
        self._closed_early: tuple[int | None, bytes, float | None] | None = None

    @property
    def keep_running(self) -> bool:
        """True while ``run_forever`` is to go on. Assigning False closes the connection."""
        return self._keep_running

    @keep_running.setter
    def keep_running(self, value: bool) -> None:
        if value:
            self._keep_running = True
        else:
            self.close()

    @property
    def stats(self) -> Stats:
        """What has gone over all connections of this run, or of the last one, together."""
        return self._tally.stats

    # Sending

    def send(self, data: Payload, opcode: int = OP_TEXT) -> None:
        """Send a message, or a control frame; see ``WebSocket.send``.

        Raises:
            WebSocketConnectionClosedException: there is no open connection, and no outbox.
            WebSocketOutboxFullException: the outbox is full.
        """
        sock = self.sock
        if self._sender is not None:
            self._sender.send(data, opcode)
        elif sock is not None:
            sock.send(data, opcode)
        else:
            raise WebSocketConnectionClosedException("Connection is already closed.")
        if self.observer is not None and opcode < OP_CLOSE:
            tell(self.observer, "sent", len(data))

    def send_many(self, messages: Iterable[Payload]) -> None:
        """Send many messages with few system calls; see ``WebSocket.send_many``.

        Raises:
            WebSocketConnectionClosedException: there is no open connection.
        """
        if self._sender is not None or self.observer is not None:
            for message in messages:
                self.send(message, OP_TEXT if isinstance(message, str) else OP_BINARY)
            return
        sock = self.sock
        if sock is None:
            raise WebSocketConnectionClosedException("Connection is already closed.")
        sock.send_many(messages)

    def send_text(self, text_data: str) -> None:
        """Send a text message."""
        self.send(text_data, OP_TEXT)

    def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send a binary message."""
        self.send(data, OP_BINARY)

    def close(self, **kwargs: Any) -> None:
        """Close the connection; ``run_forever`` then calls ``on_close`` and returns.

        It may be called from any thread and from callbacks, more than once, and before the
        connection is open. It does not wait for the end.

        Parameters (by keyword):
            status: the close code, default 1000.
            reason: at most 123 bytes of UTF-8.
            timeout: seconds to wait for the server's Close frame, default 3.

        Raises:
            WebSocketArgumentException: the code must not be sent, or the reason is too long.
        """
        status = kwargs.pop("status", 1000)
        reason = _normalize_close_reason(kwargs.pop("reason", b""))
        timeout = kwargs.pop("timeout", 3)
        if kwargs:
            raise TypeError(f"close() takes status, reason and timeout, not {', '.join(kwargs)}")
        close_payload(status, reason)
        with self._lock:
            self._keep_running = False
            session = self._session
            if session is None and self._fresh:
                self._closed_early = (status, reason, timeout)
        if session is not None:
            session.request_close(status, reason, timeout)
        elif self.sock is not None:
            # A connection that the program itself has put here.
            sock, self.sock = self.sock, None
            sock.close(status, reason, timeout)

    # Running

    def run_forever(
        self,
        sockopt: Any = None,
        sslopt: dict[str, Any] | None = None,
        ping_interval: float = 0,
        ping_timeout: float | None = None,
        ping_payload: str | bytes = "",
        http_proxy_host: str | None = None,
        http_proxy_port: int | str | None = None,
        http_no_proxy: list[str] | None = None,
        http_proxy_auth: tuple[str, str] | None = None,
        skip_utf8_validation: bool = False,
        host: str | None = None,
        origin: str | None = None,
        dispatcher: Any = None,
        suppress_origin: bool = False,
        proxy_type: str | None = None,
        *,
        http_proxy_timeout: float | None = None,
        suppress_host: bool = False,
        reconnect: Backoff | float | None = None,
        redirect_limit: int = 3,
        max_size: int | None = DEFAULT_MAX_SIZE,
        compression: str | Extension | None = None,
        **dialing: Unpack[DialingOptions],
    ) -> bool:
        """Connect and call back; where the connection is lost, connect again.

        The timeout for connecting is that of ``setdefaulttimeout``.

        Parameters:
            sockopt, sslopt, max_size, compression: see ``WebSocket``.
            ping_interval: seconds between pings, 0 for none; the first after one interval.
            ping_timeout: seconds without any sign of life after a ping that end the
                connection, None for no end. Shorter than the interval.
            ping_payload: what the pings carry.
            http_proxy_host, http_proxy_port, http_no_proxy, http_proxy_auth,
            http_proxy_timeout, proxy_type: the proxy.
            skip_utf8_validation: see ``WebSocket``.
            host, origin, suppress_origin, suppress_host, redirect_limit: see
                ``WebSocket.connect``.
            dispatcher: a loop to use instead of our own: an object with ``read(sock,
                callback)`` and optionally ``timeout``, ``signal``, ``abort`` and
                ``buffwrite``; ``rel`` is one. Where its ``read`` returns at once, so does
                ``run_forever``.
            reconnect: when to connect again, see the documentation's page on reconnecting.
                Not given: the default of ``set_reconnect``; at first that is at once and then
                with growing waits, six attempts, but not where the first connection fails.
                0 or False: never. A number: so many seconds between attempts, without end,
                the first connection included. True: as the default, without end. A
                ``Backoff``: as it says.
            **dialing: ``proxy``, ``proxy_sslopt``, ``source_address``, ``keepalive``,
                ``tcp_user_timeout``, ``socket_factory``, ``resolver``, ``auth``, ``netrc``,
                ``cookie_jar``: see ``WebSocket.connect``.

        Returns:
            True if the connection could not be made or was lost, False if it was closed.

        Raises:
            WebSocketArgumentException: settings that can't work.
            WebSocketException: this app is running already.
        """
        check_settings(ping_interval, ping_timeout)
        check_dialing(dialing)
        policy = policy_of(reconnect, _default_policy)
        if self._session is not None or self.sock is not None:
            raise WebSocketException("socket is already opened: this app is running")

        def new_socket() -> WebSocket:
            ws = WebSocket(
                self.get_mask_key,
                sockopt=sockopt,
                sslopt=sslopt,
                fire_cont_frame=self.on_cont_message is not None,
                skip_utf8_validation=skip_utf8_validation,
                enable_multithread=True,
                max_size=max_size,
                compression=compression,
            )
            ws.settimeout(getdefaulttimeout())
            return ws

        options = {
            "header": self.header,
            "cookie": self.cookie,
            "http_proxy_host": http_proxy_host,
            "http_proxy_port": http_proxy_port,
            "http_no_proxy": http_no_proxy,
            "http_proxy_auth": http_proxy_auth,
            "http_proxy_timeout": http_proxy_timeout,
            "proxy_type": proxy_type,
            "subprotocols": self.subprotocols,
            "host": host,
            "origin": origin,
            "suppress_origin": suppress_origin,
            "suppress_host": suppress_host,
            "socket": self.prepared_socket,
            "redirect_limit": redirect_limit,
            **dialing,
        }
        keepalive = (ping_interval, ping_timeout)
        settings = Settings(new_socket, options, keepalive, ping_payload, dispatcher, policy)
        return self._begin(Session(self, settings)).drive()

    def _begin(self, session: Session) -> Session:
        with self._lock:
            self._session = session
            self._tally = session.tally
            self._keep_running = True
            self.has_errored = False
            self.reconnect_count = self.reconnect_attempt = 0
            self.reconnect_delay = None
            self._fresh = False
            early, self._closed_early = self._closed_early, None
        if early is not None:
            session.request_close(*early)
        return session

    def create_dispatcher(
        self,
        ping_timeout: float | None,
        dispatcher: Any = None,
        is_ssl: bool = False,
        handleDisconnect: Callable[..., Any] | None = None,
    ) -> Any:
        """The loop of a run: ours, or an adapter for one that the program brought along."""
        if dispatcher is not None:
            return WrappedDispatcher(self, ping_timeout, dispatcher, handleDisconnect)
        return (SSLDispatcher if is_ssl else Dispatcher)(self, ping_timeout)

    def ready(self) -> bool:
        """Whether the connection is open."""
        return self.sock is not None and self.sock.connected

    @property
    def _run(self) -> Run | None:
        return None if self._session is None else self._session.run

    def _session_ended(self, session: Session) -> None:
        with self._lock:
            if self._session is session:
                self._session = None
                self.sock = None
                self._keep_running = False
                self.has_errored = session.failed
                self.reconnect_attempt, self.reconnect_delay = 0, None

    # Callbacks

    def _callback(self, callback: Callable[..., Any] | None, *args: Any) -> None:
        self._guarded(callback, self, *args)

    def _guarded(self, callback: Callable[..., Any] | None, *args: Any) -> None:
        if callback is None:
            return
        try:
            callback(*args)
        except Exception as error:
            self._callback_failed(callback, error)

    def _callback_failed(self, callback: Any, error: Exception) -> None:
        _logger.error("error from callback %r: %s", callback, error, exc_info=error)
        if callback is not self.on_error:
            self._callback(self.on_error, error)

    def _close_arguments(self, close: Close | None) -> list[Any]:
        # A Close frame without a code says nothing, as if there had been none.
        silent = close is None or close.code is None
        values: list[Any] = [None, None] if silent else list(close or ())
        if self.on_close is None:
            return values
        try:
            signature = inspect.signature(self.on_close)
        except (TypeError, ValueError):
            return values
        # The callback's own signature decides how much it is told.
        for count in (2, 1, 0):
            try:
                signature.bind(self, *values[:count])
            except TypeError:
                continue
            return values[:count]
        return values

    def _get_close_args(self, close_frame: Any) -> list[Any]:
        """Code and reason of a Close frame (or its payload), as ``on_close`` takes them."""
        return self._close_arguments(Close(*self._parse_close_frame(close_frame)))

    def _parse_close_frame(self, close_frame: Any) -> tuple[Any, Any]:
        data = close_frame.data if isinstance(close_frame, ABNF) else close_frame
        if not data:
            return None, None
        close = parse_close(bytes(data))
        return close.code, close.reason

    # Keepalive under the names of earlier releases

    def _send_ping(self, *_: Any) -> None:
        """Send one ping of the keepalive now."""
        if self._run is not None:
            self._run.send_ping()

    def _start_ping_thread(self) -> None:
        """Let pings begin one interval from now; they need no thread."""
        if self._run is not None:
            self._run.restart_keepalive()

    def _stop_ping_thread(self) -> None:
        """Send no more pings in this run."""
        if self._run is not None:
            keepalive = self._run.keepalive
            if keepalive is not None:
                keepalive.interval = 0
