"""The legacy ``parse_url``, and which proxy the options or the environment name for a host.

The parsed value :class:`URL` lives in ``_protocol.uri``; dialling a proxy lives in ``_http``.
"""

# The private names are the legacy ones that programs import.
# pyright: reportUnusedFunction=false

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import unquote

from ._exceptions import (
    WebSocketProxyException,
    WebSocketProxyTypeException,
    WebSocketURLException,
)
from ._protocol.uri import URL, ascii_hostname

__all__ = [
    "PROXY_TYPES",
    "URL",
    "Proxy",
    "ascii_hostname",
    "find_proxy",
    "get_proxy_info",
    "parse_proxy",
    "parse_url",
]

DEFAULT_NO_PROXY_HOST = ["localhost", "127.0.0.1"]

PROXY_TYPES = {
    "http": 80,
    "https": 443,
    "socks4": 1080,
    "socks4a": 1080,
    "socks5": 1080,
    "socks5h": 1080,
}
"""The proxy protocols that a URL or ``proxy_type`` may name, with their default ports."""

_ProxyAuth = tuple[str, str]
_NO_PROXY_SEPARATORS = re.compile(r"[,\s]+")
_PROXY_URL = re.compile(r"(?:([^:/?#]*)://)?([^/?#]*)(?:[/?#].*)?", re.DOTALL)


@dataclass(frozen=True)
class Proxy:
    """A proxy to dial. Its ``repr`` never shows the credentials.

    Attributes:
        type: one of :data:`PROXY_TYPES`.
        host: host name or IP address, without brackets.
        port: TCP port, or None where nobody named one.
        auth: user name and password, decoded, or None.
    """

    type: str
    host: str
    port: int | None = None
    auth: _ProxyAuth | None = field(default=None, repr=False)


def parse_url(url: str) -> tuple[str, int, str, bool]:
    """Parse a WebSocket URL (RFC 6455 section 3).

    Args:
        url: ``ws://`` or ``wss://`` URL.

    Returns:
        Host name in lower case (an IPv6 address without brackets), port, resource (path and
        query) and whether the scheme is ``wss``.

    Raises:
        WebSocketURLException: the URL can't be used; also a ValueError.
    """
    parsed = URL.parse(url)
    return parsed.host, parsed.port, parsed.resource, parsed.secure


def get_proxy_info(
    hostname: str,
    is_secure: bool,
    proxy_host: str | None = None,
    proxy_port: int = 0,
    proxy_auth: tuple[str, str] | None = None,
    no_proxy: list[str] | None = None,
    proxy_type: str = "http",
) -> tuple[str | None, int | None, tuple[str, str] | None]:
    """Host, port and credentials of the proxy for ``hostname``, or ``(None, 0, None)``.

    The legacy form of :func:`find_proxy`, which also tells the proxy's type. The port is
    None where the environment names none.

    Args:
        hostname: the host of the WebSocket URL.
        is_secure: whether the URL is ``wss``.
        proxy_host: the proxy that the program names.
        proxy_port: its port.
        proxy_auth: its user name and password.
        no_proxy: hosts that are dialled directly.
        proxy_type: one of :data:`PROXY_TYPES`.

    Raises:
        WebSocketProxyException: the environment's proxy URL can't be used.
        WebSocketProxyTypeException: the proxy type is none of :data:`PROXY_TYPES`.
    """
    if proxy_host:
        if no_proxy and _is_no_proxy_host(hostname, no_proxy):
            return None, 0, None
        check_proxy_type(proxy_type)
        return proxy_host, proxy_port, proxy_auth
    proxy = find_proxy(hostname, is_secure, no_proxy=no_proxy)
    return (proxy.host, proxy.port, proxy.auth) if proxy else (None, 0, None)


