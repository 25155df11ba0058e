"""The CONNECT request that asks an HTTP proxy for a tunnel, and its answer, without I/O.

RFC 9110 section 9.3.6, with Basic credentials (RFC 7617).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

from .._exceptions import (
    WebSocketConnectionClosedException,
    WebSocketHandshakeException,
    WebSocketProxyException,
    WebSocketURLException,
)
from .http11 import ResponseHead, ResponseReader, render_head
from .uri import ascii_hostname, pack_hostname

Auth = Sequence[str | None]

_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]+\]")


def connect_request(host: str, port: int, auth: Auth | None = None) -> bytes:
    """The bytes that ask for a tunnel to ``host:port``.

    Args:
        host: name or address of the WebSocket server.
        port: its port.
        auth: user name and password for the proxy, or None.

    Raises:
        WebSocketProxyException: the credentials can't be sent as Basic authentication.
        WebSocketURLException: ``host`` is no host name.
    """
    name = pack_hostname(ascii_hostname(host))
    # Nothing but the caller's word says that a name with a colon is an IPv6 address.
    if name.startswith("[") and not _IPV6.fullmatch(name):
        raise WebSocketURLException(f"The host {host!r} is not an IPv6 address.")
    # The port is always written: the authority form has no default (RFC 9112 section 3.2.3).
    authority = f"{name}:{port}"
    fields = [("Host", authority)]
    credentials = basic_credentials(auth)
    if credentials:
        fields.append(("Proxy-Authorization", credentials))
    return render_head(f"CONNECT {authority} HTTP/1.1", fields)


def basic_credentials(auth: Auth | None) -> str | None:
    """``auth`` as the value of Proxy-Authorization, or None when it names nobody.

    The sentences of the errors never repeat the credentials.

    Raises:
        WebSocketProxyException: ``auth`` is no pair of strings, the user name has a colon,
            or one of the two has a control character (RFC 7617 section 2).
    """
    if auth is None:
        return None
    given: tuple[Any, ...] = () if isinstance(auth, (str, bytes)) else tuple(auth)
    parts = ["" if part is None else part for part in given]
    if not 1 <= len(parts) <= 2 or not all(isinstance(part, str) for part in parts):
        raise WebSocketProxyException(
            "The proxy's credentials must be a tuple of two strings, (user name, password)."
        )
    username, password = (*parts, "")[:2]
    if not username and not password:
        return None
    if ":" in username:
        raise WebSocketProxyException(
            "The user name for the proxy has a colon, which Basic authentication can't carry."
        )
    text = f"{username}:{password}"
    if any(character < " " or "\x7f" <= character < "\xa0" for character in text):
        raise WebSocketProxyException(
            "The user name or password for the proxy has a control character; remove it."
        )
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        # Without "from": the original carries the password.
        raise WebSocketProxyException(
            "The user name or password for the proxy can't be encoded as UTF-8."
        ) from None
    return f"Basic {base64.b64encode(encoded).decode('ascii')}"


class TunnelReader:
    """Reads the proxy's answer.

    Attributes:
        head: status line and header fields, or None as long as they are incomplete.
    """

    def __init__(self) -> None:
        self._reader = ResponseReader(connect=True)

    @property
    def head(self) -> ResponseHead | None:
        return self._reader.head

    def feed(self, data: bytes) -> bool:
        """Take what was received; empty bytes are the end of the stream.

        Returns:
            True when the tunnel stands, False when more bytes are needed.

        Raises:
            WebSocketProxyException: the proxy refused, answered no valid HTTP, or hung up.
        """
        try:
            if data:
                self._reader.feed(data)
            else:
                self._reader.feed_eof()
        except WebSocketConnectionClosedException as error:
            raise WebSocketProxyException(
                "The proxy closed the connection before it had answered the CONNECT request."
            ) from error
        except WebSocketHandshakeException as error:
            raise WebSocketProxyException(
                f"The proxy's answer to the CONNECT request is not valid: {error}"
            ) from error
        if self._reader.head is None:
            return False
        _check_status(self._reader.head)
        # In a tunnel the client speaks first, in TLS as in HTTP: nobody can have answered yet.
        if self._reader.rest:
            raise WebSocketProxyException(
                "The proxy sent data behind its answer to the CONNECT request: "
                f"{self._reader.rest[:40]!r}"
            )
        return True


def _check_status(head: ResponseHead) -> None:
    if 200 <= head.status < 300:
        return
    hint = ""
    if head.status == 407:
        hint = "; set http_proxy_auth=(user name, password), or correct it"
    elif head.status in (403, 405):
        hint = "; it may allow CONNECT to certain ports only"
    raise WebSocketProxyException(
        f"The proxy refused the tunnel with status {head.status} {head.reason}".rstrip() + hint
    )
