"""The blocking dialer: from a URL to a connected socket, with TLS and through a proxy.

Every step shares one absolute deadline, and a socket that is not returned is closed. The
opening handshake comes after this, in ``_handshake``; TLS settings are in ``_tls``, the
proxy's protocol (RFC 9110 section 9.3.6) in ``_protocol.tunnel``.
"""

# Programs import the private names; here nobody calls some of them.
# pyright: reportUnusedFunction=false

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import AddressValueError, IPv6Address
from itertools import pairwise
from typing import Any

from . import _logging, _tls
from ._exceptions import (
    WebSocketAddressException,
    WebSocketArgumentException,
    WebSocketConnectionClosedException,
    WebSocketProxyException,
    WebSocketTimeoutException,
    WebSocketURLException,
)
from ._protocol.http11 import Headers, ResponseReader
from ._protocol.tunnel import TunnelReader, connect_request
from ._socket import (
    DEFAULT_SOCKET_OPTION,
    Deadline,
    add_note,
    check_timeout,
    recv,
    recv_line,
    send,
    sock_opt,
)
from ._ssl_compat import HAVE_CONTEXT_CHECK_HOSTNAME, HAVE_SSL
from ._url import (
    PROXY_TYPES,
    Proxy,
    ascii_hostname,
    check_proxy_type,
    find_proxy,
    parse_url,
)

__all__ = [
    "DEFAULT_SOCKET_OPTION",
    "HAS_PYSOCKS",
    "HAVE_CONTEXT_CHECK_HOSTNAME",
    "HAVE_PYTHON_SOCKS",
    "HAVE_SSL",
    "ProxyConnectionError",
    "connect",
    "proxy_info",
    "read_headers",
]

# Whether a SOCKS package serves this module: none does.
HAS_PYSOCKS = False
HAVE_PYTHON_SOCKS = False

# Earlier releases took this name from a SOCKS package.
ProxyConnectionError = WebSocketProxyException

# Of the time that is left, each address gets an equal share, but not less than this many
# seconds: one that swallows packets must not use up the time of those behind it.
_LEAST_SHARE = 2.0

_Where = tuple[str, int, str]
_AddrInfo = tuple[Any, Any, int, str, Any]


class proxy_info:
    """Which proxy to dial through, if any.

    Args:
        **options: any of
            ``http_proxy_host`` (str): name or address of the proxy; without it, the
            environment decides (``https_proxy``, ``http_proxy``, ``all_proxy``),
            ``http_proxy_port`` (int or str): its port, 80 by default,
            ``http_proxy_auth`` (tuple): user name and password,
            ``http_no_proxy`` (list of str, or one str with commas): hosts to dial directly;
            without it, ``no_proxy`` of the environment counts,
            ``proxy_type`` (str): "http" by default,
            ``http_proxy_timeout`` (float): seconds for reaching the proxy and its answer.
            Other names are ignored, so that all the options of a connection can be passed.

    Raises:
        WebSocketProxyTypeException: ``proxy_type`` is no kind of proxy.
        WebSocketArgumentException: ``http_proxy_timeout`` is negative or no number.
    """

    def __init__(self, **options: Any) -> None:
        self.proxy_protocol = check_proxy_type(options.get("proxy_type") or "http")
        self.proxy_host: str | None = options.get("http_proxy_host") or None
        self.proxy_port: int | str = options.get("http_proxy_port") or 0
        self.auth: tuple[str, str] | None = options.get("http_proxy_auth")
        self.no_proxy: list[str] | str | None = options.get("http_no_proxy")
        self.proxy_timeout = check_timeout(options.get("http_proxy_timeout"), "http_proxy_timeout")

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


def connect(
    url: str,
    options: sock_opt,
    proxy: proxy_info | None,
    socket: Any,
    deadline: Deadline | None = None,
) -> tuple[Any, _Where]:
    """Dial the server of a URL.

    Args:
        url: a ``ws://`` or ``wss://`` URL.
        options: socket options, TLS options, and the timeout of the socket returned.
        proxy: the proxy; None stands for ``proxy_info()``.
        socket: a connected socket of the caller's, or None. It is used as it is: nothing is
            dialled, no TLS is added, and its timeout and options change only where
            ``options`` has some.
        deadline: for all the steps together; by default ``options.timeout`` from now.

    Returns:
        The socket, and host, port and resource of the URL.

    Raises:
        WebSocketURLException: the URL makes no sense.
        WebSocketArgumentException: an option can't be used; nothing was dialled.
        WebSocketAddressException: the name has no address.
        WebSocketTimeoutException: the deadline has passed.
        WebSocketProxyException: the proxy refused, or can't be dialled through.
        OSError: no address could be connected. It is the first address's error; the others'
            are in its notes (Python 3.11 and newer) and its ``__context__``.
        ssl.SSLError: the TLS handshake failed.
    """
    hostname, port, resource, is_secure = parse_url(url)
    where = (hostname, port, resource)
    if socket is not None:
        if options.timeout is not None and hasattr(socket, "settimeout"):
            socket.settimeout(options.timeout)
        if hasattr(socket, "setsockopt"):
            for option in options.sockopt:
                socket.setsockopt(*option)
        return socket, where
    if deadline is None:
        deadline = Deadline(options.timeout)
    return _dial(hostname, port, is_secure, options, proxy or proxy_info(), deadline), where


