"""The blocking face: ``WebSocket`` and ``create_connection``.

A thin driver: the rules stand in ``_protocol``, dialling and the opening handshake in
``_open``, and the order of reads, writes and closing among threads in ``_stream``. It is long
because the documented class has so many methods, each of a few lines under its docstring.
"""

# Programs import constants of other modules from here.
# pyright: reportUnusedImport=false

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from ._abnf import (  # noqa: F401
    ABNF,
    STATUS_ABNORMAL_CLOSED,
    STATUS_BAD_GATEWAY,
    STATUS_GOING_AWAY,
    STATUS_INVALID_EXTENSION,
    STATUS_INVALID_PAYLOAD,
    STATUS_MESSAGE_TOO_BIG,
    STATUS_NORMAL,
    STATUS_POLICY_VIOLATION,
    STATUS_PROTOCOL_ERROR,
    STATUS_STATUS_NOT_AVAILABLE,
    STATUS_TLS_HANDSHAKE_ERROR,
    STATUS_UNEXPECTED_CONDITION,
    STATUS_UNSUPPORTED_DATA_TYPE,
    abnf_of_event,
    frame_buffer,
    frame_of,
)
from ._call_off import CallOff
from ._deadline import Deadline
from ._exceptions import (
    WebSocketConnectionClosedException,
    WebSocketProtocolException,
    WebSocketTimeoutException,
)
from ._handshake import SUPPORTED_REDIRECT_STATUSES, handshake_response  # noqa: F401
from ._logging import isEnabledForTrace, trace
from ._open import open_connection
from ._pieces import MessageReader, MessageWriter
from ._pong import PongWaiter
from ._protocol.connection import DEFAULT_MAX_SIZE, Connection, Event
from ._protocol.deflate import extension_of
from ._protocol.extensions import Codec, Extension
from ._protocol.frames import FIN, OP_BINARY, OP_CLOSE, OP_PING, OP_PONG, OP_TEXT
from ._protocol.messages import Close, Fragment, Frame, Ping, Pong
from ._protocol.sending import Payload, close_payload
from ._socket import DEFAULT_SOCKET_OPTION, getdefaulttimeout, sock_opt  # noqa: F401
from ._ssl_compat import HAVE_CONTEXT_CHECK_HOSTNAME, HAVE_SSL, ssl  # noqa: F401
from ._stats import Stats, stats_of
from ._stream import Stream
from ._transport import DoubleTransport, is_tls
from ._utils import NoLock

__all__ = ["WebSocket", "create_connection"]

_RECEIVING = ("recv_frame", "_recv", "recv_data", "recv_data_frame")
_SENDING = ("send_frame", "_send")


def _normalize_close_reason(reason: str | bytes | None) -> bytes:
    """The reason of a Close frame as bytes, however a program gave it."""
    if reason is None:
        return b""
    return reason.encode() if isinstance(reason, str) else bytes(reason)