def find_proxy(
    hostname: str,
    is_secure: bool,
    *,
    port: int | None = None,
    proxy_host: str | None = None,
    proxy_port: int | str | None = None,
    proxy_auth: tuple[str, str] | None = None,
    no_proxy: Sequence[str] | str | None = None,
    proxy_type: str = "http",
) -> Proxy | None:
    """The proxy to dial for a host, or None for a direct connection.

    A proxy that the program names is used unless ``no_proxy`` matches. Otherwise the
    environment decides, as with curl and urllib: ``https_proxy`` (for ``wss``) or
    ``http_proxy`` (for ``ws``), then ``all_proxy``, lower case before upper case. Loopback
    names and the entries of ``no_proxy`` are exempt from it.

    Args:
        hostname: the host of the WebSocket URL.
        is_secure: whether the URL is ``wss``.
        port: the port of the WebSocket URL, for ``no_proxy`` entries that name a port.
        proxy_host: the proxy that the program names.
        proxy_port: its port; 0 and None mean the usual one of its type.
        proxy_auth: its user name and password.
        no_proxy: hosts that are dialled directly; replaces the variable ``no_proxy``.
        proxy_type: one of :data:`PROXY_TYPES`.

    Raises:
        WebSocketProxyException: the proxy's port or URL can't be used.
        WebSocketProxyTypeException: the proxy type is none of :data:`PROXY_TYPES`.
    """
    if proxy_host:
        if no_proxy and _is_no_proxy_host(hostname, no_proxy, port):
            return None
        kind = check_proxy_type(proxy_type)
        return Proxy(kind, proxy_host, _proxy_port("proxy port", proxy_port), proxy_auth)
    found = _environment_proxy(is_secure) or _system_proxy(hostname, is_secure)
    if found is None or _is_loopback(hostname) or _is_no_proxy_host(hostname, no_proxy, port):
        return None
    variable, value = found
    return parse_proxy(value, f"the variable {variable}" if variable else "the system's settings")


def check_proxy_type(proxy_type: object) -> str:
    """``proxy_type`` in lower case, if it is one of :data:`PROXY_TYPES`.

    Raises:
        WebSocketProxyTypeException: it is not.
    """
    kind = proxy_type.lower() if isinstance(proxy_type, str) else proxy_type
    if not isinstance(kind, str) or kind not in PROXY_TYPES:
        raise WebSocketProxyTypeException(
            f"The proxy type {proxy_type!r} is not known; use one of {', '.join(PROXY_TYPES)}."
        )
    return kind


def _environment_proxy(is_secure: bool) -> tuple[str, str] | None:
    """The name and value of the variable that names the proxy."""
    for name in ("https_proxy" if is_secure else "http_proxy", "all_proxy"):
        for spelling in (name, name.upper()):
            value = os.environ.get(spelling)
            # A CGI script has the client's "Proxy" header in HTTP_PROXY (CVE-2016-5385).
            if value is None or (spelling == "HTTP_PROXY" and "REQUEST_METHOD" in os.environ):
                continue
            if value.strip():
                return spelling, value.strip()
            # Set but empty: the other spelling does not count.
            break
    return None


def _system_proxy(hostname: str, is_secure: bool) -> tuple[str, str] | None:
    """What the settings of macOS or Windows name, where the environment names no proxy at all."""
    if sys.platform not in ("darwin", "win32"):
        return None
    from urllib.request import getproxies, proxy_bypass

    proxies: dict[str, str] = getproxies()
    value = next(
        (proxies[kind] for kind in ("https" if is_secure else "http", "socks") if kind in proxies),
        "",
    )
    if not value or proxy_bypass(hostname):
        return None
    return "", value


