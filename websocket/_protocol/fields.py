"""Header fields: the mapping a head is read into, and checked rendering (RFC 9110 section 5)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from .._exceptions import WebSocketArgumentException

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_MAX_SHOWN: Final = 80


class Headers(dict[str, str]):
    """Header fields: lower-case name to value, looked up whatever the case.

    Repeated fields are joined with ``", "`` (RFC 9110 section 5.3). ``Set-Cookie``, which
    can't be joined that way, is joined with ``"; "`` as earlier releases showed it; use
    :meth:`get_all` to have its values apart.

    Attributes:
        pairs: ``(name, value)`` in the order and spelling received.
    """

    pairs: tuple[tuple[str, str], ...] = ()

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()):
        super().__init__()
        self.pairs = tuple(pairs)
        for name, value in self.pairs:
            key = name.lower()
            joint = "; " if key == "set-cookie" else ", "
            self[key] = f"{self[key]}{joint}{value}" if key in self else value

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(name.lower(), value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        """Value of ``name``, or ``default`` when the field is not there."""
        return super().get(name.lower(), default)

    def get_all(self, name: str) -> list[str]:
        """Every value of ``name`` as received, one entry per line."""
        key = name.lower()
        if key not in self:
            return []
        return [value for other, value in self.pairs if other.lower() == key]

    def tokens(self, name: str) -> list[str]:
        """The comma-separated elements of ``name`` without empty ones (RFC 9110 section 5.6.1)."""
        elements = ",".join(self.get_all(name)).split(",")
        return [stripped for element in elements if (stripped := element.strip(" \t"))]


def is_token(text: str) -> bool:
    """Whether ``text`` is a token (RFC 9110 section 5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def check_field(name: str, value: str) -> None:
    """Refuse a header field that would break out of its line (RFC 9110 section 5.5).

    The sentence never repeats the value, which may be a secret.

    Raises:
        WebSocketArgumentException: ``name`` is no token, or ``value`` has CR, LF or NUL.
    """
    if not is_token(name):
        raise WebSocketArgumentException(
            f"The header name {name[:_MAX_SHOWN]!r} is not allowed; "
            "use letters, digits and hyphens, without spaces or line breaks."
        )
    if "\r" in value or "\n" in value or "\0" in value:
        raise WebSocketArgumentException(
            f"The value of the header {name} has a line break or a NUL character; remove it."
        )


def render_head(start_line: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """A message head, each field checked, encoded as UTF-8.

    Raises:
        WebSocketArgumentException: a field is refused by :func:`check_field`, the start line
            has a line break, or a character can't be encoded.
    """
    if any(character in start_line for character in "\r\n\0"):
        raise WebSocketArgumentException("The start line has a line break or a NUL character.")
    lines = [start_line]
    for name, value in fields:
        check_field(name, value)
        lines.append(f"{name}: {value}")
    try:
        return "\r\n".join([*lines, "", ""]).encode()
    except UnicodeEncodeError as error:
        # Without "from": the original carries the whole head, credentials included.
        raise WebSocketArgumentException(
            f"A header has a character that UTF-8 can't encode ({error.reason})."
        ) from None
