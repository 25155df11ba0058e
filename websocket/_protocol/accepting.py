"""The opening handshake in the server role, without I/O (RFC 6455 sections 4.2 and 4.4).

Requests are judged and responses built here; ``http11`` reads and writes their lines.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterable, Sequence
from http import HTTPStatus

from .._exceptions import WebSocketHandshakeException
from .handshake import KEY_SIZE, VERSION, Refusal, accept_value, check_tokens
from .http11 import RequestHead, render_head


def check_request(head: RequestHead) -> str:
    """Judge a client's opening handshake (section 4.2.1).

    Returns:
        The client's ``Sec-WebSocket-Key``.

    Raises:
        WebSocketHandshakeException: ``status_code`` is the HTTP status to refuse it with.
    """
    try:
        if head.method != "GET":
            raise Refusal(f"The method of the request is {head.method}, not GET.", 405)
        if head.version != "1.1":
            raise Refusal(f"The request is HTTP/{head.version}, not HTTP/1.1.", 505)
        if len(head.headers.get_all("host")) != 1:
            raise Refusal("The request must have exactly one Host header.", 400)
        check_tokens(head.headers, status=426)
        if head.headers.get_all("sec-websocket-version") != [str(VERSION)]:
            raise Refusal(f"The request must name Sec-WebSocket-Version {VERSION}.", 426)
        return _checked_key(head.headers.get_all("sec-websocket-key"))
    except Refusal as refusal:
        raise WebSocketHandshakeException(
            str(refusal), status_code=refusal.status, resp_headers=head.headers
        ) from None


def build_response(
    key: str, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    """The 101 response that accepts ``key`` (section 4.2.2)."""
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_value(key)),
    ]
    if subprotocol is not None:
        fields.append(("Sec-WebSocket-Protocol", subprotocol))
    return render_head("HTTP/1.1 101 Switching Protocols", [*fields, *headers])


def build_refusal(
    status: int,
    reason: str | None = None,
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """A response that refuses an opening handshake.

    Args:
        status: HTTP status, anything but 101.
        reason: reason phrase; the usual one of ``status`` when None.
        body: response body, sent with its Content-Length.
        headers: further fields.
    """
    if reason is None:
        known = status in HTTPStatus._value2member_map_
        reason = HTTPStatus(status).phrase if known else ""
    fields = [("Content-Length", str(len(body))), ("Connection", "close")]
    if status == HTTPStatus.UPGRADE_REQUIRED:
        # Section 4.4 asks for the version, RFC 9110 section 15.5.22 for the protocol.
        fields[1] = ("Connection", "Upgrade, close")
        fields += [("Upgrade", "websocket"), ("Sec-WebSocket-Version", str(VERSION))]
    return render_head(f"HTTP/1.1 {status} {reason}", [*fields, *headers]) + body


def _checked_key(values: Sequence[str]) -> str:
    """Section 4.2.1, item 5."""
    if len(values) != 1:
        raise Refusal("The request must have exactly one Sec-WebSocket-Key header.")
    try:
        size = len(b64decode(values[0], validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if size != KEY_SIZE:
        raise Refusal(f"The Sec-WebSocket-Key is not the base64 of {KEY_SIZE} bytes.")
    return values[0]
