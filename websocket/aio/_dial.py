"""The dialer of the asyncio face: walks a route to a connection, with TLS and through proxies.

Where to go is decided in ``_route``, in which order addresses are dialled in
``_happy_eyeballs``, what is said to proxies in ``_protocol.proxy``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .. import _logging, _tls, _tls_cache
from .._dial import Dialing, _first_of, _prepared, _set_own, _show
from .._exceptions import (
    WebSocketArgumentException,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketProxyException,
    WebSocketTimeoutException,
)
from .._happy_eyeballs import Race, interleave
from .._http import _BODY_WAIT, _unreachable
from .._open import Destination
from .._protocol.proxy import LOOKED_UP_HERE, Tunnel, tunnel_for
from .._protocol.socks import OTHER_ADDRESS_MAY_HELP
from .._protocol.tunnel import ConnectTunnel
from .._protocol.uri import pack_hostname
from .._resolve import AddrInfo, _is_numeric, lookup
from .._route import Route, plan, proxy_info
from .._socket import Deadline, add_note, sock_opt
from .._ssl_compat import SSLError, ssl
from .._tls_errors import explained
from .._url import Proxy
from ._exchange import Exchange
from ._timeout import before
from ._transport import SocketTransport


async def dial(there: Destination, sockets: sock_opt, deadline: Deadline) -> Exchange:
    """Connect to a destination; a socket of the program's is used as it is.

    Args:
        there: where to, and how.
        sockets: options of the socket and of TLS.
        deadline: for all of it.

    Raises:
        as the blocking dialer does. Nothing is left open then.
    """
    if there.prepared is not None:
        _send_at_once(there.prepared)
        for arguments in sockets.sockopt:
            _set_own(there.prepared, arguments)
        return await _adopt(there.prepared)
    proxy = proxy_info(**there.options)
    # Mistakes in the options are found before anybody is dialled.
    route = plan(there.target, sockets.sslopt, proxy)
    if route.proxy is not None:
        limit = deadline.sooner(proxy.proxy_timeout)
        exchange = await _through_proxy(route, route.proxy, there.dialing, limit)
    else:
        async with before(deadline):
            sock = await _open_route(route, there.dialing, deadline)
            exchange = await _adopt(sock, tls=route.tls is not None)
    if route.tls is not None:
        async with before(deadline):
            await _start_tls(exchange, route.tls, deadline)
    return exchange


def _send_at_once(sock: Any) -> None:
    """As the loop's own transports have it: small frames don't wait for one another.

    The sockets that are made here have that option from the start.
    """
    # What is no TCP socket has no such option, and what is no socket is refused later.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def _adopt(sock: Any, *, tls: bool = False) -> Exchange:
    """A connected socket as a transport.

    Args:
        tls: TLS is to be started on it, which only a transport of the loop's own can do.
    """
    loop = asyncio.get_running_loop()
    exchange = Exchange(loop)
    try:
        sock.setblocking(False)
        if sock.type != socket.SOCK_STREAM or (ssl and isinstance(sock, ssl.SSLSocket)):
            raise TypeError
        if not tls:
            with contextlib.suppress(NotImplementedError):
                SocketTransport(loop, sock, exchange)
                return exchange
        unix = sock.family == getattr(socket, "AF_UNIX", None)
        make: Any = loop.create_unix_connection if unix else loop.create_connection
        await make(lambda: exchange, sock=sock)
    except (TypeError, ValueError, AttributeError) as error:
        # A socket of TLS, of another kind, or nothing like one.
        if hasattr(sock, "close"):
            sock.close()
        raise WebSocketArgumentException(
            f"socket must be a connected stream socket without TLS, not {sock!r}"
        ) from error
    except BaseException:
        sock.close()
        # uvloop's does not let go of its protocol when it is given up.
        exchange.transport = None
        raise
    return exchange


class _Resuming:
    """Stands for a context in ``start_tls``, which has no parameter for a session to resume.

    It can't be a subclass's instance: OpenSSL resumes a session with its own context only.
    """

    def __init__(self, context: ssl.SSLContext, session: Any) -> None:
        self._context = context
        self._session = session

    # Event loops take nothing that ``isinstance`` does not take for a context.
    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ssl.SSLContext

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> ssl.SSLObject:
        return self._context.wrap_bio(
            incoming, outgoing, server_side, server_hostname, self._session
        )


async def _start_tls(exchange: Exchange, settings: _tls.Settings, deadline: Deadline) -> None:
    context, name = settings.context, settings.server_hostname
    session = _tls_cache.take_session(context, name)
    if session is not None:
        context = _Resuming(context, session)
    try:
        await exchange.start_tls(context, name, deadline.remaining())
        _tls._check_fingerprint(exchange.transport.get_extra_info("ssl_object"), settings)
    except BaseException as error:
        exchange.abandon()
        if isinstance(error, (SSLError, ConnectionError)):
            explained(error, name, settings.option)
        if isinstance(error, TypeError):
            raise WebSocketException(
                "asyncio of this Python can't run TLS inside of TLS, as an HTTPS proxy needs it"
                " for wss: use Python 3.11 or newer"
            ) from error
        # The loop's own frame holds the future that holds the exception: a cycle.
        raise error.with_traceback(None)  # noqa: B904


# --- TCP ---------------------------------------------------------------------------------


async def _lookup(host: str, port: int, whose: str, dialing: Dialing) -> list[AddrInfo]:
    find = partial(lookup, host, port, whose, resolver=dialing.resolver)
    if dialing.resolver is None and _is_numeric(host):
        return find()
    return await asyncio.get_running_loop().run_in_executor(None, find)


async def _open_route(route: Route, dialing: Dialing, deadline: Deadline) -> Any:
    if route.unix_path is not None:
        return await _open_unix(route.unix_path, dialing)
    return await _open(route.host, route.port, dialing, deadline)


class _Errand:
    """A socket that a program's function makes in a thread, where nobody can call it off.

    If nobody wants it any more when it comes, it is closed.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._wanted = True
        self._sock: Any = None
        self._lock = threading.Lock()

    async def run(self) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(None, self._fetch)
        except BaseException:
            with self._lock:
                self._wanted = False
            self._close()
            raise

    def _fetch(self) -> Any:
        sock = self._make()
        with self._lock:
            self._sock = sock
            wanted = self._wanted
        if not wanted:
            self._close()
        return sock

    def _close(self) -> None:
        if hasattr(self._sock, "close"):
            self._sock.close()


