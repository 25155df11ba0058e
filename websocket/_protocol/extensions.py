"""Extensions (RFC 6455 section 9): the grammar of their header, and what one must be able to do.

A connection uses at most one, which encodes whole messages (RFC 7692 section 5 calls the kind
"per-message compression"). ``deflate`` is the one that comes along; another needs no more than
the two classes here.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

HEADER: Final = "Sec-WebSocket-Extensions"

Params = Sequence[tuple[str, str | None]]
"""Parameters in their order: a name, and a value or None."""

_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SEPARATORS: Final = re.compile(r"[ \t,]*")
_NAME: Final = re.compile(rf"({_TOKEN})[ \t]*")
_PARAM: Final = re.compile(
    rf';[ \t]*({_TOKEN})[ \t]*(?:=[ \t]*(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")[ \t]*)?'
)
_ESCAPED: Final = re.compile(r"\\(.)")
_MAX_SHOWN: Final = 80


class NegotiationError(Exception):
    """What the peer says about an extension can't be used; the text is one clause."""


class Element(NamedTuple):
    """One extension as the header names it: an offer, or the answer to one."""

    name: str
    params: tuple[tuple[str, str | None], ...] = ()

    def __str__(self) -> str:
        parts = [key if value is None else f"{key}={value}" for key, value in self.params]
        return "; ".join([self.name, *parts])


def parse_extensions(value: str) -> list[Element]:
    """The elements of a ``Sec-WebSocket-Extensions`` value (section 9.1), in their order.

    Raises:
        NegotiationError: the value breaks the grammar.
    """
    elements: list[Element] = []
    at = 0
    while (at := _after(_SEPARATORS, value, at)) < len(value):
        name = _NAME.match(value, at)
        if name is None:
            raise _malformed(value, at)
        at = name.end()
        params: list[tuple[str, str | None]] = []
        while (param := _PARAM.match(value, at)) is not None:
            key, token, quoted = param.groups()
            params.append((key, token if quoted is None else _unquoted(quoted)))
            at = param.end()
        if at < len(value) and value[at] != ",":
            raise _malformed(value, at)
        elements.append(Element(name[1], tuple(params)))
    return elements


def _after(pattern: re.Pattern[str], value: str, at: int) -> int:
    match = pattern.match(value, at)
    return at if match is None else match.end()


def _malformed(value: str, at: int) -> NegotiationError:
    return NegotiationError(
        f"it can't be read from {value[at : at + _MAX_SHOWN]!r} on (RFC 6455 section 9.1)"
    )


def _unquoted(quoted: str) -> str:
    """Section 9.1: a value in quotes must be a token once the quotes are taken off."""
    value = _ESCAPED.sub(r"\1", quoted)
    if re.fullmatch(_TOKEN, value) is None:
        raise NegotiationError(f"the quoted value {value[:_MAX_SHOWN]!r} is no token")
    return value


class Codec(abc.ABC):
    """An extension at work in one connection: it encodes and decodes payloads.

    The two directions are independent: one thread may encode while another decodes.
    """

    rsv: int
    """The reserved bit (0x40, 0x20 or 0x10) that marks the first frame of an encoded message."""

    @abc.abstractmethod
    def encode(self, payload: bytes | bytearray | memoryview) -> bytes | None:
        """A whole message as it is to be sent; None to send it as it is, without the mark."""

    @abc.abstractmethod
    def encode_piece(self, payload: bytes | bytearray | memoryview, fin: bool) -> bytes:
        """The next piece of a message that is sent in pieces; the last one may be empty."""

    @abc.abstractmethod
    def decode(self, payload: bytes | bytearray | memoryview, fin: bool) -> Iterator[bytes]:
        """What the next piece of a marked message stands for, in parts of a bounded size.

        Parameters:
            payload: the piece; it may be empty.
            fin: whether it is the last one.

        Raises:
            WebSocketPayloadException: it can't be decoded.
        """

    def take(
        self,
        data: bytearray,
        start: int,
        end: int,
        limits: Limits,
        append: Callable[[str | bytes], object],
    ) -> int:
        """Take frames off ``data[start:end]`` faster than it could be done one by one.

        Only unmasked ones that are whole messages may be taken. An extension need not do it.

        Parameters:
            limits: what holds for messages.
            append: called with each message.

        Returns:
            the position behind the last frame that was taken.
        """
        return start

    @property
    def volumes(self) -> Volumes:
        """How much was encoded and decoded so far; an extension need not count it."""
        return Volumes()

    def unsent(self) -> None:  # noqa: B027
        """The message that was encoded last did not reach the peer, which won't know it."""


class Volumes(NamedTuple):
    """Bytes of payload, before and after encoding; messages that were left as they are don't
    count.
    """

    original_sent: int = 0
    encoded_sent: int = 0
    original_received: int = 0
    encoded_received: int = 0


class Limits(Protocol):
    """What a connection demands of messages."""

    @property
    def limit(self) -> int:
        """Bytes that a message may have."""
        ...

    @property
    def check_text(self) -> bool:
        """Whether text must be UTF-8; otherwise its bad bytes become lone surrogates."""
        ...

    def check_size(self, length: int) -> None:
        """Refuse a message of so many bytes, or let it pass.

        Raises:
            WebSocketMessageTooBigException: it is over the limit.
        """
        ...


class Extension(Protocol):
    """What ``compression=`` takes: a value that negotiates, for any number of connections."""

    @property
    def name(self) -> str:
        """The registered name, a token."""
        ...

    def offer(self) -> Params:
        """The parameters to offer, in the client role."""
        ...

    def agree(self, params: Params) -> Codec:
        """Judge the server's answer to our offer.

        Raises:
            NegotiationError: the answer is none to this offer. The handshake fails then.
        """
        ...

    def accept(self, params: Params) -> tuple[Params, Codec] | None:
        """Judge a client's offer, in the server role.

        Returns:
            what to answer, and the codec; None declines.
        """
        ...


def offer(extension: Extension) -> str:
    """The offer as it stands in the header."""
    return str(Element(extension.name, tuple(extension.offer())))


def agree(extension: Extension | None, values: Iterable[str]) -> Codec | None:
    """Judge the server's ``Sec-WebSocket-Extensions`` lines, in the client role.

    Elements of other names are not looked at here.

    Returns:
        the codec; None where the server declines, which it may.

    Raises:
        NegotiationError: see ``Extension.agree``, or the server accepts more than one offer
            of the same name (RFC 7692 section 5).
    """
    if extension is None:
        return None
    elements = _named(extension.name, values)
    if not elements:
        return None
    if len(elements) > 1:
        raise NegotiationError(f"it names {extension.name} {len(elements)} times")
    return extension.agree(elements[0].params)


def accept(extension: Extension | None, values: Iterable[str]) -> tuple[str, Codec] | None:
    """Answer a client's ``Sec-WebSocket-Extensions`` lines, in the server role.

    The first offer that can be met is taken, as the client's order is that of its
    preference (RFC 7692 section 5.1).

    Returns:
        the value of the answer's header, and the codec; None where there is no such offer.

    Raises:
        NegotiationError: the header breaks the grammar.
    """
    if extension is None:
        return None
    for element in _named(extension.name, values):
        accepted = extension.accept(element.params)
        if accepted is not None:
            params, codec = accepted
            return str(Element(extension.name, tuple(params))), codec
    return None


def _named(name: str, values: Iterable[str]) -> list[Element]:
    found = parse_extensions(",".join(values))
    return [element for element in found if element.name.lower() == name.lower()]
