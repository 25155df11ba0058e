"""The listening side of the test server: accepting, the opening handshake, the end of it all.

Opening handshake in the server role: RFC 6455 section 4.2, the rules of it in ``_protocol``.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, NamedTuple

from .._deadline import Deadline
from .._exceptions import (
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketHandshakeException,
)
from .._logging import error as log_error
from .._protocol import extensions
from .._protocol.accepting import build_refusal, build_response, check_request
from .._protocol.connection import DEFAULT_MAX_SIZE
from .._protocol.deflate import extension_of
from .._protocol.extensions import Extension, NegotiationError
from .._protocol.http11 import RequestHead, RequestReader
from .._socket import shut_down
from .._ssl_compat import ssl
from .._transport import transport_for
from ._connection import ServerConnection

_RECEIVE_SIZE: Final = 65536
_GOING_AWAY: Final = 1001
_INTERNAL_ERROR: Final = 1011
# At the end, how long clients have to answer our Close frame, and how long threads have to
# notice that their sockets are gone.
_GRACE: Final = 0.2
_LAST_JOIN: Final = 2.0
# How long to wait for a refused client to take its answer.
_LINGER: Final = 0.5
# Seconds to wait for a connection that has gone away between its announcement and its acceptance.
_ACCEPT: Final = 0.1


class Refusal(NamedTuple):
    """An HTTP response instead of the WebSocket: an error, or a redirect with its Location.

    Attributes:
        status: the HTTP status, anything but 101.
        reason: the reason phrase; None for the usual one.
        body: what the client gets to read.
        headers: further header fields.
    """

    status: int
    reason: str | None = None
    body: str | bytes = b""
    headers: Iterable[tuple[str, str]] = ()


Handler = Callable[[ServerConnection], object]
ProcessRequest = Callable[[RequestHead], "Refusal | None"]


def echo(connection: ServerConnection) -> None:
    """Send each message back as it came, until the client goes."""
    for message in connection:
        connection.send(message)


class Server:
    """A WebSocket server on this machine, for as long as its ``with`` block runs.

    Parameters:
        handler: called with a ``ServerConnection`` for each client, in a thread of its own.
            When it returns, the connection is closed with code 1000; when it raises, with
            1011.
        host: the address to listen at, and the host in ``url``.
        port: the port; 0 lets the operating system pick one.
        ssl_context: a server-side context makes it a ``wss`` server.
        subprotocols: those that the server speaks. The first one that the client offers and
            that is among them is chosen.
        headers: further fields of the 101 response, as pairs of name and value.
        process_request: called with the request head (``method``, ``target``, ``headers``)
            before the handshake is answered; a ``Refusal`` that it returns is sent instead.
        max_size: bytes that a received message may have, decompressed, None for no limit.
        compression: ``"deflate"`` or a ``Deflate(...)`` accepts permessage-deflate (RFC 7692)
            where a client offers it. What ``send_fragments`` sends is not compressed.
        handshake_timeout: seconds that a client has for its opening handshake.

    Attributes:
        errors: what went wrong in handlers and opening handshakes, and what clients did
            against the protocol. A client that goes away is no error.
    """

    def __init__(
        self,
        handler: Handler = echo,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        subprotocols: Iterable[str] = (),
        headers: Iterable[tuple[str, str]] = (),
        process_request: ProcessRequest | None = None,
        max_size: int | None = DEFAULT_MAX_SIZE,
        compression: str | Extension | None = None,
        handshake_timeout: float = 10,
    ) -> None:
        self.handler = handler
        self.host = host
        self.subprotocols = tuple(subprotocols)
        self.headers = tuple(headers)
        self.process_request = process_request
        self.max_size = max_size
        self.compression = extension_of(compression)
        self.handshake_timeout = handshake_timeout
        self.errors: list[BaseException] = []
        self._ssl_context = ssl_context
        self._wanted_port = port
        self._listener: socket.socket | None = None
        self._wake: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closing = False
        # What to end when the server ends, by the thread that serves it.
        self._peers: dict[threading.Thread, socket.socket | ServerConnection] = {}

    @property
    def port(self) -> int:
        """The port that the server listens at.

        Raises:
            RuntimeError: the server is not running.
        """
        if self._listener is None:
            raise RuntimeError("The server is not running: use it in a with block, or start() it.")
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The server's URL, ``ws://127.0.0.1:54321/`` for instance."""
        scheme = "ws" if self._ssl_context is None else "wss"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}/"

    @property
    def connections(self) -> list[ServerConnection]:
        """The connections that are open now."""
        with self._lock:
            return [peer for peer in self._peers.values() if isinstance(peer, ServerConnection)]

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Listen and accept, until ``close``. A ``with`` block calls both.

        Raises:
            RuntimeError: the server is running.
            OSError: the address can't be listened at.
        """
        if self._listener is not None:
            raise RuntimeError("The server is running already.")
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self._wanted_port), family=family)
        # Not non-blocking: eventlet's sockets of that kind accept connections that block it.
        self._listener.settimeout(_ACCEPT)
        self._wake, woken = socket.socketpair()
        self._closing = False
        self._acceptor = threading.Thread(
            target=self._accept,
            args=(self._listener, woken),
            name="websocket-testing-accept",
            daemon=True,
        )
        self._acceptor.start()

    def close(self) -> None:
        """Close all connections (with code 1001), all sockets and all threads; bounded.

        A handler that runs on without its connection is left behind with a ResourceWarning.
        """
        if self._listener is None or self._wake is None or self._acceptor is None:
            return
        with self._lock:
            self._closing = True
        self._wake.close()
        self._acceptor.join()
        self._listener.close()
        self._listener = None
        for connection in self.connections:
            with contextlib.suppress(WebSocketException):
                connection.send_close(_GOING_AWAY, timeout=_GRACE)
        self._join(_GRACE)
        with self._lock:
            peers = list(self._peers.values())
        for peer in peers:
            with contextlib.suppress(OSError):
                if isinstance(peer, ServerConnection):
                    peer.shutdown()
                else:
                    shut_down(peer)
        left = self._join(_LAST_JOIN)
        if left:
            warnings.warn(
                f"{len(left)} handler(s) of {self!r} did not end with their connection.",
                ResourceWarning,
                stacklevel=2,
            )

    def _join(self, seconds: float) -> list[threading.Thread]:
        """Wait for the threads that serve connections; return those that still run."""
        end = time.monotonic() + seconds
        with self._lock:
            threads = [thread for thread in self._peers if thread is not threading.current_thread()]
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0))
        return [thread for thread in threads if thread.is_alive()]

    # Accepting

    def _accept(self, listener: socket.socket, woken: socket.socket) -> None:
        with woken, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while not any(key.fileobj is woken for key, _ in selector.select()):
                try:
                    sock, _ = listener.accept()
                except TimeoutError:
                    continue
                except OSError as error:
                    self.errors.append(error)
                    # Out of descriptors, most likely: the client would be there again at once.
                    time.sleep(0.05)
                    continue
                self._begin(sock)

    def _begin(self, sock: socket.socket) -> None:
        thread = threading.Thread(
            target=self._serve, args=(sock,), name="websocket-testing-connection", daemon=True
        )
        with self._lock:
            self._peers[thread] = sock
        thread.start()

    def _hold(self, peer: socket.socket | ServerConnection) -> None:
        """Note what belongs to this thread, so that ``close`` can end it."""
        with self._lock:
            self._peers[threading.current_thread()] = peer
            if not self._closing:
                return
        if isinstance(peer, ServerConnection):
            peer.close(_GOING_AWAY, timeout=_GRACE)
        raise WebSocketConnectionClosedException("The server is closing.")

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.settimeout(self.handshake_timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._ssl_context is not None:
                sock = self._ssl_context.wrap_socket(
                    sock, server_side=True, do_handshake_on_connect=False
                )
                self._hold(sock)
                sock.do_handshake()
            connection = self._open(sock)
            if connection is not None:
                self._hold(connection)
                self._handle(connection)
        except WebSocketConnectionClosedException:
            pass
        except (OSError, ValueError, WebSocketException) as error:
            if not self._closing:
                self.errors.append(error)
        finally:
            sock.close()
            with self._lock:
                del self._peers[threading.current_thread()]

    # One connection

    def _open(self, sock: socket.socket) -> ServerConnection | None:
        """The opening handshake; None if the client was refused."""
        deadline = Deadline(self.handshake_timeout)
        reader = RequestReader()
        try:
            head = self._read_request(sock, reader, deadline)
            refusal = self._ask(head)
            if refusal is not None:
                self._refuse(sock, refusal)
                return None
            key = check_request(head)
            accepted = self._accept_extension(head)
        except WebSocketHandshakeException as error:
            self.errors.append(error)
            self._refuse(sock, Refusal(error.status_code or 400, body=f"{error}\n"))
            return None
        subprotocol = self._choose_subprotocol(head)
        headers, codec = list(self.headers), None
        if accepted is not None:
            headers.append((extensions.HEADER, accepted[0]))
            codec = accepted[1]
        sock.sendall(build_response(key, subprotocol, headers))
        sock.settimeout(None)
        return ServerConnection(
            sock, head, subprotocol, max_size=self.max_size, codec=codec, received=reader.rest
        )

    def _accept_extension(self, head: RequestHead) -> tuple[str, extensions.Codec] | None:
        try:
            return extensions.accept(self.compression, head.headers.get_all(extensions.HEADER))
        except NegotiationError as error:
            raise WebSocketHandshakeException(
                f"The client's {extensions.HEADER} header: {error}.",
                status_code=400,
                resp_headers=head.headers,
            ) from None

    @staticmethod
    def _read_request(
        sock: socket.socket, reader: RequestReader, deadline: Deadline
    ) -> RequestHead:
        while reader.head is None:
            sock.settimeout(deadline.remaining())
            data = sock.recv(_RECEIVE_SIZE)
            if data:
                reader.feed(data)
            else:
                reader.feed_eof()
        return reader.head

    def _ask(self, head: RequestHead) -> Refusal | None:
        if self.process_request is None:
            return None
        try:
            return self.process_request(head)
        except Exception as error:
            self.errors.append(error)
            log_error(f"The server's process_request failed:\n{traceback.format_exc()}")
            return Refusal(500)

    def _choose_subprotocol(self, head: RequestHead) -> str | None:
        offered = head.headers.tokens("sec-websocket-protocol")
        return next((name for name in offered if name in self.subprotocols), None)

    @staticmethod
    def _refuse(sock: socket.socket, refusal: Refusal) -> None:
        body = refusal.body.encode() if isinstance(refusal.body, str) else refusal.body
        sock.sendall(build_refusal(refusal.status, refusal.reason, body, refusal.headers))
        # Closing with unread bytes would reset the connection and could destroy the answer.
        deadline = Deadline(_LINGER)
        transport = transport_for(sock)
        with contextlib.suppress(WebSocketException, OSError):
            shut_down(sock, socket.SHUT_WR)
            with memoryview(bytearray(4096)) as scratch:
                while transport.recv_into(scratch, deadline):
                    pass

    def _handle(self, connection: ServerConnection) -> None:
        try:
            self.handler(connection)
        except WebSocketConnectionClosedException:
            pass
        except WebSocketException as error:
            self.errors.append(error)
            connection.close(_INTERNAL_ERROR)
        except Exception as error:
            self.errors.append(error)
            log_error(f"The server's handler failed:\n{traceback.format_exc()}")
            connection.close(_INTERNAL_ERROR)
        finally:
            connection.close()
