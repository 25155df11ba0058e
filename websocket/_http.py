"""The blocking dialer: from a URL to a connected socket, with TLS and through a proxy.

Every step shares one absolute deadline, and a socket that is not returned is closed. The
opening handshake comes after this, in ``_handshake``; where to go is decided in ``_route``, TCP
is in ``_dial``, TLS in ``_tls``, and what is said to proxies in ``_protocol.proxy``.
"""

# Programs import the private names; here nobody calls some of them.
# pyright: reportUnusedFunction=false

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from . import _logging, _tls
from ._deadline import Deadline, check_timeout
from ._dial import Dialing, connect_any, dial, dial_unix
from ._exceptions import (
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketProxyConnectionException,
    WebSocketProxyException,
    WebSocketTimeoutException,
)
from ._happy_eyeballs import interleave
from ._protocol.http11 import Headers, ResponseReader
from ._protocol.proxy import LOOKED_UP_HERE, Tunnel, tunnel_for
from ._protocol.socks import OTHER_ADDRESS_MAY_HELP
from ._protocol.tunnel import ConnectTunnel
from ._protocol.uri import URL, pack_hostname
from ._resolve import AddrInfo, lookup
from ._route import Route, choose_proxy, plan, proxy_info
from ._socket import DEFAULT_SOCKET_OPTION, recv, recv_line, send, sock_opt
from ._ssl_compat import HAVE_CONTEXT_CHECK_HOSTNAME, HAVE_SSL
from ._url import Proxy

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

# Whether a SOCKS package serves this module: none does, it speaks SOCKS itself.
HAS_PYSOCKS = False
HAVE_PYTHON_SOCKS = False

# Earlier releases took this name from a SOCKS package.
ProxyConnectionError = WebSocketProxyConnectionException

# The proxy's explanation of a refusal; nobody should wait for it as long as for the refusal.
_BODY_WAIT: Final = 2.0

_Where = tuple[str, int, str]


