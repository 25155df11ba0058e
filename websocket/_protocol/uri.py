"""WebSocket URIs (RFC 6455 section 3): a parsed, checked, immutable value.

Choosing a proxy for a URL and the legacy ``parse_url`` live in ``_url``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from .._exceptions import WebSocketURLException

DEFAULT_PORTS: Final = {False: 80, True: 443}
MAX_URL_SIZE: Final = 65536

# RFC 3986 appendix B, with the authority mandatory as RFC 6455 section 3 demands.
_SPLIT: Final = re.compile(r"([^:/?#]*):(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(?:#.*)?", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOT_IN_RESOURCE: Final = re.compile(rb"[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]")
_CREDENTIALS: Final = re.compile(r"//[^/?#]*@")
_ASCII_HOST: Final = re.compile(r"[A-Za-z0-9._~-]+")
_ZONE: Final = re.compile(r"[A-Za-z0-9._~-]+")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_MAX_LABEL: Final = 63  # RFC 1035 section 2.3.4


@dataclass(frozen=True)
class URL:
    """A ``ws`` or ``wss`` URL. Its ``repr`` and ``str`` never show the password.

    Attributes:
        secure: True for ``wss``.
        host: host name in lower case as the URL spells it (not yet IDNA-encoded), or an
            IP address without brackets.
        port: TCP port; the scheme's default when the URL names none.
        resource: path and query, percent-encoded, as the request line carries them.
        username: decoded user name of the URL, or None.
        password: decoded password of the URL, or None.
        unix_path: the Unix socket of a ``ws+unix`` URL, or None.
    """

    secure: bool
    host: str
    port: int
    resource: str = "/"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    unix_path: str | None = None

    @classmethod
    def parse(cls, url: str) -> URL:
        """Parse and check ``url`` (RFC 6455 section 3, RFC 3986).

        A fragment is dropped, as earlier releases did. Characters that can't stand in a
        request line are percent-encoded; control characters are refused. In
        ``ws+unix:///run/app.sock:/chat?room=1``, the path of a Unix socket stands in the place
        of host and port, percent-encoded where it has a colon.

        Raises:
            WebSocketURLException: the sentence says what is wrong with the URL.
        """
        url = _checked(url)
        match = _SPLIT.fullmatch(url)
        if match is None:
            raise _refusal(url, 'it has no scheme; begin it with "ws://" or "wss://"')
        scheme, authority, path, query = match.groups()
        if scheme.lower() in ("ws+unix", "wss+unix"):
            return cls._parse_unix(url, scheme.lower() == "wss+unix", authority, path, query)
        secure = _secure_scheme(url, scheme)
        if not authority:
            raise _refusal(url, 'it names no host; write "ws://host/path"')
        userinfo, at, hostport = authority.rpartition("@")
        username, password = _split_userinfo(userinfo) if at else (None, None)
        host, port_text = _split_hostport(url, hostport)
        return cls(
            secure=secure,
            host=_check_host(url, host),
            port=_parse_port(url, port_text, DEFAULT_PORTS[secure]),
            resource=encode_resource(path + (query or "")),
            username=username,
            password=password,
        )

    @classmethod
    def _parse_unix(
        cls, url: str, secure: bool, authority: str | None, path: str, query: str | None
    ) -> URL:
        from urllib.parse import unquote

        socket_path, _, resource = path.partition(":")
        if authority or not socket_path.startswith("/") or len(socket_path) == 1:
            raise _refusal(url, 'write "ws+unix:///path/of/the.sock:/resource"')
        return cls(
            secure=secure,
            # The name that servers on this machine go by, in Host and Origin.
            host="localhost",
            port=DEFAULT_PORTS[secure],
            resource=encode_resource(resource + (query or "")),
            unix_path=unquote(socket_path),
        )

    @property
    def scheme(self) -> str:
        """``"wss"`` or ``"ws"``."""
        return "wss" if self.secure else "ws"

    @property
    def userinfo(self) -> tuple[str, str] | None:
        """User name and password as a pair, or None when the URL has neither."""
        if self.username is None and self.password is None:
            return None
        return self.username or "", self.password or ""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what decides whether credentials may be sent along."""
        if self.unix_path is not None:
            return self.scheme, f"unix:{self.unix_path}", 0
        return self.scheme, pack_hostname(ascii_hostname(self.host)).rstrip("."), self.port

    @property
    def hostport(self) -> str:
        """Value of the Host field: the scheme's default port is left out (RFC 9110 section 7.2)."""
        host = pack_hostname(ascii_hostname(self.host))
        return host if self.port == DEFAULT_PORTS[self.secure] else f"{host}:{self.port}"

    @property
    def default_origin(self) -> str:
        """Value of the Origin field when the caller names none."""
        return f"{'https' if self.secure else 'http'}://{self.hostport}"

    def __str__(self) -> str:
        if self.unix_path is not None:
            return f"{self.scheme}+unix://{self.unix_path}:{self.resource}"
        return f"{self.scheme}://{self.hostport}{self.resource}"


