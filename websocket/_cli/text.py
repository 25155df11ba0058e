"""What may reach a terminal, and the sentences that errors become.

A server decides what is in messages, close reasons and error pages. None of it may move the
cursor, change the title, or reorder what the user reads.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from .._exceptions import WebSocketBadStatusException, WebSocketException
from .._ssl_compat import HAVE_SSL, SSLError, ssl

# Format characters that scripts and emoji need, and that draw nothing by themselves.
_JOINERS: Final = "\u200c\u200d"
_UNSAFE_CATEGORIES: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
_MAX_BODY: Final = 200


def escape(text: str, keep: str = "\t\n") -> str:
    r"""``text`` with everything that controls a terminal written out, as ``\x1b`` or ``\u202e``.

    That is: C0 and C1 controls, DEL, bidirectional and other format characters, line and
    paragraph separators, lone surrogates.

    Parameters:
        keep: control characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in keep or not _is_unsafe(character)
        else _written_out(ord(character))
        for character in text
    )


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE_CATEGORIES and character not in _JOINERS


def _written_out(number: int) -> str:
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def one_line(text: str) -> str:
    """``text`` escaped and on one line, for sentences."""
    return escape(" ".join(text.split()), keep="")


def display_payload(payload: bytes, is_text: bool) -> str:
    """A payload for human eyes: text escaped, binary data that is no text in hexadecimal."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        if is_text:
            return escape(payload.decode("utf-8", "surrogateescape"))
        return payload.hex(" ")
    if not is_text and escape(text) != text:
        return payload.hex(" ")
    return escape(text)


def display_width(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    width = 0
    for character in text:
        if unicodedata.combining(character):
            continue
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return width


def connect_error(error: BaseException, host: str) -> str:
    """Why there is no connection, as one sentence.

    Parameters:
        host: host and port of the server, as the user knows them.
    """
    if isinstance(error, WebSocketBadStatusException):
        return _refusal(error, host)
    if isinstance(error, WebSocketException):
        return one_line(str(error))
    if isinstance(error, SSLError):
        return _tls_failure(error, host)
    if isinstance(error, OSError):
        reason = error.strerror or str(error) or type(error).__name__
        return f"Could not connect to {host}: {one_line(reason)}."
    return one_line(f"{type(error).__name__}: {error}")


def _tls_failure(error: SSLError, host: str) -> str:
    # What OpenSSL calls it, then what it means and what to do.
    sentence = one_line(f"TLS with {host} failed: {error.strerror or error}")
    if HAVE_SSL and isinstance(error, ssl.SSLCertVerificationError):
        return f"{sentence} With -n it is not checked."
    return sentence


def _refusal(error: WebSocketBadStatusException, host: str) -> str:
    status = f"{error.status_code} {error.status_message or ''}".rstrip()
    sentence = f"{host} refused the WebSocket with status {status}"
    headers = error.resp_headers or {}
    if headers.get("location"):
        return one_line(f"{sentence}, redirecting to {headers['location']}.")
    body = (error.resp_body or b"").decode("utf-8", "replace")
    if "html" in (headers.get("content-type") or "").lower():
        body = re.sub(r"<[^>]*>", " ", re.sub(r"(?is)<(style|script).*?</\1>", " ", body))
    body = " ".join(body.split())
    if not body:
        return one_line(f"{sentence}.")
    shown = body if len(body) <= _MAX_BODY else f"{body[:_MAX_BODY]}..."
    return one_line(f"{sentence}: {shown}")
