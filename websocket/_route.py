"""From a URL and options to the route of a connection, before anybody is dialled.

Here is decided which proxy is used, what is asked of it and which TLS layers there are, so that
mistakes in the options are found at once. Drivers walk the route: ``_http`` the blocking one.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import AddressValueError, IPv6Address
from typing import Any, NamedTuple

from . import _tls
from ._deadline import check_timeout
from ._exceptions import (
    WebSocketArgumentException,
    WebSocketProxyException,
    WebSocketURLException,
)
from ._protocol.tunnel import check_credentials
from ._protocol.uri import URL, ascii_hostname
from ._url import PROXY_TYPES, Proxy, check_proxy_type, find_proxy, parse_proxy


class proxy_info:
    """Which proxy to dial through, if any.

    Args:
        **options: any of
            ``proxy`` (str): the proxy as a URL, ``socks5h://user:password@host:port`` for
            instance; None or False: no proxy of the environment; True (default): the
            environment decides,
            ``http_proxy_host`` (str): name or address of the proxy; without it, the
            environment decides (``https_proxy``, ``http_proxy``, ``all_proxy``),
            ``http_proxy_port`` (int or str): its port, by default that of its type,
            ``http_proxy_auth`` (tuple): user name and password,
            ``http_no_proxy`` (list of str, or one str with commas): hosts to dial directly;
            without it, ``no_proxy`` of the environment counts,
            ``proxy_type`` (str): "http" by default,
            ``proxy_sslopt`` (dict): TLS options for a proxy of the type https,
            ``http_proxy_timeout`` (float): seconds for reaching the proxy and its answer.
            Other names are ignored, so that all the options of a connection can be passed.

    Raises:
        WebSocketProxyTypeException: ``proxy_type`` is no kind of proxy.
        WebSocketProxyException: ``proxy`` is no URL of a proxy.
        WebSocketArgumentException: ``http_proxy_timeout`` is negative or no number, or there
            are two proxies.
    """

    def __init__(self, **options: Any) -> None:
        given: Any = options.get("proxy", True)
        self.use_environment = given is True
        self.proxy_protocol = check_proxy_type(options.get("proxy_type") or "http")
        self.proxy_host: str | None = options.get("http_proxy_host") or None
        self.proxy_port: int | str = options.get("http_proxy_port") or 0
        self.auth: tuple[str, str] | None = options.get("http_proxy_auth")
        self.no_proxy: list[str] | str | None = options.get("http_no_proxy")
        self.proxy_timeout = check_timeout(options.get("http_proxy_timeout"), "http_proxy_timeout")
        self.proxy_sslopt: Mapping[str, Any] = options.get("proxy_sslopt") or {}
        if given is not True and given is not None and given is not False:
            self._take_url(given)

    def _take_url(self, url: Any) -> None:
        if not isinstance(url, str):
            raise WebSocketArgumentException(
                f"proxy must be a URL as str, None, True or False, not a {type(url).__name__}"
            )
        if self.proxy_host:
            raise WebSocketArgumentException(
                "Two proxies are given, proxy and http_proxy_host; leave one of them out"
            )
        found = parse_proxy(url)
        self.proxy_protocol = found.type
        self.proxy_host = found.host
        self.proxy_port = found.port or self.proxy_port
        self.auth = self.auth or found.auth

    @property
    def type(self) -> str:
        """``proxy_protocol`` under its name of 0.59."""
        return self.proxy_protocol

    @property
    def host(self) -> str | None:
        """``proxy_host`` under its name of 0.59."""
        return self.proxy_host

    @property
    def port(self) -> int | str:
        """``proxy_port`` under its name of 0.59."""
        return self.proxy_port


class Route(NamedTuple):
    """Where to go, through what.

    Attributes:
        host: host of the server, as the URL has it.
        port: its port.
        proxy: the proxy to dial, with its port filled in; None for a direct connection.
        proxy_tls: the TLS layer with the proxy, if there is one.
        tls: the TLS layer with the server, if there is one.
        unix_path: the Unix socket that is the server, or None.
    """

    host: str
    port: int
    proxy: Proxy | None = None
    proxy_tls: _tls.Settings | None = None
    tls: _tls.Settings | None = None
    unix_path: str | None = None


def plan(url: URL, sslopt: Mapping[str, Any], proxy: proxy_info) -> Route:
    """The route to the server of a URL.

    Raises:
        WebSocketArgumentException: a TLS option can't be used.
        WebSocketProxyException: the settings of the proxy make no sense.
    """
    tls = _tls.prepare(sslopt, url.host) if url.secure else None
    if url.unix_path is not None:
        return Route(url.host, url.port, tls=tls, unix_path=url.unix_path)
    chosen = choose_proxy(url.host, url.port, url.secure, proxy)
    if chosen is None:
        return Route(url.host, url.port, tls=tls)
    return Route(url.host, url.port, chosen, _proxy_tls(chosen, proxy.proxy_sslopt), tls)


def _proxy_tls(proxy: Proxy, sslopt: Mapping[str, Any]) -> _tls.Settings | None:
    if proxy.type != "https":
        return None
    try:
        return _tls.prepare(sslopt, proxy.host, "proxy_sslopt")
    except WebSocketArgumentException as error:
        raise WebSocketArgumentException(f"In proxy_sslopt: {error}") from error


def choose_proxy(hostname: str, port: int, is_secure: bool, proxy: proxy_info) -> Proxy | None:
    """The proxy to dial for a host, checked and with its port filled in."""
    if not proxy.proxy_host and not proxy.use_environment:
        return None
    found = find_proxy(
        hostname,
        is_secure,
        port=port,
        proxy_host=proxy.proxy_host,
        proxy_port=proxy.proxy_port,
        proxy_auth=proxy.auth,
        no_proxy=proxy.no_proxy,
        proxy_type=proxy.proxy_protocol,
    )
    if found is None:
        return None
    check_credentials(found.auth)
    host = _checked_host(found.host.strip("[]"))
    return Proxy(found.type, host, found.port or PROXY_TYPES[found.type], found.auth)


def _checked_host(host: str) -> str:
    try:
        if ":" in host:
            IPv6Address(host.partition("%")[0])
        ascii_hostname(host)
    except (WebSocketURLException, AddressValueError):
        # Without the value and its cause: people write whole URLs here, password included.
        raise WebSocketProxyException(
            "http_proxy_host must be a host name or an IP address, without scheme or port; "
            "a URL goes into proxy="
        ) from None
    return host
