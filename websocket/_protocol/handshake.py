"""The opening handshake in the client role, without I/O (RFC 6455 sections 4.1 and 4.4).

Requests are built and responses judged here; ``http11`` reads and writes their lines. The other
role is in ``accepting``, which takes from here what holds for both.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from .._exceptions import WebSocketArgumentException, WebSocketHandshakeException
from . import extensions as negotiation
from .extensions import Codec, Extension, NegotiationError
from .http11 import Headers, ResponseHead, check_field, is_token, render_head
from .uri import URL, encode_resource

VERSION: Final = 13
GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
KEY_SIZE: Final = 16

REDIRECT_STATUSES: Final = (
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
)

HeaderOption = Mapping[str, str | None] | Sequence[str] | None


def make_key(random_bytes: bytes) -> str:
    """A ``Sec-WebSocket-Key`` from 16 fresh random bytes (section 4.1, item 7)."""
    if len(random_bytes) != KEY_SIZE:
        raise WebSocketArgumentException(
            f"A handshake key is made of {KEY_SIZE} bytes, not of {len(random_bytes)}."
        )
    return b64encode(random_bytes).decode("ascii")


def accept_value(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` that answers ``key`` (section 4.2.2, item 5.4)."""
    # The digest proves that the server speaks WebSocket; it protects no secret.
    digest = hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest()
    return b64encode(digest).decode("ascii")


class ClientRequest(NamedTuple):
    """An opening handshake request, and what its answer has to be held against.

    Attributes:
        data: the bytes to send.
        key: the ``Sec-WebSocket-Key`` in them; the caller's own when a header named one.
        subprotocols: the subprotocols offered, by option or by header.
        extensions: names of the extensions offered.
    """

    data: bytes
    key: str
    subprotocols: tuple[str, ...]
    extensions: tuple[str, ...]

    @property
    def text(self) -> str:
        """The request as lines, for traces, the empty line that ends it included."""
        return self.data.decode().replace("\r\n", "\n")


def prepare_request(
    url: URL,
    key: str,
    *,
    header: HeaderOption = None,
    host: str | None = None,
    origin: str | None = None,
    suppress_origin: bool = False,
    suppress_host: bool = False,
    connection: str | None = None,
    subprotocols: Sequence[str] | None = None,
    cookie: str | None = None,
    extensions: Sequence[str] = (),
    authorization: str | None = None,
) -> ClientRequest:
    """Build and check the request of the opening handshake (section 4.1).

    A field named in ``header`` takes the place of the one that would be generated, so no
    field is sent twice. All cookies go into one ``Cookie`` line (RFC 6265 section 5.4).

    Args:
        url: where to connect; its credentials become Basic authentication unless
            ``header`` has an Authorization field.
        key: ``Sec-WebSocket-Key``, see :func:`make_key`.
        header: extra fields, as a mapping (None values are skipped) or as
            ``"Name: value"`` strings.
        host: value of the Host field instead of the URL's host and port.
        origin: value of the Origin field instead of the URL's own origin.
        suppress_origin: send no Origin.
        suppress_host: send no Host.
        connection: value of the Connection field, or that whole line.
        subprotocols: offered subprotocols, the preferred one first.
        cookie: value for the Cookie field.
        extensions: offered extensions with their parameters, one element each.
        authorization: value of the Authorization field instead of the URL's credentials.

    Raises:
        WebSocketArgumentException: a value has a line break or NUL, a subprotocol is no
            token or offered twice, a header line has no colon, or extensions are offered
            by ``header`` as well.
    """
    custom = parse_header_option(header)
    own = Headers(custom)
    offered = check_subprotocols(subprotocols)
    generated = [("Upgrade", "websocket")]
    if not suppress_host:
        generated.append(("Host", host or url.hostport))
    if not suppress_origin:
        generated.append(("Origin", url.default_origin if origin is None else origin))
    generated += [
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", str(VERSION)),
        ("Connection", _connection_value(connection)),
    ]
    if offered:
        generated.append(("Sec-WebSocket-Protocol", ",".join(offered)))
    if extensions:
        if negotiation.HEADER in own:
            raise WebSocketArgumentException(
                f"Extensions are offered by an option and by a {negotiation.HEADER} header:"
                " leave out one of the two."
            )
        generated.append((negotiation.HEADER, ", ".join(extensions)))
    fields = [(name, value) for name, value in generated if name not in own]
    fields += [(name, value) for name, value in custom if name.lower() != "cookie"]
    if authorization is None and url.userinfo:
        authorization = basic_credentials(*url.userinfo)
    if authorization and "authorization" not in own:
        fields.append(("Authorization", authorization))
    cookies = "; ".join(filter(None, [*own.get_all("cookie"), cookie]))
    if cookies:
        fields.append(("Cookie", cookies))
    sent = Headers(fields)
    return ClientRequest(
        data=render_head(f"GET {encode_resource(url.resource)} HTTP/1.1", fields),
        key=sent.get("sec-websocket-key") or "",
        subprotocols=tuple(sent.tokens("sec-websocket-protocol")),
        extensions=_offered_extensions(sent),
    )


