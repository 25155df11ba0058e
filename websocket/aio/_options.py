"""The options of the asyncio face: their names, defaults, and the other names they go by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from .._exceptions import WebSocketArgumentException
from .._observe import Observer
from .._open import KNOWN
from .._protocol.connection import DEFAULT_MAX_SIZE
from .._protocol.extensions import Extension
from .._socket import check_timeout, getdefaulttimeout, sock_opt

HeaderOption = Mapping[str, str | None] | Sequence[str]


class Options(TypedDict, total=False):
    """What ``connect`` takes by keyword. The documentation's page on asyncio has the defaults."""

    timeout: float | None
    header: HeaderOption | Callable[[], HeaderOption] | None
    cookie: str | None
    cookie_jar: Any
    origin: str | None
    suppress_origin: bool
    host: str | None
    suppress_host: bool
    connection: str | None
    subprotocols: Sequence[str] | None
    compression: str | Extension | None
    redirect_limit: int
    auth: Any
    netrc: bool | str
    keepalive: bool | Mapping[str, int] | None
    tcp_user_timeout: float | None
    source_address: tuple[str, int] | str | None
    resolver: Callable[[str, int], Iterable[Any]] | None
    socket_factory: Callable[[tuple[str, int], float | None], Any] | None
    proxy: str | bool | None
    proxy_sslopt: Mapping[str, Any] | None
    socket: Any
    sockopt: Any
    sslopt: Mapping[str, Any] | None
    http_proxy_host: str | None
    http_proxy_port: int | str | None
    http_proxy_auth: tuple[str, str] | None
    http_no_proxy: Sequence[str] | str | None
    http_proxy_timeout: float | None
    proxy_type: str | None
    get_mask_key: Callable[[int], str | bytes] | None
    skip_utf8_validation: bool
    max_size: int | None
    ping_interval: float | None
    ping_timeout: float | None
    close_timeout: float | None
    max_queue: int | tuple[int, int | None] | None
    max_queue_size: int | None
    write_limit: int | tuple[int, int | None]
    observer: Observer | None
    # Names that programs for the library ``websockets`` use.
    additional_headers: Mapping[str, str] | Iterable[tuple[str, str]] | None
    user_agent_header: str | None
    open_timeout: float | None
    ssl: Any
    server_hostname: str | None
    sock: Any


_ALIASES: Final = {"additional_headers": "header", "open_timeout": "timeout", "sock": "socket"}
_DEFAULTS: Final[dict[str, Any]] = {
    "get_mask_key": None,
    "skip_utf8_validation": False,
    "max_size": DEFAULT_MAX_SIZE,
    "ping_interval": 20,
    "ping_timeout": 20,
    "close_timeout": 3,
    "max_queue": 1024,
    "max_queue_size": 1024 * 1024,
    "write_limit": 64 * 1024,
    "observer": None,
}
_DIALLING: Final = KNOWN - {"deadline"}


@dataclass(frozen=True)
class Settings:
    """The options, checked and under one name each.

    Attributes:
        timeout: seconds for connecting.
        sockets: options of the socket and of TLS.
        dial: what decides where and how to shake hands.
        The others are the options of the same names.
    """

    timeout: float | None
    sockets: sock_opt
    dial: dict[str, Any]
    get_mask_key: Callable[[int], str | bytes] | None
    skip_utf8_validation: bool
    max_size: int | None
    ping_interval: float | None
    ping_timeout: float | None
    close_timeout: float | None
    max_queue: int | None
    max_queue_size: int | None
    write_limit: tuple[int, int | None]
    observer: Observer | None


def settle(options: Mapping[str, Any]) -> Settings:
    """Check the options.

    Raises:
        TypeError: there is no such option, or one was given under two names.
        WebSocketArgumentException: a value can't be used.
    """
    given = _by_own_names(options)
    sockets = sock_opt(given.pop("sockopt", None), _tls_options(given))
    limit = given.pop("timeout", None)
    limit = check_timeout(getdefaulttimeout() if limit is None else limit)
    chosen = {name: given.pop(name, default) for name, default in _DEFAULTS.items()}
    unknown = given.keys() - _DIALLING
    if unknown:
        raise TypeError(f"connect() has no option {', '.join(map(repr, sorted(unknown)))}")
    for name in ("ping_interval", "ping_timeout", "close_timeout"):
        chosen[name] = check_timeout(chosen[name], name)
    if chosen["ping_timeout"] == 0:
        raise WebSocketArgumentException("ping_timeout must be above 0, but is 0")
    # The low-water mark that another library has beside it: here, reading goes on when the
    # program has taken everything.
    chosen["max_queue"] = _count("max_queue", _first(chosen["max_queue"]))
    chosen["max_queue_size"] = _count("max_queue_size", chosen["max_queue_size"])
    limits: Any = chosen["write_limit"]
    chosen["write_limit"] = limits if isinstance(limits, tuple) else (limits, None)
    return Settings(timeout=limit, sockets=sockets, dial=given, **chosen)


def _by_own_names(options: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(options)
    for alias, name in _ALIASES.items():
        if alias in given:
            if name in given:
                raise TypeError(f"{alias} is another name for {name}: give one of the two")
            given[name] = given.pop(alias)
    header = given.get("header")
    if header is not None and not callable(header):
        given["header"] = _header_lines(header)
    agent = given.pop("user_agent_header", None)
    if agent is not None:
        given["header"] = _with_agent(given.get("header"), agent)
    return given


def _header_lines(header: Any) -> Any:
    """Pairs of name and value as lines; everything else as it is."""
    if hasattr(header, "items") or isinstance(header, str):
        return header
    lines: list[Any] = list(header)
    return [line if isinstance(line, str) else ": ".join(line) for line in lines]


def _with_agent(header: Any, agent: str) -> Any:
    def lines() -> list[str]:
        given: Any = header() if callable(header) else header
        if hasattr(given, "items"):
            given = [f"{name}: {value}" for name, value in given.items() if value is not None]
        return [*(given or ()), f"User-Agent: {agent}"]

    return lines


def _tls_options(given: dict[str, Any]) -> Any:
    sslopt: Any = given.pop("sslopt", None)
    context, hostname = given.pop("ssl", None), given.pop("server_hostname", None)
    named: dict[str, Any] = {}
    if context not in (None, True):
        named["context"] = context
    if hostname is not None:
        named["server_hostname"] = hostname
    if not named:
        return sslopt
    if sslopt:
        named.update(sslopt)
    return named


def _first(value: Any) -> Any:
    pair: Any = value
    return pair[0] if isinstance(value, tuple) else value


def _count(name: str, value: Any) -> int | None:
    if value is None or (isinstance(value, int) and value > 0):
        return value
    raise WebSocketArgumentException(f"{name} must be None or a number above 0, not {value!r}")
