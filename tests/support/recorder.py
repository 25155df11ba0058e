"""A plain server that notes what clients send, written without the library under test.

It speaks just enough of RFC 6455 to play the servers of examples: each connection runs a
script (``echo`` by default) and is kept as a ``Session`` with the request and every frame.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

DEADLINE = 10.0
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

RESPONSE_LINES = (
    "HTTP/1.1 101 Web Socket Protocol Handshake",
    "Access-Control-Allow-Headers: content-type",
    "Access-Control-Allow-Headers: authorization",
    "Connection: Upgrade",
    "Date: Sat, 06 Feb 2021 12:34:56 GMT",
    "Sec-WebSocket-Accept: {accept}",
    "Server: Recorder",
    "Upgrade: websocket",
)


class Frame(NamedTuple):
    """A frame of the client's: ``raw`` is its payload as it was on the wire, still masked."""

    fin: bool
    opcode: int
    key: bytes | None
    raw: bytes

    @property
    def payload(self) -> bytes:
        if self.key is None:
            return self.raw
        return bytes(byte ^ self.key[index % 4] for index, byte in enumerate(self.raw))


class Session:
    """One connection after its opening handshake."""

    def __init__(self, sock: socket.socket, request: str, early: bytes) -> None:
        self.sock = sock
        self.request = request
        self.frames: list[Frame] = []
        self._buffer = early

    @property
    def lines(self) -> list[str]:
        return self.request.split("\r\n")

    def header(self, name: str) -> str | None:
        for line in self.lines[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None

    def of(self, opcode: int) -> list[bytes]:
        """The payloads of the client's frames with this opcode."""
        return [frame.payload for frame in self.frames if frame.opcode == opcode]

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("the client hung up")
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def recv(self) -> Frame:
        """The client's next frame."""
        first, second = self._take(2)
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(self._take(2 if length == 126 else 8), "big")
        key = self._take(4) if second & 0x80 else None
        frame = Frame(bool(first & 0x80), first & 0xF, key, self._take(length))
        self.frames.append(frame)
        return frame

    def send(self, opcode: int, payload: bytes | str = b"", fin: bool = True) -> None:
        data = payload.encode() if isinstance(payload, str) else payload
        head = bytes([opcode | (0x80 if fin else 0)])
        if len(data) < 126:
            head += bytes([len(data)])
        elif len(data) < 65536:
            head += b"\x7e" + len(data).to_bytes(2, "big")
        else:
            head += b"\x7f" + len(data).to_bytes(8, "big")
        self.sock.sendall(head + data)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake and wait for the client's part of it."""
        self.send(CLOSE, code.to_bytes(2, "big") + reason.encode())
        while self.recv().opcode != CLOSE:
            pass


Script = Callable[[Session], None]


def echo(session: Session) -> None:
    """Send each message back, answer pings, and answer a Close with itself."""
    while True:
        frame = session.recv()
        if frame.opcode in (TEXT, BINARY):
            session.send(frame.opcode, frame.payload)
        elif frame.opcode == PING:
            session.send(PONG, frame.payload)
        elif frame.opcode == CLOSE:
            session.send(CLOSE, frame.payload)
            return


def tell(*messages: str) -> Script:
    """Send these messages, then do the closing handshake with code 1000."""

    def script(session: Session) -> None:
        for message in messages:
            session.send(TEXT, message)
        session.close()

    return script


def tell_then_echo(*messages: str) -> Script:
    """Send these messages, then leave the closing to the client."""

    def script(session: Session) -> None:
        for message in messages:
            session.send(TEXT, message)
        echo(session)

    return script


def accept_value(key: str) -> str:
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


class Recorder:
    """See the module's text. Use it through ``record``."""

    def __init__(
        self,
        script: Script,
        listener: socket.socket,
        tls: ssl.SSLContext | None,
        subprotocol: str | None,
        headers: tuple[str, ...],
        wrap: Callable[[socket.socket], Any] | None,
    ) -> None:
        self._script = script
        self._listener = listener
        self._tls = tls
        self._subprotocol = subprotocol
        self._headers = headers
        self._wrap = wrap
        self._ended: queue.Queue[Session] = queue.Queue()
        self._threads: list[threading.Thread] = []
        self._socks: list[socket.socket] = []
        self._closing = False
        self.errors: list[BaseException] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def netloc(self) -> str:
        return f"{'localhost' if self._tls else '127.0.0.1'}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'wss' if self._tls else 'ws'}://{self.netloc}/"

    def session(self) -> Session:
        """The next session that has ended, in the order of their ends."""
        return self._ended.get(timeout=DEADLINE)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._closing:
                sock.close()
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._socks.append(sock)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        session: Session | None = None
        try:
            sock.settimeout(DEADLINE)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._socks.append(sock)
            session = self._open(self._wrap(sock) if self._wrap is not None else sock)
            self._script(session)
        except OSError:
            pass  # the client went away: that is a normal end of a session
        except BaseException as error:
            self.errors.append(error)
        finally:
            sock.close()
            if session is not None:
                self._ended.put(session)

    def _open(self, sock: socket.socket) -> Session:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = sock.recv(65536)
            if not chunk:
                raise ConnectionError("the client hung up")
            data += chunk
        head, _, early = data.partition(b"\r\n\r\n")
        session = Session(sock, head.decode(), early)
        accept = accept_value(session.header("Sec-WebSocket-Key") or "")
        lines = [line.format(accept=accept) for line in RESPONSE_LINES]
        if self._subprotocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {self._subprotocol}")
        lines.extend(self._headers)
        sock.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        return session

    def close(self) -> None:
        self._closing = True
        # Wakes the accept on every platform, where closing the listener does not.
        with contextlib.suppress(OSError), socket.socket(self._listener.family) as waker:
            waker.connect(self._listener.getsockname())
        self._acceptor.join(DEADLINE)
        self._listener.close()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive(), "a server thread is stuck"
        if self.errors:
            raise self.errors[0]


@contextlib.contextmanager
def record(
    script: Script = echo,
    *,
    tls: ssl.SSLContext | None = None,
    subprotocol: str | None = None,
    headers: tuple[str, ...] = (),
    unix_path: str | None = None,
    wrap: Callable[[socket.socket], Any] | None = None,
) -> Iterator[Recorder]:
    """A server on a free port of 127.0.0.1, or on a Unix socket.

    ``wrap`` may put an object of the test's own in the place of each connection's socket.
    """
    if unix_path is None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=16)
    else:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(unix_path)
        listener.listen(4)
    recorder = Recorder(script, listener, tls, subprotocol, headers, wrap)
    try:
        yield recorder
    finally:
        recorder.close()
