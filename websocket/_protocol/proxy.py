"""How a tunnel through a proxy is opened, whatever the proxy speaks: one interface for drivers.

A driver, blocking or not, does this and nothing else::

    tunnel = tunnel_for(kind, host, port, auth)
    while True:
        write tunnel.data_to_send()
        data = read at most tunnel.read_size bytes (b"" at the end of the stream)
        if tunnel.feed(data):
            break                       # the next byte is for the server
        if tunnel.redial:
            connect to the proxy anew   # and go on with the same tunnel

``feed`` raises what the proxy refused. Where ``refusal`` is set, that is decided and only the
proxy's explanation is still on its way: a driver waits for it a little while, and raises the
refusal if it does not come.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Protocol

from .._exceptions import WebSocketProxyException
from .socks import Socks4Tunnel, Socks5Tunnel
from .tunnel import Auth, ConnectTunnel

LOOKED_UP_HERE: Final = frozenset({"socks4", "socks5"})
"""The kinds of proxies that are told the server's address: its name is looked up before."""


class Tunnel(Protocol):
    """See the module's text."""

    @property
    def redial(self) -> bool:
        """Whether the rest needs a new connection to the proxy."""
        ...

    @property
    def refusal(self) -> WebSocketProxyException | None:
        """What to raise if the rest of the answer does not come; None if nothing is decided."""
        ...

    @property
    def read_size(self) -> int:
        """The most bytes to read next, so that none is taken that is not the proxy's."""
        ...

    def data_to_send(self) -> bytes:
        """What is to be written now, may be nothing."""
        ...

    def feed(self, data: bytes) -> bool:
        """Take what was received, b"" at the end of the stream; True when the tunnel stands.

        Raises:
            WebSocketProxyException: the proxy refused or failed.
        """
        ...


def tunnel_for(
    kind: str,
    host: str,
    port: int,
    auth: Auth | None = None,
    *,
    name: str = "",
    random: Callable[[int], bytes] = os.urandom,
) -> Tunnel:
    """A tunnel to ``host:port`` that is about to be opened.

    Args:
        kind: what the proxy speaks: http, https, socks4, socks4a, socks5 or socks5h. TLS with
            an https proxy is the driver's part.
        host: name or address of the WebSocket server; for a kind of ``LOOKED_UP_HERE`` the
            address.
        port: its port.
        auth: user name and password for the proxy, or None.
        name: the proxy's host and port, for the sentences of errors.
        random: returns so many random bytes.

    Raises:
        WebSocketProxyException: the proxy's protocol can't carry the host or the credentials.
        WebSocketURLException: ``host`` is no host name.
    """
    if kind in ("socks4", "socks4a"):
        return Socks4Tunnel(host, port, auth, name=name)
    if kind in ("socks5", "socks5h"):
        return Socks5Tunnel(host, port, auth, name=name)
    return ConnectTunnel(host, port, auth, name=name, random=random)
