"""A SOCKS proxy (4, 4a, 5 with and without a password) for tests on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from loopback import Server, serve

from support.connect_proxy import pump


class SocksProxy:
    """Connects to where it is asked to; ``requests`` are the hosts, names as names.

    ``names`` says where names lead that this machine does not know.
    """

    def __init__(self, credentials: tuple[str, str] | None, names: dict[str, str]) -> None:
        self.requests: list[str] = []
        self.users: list[str] = []
        self._credentials = credentials
        self._names = names
        self.server: Server | None = None

    @property
    def port(self) -> int:
        assert self.server is not None
        return self.server.port

    def handle(self, client: socket.socket) -> None:
        version = take(client, 1)[0]
        if version == 4:
            self._version_4(client)
        elif version == 5:
            self._version_5(client)

    def _version_4(self, client: socket.socket) -> None:
        _, *port, a, b, c, d = take(client, 7)
        self.users.append(until_zero(client))
        named = (a, b, c) == (0, 0, 0) and d
        host = until_zero(client) if named else f"{a}.{b}.{c}.{d}"
        self._relay(client, host, int.from_bytes(bytes(port), "big"), b"\0\x5a" + bytes(6), b"\0[")

    def _version_5(self, client: socket.socket) -> None:
        methods = take(client, take(client, 1)[0])
        wanted = 2 if self._credentials else 0
        client.sendall(bytes([5, wanted if wanted in methods else 255]))
        if wanted not in methods:
            return
        if self._credentials is not None:
            take(client, 1)
            user = take(client, take(client, 1)[0]).decode()
            password = take(client, take(client, 1)[0]).decode()
            self.users.append(user)
            accepted = (user, password) == self._credentials
            client.sendall(bytes([1, 0 if accepted else 1]))
            if not accepted:
                return
        kind = take(client, 4)[3]
        if kind == 3:
            host = take(client, take(client, 1)[0]).decode()
        else:
            family = socket.AF_INET if kind == 1 else socket.AF_INET6
            host = socket.inet_ntop(family, take(client, 4 if kind == 1 else 16))
        port = int.from_bytes(take(client, 2), "big")
        ok = b"\5\0\0\3\7unknown\0\0"
        self._relay(client, host, port, ok, b"\5\5\0\1" + bytes(6))

    def _relay(
        self, client: socket.socket, host: str, port: int, accepted: bytes, refused: bytes
    ) -> None:
        self.requests.append(host)
        try:
            upstream = socket.create_connection((self._names.get(host, host), port), 10)
        except OSError:
            client.sendall(refused)
            return
        with upstream:
            client.sendall(accepted)
            back = threading.Thread(target=pump, args=(upstream, client), daemon=True)
            back.start()
            pump(client, upstream)
            back.join(10)


def take(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise ConnectionError("the client hung up")
        data += piece
    return data


def until_zero(sock: socket.socket) -> str:
    text = b""
    while (octet := take(sock, 1)) != b"\0":
        text += octet
    return text.decode()


@contextlib.contextmanager
def socks_proxy(
    credentials: tuple[str, str] | None = None, names: dict[str, str] | None = None
) -> Iterator[SocksProxy]:
    """A proxy on a free port of 127.0.0.1 that demands these credentials, if any."""
    proxy = SocksProxy(credentials, names or {})
    with serve(proxy.handle) as proxy.server:
        yield proxy
