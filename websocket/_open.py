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

_KNOWN = frozenset(
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
    for name in options.keys() - _KNOWN:
        # Earlier releases took any name in silence, so this can't be an error.
        warning(f"connect() has no option {name!r}: it changes nothing")
    limit = options.pop("redirect_limit", 3)
    prepared = options.pop("socket", None)
    target = URL.parse(url)
    while True:
        sock, address = connect(
            url, sockets, proxy_info(**options), prepared, options.get("deadline")
        )
        try:
            response = handshake(sock, target, *address, **options)
            if response.status not in SUPPORTED_REDIRECT_STATUSES:
                return sock, response
            if prepared is not None:
                raise _not_followed(response, "a prepared socket leads to one server only")
            if limit <= 0:
                raise _not_followed(response, "redirect_limit is reached")
            assert response.head is not None
            following = redirect_target(target, response.head)
        except BaseException:
            sock.close()
            raise
        sock.close()
        limit -= 1
        options = redirect_options(options, target, following)
        url, target = str(following), following


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
