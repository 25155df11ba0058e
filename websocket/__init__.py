"""WebSocket client: blocking (``WebSocket``, ``create_connection``), with callbacks
(``WebSocketApp``) and for asyncio (``aio``, ``aconnect``).

The modules are imported when something of theirs is used for the first time: many programs
import this package because something that they import might need it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import aio as aio
    from ._abnf import (
        ABNF,
        STATUS_ABNORMAL_CLOSED,
        STATUS_BAD_GATEWAY,
        STATUS_GOING_AWAY,
        STATUS_INVALID_EXTENSION,
        STATUS_INVALID_PAYLOAD,
        STATUS_MESSAGE_TOO_BIG,
        STATUS_NORMAL,
        STATUS_POLICY_VIOLATION,
        STATUS_PROTOCOL_ERROR,
        STATUS_SERVICE_RESTART,
        STATUS_STATUS_NOT_AVAILABLE,
        STATUS_TLS_HANDSHAKE_ERROR,
        STATUS_TRY_AGAIN_LATER,
        STATUS_UNEXPECTED_CONDITION,
        STATUS_UNSUPPORTED_DATA_TYPE,
        continuous_frame,
        frame_buffer,
    )
    from ._app import WebSocketApp, set_reconnect, setReconnect
    from ._core import WebSocket, create_connection
    from ._exceptions import (
        WebSocketAddressException,
        WebSocketArgumentException,
        WebSocketBadStatusException,
        WebSocketConnectionClosedException,
        WebSocketException,
        WebSocketHandshakeException,
        WebSocketMessageTooBigException,
        WebSocketOutboxFullException,
        WebSocketPayloadException,
        WebSocketProtocolException,
        WebSocketProxyConnectionException,
        WebSocketProxyException,
        WebSocketProxyTypeException,
        WebSocketTimeoutException,
        WebSocketURLException,
        WebSocketWouldBlockException,
    )
    from ._logging import (
        debug,
        dump,
        enableTrace,
        error,
        isEnabledForDebug,
        isEnabledForError,
        isEnabledForTrace,
        trace,
        warning,
    )
    from ._observe import Observer
    from ._outbox import Outbox
    from ._pong import PongWaiter
    from ._protocol.deflate import Deflate
    from ._reconnect import Backoff, retryable
    from ._reconnecting import Reconnecting, reconnecting
    from ._socket import (
        DEFAULT_SOCKET_OPTION,
        getdefaulttimeout,
        recv,
        recv_line,
        send,
        setdefaulttimeout,
        sock_opt,
    )
    from ._stats import Stats

    aconnect = aio.connect

__version__ = "1.9.100"

__all__ = [
    "ABNF",
    "DEFAULT_SOCKET_OPTION",
    "STATUS_ABNORMAL_CLOSED",
    "STATUS_BAD_GATEWAY",
    "STATUS_GOING_AWAY",
    "STATUS_INVALID_EXTENSION",
    "STATUS_INVALID_PAYLOAD",
    "STATUS_MESSAGE_TOO_BIG",
    "STATUS_NORMAL",
    "STATUS_POLICY_VIOLATION",
    "STATUS_PROTOCOL_ERROR",
    "STATUS_SERVICE_RESTART",
    "STATUS_STATUS_NOT_AVAILABLE",
    "STATUS_TLS_HANDSHAKE_ERROR",
    "STATUS_TRY_AGAIN_LATER",
    "STATUS_UNEXPECTED_CONDITION",
    "STATUS_UNSUPPORTED_DATA_TYPE",
    "Backoff",
    "Deflate",
    "Observer",
    "Outbox",
    "PongWaiter",
    "Reconnecting",
    "Stats",
    "WebSocket",
    "WebSocketAddressException",
    "WebSocketApp",
    "WebSocketArgumentException",
    "WebSocketBadStatusException",
    "WebSocketConnectionClosedException",
    "WebSocketException",
    "WebSocketHandshakeException",
    "WebSocketMessageTooBigException",
    "WebSocketOutboxFullException",
    "WebSocketPayloadException",
    "WebSocketProtocolException",
    "WebSocketProxyConnectionException",
    "WebSocketProxyException",
    "WebSocketProxyTypeException",
    "WebSocketTimeoutException",
    "WebSocketURLException",
    "WebSocketWouldBlockException",
    "__version__",
    "continuous_frame",
    "create_connection",
    "debug",
    "dump",
    "enableTrace",
    "error",
    "frame_buffer",
    "getdefaulttimeout",
    "isEnabledForDebug",
    "isEnabledForError",
    "isEnabledForTrace",
    "reconnecting",
    "recv",
    "recv_line",
    "retryable",
    "send",
    "setReconnect",
    "set_reconnect",
    "setdefaulttimeout",
    "sock_opt",
    "trace",
    "warning",
]

# Where the names above are at home.
_HOMES = {
    "_abnf": (
        "ABNF",
        "STATUS_ABNORMAL_CLOSED",
        "STATUS_BAD_GATEWAY",
        "STATUS_GOING_AWAY",
        "STATUS_INVALID_EXTENSION",
        "STATUS_INVALID_PAYLOAD",
        "STATUS_MESSAGE_TOO_BIG",
        "STATUS_NORMAL",
        "STATUS_POLICY_VIOLATION",
        "STATUS_PROTOCOL_ERROR",
        "STATUS_SERVICE_RESTART",
        "STATUS_STATUS_NOT_AVAILABLE",
        "STATUS_TLS_HANDSHAKE_ERROR",
        "STATUS_TRY_AGAIN_LATER",
        "STATUS_UNEXPECTED_CONDITION",
        "STATUS_UNSUPPORTED_DATA_TYPE",
        "continuous_frame",
        "frame_buffer",
    ),
    "_app": (
        "WebSocketApp",
        "set_reconnect",
        "setReconnect",
    ),
    "_core": (
        "WebSocket",
        "create_connection",
    ),
    "_exceptions": (
        "WebSocketAddressException",
        "WebSocketArgumentException",
        "WebSocketBadStatusException",
        "WebSocketConnectionClosedException",
        "WebSocketException",
        "WebSocketHandshakeException",
        "WebSocketMessageTooBigException",
        "WebSocketOutboxFullException",
        "WebSocketPayloadException",
        "WebSocketProtocolException",
        "WebSocketProxyConnectionException",
        "WebSocketProxyException",
        "WebSocketProxyTypeException",
        "WebSocketTimeoutException",
        "WebSocketURLException",
        "WebSocketWouldBlockException",
    ),
    "_logging": (
        "debug",
        "dump",
        "enableTrace",
        "error",
        "isEnabledForDebug",
        "isEnabledForError",
        "isEnabledForTrace",
        "trace",
        "warning",
    ),
    "_observe": ("Observer",),
    "_outbox": ("Outbox",),
    "_pong": ("PongWaiter",),
    "_protocol.deflate": ("Deflate",),
    "_reconnect": (
        "Backoff",
        "retryable",
    ),
    "_reconnecting": (
        "Reconnecting",
        "reconnecting",
    ),
    "_socket": (
        "DEFAULT_SOCKET_OPTION",
        "getdefaulttimeout",
        "recv",
        "recv_line",
        "send",
        "setdefaulttimeout",
        "sock_opt",
    ),
    "_stats": ("Stats",),
}

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_HOME_OF["aconnect"] = "aio"

# Private, but known to programs, which expect to find them without importing them.
_MODULES = frozenset(
    {
        "_abnf",
        "_app",
        "_cookiejar",
        "_core",
        "_dispatcher",
        "_exceptions",
        "_handshake",
        "_http",
        "_logging",
        "_socket",
        "_ssl_compat",
        "_url",
        "_utils",
        "_wsdump",
        "aio",
    }
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_HOME_OF[name]}", __name__)
    value = getattr(module, "connect" if name == "aconnect" else name)
    globals()[name] = value  # from now on it is found without asking here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "aconnect", "aio"})
