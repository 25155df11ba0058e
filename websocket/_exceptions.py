"""The error tree.

::

    WebSocketException
    ├── WebSocketProtocolException            the peer broke RFC 6455; close code 1002
    │   └── WebSocketMessageTooBigException   a message passed ``max_size``; close code 1009
    ├── WebSocketPayloadException             text that is not UTF-8; close code 1007
    ├── WebSocketConnectionClosedException    the connection is closed, or was lost
    ├── WebSocketTimeoutException             a deadline or timeout passed
    │   └── WebSocketWouldBlockException      ... of 0 s; also a BlockingIOError
    ├── WebSocketOutboxFullException          no room for a message while there is no connection
    ├── WebSocketProxyException               the proxy refused, or its settings make no sense
    │   ├── WebSocketProxyConnectionException the proxy can't be reached; also an OSError
    │   └── WebSocketProxyTypeException       also a ValueError
    ├── WebSocketBadStatusException           the server answered with another status than 101
    ├── WebSocketHandshakeException           the server's answer is no valid opening handshake
    ├── WebSocketAddressException             the host name has no address
    └── WebSocketArgumentException            an argument makes no sense; also a ValueError
        └── WebSocketURLException             the URL makes no sense

Names and base classes of the first level are those that programs written for
earlier releases catch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
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
]


class WebSocketException(Exception):
    """Base of every error that this library raises on its own account."""


class WebSocketProtocolException(WebSocketException):
    """The peer sent something that RFC 6455 forbids.

    Attributes:
        close_code: the code of the Close frame that answers it (RFC 6455 section 7.4.1).
    """

    close_code: int = 1002


class WebSocketMessageTooBigException(WebSocketProtocolException):
    """A message is larger than the connection's ``max_size``.

    Attributes:
        size: bytes that the message has, or would have with the frame that just began.
        limit: the ``max_size`` of the connection, in bytes.
    """

    close_code = 1009

    def __init__(self, message: str = "", size: int | None = None, limit: int | None = None):
        super().__init__(message)
        self.size = size
        self.limit = limit


class WebSocketPayloadException(WebSocketException):
    """A text message or a close reason is not UTF-8 (RFC 6455 section 8.1)."""

    close_code: int = 1007


class WebSocketConnectionClosedException(WebSocketException):
    """The connection is closed, or the peer went away without a closing handshake.

    Attributes:
        code: the code of the peer's Close frame, 1005 if that had none; None where no Close
            came, or where the one who raised this can't tell.
        reason: the reason of the peer's Close frame, or None.
    """

    def __init__(self, *args: object, code: int | None = None, reason: str | None = None):
        super().__init__(*args)
        self.code = code
        self.reason = reason


class WebSocketTimeoutException(WebSocketException):
    """A timeout passed. After a receive, the connection stays usable."""


class WebSocketWouldBlockException(WebSocketTimeoutException, BlockingIOError):
    """With a timeout of 0, there is nothing to be read or no room to write.

    Programs that made a socket non-blocking wait for ``BlockingIOError``, over TLS for
    ``ssl.SSLWantReadError`` or ``ssl.SSLWantWriteError``: over TLS it is one of these, too.
    """

    # OSError and its TLS kin would look for an errno.
    __str__ = Exception.__str__


class WebSocketOutboxFullException(WebSocketException):
    """There is no connection, and no room to keep the message until there is one.

    Attributes:
        messages: how many wait.
        size: how many bytes they have together.
    """

    def __init__(self, message: str = "", messages: int = 0, size: int = 0):
        super().__init__(message)
        self.messages = messages
        self.size = size


class WebSocketProxyException(WebSocketException):
    """The proxy refused or failed, or the proxy settings make no sense.

    Attributes:
        status_code: the HTTP status, or the reply code of a SOCKS proxy; None where there was
            no answer.
        resp_headers: the headers of an HTTP proxy's answer, names in lower case, or None.
        resp_body: the start of an HTTP proxy's answer behind its head, at most 64 KiB, or None.
        auth_schemes: the kinds of authentication that the proxy asked for, such as
            ``("Basic", "Digest")``.
    """

    def __init__(
        self,
        message: str = "",
        status_code: int | None = None,
        resp_headers: Mapping[str, str] | None = None,
        resp_body: bytes | None = None,
        auth_schemes: Sequence[str] = (),
    ):
        super().__init__(message)
        self.status_code = status_code
        self.resp_headers = resp_headers
        self.resp_body = resp_body
        self.auth_schemes = tuple(auth_schemes)


class WebSocketProxyConnectionException(WebSocketProxyException, OSError):
    """The proxy can't be reached. ``errno`` is that of the system's error, its ``__cause__``."""

    # OSError would look for an errno among its arguments.
    __str__ = Exception.__str__


class WebSocketProxyTypeException(WebSocketProxyException, ValueError):
    """``proxy_type`` names no proxy protocol that exists here."""


class WebSocketBadStatusException(WebSocketException):
    """The server answered the opening handshake with another status than 101.

    Attributes:
        status_code: the HTTP status.
        status_message: the reason phrase, if the server sent one.
        resp_headers: the response headers, names in lower case.
        resp_body: the start of the response body, at most 64 KiB.
    """

    def __init__(
        self,
        message: str,
        status_code: int,
        status_message: str | None = None,
        resp_headers: Mapping[str, str] | None = None,
        resp_body: bytes | None = None,
    ):
        super().__init__(message)
        self.status_code = status_code
        self.status_message = status_message
        self.resp_headers = resp_headers
        self.resp_body = resp_body

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            type(self),
            (
                str(self),
                self.status_code,
                self.status_message,
                self.resp_headers,
                self.resp_body,
            ),
        )


class WebSocketHandshakeException(WebSocketException):
    """The server's answer is not a valid opening handshake (RFC 6455 section 4.1).

    Attributes:
        status_code: the HTTP status, or None when the answer was no HTTP response.
        resp_headers: the response headers read so far, names in lower case, or None.
        resp_body: the start of what came after the head, at most 64 KiB, or None.
    """

    def __init__(
        self,
        message: str = "",
        status_code: int | None = None,
        resp_headers: Mapping[str, str] | None = None,
        resp_body: bytes | None = None,
    ):
        super().__init__(message)
        self.status_code = status_code
        self.resp_headers = resp_headers
        self.resp_body = resp_body


class WebSocketAddressException(WebSocketException):
    """The host name could not be resolved."""


class WebSocketArgumentException(WebSocketException, ValueError):
    """An argument has a value that can't be used; nothing was sent."""


class WebSocketURLException(WebSocketArgumentException):
    """The URL is not a WebSocket URL (RFC 6455 section 3)."""
