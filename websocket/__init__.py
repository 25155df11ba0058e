"""WebSocket client: blocking (``WebSocket``, ``create_connection``), with callbacks
(``WebSocketApp``) and for asyncio (``aio``, ``aconnect``)."""

from __future__ import annotations

import importlib
import typing

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
from ._observe import Observer, Stats
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

if typing.TYPE_CHECKING:
    from . import aio as aio

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


def __getattr__(name: str) -> typing.Any:
    # Programs without asyncio should not pay for importing it.
    if name in ("aio", "aconnect"):
        module = importlib.import_module(".aio", __name__)
        return module if name == "aio" else module.connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