async def _open(
    host: str, port: int, dialing: Dialing, deadline: Deadline, whose: str = "server"
) -> Any:
    """Connect to the address of a name that takes the connection first (RFC 8305)."""
    loop = asyncio.get_running_loop()
    if dialing.socket_factory is not None:
        make = partial(dialing.socket_factory, (host, port), deadline.remaining())
        sock = await _Errand(make).run()
        if sock is None:
            raise WebSocketArgumentException("socket_factory returned None instead of a socket")
        _send_at_once(sock)
        return sock
    order = interleave(await _lookup(host, port, whose, dialing), lambda entry: entry[0])
    race = Race(len(order))
    running: dict[asyncio.Task[socket.socket], int] = {}
    errors: dict[int, OSError] = {}
    try:
        while True:
            number = race.begin(loop.time())
            if number is not None:
                running[asyncio.ensure_future(_open_one(order[number], dialing))] = number
            if running:
                sock = await _first_open(running, order, race, errors)
                if sock is not None:
                    return sock
            elif race.until_next(loop.time()) is None:
                raise _first_of([errors[number] for number in sorted(errors)])
    finally:
        # An exception that is kept in a variable of its own frame is never freed.
        errors.clear()
        await _call_off(list(running))


async def _first_open(
    running: dict[asyncio.Task[socket.socket], int],
    order: Sequence[AddrInfo],
    race: Race,
    errors: dict[int, OSError],
) -> socket.socket | None:
    """Wait until an attempt has ended: its socket, or None where it failed or the next is due."""
    until_next = race.until_next(asyncio.get_running_loop().time())
    done, _ = await asyncio.wait(running, timeout=until_next, return_when=asyncio.FIRST_COMPLETED)
    # The preferred address wins where several have answered.
    for task in sorted(done, key=lambda task: running[task]):
        number = running.pop(task)
        error = task.exception()
        if error is None:
            return task.result()
        if not isinstance(error, OSError):
            raise error
        add_note(error, f"This was in connecting to {_show(order[number][4])}.")
        errors[number] = error
        race.failed()
    return None