def _offered_extensions(sent: Headers) -> tuple[str, ...]:
    try:
        return tuple(_extension_names(sent))
    except NegotiationError as error:
        raise WebSocketArgumentException(
            f"The {negotiation.HEADER} header can't be sent: {error}"
        ) from None


def build_request(url: URL, key: str, **options: Any) -> bytes:
    """The bytes of :func:`prepare_request`, whose options and errors these are."""
    return prepare_request(url, key, **options).data


def parse_header_option(header: object) -> list[tuple[str, str]]:
    """The ``header`` option as checked name and value pairs.

    Raises:
        WebSocketArgumentException: it is neither a mapping nor a list of
            ``"Name: value"`` strings, or a field would break out of its line.
    """
    if header is None:
        return []
    if isinstance(header, Mapping):
        items: list[tuple[object, object]] = list(header.items())  # pyright: ignore[reportUnknownArgumentType,reportUnknownMemberType]
        pairs = [
            (
                _header_text("name", name).strip(" \t"),
                _header_text(f"value of {name!r}", value).strip(" \t"),
            )
            for name, value in items
            if value is not None
        ]
    elif isinstance(header, (list, tuple)):
        lines: list[object] = list(header)  # pyright: ignore[reportUnknownArgumentType]
        pairs = [_header_line(number, line) for number, line in enumerate(lines, 1)]
    else:
        raise WebSocketArgumentException(
            "The header option must be a dict, a list of 'Name: value' strings or a callable "
            f"that returns one of them, not {type(header).__name__}."
        )
    for name, value in pairs:
        check_field(name, value)
    return pairs


def check_subprotocols(subprotocols: Sequence[str] | None) -> tuple[str, ...]:
    """``subprotocols`` as a tuple, each a token and none twice (section 4.1, item 10).

    Raises:
        WebSocketArgumentException: one of the two does not hold.
    """
    if isinstance(subprotocols, str):
        raise WebSocketArgumentException(
            f"subprotocols must be a list of names; write [{subprotocols!r}]."
        )
    offered = tuple(subprotocols or ())
    for name in offered:
        if not isinstance(name, str) or not is_token(name):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise WebSocketArgumentException(
                f"The subprotocol {name!r} is not a token; use letters, digits, '-' and '.'."
            )
    if len(set(offered)) != len(offered):
        raise WebSocketArgumentException(f"A subprotocol is listed twice in {list(offered)}.")
    return offered


def basic_credentials(username: str, password: str) -> str:
    """Value of an Authorization or Proxy-Authorization field (RFC 7617).

    Raises:
        WebSocketArgumentException: the user name has a colon, which Basic can't express.
    """
    if ":" in username:
        raise WebSocketArgumentException(
            "The user name has a colon, which Basic authentication can't carry."
        )
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode("ascii")


