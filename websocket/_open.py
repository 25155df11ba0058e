"""From a URL to a connection that is ready: dial, shake hands, follow redirects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict

from ._dial import Dialing
from ._exceptions import WebSocketBadStatusException
from ._handshake import (
    SUPPORTED_REDIRECT_STATUSES,
    handshake,
    handshake_response,
    redirect_options,
)
from ._http import connect, proxy_info
from ._logging import warning
from ._protocol.handshake import redirect_target
from ._protocol.uri import URL
from ._socket import sock_opt
from ._tls_cache import keep_session

KNOWN = frozenset(
    {
        "auth",
        "compression",
        "connection",
        "cookie",
        "cookie_jar",
        "deadline",
        "header",
        "host",
        "http_no_proxy",
        "http_proxy_auth",
        "http_proxy_host",
        "http_proxy_port",
        "http_proxy_timeout",
        "keepalive",
        "netrc",
        "origin",
        "proxy",
        "proxy_sslopt",
        "proxy_type",
        "redirect_limit",
        "resolver",
        "socket",
        "socket_factory",
        "source_address",
        "subprotocols",
        "suppress_host",
        "suppress_origin",
        "tcp_user_timeout",
    }
)

_DIALING = ("keepalive", "resolver", "socket_factory", "source_address", "tcp_user_timeout")


class DialingOptions(TypedDict, total=False):
    """What ``run_forever`` hands on to ``WebSocket.connect``, which documents it."""

    auth: Any
    cookie_jar: Any
    keepalive: bool | Mapping[str, int] | None
    netrc: bool | str
    proxy: str | bool | None
    proxy_sslopt: Mapping[str, Any] | None
    resolver: Callable[[str, int], Iterable[Any]] | None
    socket_factory: Callable[[tuple[str, int], float | None], Any] | None
    source_address: tuple[str, int] | str | None
    tcp_user_timeout: float | None


def check_dialing(options: Mapping[str, Any]) -> None:
    """Refuse what is no option of the connection that ``run_forever`` takes beside its own.

    Raises:
        TypeError: as Python does for a name that a function does not have.
    """
    for name in options.keys() - DialingOptions.__optional_keys__:
        raise TypeError(f"run_forever() got an unexpected keyword argument {name!r}")


def open_connection(
    url: str, sockets: sock_opt, options: dict[str, Any]
) -> tuple[Any, handshake_response]:
    """Open a connection, wherever redirects lead.

    Parameters:
        url: where to begin.
        sockets: options of the socket and of TLS.
        options: those of ``WebSocket.connect``; ``deadline`` counts for all steps together.

    Returns:
        the socket, and the server's answer with status 101.

    Raises:
        what ``WebSocket.connect`` raises. No socket is left open then.
    """
    for name in options.keys() - KNOWN:
        # Earlier releases took any name in silence, so this can't be an error.
        warning(f"connect() has no option {name!r}: it changes nothing")
    there = Destination(url, options, sockets)
    while True:
        proxy = proxy_info(**there.options)
        deadline = there.options.get("deadline")
        sock, address = connect(there.url, sockets, proxy, there.prepared, deadline, there.dialing)
        try:
            if deadline is not None:
                deadline.announce(sock, asked=True)
            response = handshake(sock, there.target, *address, **there.options)
            if not there.redirected(response):
                keep_session(sock)
                return sock, response
        except BaseException:
            sock.close()
            raise
        sock.close()


class Destination:
    """Where to connect, and where redirects lead from there.

    Parameters:
        url: where to begin.
        options: those of ``WebSocket.connect``.
        sockets: options of the socket.

    Attributes:
        url, target: where to connect now.
        options: what goes there.
        prepared: the socket that the program gave.
        dialing: how to make TCP connections.

    Raises:
        WebSocketURLException: the URL makes no sense.
        WebSocketArgumentException: an option of dialling can't be used.
    """

    def __init__(self, url: str, options: dict[str, Any], sockets: sock_opt) -> None:
        self.url = url
        self.target = URL.parse(url)
        self.options = dict(options)
        self._limit: int = self.options.pop("redirect_limit", 3)
        self.prepared: Any = self.options.pop("socket", None)
        self.dialing = _dialing(sockets, self.options)

    def redirected(self, response: handshake_response) -> bool:
        """Whether the answer leads somewhere else; then this is the destination now.

        Raises:
            WebSocketBadStatusException: the redirect may not be followed.
            WebSocketHandshakeException: it can't be.
        """
        if response.status not in SUPPORTED_REDIRECT_STATUSES:
            return False
        if self.prepared is not None or self.target.unix_path is not None:
            raise _not_followed(response, "a prepared socket leads to one server only")
        if self._limit <= 0:
            raise _not_followed(response, "redirect_limit is reached")
        assert response.head is not None
        following = redirect_target(self.target, response.head)
        self._limit -= 1
        self.options = redirect_options(self.options, self.target, following)
        self.url, self.target = str(following), following
        return True


def _dialing(sockets: sock_opt, options: dict[str, Any]) -> Dialing:
    chosen = {name: options.pop(name) for name in _DIALING if name in options}
    return Dialing(sockets.sockopt, **chosen)


def _not_followed(response: handshake_response, why: str) -> WebSocketBadStatusException:
    location = response.headers.get("location", "")
    phrase = response.head.reason if response.head is not None else ""
    return WebSocketBadStatusException(
        f"Handshake status {response.status} {phrase}: the redirect to {location!r} was not"
        f" followed, as {why}",
        response.status,
        phrase,
        response.headers,
    )