class WebSocket:
    """A blocking WebSocket connection.

    Any number of threads may send while another receives, and any thread may close.

    Parameters:
        get_mask_key: called with 4, returns the mask key of a frame as four bytes (or a str
            of four characters below 256); default: the operating system's randomness.
        sockopt: arguments for ``socket.setsockopt``: triples, or one triple.
        sslopt: TLS options, see the documentation's page on TLS.
        fire_cont_frame: ``recv_data`` and its kin return each fragment of a message.
        enable_multithread: False does without locks, for a connection of one thread.
        skip_utf8_validation: take text that is not UTF-8; its bad bytes arrive as lone
            surrogates (``"surrogateescape"``).
        dispatcher: sends go through its ``send(sock, data)``.
        max_size: bytes that a received message may have, decompressed, None for no limit.
        compression: ``"deflate"`` or a ``Deflate(...)`` offers permessage-deflate (RFC 7692)
            to the server, which may decline.

    Attributes:
        connected: whether the connection is open.
        sock: the socket. A program may assign its own object with ``recv`` and ``send``.
        handshake_response: what the server answered.
    """

    def __init__(
        self,
        get_mask_key: Callable[[int], str | bytes] | None = None,
        sockopt: Any = None,
        sslopt: dict[str, Any] | None = None,
        fire_cont_frame: bool = False,
        enable_multithread: bool = True,
        skip_utf8_validation: bool = False,
        dispatcher: Any = None,
        *,
        max_size: int | None = DEFAULT_MAX_SIZE,
        compression: str | Extension | None = None,
        **_: Any,
    ) -> None:
        self.sock_opt = sock_opt(sockopt, sslopt)
        self.handshake_response: handshake_response | None = None
        self.connected = False
        self.get_mask_key = get_mask_key
        self.dispatcher = dispatcher
        self.fire_cont_frame = fire_cont_frame
        self.skip_utf8_validation = skip_utf8_validation
        self.max_size = max_size
        self.compression = extension_of(compression)
        self._codec: Codec | None = None  # of the connection that is about to be opened
        self.lock: Any = threading.RLock() if enable_multithread else NoLock()
        self.readlock: Any = threading.RLock() if enable_multithread else NoLock()
        self._core = self._new_core()
        self._stream: Stream | None = None
        self._frame_buffer: frame_buffer | None = None
        self._direct_in = self._direct_out = False
        self._events: Sequence[Event] = ()  # the core's, where they may be taken directly
        self._deadline: Deadline | None = None
        self._connecting: CallOff | None = None

    # Connecting

    def connect(self, url: str, **options: Any) -> None:
        """Connect to ``url`` (``ws://``, ``wss://``, ``ws+unix://``) and do the opening handshake.

        Parameters (all by keyword):
            timeout: seconds for connecting, all steps together, and afterwards for each
                receive and send; None for no limit. Default: ``setdefaulttimeout``.
            header: additional request headers: a list of ``"Name: value"``, a dict, or a
                callable that returns one.
            cookie: value of the Cookie header.
            cookie_jar: an ``http.cookiejar.CookieJar`` to use instead of the process-wide
                one.
            origin: value of the Origin header; suppress_origin=True leaves it out.
            host: value of the Host header; suppress_host=True leaves it out.
            connection: value of the Connection header.
            subprotocols: names to offer, in the order of preference.
            compression: as in the constructor.
            redirect_limit: how many redirects are followed, default 3.
            socket: a connected socket to use; the connection owns it from then on.
            sockopt, sslopt: as in the constructor.
            auth: credentials for the server: (user name, password), the value of the
                Authorization header such as ``"Bearer <token>"``, or a callable that is
                given the URL and returns one of the two.
            netrc: True, or the path of a file: credentials for the host from there.
            proxy: the proxy as a URL, ``socks5h://user:password@host:port`` for instance;
                None or False to dial directly, True (default) to ask the environment.
            http_proxy_host, http_proxy_port, http_proxy_auth, http_no_proxy,
            http_proxy_timeout, proxy_type: the proxy in parts, see the documentation.
            proxy_sslopt: TLS options for a proxy that is reached over TLS.
            source_address: (host, port) to connect from.
            keepalive: False, or a dict of ``idle``, ``interval`` and ``count``.
            tcp_user_timeout: seconds that sent data may stay unacknowledged (Linux).
            socket_factory: called with ((host, port), timeout), returns a connected socket.
            resolver: called with (host, port), returns addresses.

        Raises:
            WebSocketURLException, WebSocketArgumentException: nothing was sent.
            WebSocketAddressException, OSError, WebSocketProxyException: no connection.
            WebSocketTimeoutException: the time was over first.
            WebSocketBadStatusException: the server refused (status, headers and body are in
                the exception).
            WebSocketHandshakeException: the server's answer is no opening handshake.
            WebSocketConnectionClosedException: the server has ended the connection, or another
                thread has called ``close``, ``shutdown`` or ``abort`` meanwhile.
        """
        self.shutdown()
        if "sockopt" in options or "sslopt" in options:
            self.sock_opt = sock_opt(
                options.pop("sockopt", self.sock_opt.sockopt),
                options.pop("sslopt", self.sock_opt.sslopt),
            )
        if "timeout" in options:
            self.sock_opt.timeout = options.pop("timeout")
        elif self.sock_opt.timeout is None:
            self.sock_opt.timeout = getdefaulttimeout()
        options.setdefault("compression", self.compression)
        options["deadline"] = deadline = Deadline(self.sock_opt.timeout)
        # Not documented: for faces that call connecting off themselves.
        deadline.call_off = call_off = options.pop("call_off", None) or CallOff()
        self._connecting = call_off
        try:
            self._open(url, options, call_off)
        except Exception as error:
            call_off.explain(error)
            raise
        finally:
            call_off.done()
            if self._connecting is call_off:
                self._connecting = None

    def _open(self, url: str, options: dict[str, Any], call_off: CallOff) -> None:
        sock, response = open_connection(url, self.sock_opt, options)
        try:
            self._codec = response.codec
            self.sock = sock
            self.handshake_response = response
            self.connected = True
            # Who closes from now on finds the socket; who has closed before is heard here.
            call_off.check()
            self.settimeout(self.sock_opt.timeout)
            if self._direct_in:
                self._core.feed(response.rest)
                self._open_stream().answer_controls()
            else:
                self._core.counts.bytes_received += len(response.rest)
                self._core.store(response.rest)
        except BaseException:
            self._stream = None
            self._events = ()
            self.connected = False
            sock.close()
            raise

    @property
    def sock(self) -> Any:
        stream = self._stream
        if stream is None:
            return None
        # Who asks for the socket may be about to wait on it.
        stream.exact = True
        return stream.sock

    @sock.setter
    def sock(self, sock: Any) -> None:
        if sock is None:
            self._stream = None
            self._events = ()
            return
        self._core = self._new_core()
        self._frame_buffer = None
        stream = Stream(
            sock,
            self._core,
            self.lock,
            self.readlock,
            answer_ping=self.pong if self._overrides(("pong",)) else None,
        )
        # An object that is no socket is asked for exactly the bytes that a frame needs.
        self._direct_in = not (
            isinstance(stream.transport, DoubleTransport)
            or isEnabledForTrace()
            or self._overrides(_RECEIVING)
        )
        self._direct_out = not (
            self.dispatcher is not None or isEnabledForTrace() or self._overrides(_SENDING)
        )
        self._stream = stream
        self._choose_roads()

    @property
    def frame_buffer(self) -> frame_buffer:
        """The frames of the outer road. Made where it is asked for, as it holds this object,
        and what holds itself is for Python's collector to free."""
        made = self._frame_buffer
        if made is None:
            made = frame_buffer(self._recv_bytes, self.skip_utf8_validation, self._core)
            self._frame_buffer = made
        return made

    @frame_buffer.setter
    def frame_buffer(self, made: frame_buffer) -> None:
        self._frame_buffer = made

    def _choose_roads(self) -> None:
        stream = self._open_stream()
        direct_out = self._direct_out and self.get_mask_key is None
        self._events = self._core.events if self._direct_in else ()
        stream.read_frame = None if self._direct_in else self._take_frame
        stream.write_frame = None if direct_out else self._write_control

    def _new_core(self) -> Connection:
        codec, self._codec = self._codec, None
        return Connection(
            max_size=self.max_size,
            fragments=self.fire_cont_frame,
            check_text=not self.skip_utf8_validation,
            codec=codec,
        )

    def _overrides(self, names: tuple[str, ...]) -> bool:
        return any(
            getattr(type(self), name) is not getattr(WebSocket, name) or name in self.__dict__
            for name in names
        )

    def _open_stream(self) -> Stream:
        stream = self._stream
        if stream is None:
            raise WebSocketConnectionClosedException("Connection is already closed.")
        return stream

    # Settings and what is known of the connection

    def set_mask_key(self, func: Callable[[int], str | bytes] | None) -> None:
        """Use ``func`` for the mask keys of frames, see ``get_mask_key`` of the constructor."""
        self.get_mask_key = func
        if self._stream is not None:
            self._choose_roads()

    def gettimeout(self) -> float | None:
        """The timeout of receives and sends in seconds, None for no limit."""
        return self.sock_opt.timeout

    def settimeout(self, timeout: float | None) -> None:
        """Set the timeout of receives and sends in seconds, None for no limit."""
        self.sock_opt.timeout = timeout
        if self._stream is not None:
            self._stream.transport.timeout = timeout

    timeout = property(gettimeout, settimeout)

    def use_dispatcher(self, dispatcher: Any) -> None:
        """From now on, send through ``dispatcher.send(sock, data)``."""
        self.dispatcher = dispatcher
        self._direct_out = False
        self._choose_roads()

    def getsubprotocol(self) -> str | None:
        """The subprotocol that the server chose."""
        return self.handshake_response.subprotocol if self.handshake_response else None

    subprotocol = property(getsubprotocol)

    def getstatus(self) -> int | None:
        """The HTTP status of the opening handshake."""
        return self.handshake_response.status if self.handshake_response else None

    status = property(getstatus)

    def getheaders(self) -> dict[str, str] | None:
        """The headers of the server's answer, names in lower case."""
        return self.handshake_response.headers if self.handshake_response else None

    headers = property(getheaders)

    @property
    def compressed(self) -> bool:
        """Whether the server has agreed to compression."""
        return self._core.compressed

    @property
    def close_code(self) -> int | None:
        """The code of the server's Close frame (1005 if it had none), None before it."""
        return self._core.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason of the server's Close frame, None before it."""
        close = self._core.close_received
        return close.reason if close is not None else None

    @property
    def stats(self) -> Stats:
        """What has gone over the connection so far, or over the last one if it is closed."""
        stream = self._stream
        return stats_of(self._core, None if stream is None else stream.sock)

    def is_ssl(self) -> bool:
        stream = self._stream
        return stream is not None and is_tls(stream.sock)

    def fileno(self) -> int:
        """The socket's descriptor, to wait on.

        From the first call on, or the first use of ``sock``, receives take no more from the
        socket than the message that they return, so that the rest keeps it readable. What
        TLS has decrypted already is seen by ``ws.sock.pending()`` only.
        """
        self._open_stream()
        descriptor: int = self.sock.fileno()
        return descriptor

    # Sending

    def send(self, payload: Payload, opcode: int = OP_TEXT) -> int:
        """Send one message, or a control frame.

        Parameters:
            payload: str is sent as UTF-8.
            opcode: one of ``ABNF.OPCODES``; text if not given, also for bytes.

        Returns:
            the size of the frame in bytes.

        Raises:
            WebSocketConnectionClosedException: the connection is closed or closing.
            WebSocketTimeoutException: the socket took no more in time. A frame that was
                begun is finished before the next one.
            WebSocketPayloadException: bytes to be sent as text are not UTF-8.
            WebSocketArgumentException: an opcode that does not exist, or a control frame of
                more than 125 bytes.
        """
        stream = self._stream or self._open_stream()
        if self._direct_out and self.get_mask_key is None:
            return stream.send(opcode, payload)
        data = self._core.check(opcode, payload)
        if opcode >= OP_CLOSE:
            return self.send_frame(ABNF.create_frame(data, opcode))
        with self.lock:  # no other message may be encoded between these two steps
            rsv, data = self._core.encode_payload(opcode, data)
            return self._send_built(FIN | rsv | opcode, data)

    def _send_built(self, first: int, payload: Any) -> int:
        frame = ABNF.create_frame(payload, first & 0x0F, fin=first >> 7)
        frame.rsv1, frame.rsv2, frame.rsv3 = first >> 6 & 1, first >> 5 & 1, first >> 4 & 1
        return self.send_frame(frame)

    def send_text(self, text_data: str) -> int:
        """Send a text message, see ``send``."""
        return self.send(text_data, OP_TEXT)

    def send_bytes(self, data: bytes | bytearray | memoryview) -> int:
        """Send a binary message, see ``send``."""
        return self.send(data, OP_BINARY)

    def send_binary(self, payload: bytes | bytearray | memoryview) -> int:
        """Send a binary message, see ``send``."""
        return self.send(payload, OP_BINARY)

    def send_many(self, messages: Iterable[Payload]) -> int:
        """Send messages, str as text and all else as binary, with few system calls.

        Several at a time are written at once; frames of other threads may come between them,
        never into them. If the iterable or a message raises, those before it have been sent.

        Returns:
            the size of their frames in bytes.

        Raises:
            what ``send`` raises.
        """
        stream = self._stream or self._open_stream()
        if self._direct_out and self.get_mask_key is None and not self._overrides(("send",)):
            return stream.send_many(messages)
        return sum(
            self.send(message, OP_TEXT if isinstance(message, str) else OP_BINARY)
            for message in messages
        )

    def send_stream(self, source: Iterable[Payload] | Any, opcode: int | None = None) -> int:
        """Send one message in pieces, as fragments, without having it in memory as a whole.

        Control frames go out in between; other threads' messages wait until it is complete.
        ``source`` may take its time: each piece is sent as soon as it is there.

        Parameters:
            source: an iterable of str or bytes, or a file (anything with ``read``). Bytes of
                text may be cut anywhere, inside a character too.
            opcode: ``ABNF.OPCODE_TEXT`` or ``ABNF.OPCODE_BINARY``. Default: text if the first
                piece is str, binary if it is bytes.

        Returns:
            the size of all frames in bytes.

        Half a message is never left for a whole one: where an error comes after the first
        piece was sent, the connection is closed, with code 1011 if there is still time for a
        Close frame.

        Raises:
            what ``source`` raises, and what ``send`` does.
            WebSocketArgumentException: another opcode, or none where there is no piece.
        """
        stream = self._open_stream()
        direct = self._direct_out and self.get_mask_key is None
        try:
            return MessageWriter(stream, None if direct else self._send_built).send(source, opcode)
        finally:
            if stream.ended:
                self._forget(stream)

    def send_frame(self, frame: ABNF) -> int:
        """Send one frame made by ``ABNF.create_frame``, a fragment of a message for instance.

        Returns:
            the size of the frame in bytes.
        """
        stream = self._open_stream()
        if self.get_mask_key is not None:
            frame.get_mask_key = self.get_mask_key
        data = frame.format()
        if isEnabledForTrace():
            trace(f"send: {data!r}")
        with self.lock:
            self._core.check_sendable()
            if frame.opcode < OP_CLOSE:
                self._core.await_turn()
            if frame.opcode == OP_CLOSE:
                self._core.note_close(frame_of(frame).payload)
            try:
                stream.write(data, self._send)
            except WebSocketTimeoutException:
                if stream.unsent is None:
                    self._core.unsent()
                raise
            self._core.counts.sent(frame.fin << 7 | frame.opcode)
        return len(data)

    def _send(self, data: Any) -> int:
        """Write a part of ``data`` to the socket, return its size; a program may override it."""
        stream = self._open_stream()
        if self.dispatcher is not None:
            sent: int = self.dispatcher.send(stream.sock, bytes(data))
            return sent
        return stream.transport.send(data, stream.write_deadline)

    def _write_control(self, opcode: int, payload: bytes) -> None:
        self.send_frame(ABNF.create_frame(payload, opcode))

    def ping(self, payload: str | bytes = "") -> PongWaiter:
        """Send a ping.

        Parameters:
            payload: at most 125 bytes; str is sent as UTF-8.

        Returns:
            an object whose ``wait(timeout)`` returns the round-trip time in seconds once the
            pong has come (RFC 6455 section 5.5.2).
        """
        data = payload.encode() if isinstance(payload, str) else bytes(payload)
        return self._open_stream().ping(data, lambda opcode, data: self.send(data, opcode))

    def pong(self, payload: str | bytes = "") -> None:
        """Send a pong (section 5.5.3). Pings are answered without it while receiving."""
        self.send(payload, OP_PONG)

    # Receiving

    def recv(self, timeout: float | None = None) -> str | bytes:
        """Receive the next message.

        Parameters:
            timeout: seconds for the whole message, 0 to take only what is there already.
                None: the connection's timeout, which counts anew with each read.

        Returns:
            str for text, bytes for binary, ``""`` where the server closed the connection
            (``close_code`` tells it from an empty message).

        Raises:
            WebSocketTimeoutException: no whole message came in time. What came is kept, the
                next receive goes on with it.
            WebSocketConnectionClosedException: the connection was lost, or is closed.
            WebSocketProtocolException, WebSocketPayloadException: the server broke the
                protocol; the connection was closed with the code that says so.
        """
        events: Any = self._events
        if events:
            # The hot path: one read has brought this message as well.
            try:
                event = events.popleft()
            except IndexError:
                pass  # another thread was faster
            else:
                kind = event.__class__
                if kind is str or kind is bytes:
                    return event  # type: ignore[no-any-return]
                events.appendleft(event)
                del event  # see _next_event
        deadline = None if timeout is None else Deadline(timeout)
        if not self._direct_in:
            return self._recv_outer(deadline)
        while True:
            event = self._next_event(deadline)
            kind = event.__class__
            if kind is str or kind is bytes:
                return event  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
            if isinstance(event, Fragment):
                return event.payload if event.text is None else event.text
            if isinstance(event, Close):
                return ""

    def _recv_outer(self, deadline: Deadline | None) -> str | bytes:
        # A program may have overridden each step of this chain.
        with self.readlock:
            self._deadline = deadline
            try:
                opcode, data = self.recv_data()
            finally:
                self._deadline = None
        if opcode == OP_TEXT and not isinstance(data, str):
            return data.decode("utf-8", "surrogateescape")
        return data if opcode in (OP_TEXT, OP_BINARY) else ""

    def recv_stream(self, timeout: float | None = None) -> Iterator[str | bytes]:
        """Receive the next message in pieces, as they arrive: for messages larger than memory.

        ``max_size`` does not count for it. A piece ends where what has arrived ends, after
        64 KiB at the latest (twice as much and more where the message is compressed), and
        never inside a character. Connections that are traced, or whose receiving methods
        are overridden, get whole frames.

        A message left in the middle is skipped by whatever receives next. Only one thread may
        receive meanwhile. What ``recv`` raises comes while iterating.

        Parameters:
            timeout: seconds for each piece, 0 to take only what is there already. None: the
                connection's timeout, which counts anew with each read.

        Returns:
            an iterator over pieces, all str for text, all bytes for binary. An empty message
            has one, empty piece. There is no piece at all where the server closed the
            connection.

        Raises:
            WebSocketTimeoutException: no piece came in time; the iteration can go on.
            WebSocketConnectionClosedException: also where the server closed the connection in
                the middle of the message.
        """
        return MessageReader(self._open_stream(), self._next_event, timeout)

    def recv_data(self, control_frame: bool = False) -> tuple[int, bytes]:
        """Receive the next message as its opcode and payload in bytes.

        Parameters:
            control_frame: return pings and pongs as well (they are answered in any case).
        """
        opcode, frame = self.recv_data_frame(control_frame)
        return opcode, frame.data

    def recv_data_frame(self, control_frame: bool = False) -> tuple[int, ABNF]:
        """Receive the next message as its opcode and one frame that holds it whole.

        With ``fire_cont_frame`` each fragment is returned, with the opcode of its frame.
        """
        while True:
            event = self._next_event(self._deadline)
            if isinstance(event, (str, bytes, Fragment)):
                return abnf_of_event(event)
            if isinstance(event, Close):
                return OP_CLOSE, ABNF(1, 0, 0, 0, OP_CLOSE, 0, event.payload)
            if control_frame and isinstance(event, (Ping, Pong)):
                opcode = OP_PING if isinstance(event, Ping) else OP_PONG
                return opcode, ABNF(1, 0, 0, 0, opcode, 0, event.payload)

    def recv_frame(self) -> ABNF:
        """Receive one frame as it is; it is neither joined to a message nor answered.

        Frames that were already joined to a message come as one frame.
        """
        if self._direct_in:
            with self.readlock:
                while self._core.events:
                    event = self._next_event(None)
                    if isinstance(event, (str, bytes, Fragment)):
                        return abnf_of_event(event)[1]
            self._direct_in = False
            self._choose_roads()
        frame = self.frame_buffer.recv_frame()
        if isEnabledForTrace():
            trace(f"recv: {frame.format()!r}")
        return frame

    def _take_frame(self) -> Frame:
        frame: Any = self.recv_frame()
        if not frame:
            raise WebSocketProtocolException(f"Not a valid frame {frame}")
        return frame_of(frame)

    def _recv_bytes(self, bufsize: int) -> bytes:
        return self._recv(bufsize)

    def _recv(self, bufsize: int) -> bytes:
        """Read at most ``bufsize`` bytes from the socket; a program may override it.

        Raises:
            WebSocketConnectionClosedException: the stream has ended.
        """
        stream = self._open_stream()
        data = bytearray(bufsize)
        with memoryview(data) as view:
            count = stream.transport.recv_into(view, stream.read_deadline)
        if not count:
            raise WebSocketConnectionClosedException("Connection to remote host was lost.")
        return bytes(data[:count])

    def _next_event(self, deadline: Deadline | None) -> Event:
        """The next event; what ends the connection is carried out."""
        stream = self._stream or self._open_stream()
        try:
            event = stream.receive() if deadline is None else stream.next_event(deadline)
        except WebSocketConnectionClosedException:
            # Nothing more will come, so nobody needs the socket.
            self._forget(stream)
            stream.shutdown()
            raise
        kind = event.__class__
        if kind is str or kind is bytes:
            return event
        if isinstance(event, Close):
            self.connected = False
            stream.answer_close(event)
        elif isinstance(event, Exception):
            self._forget(stream)
            stream.fail(event)
            try:
                raise event
            finally:
                # An exception that is held by a frame of its own traceback is for the collector
                # to free, and all that the frames hold with it.
                del event
        return event

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield messages until the server closes the connection."""
        while True:
            message = self.recv()
            if not message and self._core.close_received is not None:
                return
            yield message

    def __next__(self) -> str | bytes:
        return self.recv()

    def next(self) -> str | bytes:
        """``recv`` under the name that iterators had in Python 2."""
        return self.__next__()

    # Closing

    def send_close(self, status: int | None = STATUS_NORMAL, reason: str | bytes = b"") -> None:
        """Send a Close frame, unless one was sent; receiving goes on.

        Raises:
            WebSocketArgumentException: the code must not be sent, or the reason is not UTF-8
                or longer than 123 bytes.
        """
        stream = self._open_stream()
        stream.send_close(status, _normalize_close_reason(reason))
        self.connected = False

    def close(
        self,
        status: int | None = STATUS_NORMAL,
        reason: str | bytes = b"",
        timeout: float | None = 3,
    ) -> None:
        """Close the connection. Closing it again does nothing.

        Messages that arrive during the closing handshake are dropped. A thread that is
        blocked in a receive comes back, and one that is still in ``connect``.

        Parameters:
            status: the close code: 1000 to 1003, 1007 to 1014 or 3000 to 4999, or None.
            reason: at most 123 bytes of UTF-8.
            timeout: seconds to wait for the server's Close frame, None for no limit.

        Raises:
            WebSocketArgumentException: the code must not be sent, or the reason is not UTF-8
                or too long; the connection stays as it is.
        """
        text = _normalize_close_reason(reason)
        close_payload(status, text)
        self._call_off()
        stream = self._stream
        self.connected = False
        if stream is not None:
            stream.close(status, text, timeout)
            self._forget(stream)

    def shutdown(self) -> None:
        """Close the socket at once, without a closing handshake."""
        self._call_off()
        stream = self._stream
        self.connected = False
        if stream is not None:
            stream.shutdown()
            self._forget(stream)

    def abort(self) -> None:
        """End the connection without closing the socket: threads blocked in it come back."""
        self._call_off()
        if self._stream is not None:
            self._stream.abort()

    def _call_off(self) -> None:
        connecting = self._connecting
        if connecting is not None:
            connecting.call()

    def _forget(self, stream: Stream) -> None:
        self.connected = False
        # Another thread may have connected anew in the meantime.
        if self._stream is stream:
            self._stream = None
            self._events = ()

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def create_connection(
    url: str,
    timeout: float | None = None,
    class_: type[WebSocket] = WebSocket,
    **options: Any,
) -> WebSocket:
    """Connect to ``url`` and return the connection.

    Parameters:
        url: ``ws://`` or ``wss://``.
        timeout: seconds for connecting, and afterwards for each receive and send. Default:
            ``setdefaulttimeout``.
        class_: a subclass of ``WebSocket`` to use.
        **options: those of the constructor (get_mask_key, sockopt, sslopt, fire_cont_frame,
            enable_multithread, skip_utf8_validation, max_size, compression) and of
            ``WebSocket.connect``.

    Raises:
        what ``WebSocket.connect`` raises.
    """
    made_with = {name: options.pop(name) for name in _CONSTRUCTOR_OPTIONS if name in options}
    ws = class_(**made_with)
    ws.settimeout(timeout if timeout is not None else getdefaulttimeout())
    ws.connect(url, **options)
    return ws


_CONSTRUCTOR_OPTIONS = (
    "get_mask_key",
    "sockopt",
    "sslopt",
    "fire_cont_frame",
    "enable_multithread",
    "skip_utf8_validation",
    "max_size",
    "compression",
)