def check_response(
    head: ResponseHead,
    key: str,
    subprotocols: Sequence[str] | None = None,
    extensions_offered: Iterable[str] = (),
    body: bytes | None = None,
) -> str | None:
    """Judge the server's answer to the opening handshake (section 4.1, items 1 to 6).

    Subprotocols are compared without regard to case, because servers were let off with
    that before; what is returned is the caller's own spelling.

    A server that picks none of the subprotocols offered is refused, as browsers do and as
    earlier releases did: the program would talk in a language the server did not agree to.

    Args:
        head: the response head.
        key: the ``Sec-WebSocket-Key`` that was sent.
        subprotocols: the subprotocols that were offered.
        extensions_offered: names of the extensions that were offered.
        body: what came behind the head; goes into the exception.

    Returns:
        The subprotocol agreed on, or None when none was offered.

    Raises:
        WebSocketHandshakeException: the answer is no valid opening handshake.
    """
    try:
        _check_upgrade(head.status, head.version, head.headers)
        _check_accept(head.headers, key)
        _check_extensions(head.headers, extensions_offered)
        return _agreed_subprotocol(head.headers, subprotocols or ())
    except Refusal as refusal:
        raise WebSocketHandshakeException(
            str(refusal), status_code=head.status, resp_headers=head.headers, resp_body=body
        ) from None


def agreed_extension(
    head: ResponseHead, extension: Extension | None, body: bytes | None = None
) -> Codec | None:
    """Judge what the server says about the extension that was offered (section 9.1).

    Args:
        head: the response head, which :func:`check_response` has let pass.
        extension: what was offered, or None.
        body: what came behind the head; goes into the exception.

    Returns:
        the codec of the connection; None where the server uses no extension.

    Raises:
        WebSocketHandshakeException: the answer does not fit the offer.
    """
    values = head.headers.get_all(negotiation.HEADER)
    try:
        return negotiation.agree(extension, values)
    except NegotiationError as error:
        raise WebSocketHandshakeException(
            str(_extension_refusal(values, error)),
            status_code=head.status,
            resp_headers=head.headers,
            resp_body=body,
        ) from None


def redirect_target(url: URL, head: ResponseHead) -> URL:
    """Where a redirect response leads (RFC 9110 section 15.4).

    ``http`` and ``https`` mean ``ws`` and ``wss``. The URL's credentials go along to the
    same origin only; credentials that the server wrote into the Location are not used.

    Raises:
        WebSocketHandshakeException: no Location, one that can't be used, or one that leads
            from ``wss`` to ``ws``.
    """
    from urllib.parse import urljoin

    location = head.headers.get("location") or ""
    if not location:
        raise _redirect_refusal(head, "it has no Location header")
    base = str(url).replace("ws", "http", 1)
    try:
        joined = urljoin(base, location)
        scheme, colon, rest = joined.partition(":")
        scheme = {"http": "ws", "https": "wss"}.get(scheme.lower(), scheme)
        target = URL.parse(f"{scheme}{colon}{rest}")
    except ValueError as error:
        raise _redirect_refusal(head, str(error).rstrip(".")) from error
    if url.secure and not target.secure:
        raise _redirect_refusal(head, f"it leads from wss to the unencrypted {target}")
    same = target.origin == url.origin
    return URL(
        secure=target.secure,
        # The same origin keeps the zone of an IPv6 address, which no Location can name.
        host=url.host if same else target.host,
        port=target.port,
        resource=target.resource,
        username=url.username if same else None,
        password=url.password if same else None,
    )


class Refusal(Exception):
    """What is wrong with a head; converted in one place per role."""

    def __init__(self, sentence: str, status: int = 400):
        super().__init__(sentence)
        self.status = status


