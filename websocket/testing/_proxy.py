"""A local TCP proxy that does to connections what the ``_faults`` say."""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final

from .._exceptions import WebSocketException
from .._protocol.uri import URL
from ._faults import Fault, Gate, calm

_CHUNK: Final = 65536
_DIAL: Final = 10.0
_JOIN: Final = 5.0
# How long a refused client has to take its answer.
_LINGER: Final = 0.5

Scenario = Fault | tuple[Fault, ...]


class FaultyProxy:
    """A way to a server on which things go wrong, for as long as its ``with`` block runs.

    Parameters:
        target: the URL of the server, ``ws://127.0.0.1:54321/`` for instance.
        *script: what happens to the first connection, to the second one, and so on: a fault,
            or a tuple of faults that happen together. Later connections simply work.

    Attributes:
        accepted: how many connections there have been.
        played: what happened to them, in their order.
    """

    def __init__(self, target: str, *script: Scenario) -> None:
        self._target = URL.parse(target)
        self._script: deque[Scenario] = deque(script)
        self.played: list[Scenario] = []
        self._always: Scenario = calm
        self._listener: socket.socket | None = None
        self._wake: socket.socket | None = None
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._threads: list[threading.Thread] = []
        self._closing = False

    @property
    def accepted(self) -> int:
        return len(self.played)

    @property
    def url(self) -> str:
        """The server's URL by way of this proxy.

        Raises:
            RuntimeError: the proxy is not running.
        """
        if self._listener is None:
            raise RuntimeError("The proxy is not running: use it in a with block, or start() it.")
        scheme = "wss" if self._target.secure else "ws"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}{self._target.resource}"

    def play(self, *script: Scenario) -> None:
        """What happens to the next connections, one after the other, after what is planned."""
        self._script.extend(script)

    def always(self, scenario: Scenario) -> None:
        """What happens to each connection that the script says nothing about."""
        self._always = scenario

    def drop(self, *, share: float = 1, reset: bool = False) -> int:
        """End the connections of now; return how many that were.

        Parameters:
            share: how many of them, from 0 to 1; chance says which.
            reset: end them with a TCP reset.
        """
        with self._lock:
            links = [link for link in self._links if share >= 1 or random.random() < share]
        for link in links:
            link.end(reset=reset)
        return len(links)

    def __enter__(self) -> FaultyProxy:
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
        """Listen and accept, until ``close``. A ``with`` block calls both."""
        if self._listener is not None:
            raise RuntimeError("The proxy is running already.")
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        # Not non-blocking: eventlet's sockets of that kind accept connections that block it.
        self._listener.settimeout(0.1)
        self._wake, woken = socket.socketpair()
        self._closing = False
        self._run(self._accept, self._listener, woken)

    def close(self) -> None:
        """End all connections, sockets and threads."""
        if self._listener is None or self._wake is None:
            return
        with self._lock:
            self._closing = True
        self._wake.close()
        self._threads[0].join(_JOIN)
        self._listener.close()
        self._listener = None
        self.drop()
        with self._lock:
            threads, self._threads = self._threads, []
        for thread in threads:
            thread.join(_JOIN)

    def _run(self, function: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(
            target=function, args=args, name="websocket-testing-proxy", daemon=True
        )
        with self._lock:
            self._threads = [old for old in self._threads if old.is_alive() or old.ident is None]
            self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, woken: socket.socket) -> None:
        with woken, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while not any(key.fileobj is woken for key, _ in selector.select()):
                try:
                    client, _ = listener.accept()
                except OSError:
                    continue
                client.setblocking(True)
                scenario = self._script.popleft() if self._script else self._always
                self.played.append(scenario)
                self._run(self._serve, client, scenario)

    def _serve(self, client: socket.socket, scenario: Scenario) -> None:
        link = _Link(client, self._dial)
        with self._lock:
            self._links.add(link)
            closing = self._closing
        try:
            if not closing:
                link.serve(scenario if isinstance(scenario, tuple) else (scenario,))
        finally:
            link.end()
            link.close()
            with self._lock:
                self._links.discard(link)

    def _dial(self) -> socket.socket:
        return socket.create_connection((self._target.host, self._target.port), _DIAL)


