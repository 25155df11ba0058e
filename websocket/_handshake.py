"""The opening handshake over a blocking socket: sends the request, reads and judges the answer.

What is sent and what is accepted is decided in ``_protocol.handshake`` (RFC 6455 section 4);
cookies are kept in ``_cookiejar``.
"""

# The private names are the legacy ones that programs import.
# pyright: reportUnusedFunction=false

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NoReturn

from ._auth import authorization_for
from ._cookiejar import SimpleCookieJar
from ._deadline import Deadline
from ._exceptions import (
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketHandshakeException,
    WebSocketTimeoutException,
)
from ._logging import dump, error
from ._protocol import extensions
from ._protocol.deflate import extension_of
from ._protocol.extensions import Codec, Extension
from ._protocol.handshake import (
    KEY_SIZE,
    REDIRECT_STATUSES,
    VERSION,
    ClientRequest,
    agreed_extension,
    check_response,
    make_key,
    parse_header_option,
    prepare_request,
    redirect_target,
)
from ._protocol.http11 import Headers, ResponseHead, ResponseReader
from ._protocol.uri import URL, pack_hostname
from ._socket import DEFAULT_SOCKET_OPTION, recv, send
from ._ssl_compat import SSLError
from ._tls_errors import explain
from ._transport import is_tls

__all__ = [
    "DEFAULT_SOCKET_OPTION",
    "SUCCESS_STATUSES",
    "SUPPORTED_REDIRECT_STATUSES",
    "VERSION",
    "CookieJar",
    "handshake",
    "handshake_response",
    "redirect_options",
    "redirect_target",
]

SUPPORTED_REDIRECT_STATUSES = REDIRECT_STATUSES
SUCCESS_STATUSES = (*SUPPORTED_REDIRECT_STATUSES, HTTPStatus.SWITCHING_PROTOCOLS)

CookieJar = SimpleCookieJar()
"""The jar of the process, used by every handshake that is not given one of its own."""

_HEADERS_TO_CHECK = {"upgrade": "websocket", "connection": "upgrade"}
_SECRET_FIELDS = frozenset({"authorization", "cookie", "proxy-authorization"})
_READ_SIZE = 4096
# A refusal's body explains the status; nobody should wait for it as long as for the status.
_BODY_WAIT = 2.0


class handshake_response:
    """What the server answered: 101, or a redirect.

    Attributes:
        status: HTTP status.
        headers: response headers, names in lower case.
        subprotocol: the subprotocol agreed on, or None.
        head: the whole response head, or None where a program made this object itself.
        rest: bytes of the WebSocket stream that came along with the head.
        codec: the compression agreed on, or None.
    """

    def __init__(self, status: int, headers: dict[str, str], subprotocol: str | None) -> None:
        self.status = status
        self.headers = headers
        self.subprotocol = subprotocol
        self.head: ResponseHead | None = None
        self.rest = b""
        self.codec: Codec | None = None


def handshake(
    sock: Any,
    url: Any = "",
    hostname: Any = "",
    port: Any = 0,
    resource: Any = None,
    **options: Any,
) -> handshake_response:
    """Do the opening handshake on a connected socket (RFC 6455 section 4.1).

    The order of earlier releases, ``handshake(sock, hostname, port, resource)``, is taken
    as well.

    Args:
        sock: a socket, or an object with ``recv``, ``send`` and ``gettimeout``.
        url: the URL that is connected to; says whether it is ``wss``, and may have credentials.
        hostname: host for the Host and Origin fields.
        port: port for the Host and Origin fields.
        resource: path and query.
        **options: ``header`` (dict, list, or a callable that returns one), ``host``,
            ``origin``, ``suppress_origin``, ``suppress_host``, ``subprotocols``,
            ``connection``, ``compression``, ``cookie``, ``cookie_jar`` (a
            :class:`SimpleCookieJar` or an ``http.cookiejar.CookieJar``), ``auth``, ``netrc``
            and ``deadline`` (for all of it; None leaves the socket's own timeout to each step).
            Other options are ignored.

    Returns:
        The response, if its status is 101 or one of SUPPORTED_REDIRECT_STATUSES. A redirect
        is not followed here.

    Raises:
        WebSocketBadStatusException: the server answered with another status.
        WebSocketHandshakeException: the answer is no valid opening handshake.
        WebSocketConnectionClosedException: the connection was lost.
        WebSocketTimeoutException: the deadline or the socket's timeout passed.
        WebSocketArgumentException: an option can't be used; nothing was sent.
    """
    if resource is None:
        url, hostname, port, resource = "", url, hostname, port
    opening = Opening(_target(url, hostname, port, resource), options)
    deadline: Deadline | None = options.get("deadline")
    with _deadlines(sock, deadline) as arm:
        _send_all(sock, opening.request.data, arm)
        head, rest = _read_head(sock, opening.reader, arm)
    if not opening.noted(head):
        _refused(sock, opening.reader, head, deadline)
    return opening.judged(head, rest)