def parse_proxy(value: str, where: str = "proxy") -> Proxy:
    """The proxy that a URL names. The value, which may have a password, is in no exception.

    Args:
        value: ``scheme://user:password@host:port``; without a scheme, ``http`` is meant.
        where: where the value comes from, for sentences.

    Raises:
        WebSocketProxyException: it is no URL of a proxy.
        WebSocketProxyTypeException: the scheme is none of :data:`PROXY_TYPES`.
    """
    match = _PROXY_URL.fullmatch(value.strip())
    assert match is not None
    userinfo, at, hostport = match[2].rpartition("@")
    auth = None
    if at:
        username, _, password = userinfo.partition(":")
        auth = unquote(username), unquote(password)
    # What browsers and the settings of systems call "socks".
    scheme = "socks5h" if match[1] == "socks" else match[1] or "http"
    try:
        kind = check_proxy_type(scheme)
        # Only the grammar of host and port is borrowed.
        parsed = URL.parse(f"ws://{hostport}")
    except WebSocketProxyTypeException as error:
        raise WebSocketProxyTypeException(f"In {where}: {error}") from None
    except WebSocketURLException as error:
        problem = "its host is no host name"
        if not hostport.strip(":"):
            problem = "it names no host"
        elif "its port is" in str(error):
            problem = "its port is no number from 1 to 65535"
        # Without "from": where a password has a slash in it, a part of it is taken for the host.
        raise WebSocketProxyException(
            f"The proxy URL in {where} can't be used, {problem}; write "
            '"http://host:port", or leave it empty.'
        ) from None
    has_port = re.search(r":[0-9]+\Z", hostport) is not None
    return Proxy(kind, parsed.host, parsed.port if has_port else None, auth)


def _proxy_port(what: str, port: object) -> int | None:
    if port is None or port in (0, "", "0"):
        return None
    try:
        number = int(str(port))
    except ValueError:
        number = -1
    if not 0 < number < 65536:
        raise WebSocketProxyException(
            f"The {what} is {port!r}; a port is a number from 1 to 65535."
        )
    return number


def _is_loopback(hostname: str) -> bool:
    name = _normalised(hostname)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def _is_no_proxy_host(
    hostname: str, no_proxy: Sequence[str] | str | None, port: int | None = None
) -> bool:
    """Whether ``hostname`` is dialled directly.

    An entry is ``*``, a host name (it stands for the names below it, too; a leading dot
    changes nothing), an IP address or a network such as ``10.0.0.0/8``; a ``:port`` behind
    it narrows it to that port. Case does not matter. Without ``no_proxy``, the variable
    ``no_proxy`` or ``NO_PROXY`` and the loopback names count.
    """
    if not no_proxy:
        value = os.environ.get("no_proxy")
        no_proxy = os.environ.get("NO_PROXY", "") if value is None else value
        if _is_loopback(hostname):
            return True
    entries = [no_proxy] if isinstance(no_proxy, str) else no_proxy
    name = _normalised(hostname)
    return any(_matches(name, port, entry) for entry in _split_entries(entries))


def _split_entries(entries: Iterable[str]) -> list[str]:
    return [part for entry in entries for part in _NO_PROXY_SEPARATORS.split(entry) if part]


def _matches(name: str, port: int | None, entry: str) -> bool:
    if entry == "*":
        return True
    host, entry_port = _split_entry(entry)
    if entry_port and entry_port != str(port):
        return False
    address = _address(name)
    if "/" in host:
        return address is not None and _is_address_in_network(name, host)
    if address is not None:
        return address == _address(host)
    domain = _normalised(host.removeprefix("*").lstrip("."))
    return bool(domain) and (name == domain or name.endswith(f".{domain}"))


def _split_entry(entry: str) -> tuple[str, str]:
    """Host and port of a ``no_proxy`` entry."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return (host + rest, "") if rest.startswith("/") else (host, rest.removeprefix(":"))
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, port
    return entry, ""


def _normalised(hostname: str) -> str:
    # An entry that is no host name matches nothing; it is no reason to fail.
    with contextlib.suppress(WebSocketURLException):
        hostname = ascii_hostname(hostname)
    return hostname.lower().rstrip(".")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        return None


def _is_ip_address(addr: str) -> bool:
    """Whether ``addr`` is an IPv4 or IPv6 address."""
    return _address(addr) is not None


def _is_subnet_address(hostname: str) -> bool:
    """Whether ``hostname`` is a network such as ``10.0.0.0/8`` or ``2001:db8::/32``."""
    if "/" not in hostname:
        return False
    try:
        ip_network(hostname, strict=False)
    except ValueError:
        return False
    return True


def _is_address_in_network(ip: str, net: str) -> bool:
    """Whether the address ``ip`` lies in the network ``net``."""
    address = _address(ip)
    return address is not None and _is_subnet_address(net) and address in ip_network(net, False)
