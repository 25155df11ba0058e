"""An HTTP proxy that knows CONNECT only (RFC 9110 section 9.3.6), for tests on loopback."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator

from loopback import Server, read_until, serve


class ConnectProxy:
    """Tunnels to where it is asked to; ``requests`` are the heads that it got."""

    def __init__(self, credentials: tuple[str, str] | None) -> None:
        self.requests: list[str] = []
        self._expected: str | None = None
        if credentials is not None:
            token = base64.b64encode(":".join(credentials).encode()).decode()
            self._expected = f"proxy-authorization: basic {token.lower()}"
        self.server: Server | None = None

    @property
    def port(self) -> int:
        assert self.server is not None
        return self.server.port

    def handle(self, client: socket.socket) -> None:
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
        host, _, port = target.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), 10) as upstream:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
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


@contextlib.contextmanager
def connect_proxy(credentials: tuple[str, str] | None = None) -> Iterator[ConnectProxy]:
    """A proxy on a free port of 127.0.0.1 that demands these credentials, if any."""
    proxy = ConnectProxy(credentials)
    with serve(proxy.handle) as proxy.server:
        yield proxy
