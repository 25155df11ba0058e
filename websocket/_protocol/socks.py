"""SOCKS 4, 4a and 5 (RFC 1928), with user name and password (RFC 1929), without I/O.

Both classes are driven as ``proxy.Tunnel`` says. Whether a name is looked up here or by the
proxy is the caller's choice: a proxy of SOCKS 4 takes IPv4 addresses only.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from .._exceptions import WebSocketProxyException
from .tunnel import Auth, check_credentials
from .uri import ascii_hostname

_CONNECT: Final = 1
_NO_AUTHENTICATION, _PASSWORD, _NONE_ACCEPTABLE = 0x00, 0x02, 0xFF
_IPV4, _NAME, _IPV6 = 1, 3, 4
_MAX_FIELD: Final = 255

OTHER_ADDRESS_MAY_HELP: Final = frozenset({1, 3, 4, 5, 6, 8, 91})
"""Reply codes that say something about the address that was asked for."""

_REPLIES_4: Final = {
    91: "it refused the request or could not reach the server",
    92: "it could not ask this machine's identd who the user is",
    93: "this machine's identd named another user than the request",
}
_REPLIES_5: Final = {
    1: "a general failure",
    2: "its rules do not allow the connection",
    3: "the network of the server is unreachable",
    4: "the server is unreachable",
    5: "the server refused the connection",
    6: "the time was over",
    7: "it does not know the command CONNECT",
    8: "it does not know this kind of address",
}


class _SocksTunnel:
    """What both versions share: bytes out, bytes in, steps."""

    redial = False
    refusal = None
    version = ""

    def __init__(self, name: str) -> None:
        self._who = f"The proxy {name}" if name else "The proxy"
        self._unsent = b""
        self._buffer = bytearray()
        self._wanted = 0
        self._step: Callable[[bytes], bool] = self._unexpected

    @property
    def read_size(self) -> int:
        """How many bytes are missing for the next step; what follows is not for the proxy."""
        return self._wanted - len(self._buffer)

    def data_to_send(self) -> bytes:
        """What is to be sent now, once."""
        data, self._unsent = self._unsent, b""
        return data

    def feed(self, data: bytes) -> bool:
        """Take what was received; empty bytes are the end of the stream.

        Returns:
            True when the tunnel stands, False when there is more to do.

        Raises:
            WebSocketProxyException: the proxy refused, speaks no SOCKS, or hung up.
        """
        if not data:
            raise WebSocketProxyException(
                f"{self._who} closed the connection before it had answered the request for a "
                f"tunnel; does it speak {self.version}?"
            )
        self._buffer += data
        while len(self._buffer) >= self._wanted:
            taken = bytes(self._buffer[: self._wanted])
            del self._buffer[: self._wanted]
            if self._step(taken):
                if self._buffer:
                    raise WebSocketProxyException(
                        f"{self._who} sent data behind its answer: {bytes(self._buffer[:40])!r}"
                    )
                return True
        return False

    def _expect(self, size: int, step: Callable[[bytes], bool]) -> None:
        self._wanted, self._step = size, step

    def _unexpected(self, data: bytes) -> bool:
        raise self._not_socks(data)

    def _not_socks(self, data: bytes) -> WebSocketProxyException:
        return WebSocketProxyException(
            f"{self._who} does not speak {self.version}: it answered with {data[:40]!r}"
        )

    def _failed(self, code: int, reasons: dict[int, str], hint: str = "") -> Exception:
        reason = reasons.get(code, "for a reason that is not known")
        return WebSocketProxyException(
            f"{self._who} did not open the tunnel: {reason} ({self.version} reply {code}){hint}",
            code,
        )


class Socks4Tunnel(_SocksTunnel):
    """SOCKS 4, and 4a where ``host`` is a name.

    Args:
        host: IPv4 address or name of the WebSocket server.
        port: its port.
        auth: user name, and nothing or an empty string behind it, or None.
        name: the proxy's name, for sentences.

    Raises:
        WebSocketProxyException: the host is an IPv6 address, or there is a password.
    """

    version = "SOCKS4"

    def __init__(self, host: str, port: int, auth: Auth | None = None, *, name: str = "") -> None:
        super().__init__(name)
        username, password = check_credentials(auth) or ("", "")
        if password:
            raise WebSocketProxyException(
                "SOCKS4 knows user names, but no passwords; leave it out, or use socks5."
            )
        address = _address(host)
        if isinstance(address, IPv6Address):
            raise WebSocketProxyException(
                f"SOCKS4 knows no IPv6, and the server's address is {host}; use socks5."
            )
        # An address that can't be one says that a name follows (SOCKS 4a).
        packed = b"\0\0\0\1" if address is None else address.packed
        request = bytes([4, _CONNECT]) + port.to_bytes(2, "big") + packed
        request += username.encode() + b"\0"
        self._unsent = request + (_packed_name(host) + b"\0" if address is None else b"")
        # Short, so that a peer that speaks something else is found out by its first bytes.
        self._expect(2, self._reply)

    def _reply(self, data: bytes) -> bool:
        if data[0] != 0:
            raise self._not_socks(data)
        if data[1] != 90:
            raise self._failed(data[1], _REPLIES_4)
        self._expect(6, lambda _: True)
        return False


class Socks5Tunnel(_SocksTunnel):
    """SOCKS 5.

    Args:
        host: address or name of the WebSocket server.
        port: its port.
        auth: user name and password for the proxy, or None.
        name: the proxy's name, for sentences.

    Raises:
        WebSocketProxyException: the credentials are too long.
    """

    version = "SOCKS5"

    def __init__(self, host: str, port: int, auth: Auth | None = None, *, name: str = "") -> None:
        super().__init__(name)
        self._credentials = _packed_credentials(auth)
        self._request = bytes([5, _CONNECT, 0]) + _packed_address(host) + port.to_bytes(2, "big")
        methods = [_NO_AUTHENTICATION] + [_PASSWORD] * bool(self._credentials)
        self._unsent = bytes([5, len(methods), *methods])
        self._expect(2, self._method)

    def _method(self, data: bytes) -> bool:
        version, method = data
        if version != 5:
            raise self._not_socks(data)
        if method == _PASSWORD and self._credentials:
            self._unsent = self._credentials
            self._expect(2, self._password_judged)
        elif method == _NO_AUTHENTICATION:
            self._ask()
        else:
            what = "wants" if method == _NONE_ACCEPTABLE else "chose"
            hint = "correct" if self._credentials else "set"
            raise WebSocketProxyException(
                f"{self._who} {what} another kind of authentication than was offered (SOCKS5 "
                f"method {method}); {hint} http_proxy_auth=(user name, password)",
                method,
                auth_schemes=() if self._credentials else ("username/password",),
            )
        return False

    def _password_judged(self, data: bytes) -> bool:
        # RFC 1929 section 2 counts its own version here; some proxies send 5.
        if data[0] not in (1, 5):
            raise self._not_socks(data)
        if data[1] != 0:
            raise WebSocketProxyException(
                f"{self._who} refused the user name or password; correct http_proxy_auth",
                data[1],
                auth_schemes=("username/password",),
            )
        self._ask()
        return False

    def _ask(self) -> None:
        self._unsent = self._request
        self._expect(2, self._reply)

    def _reply(self, data: bytes) -> bool:
        if data[0] != 5:
            raise self._not_socks(data)
        if data[1] != 0:
            raise self._failed(data[1], _REPLIES_5)
        # Reserved, kind of address, and the first byte of it, which tells a name's size.
        self._expect(3, self._bound)
        return False

    def _bound(self, data: bytes) -> bool:
        sizes = {_IPV4: 3, _IPV6: 15, _NAME: data[2]}
        if data[1] not in sizes:
            raise self._not_socks(data)
        self._expect(sizes[data[1]] + 2, lambda _: True)
        return False


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _packed_name(host: str) -> bytes:
    name = ascii_hostname(host).encode()
    if len(name) > _MAX_FIELD:
        raise WebSocketProxyException(
            f"The host name is longer than the {_MAX_FIELD} bytes that SOCKS can carry."
        )
    return name


def _packed_address(host: str) -> bytes:
    address = _address(host)
    if address is None:
        name = _packed_name(host)
        return bytes([_NAME, len(name)]) + name
    return bytes([_IPV4 if address.version == 4 else _IPV6]) + address.packed


def _packed_credentials(auth: Auth | None) -> bytes:
    """The request of RFC 1929 section 2, or nothing where there are no credentials."""
    checked = check_credentials(auth)
    if checked is None:
        return b""
    username, password = (part.encode() for part in checked)
    if max(len(username), len(password)) > _MAX_FIELD:
        raise WebSocketProxyException(
            f"The user name or password for the proxy is longer than the {_MAX_FIELD} bytes "
            "that SOCKS can carry."
        )
    return bytes([1, len(username)]) + username + bytes([len(password)]) + password