class Opening:
    """One opening handshake, whatever carries it: what to send, and what the answer is worth.

    Parameters:
        target: where the request goes.
        options: those of :func:`handshake`.

    Attributes:
        request: what to send.
        reader: takes what comes back.

    Raises:
        WebSocketArgumentException: an option can't be used.
    """

    def __init__(self, target: URL, options: Mapping[str, Any]) -> None:
        self._target = target
        self._options = options
        self._jar = _cookie_jar(options.get("cookie_jar"))
        self._extension = extension_of(options.get("compression"))
        self.request = _prepare(target, options, self._jar, self._extension)
        self.reader = ResponseReader()
        dump("request header", self.request.text)

    def noted(self, head: ResponseHead) -> bool:
        """Keep the cookies of the answer; False if its status is a refusal.

        The body of a refusal explains it, and is worth some waiting.
        """
        self._jar.store(self._target, head.headers.get_all("set-cookie"))
        return head.status in SUCCESS_STATUSES

    def judged(self, head: ResponseHead, rest: bytes) -> handshake_response:
        """The answer, if it is a 101 that holds what was asked for, or a redirect.

        Args:
            head: the head of the answer.
            rest: what came behind it.

        Raises:
            WebSocketHandshakeException: the answer is no valid opening handshake.
        """
        subprotocol = codec = None
        if head.status == HTTPStatus.SWITCHING_PROTOCOLS:
            subprotocol = _judge(head, self.request, self._options, rest)
            codec = agreed_extension(head, self._extension, rest)
        response = handshake_response(head.status, head.headers, subprotocol)
        response.head = head
        response.rest = rest
        response.codec = codec
        return response


def redirect_options(options: Mapping[str, Any], old: URL, new: URL) -> dict[str, Any]:
    """``options`` for the next request when a redirect leads from ``old`` to ``new``.

    To another origin (scheme, host or port) go neither Authorization nor Cookie nor
    Proxy-Authorization headers nor the options ``cookie`` and ``auth``, nor the ``host``
    option, which names the old host. Credentials of the URL are left behind by
    :func:`redirect_target`.
    """
    result = dict(options)
    if old.origin == new.origin:
        return result
    for name in ("auth", "cookie", "host"):
        result.pop(name, None)
    header = result.get("header")
    if callable(header):
        result["header"] = lambda: _without_secrets(header())
    elif header is not None:
        result["header"] = _without_secrets(header)
    return result


def _without_secrets(header: Any) -> list[str]:
    drop = _SECRET_FIELDS | {"host"}
    pairs = parse_header_option(header)
    return [f"{name}: {value}" for name, value in pairs if name.lower() not in drop]


def _target(url: str | URL, hostname: str, port: int, resource: str) -> URL:
    """The URL of a handshake whose parts the caller has taken apart already."""
    secure = port == 443
    username = password = None
    if url:
        parsed = url if isinstance(url, URL) else URL.parse(url)
        secure, username, password = parsed.secure, parsed.username, parsed.password
    return URL(secure, hostname, int(port), resource, username, password)


