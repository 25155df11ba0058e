"""The dialer of the asyncio face: from a URL to a connection, with TLS and through a proxy.

Addresses are dialled as RFC 8305 wants it (Happy Eyeballs): attempts overlap, so that an
address that leads nowhere costs a quarter of a second. Loops of other makers lack that.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Any, Final

from .. import _logging, _tls
from .._exceptions import WebSocketAddressException, WebSocketArgumentException
from .._http import (
    _choose_proxy,
    _first_of,
    _refuse_kind,
    _set_default,
    _set_own,
    _show,
    proxy_info,
)
from .._open import Route
from .._protocol.tunnel import TunnelReader, connect_request
from .._protocol.uri import URL, ascii_hostname
from .._socket import DEFAULT_SOCKET_OPTION, Deadline, add_note, sock_opt
from .._url import PROXY_TYPES, Proxy
from ._exchange import Exchange
from ._timeout import timeout

_AddrInfo = tuple[Any, Any, int, str, Any]

_ATTEMPT_DELAY: Final = 0.25  # section 5 of RFC 8305


async def dial(route: Route, sockets: sock_opt, deadline: Deadline) -> Exchange:
    """Connect to where a route leads now; a socket of the program's is used as it is.

    Args:
        route: where to, and through which proxy.
        sockets: options of the socket and of TLS.
        deadline: for the TLS handshake; everything else is cut off by the caller.

    Raises:
        as the blocking dialer does. Nothing is left open then.
    """
    loop = asyncio.get_running_loop()
    if route.prepared is not None:
        for option in sockets.sockopt:
            route.prepared.setsockopt(*option)
        return await _adopt(loop, route.prepared)
    target, proxy = route.target, proxy_info(**route.options)
    # Mistakes in the options are found before anybody is dialled.
    tls = _tls.prepare(sockets.sslopt, target.host) if target.secure else None
    chosen = _choose_proxy(target.host, target.port, target.secure, proxy)
    if chosen is None:
        exchange = await _adopt(loop, await _open(target.host, target.port, sockets.sockopt))
    else:
        exchange = await _through_proxy(chosen, target, sockets, proxy.proxy_timeout)
    if tls is not None:
        try:
            await exchange.start_tls(tls.context, tls.server_hostname, deadline.remaining())
        except BaseException as error:
            exchange.transport.abort()
            _tls.advise(error, tls)
            raise
    return exchange


async def _adopt(loop: asyncio.AbstractEventLoop, sock: Any) -> Exchange:
    """A connected socket as a transport."""
    try:
        sock.setblocking(False)
        unix = sock.family == getattr(socket, "AF_UNIX", None)
        make: Any = loop.create_unix_connection if unix else loop.create_connection
        _, exchange = await make(lambda: Exchange(loop), sock=sock)
    except (TypeError, ValueError, AttributeError) as error:
        # A socket of TLS, of another kind, or nothing like one.
        raise WebSocketArgumentException(
            f"socket must be a connected stream socket without TLS, not {sock!r}"
        ) from error
    except BaseException:
        sock.close()
        raise
    result: Exchange = exchange
    return result


# --- addresses ---------------------------------------------------------------------------


async def _lookup(hostname: str, port: int, whose: str) -> list[_AddrInfo]:
    name = ascii_hostname(hostname)
    how = (0, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # An address needs no resolver, and so no thread.
    with contextlib.suppress(OSError, UnicodeError):
        return list(socket.getaddrinfo(name, port, *how, socket.AI_NUMERICHOST))
    loop = asyncio.get_running_loop()
    try:
        found: list[Any] = await loop.getaddrinfo(
            name, port, family=how[0], type=how[1], proto=how[2]
        )
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise WebSocketAddressException(
            f"The name of the {whose} could not be resolved: {hostname!r} ({reason})"
        ) from error
    if not found:
        raise WebSocketAddressException(f"The name of the {whose} has no address: {hostname!r}")
    return found


async def _open(
    hostname: str, port: int, sockopt: Sequence[Sequence[Any]], whose: str = "server"
) -> socket.socket:
    """Connect to the address of a name that takes the connection first."""
    waiting = _interleaved(await _lookup(hostname, port, whose))
    running: dict[asyncio.Task[socket.socket], _AddrInfo] = {}
    errors: list[OSError] = []
    try:
        while waiting or running:
            if waiting:
                address = waiting.pop(0)
                running[asyncio.ensure_future(_open_one(address, sockopt))] = address
            done, _ = await asyncio.wait(
                running,
                timeout=_ATTEMPT_DELAY if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                address = running[task]
                error = task.exception()
                if error is None:
                    del running[task]
                    return task.result()
                del running[task]
                if not isinstance(error, OSError):
                    raise error
                add_note(error, f"This was in connecting to {_show(address[4])}.")
                errors.append(error)
        raise _first_of(errors)
    finally:
        # An exception that is kept in a variable of its own frame is never freed.
        errors.clear()
        await _call_off(running)


async def _call_off(running: dict[asyncio.Task[socket.socket], _AddrInfo]) -> None:
    """End the attempts that are not needed any more: no task outlives the dialer."""
    for task in running:
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, socket.socket):
            result.close()


def _interleaved(addresses: list[_AddrInfo]) -> list[_AddrInfo]:
    """The addresses with their families taking turns (section 4 of RFC 8305)."""
    families: dict[Any, list[_AddrInfo]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    rank = {id(entry): place for group in families.values() for place, entry in enumerate(group)}
    return sorted(addresses, key=lambda entry: rank[id(entry)])


async def _open_one(address: _AddrInfo, sockopt: Sequence[Sequence[Any]]) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        for option in DEFAULT_SOCKET_OPTION:
            _set_default(sock, option)
        for arguments in sockopt:
            _set_own(sock, arguments)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


# --- proxies -----------------------------------------------------------------------------


async def _through_proxy(
    proxy: Proxy, target: URL, sockets: sock_opt, seconds: float | None
) -> Exchange:
    """Connect to the proxy and have it connect to the server."""
    _refuse_kind(proxy.type)
    limit = Deadline(seconds)
    try:
        async with timeout(seconds):
            port = proxy.port or PROXY_TYPES[proxy.type]
            sock = await _open(proxy.host.strip("[]"), port, sockets.sockopt, "proxy")
            exchange = await _adopt(asyncio.get_running_loop(), sock)
            try:
                await _negotiate(exchange, target, proxy)
            except BaseException:
                exchange.transport.abort()
                raise
    except TimeoutError as error:
        if not limit.expired:
            raise
        raise limit.error() from error
    return exchange


async def _negotiate(exchange: Exchange, target: URL, proxy: Proxy) -> None:
    request = connect_request(target.host, target.port, proxy.auth)
    _logging.dump("request header", request.decode())
    exchange.send(request)
    reader = TunnelReader()
    try:
        while not reader.feed(await exchange.receive()):
            pass
    finally:
        if reader.head is not None:
            _logging.dump("response header", reader.head.text)