def _check_upgrade(status: int, version: str, headers: Headers) -> None:
    if status != HTTPStatus.SWITCHING_PROTOCOLS:
        raise Refusal(f"The server answered with status {status} instead of 101.")
    if version != "1.1":
        raise Refusal(f"The server answered in HTTP/{version}; WebSocket needs HTTP/1.1.")
    check_tokens(headers)


def check_tokens(headers: Headers, status: int = 400) -> None:
    """Sections 4.1 (items 2 and 3) and 4.2.1 (items 3 and 4)."""
    for name, token in (("Upgrade", "websocket"), ("Connection", "upgrade")):
        if token not in (value.lower() for value in headers.tokens(name)):
            found = headers.get(name)
            shown = f"is {found[:80]!r}" if found is not None else "is missing"
            raise Refusal(f"The {name} header {shown}; it must have {token!r}.", status)


def _check_accept(headers: Headers, key: str) -> None:
    values = headers.get_all("sec-websocket-accept")
    if len(values) != 1:
        count = "no" if not values else str(len(values))
        raise Refusal(f"The server sent {count} Sec-WebSocket-Accept headers; it must send one.")
    expected = accept_value(key)
    if values[0] != expected:
        raise Refusal(
            f"The server's Sec-WebSocket-Accept is {values[0][:80]!r} instead of {expected!r}: "
            "it did not answer this request, or does not speak WebSocket."
        )


def _check_extensions(headers: Headers, offered: Iterable[str]) -> None:
    """Section 4.1, item 5."""
    allowed = {name.lower() for name in offered}
    values = headers.get_all(negotiation.HEADER)
    try:
        names = _extension_names(headers)
    except NegotiationError as error:
        raise _extension_refusal(values, error) from None
    for name in names:
        if name.lower() not in allowed:
            raise Refusal(f"The server uses the extension {name[:80]!r}, which was not offered.")


def _extension_refusal(values: Sequence[str], error: NegotiationError) -> Refusal:
    return Refusal(
        f"The server's {negotiation.HEADER} header {', '.join(values)[:200]!r} is no answer"
        f" to what was offered: {error}."
    )


def _extension_names(headers: Headers) -> list[str]:
    found = negotiation.parse_extensions(",".join(headers.get_all(negotiation.HEADER)))
    return [element.name for element in found]


def _agreed_subprotocol(headers: Headers, offered: Sequence[str]) -> str | None:
    """Section 4.1, item 6."""
    values = headers.get_all("sec-websocket-protocol")
    if len(values) > 1:
        raise Refusal("The server sent more than one Sec-WebSocket-Protocol header.")
    if not values:
        if offered:
            raise Refusal(f"The server accepted none of the subprotocols {list(offered)}.")
        return None
    for name in (values[0], *offered):
        if name in offered and name.lower() == values[0].lower():
            return name
    raise Refusal(
        f"The server chose the subprotocol {values[0][:80]!r}, which was not offered"
        + (f"; offered were {list(offered)}." if offered else ".")
    )


def _redirect_refusal(head: ResponseHead, reason: str) -> WebSocketHandshakeException:
    return WebSocketHandshakeException(
        f"The redirect (status {head.status}) can't be followed: {reason}.",
        status_code=head.status,
        resp_headers=head.headers,
    )


def _connection_value(connection: str | None) -> str:
    if connection is None:
        return "Upgrade"
    name, colon, value = connection.partition(":")
    whole_line = colon and name.strip().lower() == "connection"
    return value.strip(" \t") if whole_line else connection


def _header_line(number: int, line: object) -> tuple[str, str]:
    text = _header_text(f"line number {number}", line)
    name, colon, value = text.partition(":")
    if not colon:
        # The line itself stays out of the sentence: it may be a secret.
        raise WebSocketArgumentException(
            f"Header line number {number} has no colon; write 'Name: value'."
        )
    return name.strip(" \t"), value.strip(" \t")


def _header_text(what: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    raise WebSocketArgumentException(
        f"The header {what} must be a str, not {type(value).__name__}."
    )