def _cookie_jar(jar: Any) -> SimpleCookieJar:
    if jar is None:
        return CookieJar
    return SimpleCookieJar(jar) if hasattr(jar, "add_cookie_header") else jar


def _prepare(
    target: URL,
    options: Mapping[str, Any],
    jar: SimpleCookieJar,
    extension: Extension | None = None,
) -> ClientRequest:
    header: Any = options.get("header")
    if callable(header):
        header = header()
    cookie: str | None = options.get("cookie")
    return prepare_request(
        target,
        _create_sec_websocket_key(),
        header=header,
        host=options.get("host"),
        origin=options.get("origin"),
        suppress_origin=bool(options.get("suppress_origin")),
        suppress_host=bool(options.get("suppress_host")),
        connection=options.get("connection"),
        subprotocols=options.get("subprotocols"),
        cookie="; ".join(filter(None, [_jar_cookies(jar, target, cookie), cookie])),
        authorization=authorization_for(target, options.get("auth"), options.get("netrc")),
        extensions=() if extension is None else (extensions.offer(extension),),
    )


def _jar_cookies(jar: SimpleCookieJar, target: URL, cookie: str | None) -> str:
    """The jar's cookies but those that the program's own ``cookie`` names itself."""
    stored = jar.header_for(target)
    if not stored or not cookie:
        return stored
    own = {pair.partition("=")[0].strip() for pair in cookie.split(";")}
    kept = [pair for pair in stored.split("; ") if pair.partition("=")[0] not in own]
    return "; ".join(kept)


def _judge(
    head: ResponseHead, request: ClientRequest, options: Mapping[str, Any], rest: bytes
) -> str | None:
    subprotocols: Sequence[str] = request.subprotocols
    if not options.get("subprotocols") and "sec-websocket-protocol" not in head.headers:
        # Offered through a header of the program's own, which then judges the silence itself.
        subprotocols = ()
    return check_response(head, request.key, subprotocols, request.extensions, rest)


_Arm = Callable[[], object]


@contextlib.contextmanager
def _deadlines(sock: Any, deadline: Deadline | None) -> Generator[_Arm]:
    """Give a function that bounds the next call on ``sock``; put back its timeout at the end."""
    if deadline is None or deadline.timeout is None:
        yield lambda: None
        return
    if not hasattr(sock, "settimeout"):
        # A stand-in for a socket: all there is to do is to look at the clock between calls.
        yield deadline.remaining
        return
    before = sock.gettimeout()
    try:
        yield lambda: sock.settimeout(deadline.remaining())
    except WebSocketTimeoutException as timeout:
        # Nothing else can have timed out: each call was given what is left of the deadline.
        raise deadline.error() from timeout
    finally:
        # The peer's reset or another thread's close may have taken the socket away.
        with contextlib.suppress(OSError):
            sock.settimeout(before)


def _send_all(sock: Any, data: bytes, arm: _Arm) -> None:
    view = memoryview(data)
    while view:
        arm()
        view = view[send(sock, bytes(view)) :]


def _read_head(
    sock: Any, reader: ResponseReader, arm: _Arm, size: int = _READ_SIZE
) -> tuple[ResponseHead, bytes]:
    """The head, and what was read of the WebSocket stream behind it: nothing where avoidable.

    Programs wait on the socket themselves, and would not see a message that had been read
    along with the head.
    """
    rest = b""
    try:
        while reader.head is None:
            arm()
            rest = _feed(sock, reader, size)
    except WebSocketConnectionClosedException as lost:
        try:
            reader.feed_eof()
        except WebSocketConnectionClosedException as told:
            raise _with_alert(told, lost, sock) from lost
    assert reader.head is not None
    dump("response header", reader.head.text)
    return reader.head, rest


def _with_alert(
    told: WebSocketConnectionClosedException, lost: BaseException, sock: Any
) -> WebSocketConnectionClosedException:
    """``told``, with what TLS has to say: in TLS 1.3, a server looks at the client's certificate
    only after the client has finished its handshake."""
    cause = lost.__cause__
    if not isinstance(cause, SSLError) or not getattr(cause, "reason", None):
        return told
    return WebSocketConnectionClosedException(f"{told} {explain(cause, sock.server_hostname)}")


