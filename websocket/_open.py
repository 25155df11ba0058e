"""From a URL to a connection that is ready: dial, shake hands, follow redirects."""

from __future__ import annotations

from typing import Any

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

KNOWN = frozenset(
    {
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
        "origin",
        "proxy_type",
        "redirect_limit",
        "socket",
        "subprotocols",
        "suppress_host",
        "suppress_origin",
    }
)


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
    route = Route(url, options)
    while True:
        proxy = proxy_info(**route.options)
        deadline = route.options.get("deadline")
        sock, address = connect(route.url, sockets, proxy, route.prepared, deadline)
        try:
            response = handshake(sock, route.target, *address, **route.options)
            if not route.redirected(response):
                return sock, response
        except BaseException:
            sock.close()
            raise
        sock.close()


class Route:
    """Where to connect, and where redirects lead from there.

    Parameters:
        url: where to begin.
        options: those of ``WebSocket.connect``.

    Attributes:
        url, target: where to connect now.
        options: what goes there.
        prepared: the socket that the program gave.

    Raises:
        WebSocketURLException: the URL makes no sense.
    """

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url = url
        self.target = URL.parse(url)
        self.options = dict(options)
        self._limit: int = self.options.pop("redirect_limit", 3)
        self.prepared: Any = self.options.pop("socket", None)

    def redirected(self, response: handshake_response) -> bool:
        """Whether the answer leads somewhere else; then this is where the route goes now.

        Raises:
            WebSocketBadStatusException: the redirect may not be followed.
            WebSocketHandshakeException: it can't be.
        """
        if response.status not in SUPPORTED_REDIRECT_STATUSES:
            return False
        if self.prepared is not None:
            raise _not_followed(response, "a prepared socket leads to one server only")
        if self._limit <= 0:
            raise _not_followed(response, "redirect_limit is reached")
        assert response.head is not None
        following = redirect_target(self.target, response.head)
        self._limit -= 1
        self.options = redirect_options(self.options, self.target, following)
        self.url, self.target = str(following), following
        return True


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