async def _call_off(tasks: Sequence[asyncio.Task[socket.socket]]) -> None:
    """End the attempts that are not needed any more: no task outlives the dialer."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, socket.socket):
            result.close()


async def _open_one(address: AddrInfo, dialing: Dialing) -> socket.socket:
    family, kind, protocol, _, where = address
    return await _connected(_prepared(family, kind, protocol, where, dialing), where)


async def _open_unix(path: str, dialing: Dialing) -> socket.socket:
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise WebSocketArgumentException("This system has no Unix sockets")
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    for arguments in dialing.sockopt:
        _set_own(sock, arguments)
    return await _connected(sock, path)


async def _connected(sock: socket.socket, where: Any) -> socket.socket:
    try:
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException as error:
        sock.close()
        if not isinstance(error, OSError) or (error.errno is None and not isinstance(where, str)):
            raise
        if error.errno is None:
            raise WebSocketArgumentException(
                f"{where!r} is no Unix socket's path: {error}"
            ) from error
        # Each loop has words of its own for it; these are the system's.
        raise OSError(error.errno, os.strerror(error.errno)) from error
    return sock


# --- proxies -----------------------------------------------------------------------------


async def _through_proxy(route: Route, proxy: Proxy, dialing: Dialing, limit: Deadline) -> Exchange:
    """Connect to the proxy and have it connect to the server."""
    name = f"{pack_hostname(proxy.host)}:{proxy.port}"
    try:
        async with before(limit):
            targets = await _targets(route, proxy, dialing)
            for target in targets:
                tunnel = tunnel_for(proxy.type, target, route.port, proxy.auth, name=name)
                try:
                    return await _open_tunnel(route, proxy, tunnel, name, dialing, limit)
                except WebSocketProxyException as error:
                    last = target is targets[-1]
                    if last or error.status_code not in OTHER_ADDRESS_MAY_HELP:
                        raise
    except WebSocketTimeoutException as error:
        raise WebSocketTimeoutException(f"{error} The proxy {name} did not answer.") from error
    raise AssertionError("a name has addresses")


async def _targets(route: Route, proxy: Proxy, dialing: Dialing) -> list[str]:
    """The server as this kind of proxy is told it: its name, or its addresses."""
    if proxy.type not in LOOKED_UP_HERE:
        return [route.host]
    found = await _lookup(route.host, route.port, "server", dialing)
    addresses: list[str] = [entry[4][0] for entry in interleave(found, lambda entry: entry[0])]
    if proxy.type == "socks4":
        addresses = [address for address in addresses if ":" not in address] or addresses[:1]
    return addresses


async def _open_tunnel(
    route: Route, proxy: Proxy, tunnel: Tunnel, name: str, dialing: Dialing, limit: Deadline
) -> Exchange:
    assert proxy.port is not None
    while True:
        try:
            sock = await _open(proxy.host, proxy.port, dialing, limit, "proxy")
        except OSError as error:
            if isinstance(error, (WebSocketException, TimeoutError)):
                raise
            raise _unreachable(error, name) from error
        exchange = await _adopt(sock, tls=bool(route.tls or route.proxy_tls))
        try:
            if route.proxy_tls is not None:
                await _start_tls(exchange, route.proxy_tls, limit)
            if await _negotiate(exchange, tunnel):
                return exchange
        except BaseException:
            exchange.transport.abort()
            raise
        exchange.transport.abort()


async def _negotiate(exchange: Exchange, tunnel: Tunnel) -> bool:
    """Talk to the proxy until the tunnel stands; False if that takes another connection."""
    seconds: float | None = None
    try:
        while True:
            data = tunnel.data_to_send()
            if data:
                if isinstance(tunnel, ConnectTunnel):
                    _logging.dump("request header", data.decode())
                exchange.send(data)
            try:
                answer = await exchange.receive(seconds, tunnel.read_size)
            except WebSocketConnectionClosedException:
                answer = b""
            if tunnel.feed(answer):
                return True
            if tunnel.redial:
                return False
            if tunnel.refusal is not None:
                # What explains it is not worth more waiting than this.
                seconds = _BODY_WAIT
    except WebSocketTimeoutException as error:
        if tunnel.refusal is not None:
            raise tunnel.refusal from error
        raise
    finally:
        head = getattr(tunnel, "head", None)
        if head is not None:
            _logging.dump("response header", head.text)