def connect(
    url: str,
    options: sock_opt,
    proxy: proxy_info | None,
    socket: Any,
    deadline: Deadline | None = None,
    dialing: Dialing | None = None,
) -> tuple[Any, _Where]:
    """Dial the server of a URL.

    Args:
        url: a ``ws://``, ``wss://`` or ``ws+unix://`` URL.
        options: socket options, TLS options, and the timeout of the socket returned.
        proxy: the proxy; None stands for ``proxy_info()``.
        socket: a connected socket of the caller's, or None. It is used as it is: nothing is
            dialled, no TLS is added, and its timeout and options change only where
            ``options`` has some.
        deadline: for all the steps together; by default ``options.timeout`` from now.
        dialing: how to make TCP connections; by default with the socket options of
            ``options``.

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
    target = URL.parse(url)
    where = (target.host, target.port, target.resource)
    if socket is not None:
        if options.timeout is not None and hasattr(socket, "settimeout"):
            socket.settimeout(options.timeout)
        if hasattr(socket, "setsockopt"):
            for option in options.sockopt:
                socket.setsockopt(*option)
        return socket, where
    if deadline is None:
        deadline = Deadline(options.timeout)
    proxy = proxy or proxy_info()
    # Mistakes in the options are found before anybody is dialled.
    route = plan(target, options.sslopt, proxy)
    dialing = dialing or Dialing(options.sockopt)
    sock = _travel(route, dialing, deadline, deadline.sooner(proxy.proxy_timeout))
    try:
        if route.tls is not None:
            sock = _tls.wrap(sock, route.tls, deadline)
        if hasattr(sock, "settimeout"):
            sock.settimeout(check_timeout(options.timeout))
    except BaseException:
        sock.close()
        raise
    return sock, where


def _travel(route: Route, dialing: Dialing, deadline: Deadline, proxy_deadline: Deadline) -> Any:
    """A socket whose next byte goes to the server."""
    if route.unix_path is not None:
        return dial_unix(route.unix_path, dialing, deadline)
    if route.proxy is None:
        return dial(route.host, route.port, dialing, deadline)
    return _open_tunnel(route, route.proxy, dialing, proxy_deadline)


# --- proxies -----------------------------------------------------------------------------


def _open_tunnel(route: Route, proxy: Proxy, dialing: Dialing, deadline: Deadline) -> Any:
    """Connect to the proxy and have it connect to the server."""
    name = _name(proxy)
    targets = _targets(route, proxy, dialing, deadline)
    tunnels = [
        tunnel_for(proxy.type, target, route.port, proxy.auth, name=name) for target in targets
    ]
    last = tunnels.pop()
    try:
        for tunnel in tunnels:
            try:
                return _open_one_tunnel(route, proxy, tunnel, dialing, deadline)
            except WebSocketProxyException as error:
                if error.status_code not in OTHER_ADDRESS_MAY_HELP:
                    raise
        return _open_one_tunnel(route, proxy, last, dialing, deadline)
    except WebSocketTimeoutException as error:
        raise WebSocketTimeoutException(f"{error} The proxy {name} did not answer.") from error


def _open_one_tunnel(
    route: Route, proxy: Proxy, tunnel: Tunnel, dialing: Dialing, deadline: Deadline
) -> Any:
    while True:
        sock = _dial_proxy(route, proxy, dialing, deadline)
        try:
            if _negotiate(sock, tunnel, deadline):
                return sock
        except BaseException:
            sock.close()
            raise
        sock.close()


def _targets(route: Route, proxy: Proxy, dialing: Dialing, deadline: Deadline) -> list[str]:
    """The server as this kind of proxy is told it: its name, or its addresses."""
    if proxy.type not in LOOKED_UP_HERE:
        return [route.host]
    found = lookup(route.host, route.port, deadline=deadline, resolver=dialing.resolver)
    ordered = interleave(found, lambda entry: entry[0])
    addresses: list[str] = [entry[4][0] for entry in ordered]
    if proxy.type == "socks4":
        addresses = [address for address in addresses if ":" not in address] or addresses[:1]
    return addresses


def _name(proxy: Proxy) -> str:
    return f"{pack_hostname(proxy.host)}:{proxy.port}"


def _dial_proxy(route: Route, proxy: Proxy, dialing: Dialing, deadline: Deadline) -> Any:
    assert proxy.port is not None
    try:
        sock = dial(proxy.host, proxy.port, dialing, deadline, "proxy")
    except WebSocketException:
        raise
    except OSError as error:
        raise _unreachable(error, _name(proxy)) from error
    return sock if route.proxy_tls is None else _tls.wrap(sock, route.proxy_tls, deadline)


def _unreachable(error: OSError, name: str) -> WebSocketProxyConnectionException:
    reason = error.strerror or str(error)
    made = WebSocketProxyConnectionException(f"The proxy {name} can't be reached: {reason}")
    made.errno, made.strerror = error.errno, error.strerror
    return made


def _negotiate(sock: Any, tunnel: Tunnel, deadline: Deadline) -> bool:
    """Talk to the proxy until the tunnel stands; False if that takes another connection."""
    limit = deadline
    deadline.announce(sock)
    try:
        while True:
            data = tunnel.data_to_send()
            if data and isinstance(tunnel, ConnectTunnel):
                _logging.dump("request header", data.decode())
            while data:
                _limit(sock, limit)
                data = data[send(sock, data) :]
            _limit(sock, limit)
            if tunnel.feed(_recv_or_end(sock, tunnel.read_size)):
                return True
            if tunnel.redial:
                return False
            if tunnel.refusal is not None and limit is deadline:
                limit = deadline.sooner(_BODY_WAIT)
    except WebSocketTimeoutException as error:
        refusal = tunnel.refusal
        if refusal is not None:
            raise refusal from error
        raise deadline.error() from error
    finally:
        head = getattr(tunnel, "head", None)
        if head is not None:
            _logging.dump("response header", head.text)


def _limit(sock: Any, deadline: Deadline) -> None:
    left = deadline.remaining()
    if hasattr(sock, "settimeout"):
        sock.settimeout(left)


def _recv_or_end(sock: Any, size: int) -> bytes:
    try:
        return recv(sock, size)
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
) -> tuple[list[AddrInfo], bool, Sequence[str | None] | None]:
    """The addresses to dial, whether they are an HTTP proxy's, and the credentials for it."""
    chosen = choose_proxy(hostname, port, is_secure, proxy)
    if chosen is None:
        return lookup(hostname, port), False, None
    assert chosen.port is not None
    return lookup(chosen.host, chosen.port, "proxy"), True, chosen.auth


def _open_socket(
    addrinfo_list: Sequence[AddrInfo],
    sockopt: Iterable[Sequence[Any]],
    timeout: float | None,
) -> socket.socket:
    """Connect to the first of the addresses that takes the connection within the timeout."""
    sock = connect_any(addrinfo_list, Dialing(list(sockopt)), Deadline(timeout))
    sock.settimeout(timeout)
    return sock


def _tunnel(sock: Any, host: str, port: int, auth: Sequence[str | None] | None) -> Any:
    """Ask the proxy behind ``sock`` for a tunnel, within the socket's timeout."""
    timeout = sock.gettimeout()
    if not _negotiate(sock, ConnectTunnel(host, port, auth), Deadline(timeout)):
        raise WebSocketProxyException(
            "The proxy asks for Digest authentication, which takes a second connection; let "
            "create_connection dial it",
            407,
        )
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