def _feed(sock: Any, reader: ResponseReader, size: int) -> bytes:
    """Read once; return what of it lies behind the head of a 101."""
    if is_tls(sock):
        # TLS can't look ahead; but what it has decrypted stays with it, and costs no call.
        reader.feed(recv(sock, 1))
        return reader.rest
    if not isinstance(sock, socket.socket):
        reader.feed(recv(sock, size))
        return reader.rest
    ahead: Any = _Ahead(sock)
    seen = recv(ahead, size)
    reader.feed(seen)
    left = len(seen) - len(reader.rest)
    while left:
        left -= len(recv(sock, left))
    return b""


class _Ahead:
    """A socket whose ``recv`` leaves in the socket what it returns."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.gettimeout = sock.gettimeout
        self.fileno = sock.fileno

    def recv(self, size: int) -> bytes:
        return self._sock.recv(size, socket.MSG_PEEK)


def _refused(
    sock: Any, reader: ResponseReader, head: ResponseHead, deadline: Deadline | None
) -> NoReturn:
    """Raise for a status that is neither 101 nor a redirect, with the body as far as it comes."""
    # The status is known: a body that stalls, breaks off or is malformed must not hide it.
    with contextlib.suppress(WebSocketException, OSError):
        limit = deadline.sooner(_BODY_WAIT) if deadline else Deadline(_BODY_WAIT)
        with _deadlines(sock, limit) as arm:
            while not reader.done:
                arm()
                reader.feed(recv(sock, _READ_SIZE))
    raise bad_status(head, reader.body)


def bad_status(head: ResponseHead, body: bytes) -> WebSocketBadStatusException:
    """The exception for a status that is neither 101 nor a redirect."""
    shown = dict(head.headers)
    if "set-cookie" in shown:
        shown["set-cookie"] = "***"
    return WebSocketBadStatusException(
        f"Handshake status {head.status} {head.reason} -+-+- {shown} -+-+- {body!r}",
        head.status,
        head.reason,
        head.headers,
        body,
    )


def _create_sec_websocket_key() -> str:
    return make_key(os.urandom(KEY_SIZE))


def _pack_hostname(hostname: str) -> str:
    return pack_hostname(hostname)


def _get_handshake_headers(
    resource: Any, url: Any = "", host: Any = "", port: Any = 0, options: Any = None
) -> tuple[list[str], str]:
    """The request as lines, two empty ones at the end, and its key.

    Takes ``(resource, host, port, options)`` as well.
    """
    if isinstance(host, int):
        url, host, port, options = "", url, host, options or port
    target = _target(url, host, port, resource)
    chosen: Mapping[str, Any] = options or {}
    request = _prepare(target, chosen, _cookie_jar(chosen.get("cookie_jar")))
    return request.data.decode().split("\r\n"), request.key


def _get_resp_headers(
    sock: Any, success_statuses: Sequence[int] = SUCCESS_STATUSES
) -> tuple[int, Headers, str]:
    """Read a response head, and not a byte more, from ``sock``.

    Raises:
        WebSocketBadStatusException: the status is not one of ``success_statuses``.
    """
    reader = ResponseReader()
    head, _ = _read_head(sock, reader, lambda: None, size=1)
    if head.status not in success_statuses:
        _refused(sock, reader, head, None)
    return head.status, head.headers, head.reason


def _validate(
    headers: Mapping[str, str], key: str, subprotocols: Sequence[str] | None
) -> tuple[bool, str | None]:
    """Whether ``headers`` of a 101 answer ``key``; and the subprotocol, in lower case."""
    head = ResponseHead("1.1", 101, "", Headers(headers.items()))
    try:
        subprotocol = check_response(head, key, subprotocols)
    except WebSocketHandshakeException as refusal:
        error(str(refusal))
        return False, None
    return True, subprotocol.lower() if subprotocol else None
