"""The CONNECT request that asks an HTTP proxy for a tunnel, and its answer, without I/O.

RFC 9110 section 9.3.6, with Basic (RFC 7617) and Digest credentials (``digest``).
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from .._exceptions import (
    WebSocketConnectionClosedException,
    WebSocketHandshakeException,
    WebSocketProxyException,
    WebSocketURLException,
)
from .digest import Challenge, choose_digest, digest_credentials, parse_challenges
from .http11 import ResponseHead, ResponseReader, render_head
from .uri import ascii_hostname, pack_hostname

Auth = Sequence[str | None]

_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]+\]")
_UNREACHABLE: Final = (502, 503, 504)


def authority(host: str, port: int) -> str:
    """``host:port`` as the request names it.

    Raises:
        WebSocketURLException: ``host`` is no host name.
    """
    name = pack_hostname(ascii_hostname(host))
    # Nothing but the caller's word says that a name with a colon is an IPv6 address.
    if name.startswith("[") and not _IPV6.fullmatch(name):
        raise WebSocketURLException(f"The host {host!r} is not an IPv6 address.")
    # The port is always written: the authority form has no default (RFC 9112 section 3.2.3).
    return f"{name}:{port}"


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
    return _request(authority(host, port), basic_credentials(auth))


def _request(target: str, credentials: str | None) -> bytes:
    fields = [("Host", target)]
    if credentials:
        fields.append(("Proxy-Authorization", credentials))
    return render_head(f"CONNECT {target} HTTP/1.1", fields)


def check_credentials(auth: Auth | None) -> tuple[str, str] | None:
    """``auth`` as user name and password, or None when it names nobody.

    The sentences of the errors never repeat the credentials.

    Raises:
        WebSocketProxyException: ``auth`` is no pair of strings, or one of the two has a
            control character or can't be encoded as UTF-8.
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
    text = username + password
    if any(character < " " or "\x7f" <= character < "\xa0" for character in text):
        raise WebSocketProxyException(
            "The user name or password for the proxy has a control character; remove it."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        # Without "from": the original carries the password.
        raise WebSocketProxyException(
            "The user name or password for the proxy can't be encoded as UTF-8."
        ) from None
    return username, password


def basic_credentials(auth: Auth | None) -> str | None:
    """``auth`` as the value of Proxy-Authorization, or None when it names nobody.

    Raises:
        WebSocketProxyException: as ``check_credentials``, or the user name has a colon
            (RFC 7617 section 2).
    """
    checked = check_credentials(auth)
    if checked is None:
        return None
    if ":" in checked[0]:
        raise WebSocketProxyException(
            "The user name for the proxy has a colon, which Basic authentication can't carry."
        )
    return f"Basic {base64.b64encode(':'.join(checked).encode()).decode('ascii')}"


class ConnectTunnel:
    """Asks an HTTP proxy for a tunnel; see ``proxy.Tunnel`` for how it is driven.

    Basic credentials go along with the first request, as clients have always sent them. A
    proxy that answers with a Digest challenge is asked a second time, with a Digest.

    Args:
        host: name or address of the WebSocket server.
        port: its port.
        auth: user name and password for the proxy, or None.
        name: the proxy's name, for sentences.
        random: returns so many random bytes.

    Attributes:
        request: the request that was made last, for traces.
        redial: see ``proxy.Tunnel``.
    """

    read_size = 4096

    def __init__(
        self,
        host: str,
        port: int,
        auth: Auth | None = None,
        *,
        name: str = "",
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._target = authority(host, port)
        self._auth = check_credentials(auth)
        self._who = f"The proxy {name}" if name else "The proxy"
        self._random = random
        self._answered: Challenge | None = None
        self._reader = ResponseReader(connect=True)
        self.request = _request(self._target, basic_credentials(auth))
        self._unsent = self.request
        self.redial = False

    @property
    def head(self) -> ResponseHead | None:
        """The proxy's answer, or None as long as it is incomplete."""
        return self._reader.head

    @property
    def refusal(self) -> WebSocketProxyException | None:
        """See ``proxy.Tunnel``."""
        head = self._reader.head
        if head is None or 200 <= head.status < 300 or self.redial:
            return None
        return self._refused(head)

    def data_to_send(self) -> bytes:
        """The request, once."""
        data, self._unsent = self._unsent, b""
        if self.redial:
            self.redial = False
            self._reader = ResponseReader(connect=True)
        return data

    def feed(self, data: bytes) -> bool:
        """Take what was received; empty bytes are the end of the stream.

        Returns:
            True when the tunnel stands, False when there is more to do.

        Raises:
            WebSocketProxyException: the proxy refused, answered no valid HTTP, or hung up.
        """
        reader = self._reader
        try:
            if data:
                reader.feed(data)
            else:
                reader.feed_eof()
        except WebSocketConnectionClosedException as error:
            raise WebSocketProxyException(
                f"{self._who} closed the connection before it had answered the CONNECT request."
            ) from error
        except WebSocketHandshakeException as error:
            raise WebSocketProxyException(
                f"{self._who} gave an answer to the CONNECT request that is not valid: {error}"
            ) from error
        if reader.head is None:
            return False
        if not 200 <= reader.head.status < 300:
            if not self._answer_challenge(reader.head) and reader.done:
                raise self._refused(reader.head)
            return False
        # In a tunnel the client speaks first, in TLS as in HTTP: nobody can have answered yet.
        if reader.rest:
            raise WebSocketProxyException(
                f"{self._who} sent data behind its answer to the CONNECT request: "
                f"{reader.rest[:40]!r}"
            )
        return True

    def _answer_challenge(self, head: ResponseHead) -> bool:
        """Prepare the second request where a Digest may help."""
        if self.redial:
            return True
        if head.status != 407 or self._auth is None or self._answered is not None:
            return False
        challenge = choose_digest(_challenges(head))
        if challenge is None:
            return False
        self._answered = challenge
        credentials = digest_credentials(
            challenge, *self._auth, "CONNECT", self._target, self._random(16).hex()
        )
        self.request = self._unsent = _request(self._target, credentials)
        self.redial = True
        return True

    def _refused(self, head: ResponseHead) -> WebSocketProxyException:
        schemes = tuple(dict.fromkeys(challenge.scheme for challenge in _challenges(head)))
        hint = ""
        if head.status == 407:
            asked = f" (it asks for {', '.join(schemes)[:80]})" if schemes else ""
            hint = f"{asked}; set http_proxy_auth=(user name, password), or correct it"
        elif head.status in (403, 405):
            hint = "; it may allow CONNECT to certain hosts and ports only"
        elif head.status in _UNREACHABLE:
            hint = "; it could not reach the server"
        status = f"{head.status} {head.reason}".rstrip()
        return WebSocketProxyException(
            f"{self._who} refused the tunnel to {self._target} with status {status}{hint}",
            head.status,
            head.headers,
            self._reader.body,
            schemes,
        )


def _challenges(head: ResponseHead) -> list[Challenge]:
    return parse_challenges(head.headers.get_all("proxy-authenticate"))