@lru_cache(maxsize=256)
def ascii_hostname(host: str) -> str:
    """``host`` in the form for name lookup, SNI and the Host field (IDNA, RFC 3490).

    IP addresses, zone identifiers included, come back unchanged.

    Raises:
        WebSocketURLException: the name can't be written in ASCII, or a label is empty or
            longer than 63 characters.
    """
    if ":" in host:
        return host
    name = host.lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii").lower()
        except UnicodeError as error:
            raise WebSocketURLException(
                f"The host name {host!r} is not a valid internationalised domain name: {error}"
            ) from error
    # Checked after the encoding: its normalisation can turn one character into "/" or "@".
    if not _ASCII_HOST.fullmatch(name):
        raise WebSocketURLException(
            f"The host name {host!r} has a character that host names can't have."
        )
    labels = name.removesuffix(".").split(".")
    if not all(0 < len(label) <= _MAX_LABEL for label in labels):
        raise WebSocketURLException(
            f"The host name {host!r} has an empty label or one longer than {_MAX_LABEL} characters."
        )
    return name


def pack_hostname(host: str) -> str:
    """``host`` as a URL or a Host field writes it: IPv6 in brackets, without its zone."""
    if ":" not in host or host.startswith("["):
        return host
    # A zone identifier means something on this machine only (RFC 6874 section 4).
    return f"[{host.partition('%')[0]}]"


def encode_resource(resource: str) -> str:
    """``resource`` as a request line carries it: absolute and percent-encoded.

    What is percent-encoded already stays as it is, so the function can be applied twice.

    Raises:
        WebSocketURLException: a control character, or a lone surrogate.
    """
    if _CONTROL.search(resource):
        raise WebSocketURLException(
            f"The path {resource!r} has a control character; percent-encode it."
        )
    try:
        raw = resource.encode()
    except UnicodeEncodeError as error:
        raise WebSocketURLException(
            f"The path {resource!r} has a character that UTF-8 can't encode."
        ) from error
    encoded = _NOT_IN_RESOURCE.sub(_percent, raw).decode("ascii")
    return encoded if encoded.startswith("/") else f"/{encoded}"


def _percent(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


def _refusal(url: str, reason: str) -> WebSocketURLException:
    shown = _CREDENTIALS.sub("//***@", url, count=1)
    shown = shown if len(shown) <= 200 else f"{shown[:200]}..."
    return WebSocketURLException(f"The URL {shown!r} can't be used: {reason}.")


def _checked(url: object) -> str:
    if not isinstance(url, str):
        raise WebSocketURLException(f"A URL must be a str, not {type(url).__name__}.")
    url = url.strip(" ")
    if len(url) > MAX_URL_SIZE:
        raise _refusal(url, f"it is longer than {MAX_URL_SIZE} characters")
    if _CONTROL.search(url):
        raise _refusal(url, "it has a control character; remove it or percent-encode it")
    return url


def _secure_scheme(url: str, scheme: str) -> bool:
    name = scheme.lower()
    if name in ("ws", "wss"):
        return name == "wss"
    if name in ("http", "https"):
        meant = "wss" if name == "https" else "ws"
        raise _refusal(url, f'its scheme is "{name}"; write "{meant}://" instead')
    raise _refusal(url, f'its scheme is {scheme!r}; begin it with "ws://" or "wss://"')


def _split_userinfo(userinfo: str) -> tuple[str, str | None]:
    from urllib.parse import unquote

    username, colon, password = userinfo.partition(":")
    return unquote(username), unquote(password) if colon else None


def _split_hostport(url: str, hostport: str) -> tuple[str, str]:
    if hostport.startswith("["):
        host, bracket, rest = hostport[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _refusal(url, 'an IPv6 address is written "[address]" or "[address]:port"')
        return f"[{host}]", rest[1:]
    if hostport.count(":") > 1:
        raise _refusal(url, "an IPv6 address must stand in brackets")
    host, _, port = hostport.partition(":")
    return host, port


def _parse_port(url: str, text: str, default: int) -> int:
    if not text:
        return default
    if not _PORT.fullmatch(text) or not 0 < int(text) < 65536:
        raise _refusal(url, f"its port is {text[:20]!r}; a port is a number from 1 to 65535")
    return int(text)


def _check_host(url: str, host: str) -> str:
    if not host:
        raise _refusal(url, 'it names no host; write "ws://host/path"')
    if host.startswith("["):
        return _check_ipv6(url, host[1:-1])
    host = host.lower()
    try:
        ascii_hostname(host)
    except WebSocketURLException as error:
        raise _refusal(url, str(error).rstrip(".")) from error
    return host


def _check_ipv6(url: str, text: str) -> str:
    from ipaddress import AddressValueError, IPv6Address

    address, percent, zone = text.partition("%")
    # RFC 6874 writes the zone's "%" as "%25"; people write it plain.
    zone = zone.removeprefix("25") if len(zone) > 2 else zone
    try:
        IPv6Address(address)
    except AddressValueError as error:
        raise _refusal(url, f"{address[:50]!r} is not an IPv6 address") from error
    if percent and not _ZONE.fullmatch(zone):
        raise _refusal(url, f"{zone[:50]!r} is not an IPv6 zone")
    return f"{address.lower()}%{zone}" if percent else address.lower()