def _dial(
    hostname: str,
    port: int,
    is_secure: bool,
    options: sock_opt,
    proxy: proxy_info,
    deadline: Deadline,
) -> Any:
    # Mistakes in the options are found before anybody is dialled.
    tls = _tls.prepare(options.sslopt, hostname) if is_secure else None
    chosen = _choose_proxy(hostname, port, is_secure, proxy)
    if chosen is None:
        sock = _open(_lookup(hostname, port), options.sockopt, deadline)
    else:
        sock = _open_tunnel(chosen, hostname, port, options, deadline.sooner(proxy.proxy_timeout))
    try:
        if tls is not None:
            sock = _tls.wrap(sock, tls, deadline)
        sock.settimeout(check_timeout(options.timeout))
    except BaseException:
        sock.close()
        raise
    return sock


# --- addresses ---------------------------------------------------------------------------


def _lookup(hostname: str, port: int, whose: str = "server") -> list[_AddrInfo]:
    name = ascii_hostname(hostname)
    try:
        found: list[_AddrInfo] = list(
            socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        )
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise WebSocketAddressException(
            f"The name of the {whose} could not be resolved: {hostname!r} ({reason})"
        ) from error
    if not found:
        raise WebSocketAddressException(f"The name of the {whose} has no address: {hostname!r}")
    return found


def _open(
    addresses: Sequence[_AddrInfo],
    sockopt: Iterable[Sequence[Any]],
    deadline: Deadline,
) -> socket.socket:
    """Connect to the first address that takes the connection."""
    errors: list[OSError] = []
    try:
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            share = _share(deadline, len(addresses) - index)
            try:
                return _open_one(family, kind, protocol, address, sockopt, share, deadline.announce)
            except OSError as error:
                if deadline.expired:
                    raise deadline.error() from error
                add_note(error, f"This was in connecting to {_show(address)}.")
                errors.append(error)
        raise _first_of(errors)
    finally:
        # An exception that is kept in a variable of its own frame is never freed.
        errors.clear()


def _share(deadline: Deadline, addresses: int) -> float | None:
    left = deadline.remaining()
    return None if left is None else max(left / addresses, min(left, _LEAST_SHARE))


def _open_one(
    family: Any,
    kind: Any,
    protocol: int,
    address: Any,
    sockopt: Iterable[Sequence[Any]],
    timeout: float | None,
    announce: Callable[[socket.socket], object],
) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        announce(sock)
        sock.settimeout(timeout)
        for option in DEFAULT_SOCKET_OPTION:
            _set_default(sock, option)
        for arguments in sockopt:
            _set_own(sock, arguments)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_own(sock: socket.socket, arguments: Sequence[Any]) -> None:
    try:
        sock.setsockopt(*arguments)
    except TypeError as error:
        raise WebSocketArgumentException(
            f"sockopt has values that no socket takes: {tuple(arguments)!r} ({error})"
        ) from error


def _set_default(sock: socket.socket, option: tuple[int, int, int]) -> None:
    try:
        sock.setsockopt(*option)
    except OSError as error:
        # A kernel or a sandbox may know the constant and still lack the option.
        _logging.debug(f"Socket option {option} was not set: {error}")


def _show(address: Any) -> str:
    return f"{address[0]} port {address[1]}" if isinstance(address, tuple) else repr(address)


def _first_of(errors: list[OSError]) -> Exception:
    """The first error, which knows of the others."""
    if not errors:
        return WebSocketAddressException("There is no address to connect to")
    first = errors[0]
    for error, following in pairwise(errors):
        error.__context__ = following
        add_note(first, f"Another address failed as well: {following}")
    if isinstance(first, TimeoutError) and first.errno != errno.ETIMEDOUT:
        timeout = WebSocketTimeoutException("Connecting timed out: the server did not answer.")
        timeout.__cause__ = first
        return timeout
    return first


# --- proxies -----------------------------------------------------------------------------


def _choose_proxy(hostname: str, port: int, is_secure: bool, proxy: proxy_info) -> Proxy | None:
    return find_proxy(
        hostname,
        is_secure,
        port=port,
        proxy_host=proxy.proxy_host,
        proxy_port=proxy.proxy_port,
        proxy_auth=proxy.auth,
        no_proxy=proxy.no_proxy,
        proxy_type=proxy.proxy_protocol,
    )


def _open_tunnel(
    proxy: Proxy, hostname: str, port: int, options: sock_opt, deadline: Deadline
) -> socket.socket:
    """Connect to the proxy and have it connect to the server."""
    _refuse_kind(proxy.type)
    sock = _open(_lookup_proxy(proxy), options.sockopt, deadline)
    try:
        _negotiate(sock, hostname, port, proxy.auth, deadline)
    except BaseException:
        sock.close()
        raise
    return sock