class _Link:
    """One connection through the proxy; what gates may do is in ``_faults.Link``.

    Each direction has a thread of its own, so that gates may wait.
    """

    def __init__(self, client: socket.socket, dial: Callable[[], socket.socket]) -> None:
        self._client = client
        self._server: socket.socket | None = None
        self._mirror: socket.socket | None = None
        self._dial = dial
        self._gates: list[Gate] = []
        self._ended = threading.Event()
        self._frozen = False
        self._shut: set[bool] = set()

    def serve(self, faults: tuple[Fault, ...]) -> None:
        self._gates = [fault.make(self) for fault in faults]
        for gate in self._gates:
            answer = gate.answer()
            if answer is not None:
                self._answer(answer)
                return
        try:
            self._server = self._dial()
        except OSError:
            self.end(reset=True)
            return
        self._server.settimeout(None)
        for sock in (self._client, self._server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for gate in self._gates:
            gate.begin()
        up = threading.Thread(
            target=self._pump, args=(True,), name="websocket-testing-proxy", daemon=True
        )
        up.start()
        self._pump(False)
        up.join()

    def _answer(self, data: bytes) -> None:
        if not data:
            self.end(reset=True)
            return
        with contextlib.suppress(OSError):
            self._client.settimeout(_LINGER)
            head = b""
            while b"\r\n\r\n" not in head and (more := self._client.recv(_CHUNK)):
                head = (head + more)[-_CHUNK:]
            self._client.sendall(data)
            self._client.shutdown(socket.SHUT_WR)
            # Closing with unread bytes would reset the connection and destroy the answer.
            while self._client.recv(_CHUNK):
                pass

    def _pump(self, up: bool) -> None:
        assert self._server is not None
        source, target = (self._client, self._server) if up else (self._server, self._client)
        try:
            while data := source.recv(_CHUNK):
                for part in self._through(data, up, 0):
                    if self._frozen:
                        self._ended.wait()
                    if self._ended.is_set():
                        return
                    if up not in self._shut:
                        target.sendall(part)
                    if up and self._mirror is not None:
                        self._mirror.sendall(part)
            if self._frozen:
                # Nobody is left to be kept waiting.
                self.end()
            self.end_direction(up=up)
        except OSError:
            self.end()

    def _through(self, data: bytes, up: bool, index: int) -> Iterator[bytes]:
        """What comes out of all gates, piece by piece, so that their pauses show."""
        if index == len(self._gates):
            yield data
            return
        for part in self._gates[index].passes(data, up):
            if part:
                yield from self._through(part, up, index + 1)

    # For gates

    def sleep(self, seconds: float) -> None:
        self._ended.wait(seconds)

    def end(self, *, reset: bool = False) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        if reset:
            # With this, closing sends a reset, and nothing says that it has been shut down.
            linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
            with contextlib.suppress(OSError):
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self._client.shutdown(socket.SHUT_RD)
        self._shutdown(self._server, self._mirror, *(() if reset else (self._client,)))

    def end_direction(self, *, up: bool) -> None:
        self._shut.add(up)
        target = self._server if up else self._client
        if target is not None:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)
        if len(self._shut) == 2:
            self.end()

    def freeze(self) -> None:
        self._frozen = True

    def mirror(self) -> None:
        with contextlib.suppress(OSError, WebSocketException):
            mirror = self._dial()
            mirror.settimeout(None)
            self._mirror = mirror
            threading.Thread(
                target=_swallow, args=(mirror,), name="websocket-testing-proxy", daemon=True
            ).start()

    def close(self) -> None:
        for sock in (self._client, self._server, self._mirror):
            if sock is not None:
                sock.close()

    @staticmethod
    def _shutdown(*socks: socket.socket | None) -> None:
        for sock in socks:
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


def _swallow(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(_CHUNK):
            pass
