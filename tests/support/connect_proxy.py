"""An HTTP proxy that knows CONNECT only (RFC 9110 section 9.3.6), for tests on loopback."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

from loopback import Server, read_until, serve


class ConnectProxy:
    """Tunnels to where it is asked to; ``requests`` are the heads that it got."""

    def __init__(
        self, credentials: tuple[str, str] | None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[str] = []
        self._expected: str | None = None
        if credentials is not None:
            token = base64.b64encode(":".join(credentials).encode()).decode()
            self._expected = f"proxy-authorization: basic {token.lower()}"
        self._tls = tls
        self._wrapped: list[ssl.SSLSocket] = []
        self.server: Server | None = None

    @property
    def port(self) -> int:
        assert self.server is not None
        return self.server.port

    def handle(self, client: Any) -> None:
        if self._tls is None:
            self._answer(client)
            return
        with self._tls.wrap_socket(client, server_side=True) as wrapped:
            self._wrapped.append(wrapped)
            self._answer(wrapped)

    def cut(self) -> None:
        """End the TLS connections of all clients at once, without a word."""
        for wrapped in self._wrapped:
            socket.socket.shutdown(wrapped, socket.SHUT_RDWR)

    def _answer(self, client: Any) -> None:
        head = read_until(client, b"\r\n\r\n").decode()
        self.requests.append(head)
        method, target, _ = head.split("\r\n")[0].split(" ")
        if method != "CONNECT":
            client.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        if self._expected is not None and self._expected not in head.lower().split("\r\n"):
            client.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
            )
            return
        self.tunnel(client, target)

    def tunnel(self, client: Any, target: str) -> None:
        """Answer with a tunnel to the target."""
        host, _, port = target.rpartition(":")
        self.relay(client, (host.strip("[]"), int(port)), b"HTTP/1.1 200 Established\r\n\r\n")

    def relay(self, client: Any, address: tuple[str, int], answer: bytes = b"") -> None:
        """Connect, answer, then carry bytes both ways until both sides have ended."""
        with socket.create_connection(address, 10) as upstream:
            client.sendall(answer)
            if isinstance(client, ssl.SSLSocket):
                shuttle(client, upstream)
                return
            back = threading.Thread(target=pump, args=(upstream, client), daemon=True)
            back.start()
            pump(client, upstream)
            back.join(10)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def shuttle(client: ssl.SSLSocket, upstream: socket.socket) -> None:
    """Both ways in one thread, as only one may be in a TLS connection at a time."""
    with contextlib.suppress(OSError):
        while True:
            ready, _, _ = select.select([client, upstream], [], [], 10)
            if client in ready:
                data = client.recv(65536)
                while client.pending():
                    data += client.recv(client.pending())
                if not data:
                    return
                upstream.sendall(data)
            if upstream in ready:
                data = upstream.recv(65536)
                if not data:
                    return
                client.sendall(data)
            if not ready:
                return


@contextlib.contextmanager
def connect_proxy(
    credentials: tuple[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[ConnectProxy]:
    """A proxy on a free port of 127.0.0.1 that demands these credentials, if any."""
    proxy = ConnectProxy(credentials, tls)
    with serve(proxy.handle) as proxy.server:
        yield proxy