def _refuse_kind(kind: str) -> None:
    """Refuse what can't be dialled yet: going around the proxy could give the user away."""
    if kind.startswith("socks"):
        raise WebSocketProxyException(
            f"SOCKS proxies are not supported in this version (proxy type {kind!r}); use an "
            "HTTP proxy, or connect a socket through the proxy and pass it as socket="
        )
    if kind != "http":
        raise WebSocketProxyException(
            "Proxies that are themselves reached over TLS are not supported in this version "
            f"(proxy type {kind!r}); use an HTTP proxy"
        )


def _lookup_proxy(proxy: Proxy) -> list[_AddrInfo]:
    host = proxy.host.strip("[]")
    try:
        if ":" in host:
            IPv6Address(host)
        return _lookup(host, proxy.port or PROXY_TYPES[proxy.type], "proxy")
    except (WebSocketURLException, AddressValueError):
        # Without the value and its cause: people write whole URLs here, password included.
        raise WebSocketProxyException(
            "http_proxy_host must be a host name or an IP address, without scheme or port"
        ) from None


def _negotiate(
    sock: Any, hostname: str, port: int, auth: Sequence[str | None] | None, deadline: Deadline
) -> None:
    request = connect_request(hostname, port, auth)
    _logging.dump("request header", request.decode())
    reader = TunnelReader()
    try:
        while request:
            sock.settimeout(deadline.remaining())
            request = request[send(sock, request) :]
        standing = False
        while not standing:
            sock.settimeout(deadline.remaining())
            standing = reader.feed(_recv_or_end(sock))
    except WebSocketTimeoutException as error:
        raise deadline.error() from error
    finally:
        if reader.head is not None:
            _logging.dump("response header", reader.head.text)


def _recv_or_end(sock: Any) -> bytes:
    try:
        return recv(sock, 4096)
    except WebSocketConnectionClosedException:
        return b""


# --- names of earlier releases -----------------------------------------------------------


def read_headers(sock: Any) -> tuple[int, Headers, str | None]:
    """Read a response head, not a byte more.

    Returns:
        Status, header fields and reason phrase.

    Raises:
        WebSocketHandshakeException: the head breaks the grammar or a limit.
        WebSocketConnectionClosedException: the stream ended first.
        WebSocketTimeoutException: the socket's timeout has passed.
    """
    reader = ResponseReader()
    while reader.head is None:
        reader.feed(recv_line(sock))
    _logging.dump("response header", reader.head.text)
    return reader.head.status, reader.head.headers, reader.head.reason or None


def _get_addrinfo_list(
    hostname: str, port: int, is_secure: bool, proxy: proxy_info
) -> tuple[list[_AddrInfo], bool, Sequence[str | None] | None]:
    """The addresses to dial, whether they are an HTTP proxy's, and the credentials for it."""
    chosen = _choose_proxy(hostname, port, is_secure, proxy)
    if chosen is None:
        return _lookup(hostname, port), False, None
    _refuse_kind(chosen.type)
    return _lookup_proxy(chosen), True, chosen.auth


def _open_socket(
    addrinfo_list: Sequence[_AddrInfo],
    sockopt: Iterable[Sequence[Any]],
    timeout: float | None,
) -> socket.socket:
    """Connect to the first of the addresses that takes the connection within the timeout."""
    sock = _open(addrinfo_list, sockopt, Deadline(timeout))
    sock.settimeout(timeout)
    return sock


def _tunnel(sock: Any, host: str, port: int, auth: Sequence[str | None] | None) -> Any:
    """Ask the proxy behind ``sock`` for a tunnel, within the socket's timeout."""
    timeout = sock.gettimeout()
    _negotiate(sock, host, port, auth, Deadline(timeout))
    sock.settimeout(timeout)
    return sock


def _ssl_socket(sock: Any, user_sslopt: Mapping[str, Any], hostname: str) -> Any:
    """Make the TLS handshake on ``sock`` as the options say, within the socket's timeout."""
    timeout = sock.gettimeout()
    wrapped = _tls.wrap(sock, _tls.prepare(user_sslopt, hostname), Deadline(timeout))
    wrapped.settimeout(timeout)
    return wrapped


def _wrap_sni_socket(
    sock: Any, sslopt: Mapping[str, Any], hostname: str, check_hostname: bool
) -> Any:
    """As ``_ssl_socket``, with ``check_hostname`` as an argument of its own."""
    return _ssl_socket(sock, {**sslopt, "check_hostname": check_hostname}, hostname)


def _can_use_sni() -> bool:
    """Whether TLS sends the server's name: each OpenSSL of a Python that has TLS does."""
    return HAVE_SSL


def _start_proxied_socket(url: str, options: sock_opt, proxy: proxy_info) -> tuple[Any, _Where]:
    """Dial the server of a URL through the proxy that ``proxy`` names."""
    if not proxy.proxy_host:
        raise WebSocketProxyException("There is no proxy to dial: set http_proxy_host")
    return connect(url, options, proxy, None)


_open_proxied_socket = _start_proxied_socket
