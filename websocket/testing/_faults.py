"""What can go wrong on the way between a client and a server, one function for each.

A fault is an immutable description. It gives each connection a ``Gate``, which the proxy
(``_proxy``) asks before it connects and for all bytes that it passes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from .._accel import encode_frame
from .._exceptions import WebSocketProtocolException
from .._protocol.accepting import build_refusal
from .._protocol.frames import FIN, OP_CLOSE, OP_PONG, RSV, parse_header
from .._protocol.sending import close_payload

_CHUNK: Final = 4096


class Link(Protocol):
    """What a gate may do to its connection."""

    def sleep(self, seconds: float) -> None:
        """Wait; comes back at once when the connection ends."""
        ...

    def end(self, *, reset: bool = False) -> None:
        """End both sides, for the client with a TCP reset if asked for."""
        ...

    def end_direction(self, *, up: bool) -> None:
        """Send no more into this direction, but go on with the other one."""
        ...

    def freeze(self) -> None:
        """Pass nothing on any more, and leave the sockets as they are."""
        ...

    def mirror(self) -> None:
        """Tell a second connection to the server all that the client says."""
        ...


class Gate:
    """A fault at work on one connection. This one lets everything through.

    Parameters:
        link: the connection.
    """

    def __init__(self, link: Link) -> None:
        self.link = link

    def answer(self) -> bytes | None:
        """What the client gets instead of the server; None to connect to the server.

        Empty bytes: a TCP reset.
        """
        return None

    def begin(self) -> None:
        """The connection to the server is there."""

    def passes(self, data: bytes, up: bool) -> Iterable[bytes]:
        """What goes on of ``data``; ``up`` is the direction from the client to the server."""
        return (data,)


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with one connection. Made by the functions of this module.

    Attributes:
        text: what it is, in words.
        make: makes the gate of a connection.
    """

    text: str
    make: Callable[[Link], Gate]

    def __repr__(self) -> str:
        return self.text


calm: Final = Fault("calm", Gate)
"""No fault: a connection that simply works."""


class _After(Gate):
    """Does something once so many bytes have passed in one direction."""

    def __init__(self, link: Link, after: int, up: bool, act: Callable[[Link], None]) -> None:
        super().__init__(link)
        self._left = after
        self._up = up
        self._act = act

    def begin(self) -> None:
        if not self._left:
            self._act(self.link)

    def passes(self, data: bytes, up: bool) -> Iterator[bytes]:
        if up is not self._up or self._left <= 0:
            yield data
            return
        part, rest = data[: self._left], data[self._left :]
        self._left -= len(part)
        yield part
        if not self._left:
            self._act(self.link)
        if rest:
            yield rest


def _after(name: str, after: int, up: bool, act: Callable[[Link], None]) -> Fault:
    text = f"{name}(after={after}{', up=True' if up else ''})"
    return Fault(text, lambda link: _After(link, after, up, act))


def cut(after: int = 0, *, up: bool = False) -> Fault:
    """The TCP connection ends, without a Close frame.

    Parameters:
        after: bytes that pass before that, the opening handshake included.
        up: count those from the client to the server instead of those to the client.
    """
    return _after("cut", after, up, lambda link: link.end())


def reset(after: int = 0, *, up: bool = False) -> Fault:
    """As ``cut``, with a TCP reset for the client."""
    return _after("reset", after, up, lambda link: link.end(reset=True))


def half_close(after: int = 0, *, up: bool = False) -> Fault:
    """One direction ends, the other goes on; ``after`` and ``up`` as for ``cut``."""
    return _after("half_close", after, up, lambda link: link.end_direction(up=up))


def freeze(after: int = 0, *, up: bool = False) -> Fault:
    """Nothing passes any more, and nobody is told; ``after`` and ``up`` as for ``cut``."""
    return _after("freeze", after, up, lambda link: link.freeze())


class _Slow(Gate):
    def __init__(self, link: Link, size: int, pause: float) -> None:
        super().__init__(link)
        self._size = size
        self._pause = pause

    def passes(self, data: bytes, up: bool) -> Iterator[bytes]:
        for start in range(0, len(data), self._size):
            part = data[start : start + self._size]
            self.link.sleep(self._pause * len(part) / self._size)
            yield part


def throttle(rate: float) -> Fault:
    """A slow line: at most ``rate`` bytes a second in each direction."""
    size = max(1, min(_CHUNK, int(rate / 20)))
    return Fault(f"throttle({rate:g})", lambda link: _Slow(link, size, size / rate))


def drip(pause: float) -> Fault:
    """One byte after the other, with ``pause`` seconds before each."""
    return Fault(f"drip({pause:g})", lambda link: _Slow(link, 1, pause))


class _Delay(Gate):
    def __init__(self, link: Link, seconds: float) -> None:
        super().__init__(link)
        self._seconds = seconds

    def passes(self, data: bytes, up: bool) -> Iterator[bytes]:
        self.link.sleep(self._seconds)
        yield data


def delay(seconds: float) -> Fault:
    """All that arrives in one piece arrives so much later."""
    return Fault(f"delay({seconds:g})", lambda link: _Delay(link, seconds))


class _Corrupt(Gate):
    def __init__(self, link: Link, at: int, up: bool) -> None:
        super().__init__(link)
        self._left = at
        self._up = up

    def passes(self, data: bytes, up: bool) -> Iterator[bytes]:
        if up is self._up:
            if 0 <= self._left < len(data):
                wrong = bytearray(data)
                wrong[self._left] ^= 0xFF
                data = bytes(wrong)
                self._left = -1
            else:
                self._left -= len(data) if self._left >= 0 else 0
        yield data


def corrupt(at: int, *, up: bool = False) -> Fault:
    """All bits of one byte are turned over.

    Parameters:
        at: which one, from 0 on; the opening handshake counts.
        up: on the way to the server.
    """
    text = f"corrupt(at={at}{', up=True' if up else ''})"
    return Fault(text, lambda link: _Corrupt(link, at, up))


class _Duplicate(Gate):
    def begin(self) -> None:
        self.link.mirror()


def duplicate() -> Fault:
    """The server sees the client twice: a second connection says the same."""
    return Fault("duplicate()", _Duplicate)


class _Frames(Gate):
    """Looks at the frames to the client, behind the response head."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._pending = bytearray()
        self._opened = False

    def passes(self, data: bytes, up: bool) -> Iterator[bytes]:
        if up:
            yield data
            return
        self._pending += data
        if not self._opened:
            end = self._pending.find(b"\r\n\r\n")
            if end < 0:
                return
            self._opened = True
            yield self._take(end + 4)
            yield from self.opened()
        while (found := self._next_frame()) is not None:
            yield from self.frame(*found)

    def _next_frame(self) -> tuple[int, bytes] | None:
        try:
            header = parse_header(self._pending, 0, len(self._pending), allowed_rsv=RSV)
        except WebSocketProtocolException:
            # Another fault or the server itself has broken it: that is for the client to see.
            return (0, self._take(len(self._pending))) if self._pending else None
        if header is None or len(self._pending) < header.size + header.length:
            return None
        return header.opcode, self._take(header.size + header.length)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._pending[:size])
        del self._pending[:size]
        return taken

    def opened(self) -> Iterable[bytes]:
        return ()

    def frame(self, opcode: int, data: bytes) -> Iterable[bytes]:
        raise NotImplementedError


class _DropPongs(_Frames):
    def frame(self, opcode: int, data: bytes) -> Iterable[bytes]:
        return () if opcode == OP_PONG else (data,)


def drop_pongs() -> Fault:
    """The server's pongs get lost, and nothing else does. Not for ``wss``."""
    return Fault("drop_pongs()", _DropPongs)


class _CloseWith(_Frames):
    def __init__(self, link: Link, close: bytes, after: int) -> None:
        super().__init__(link)
        self._close = close
        self._left = after

    def opened(self) -> Iterable[bytes]:
        return () if self._left else self._say_close()

    def frame(self, opcode: int, data: bytes) -> Iterator[bytes]:
        if self._left <= 0:
            return
        yield data
        if opcode < OP_CLOSE:
            self._left -= 1
            if not self._left:
                yield from self._say_close()

    def _say_close(self) -> Iterator[bytes]:
        yield self._close
        self.link.end_direction(up=False)


def close_with(code: int | None, reason: str = "", *, after: int = 0) -> Fault:
    """The client gets a Close frame that the server never sent. Not for ``wss``.

    Parameters:
        code: the close code, None for a Close without one.
        reason: at most 123 bytes of UTF-8.
        after: data frames that pass before it.
    """
    payload = close_payload(code, reason)
    close = encode_frame(FIN | OP_CLOSE, payload, None)
    text = f"close_with({code}{f', after={after}' if after else ''})"
    return Fault(text, lambda link: _CloseWith(link, close, after))


class _Answer(Gate):
    def __init__(self, link: Link, data: bytes) -> None:
        super().__init__(link)
        self._data = data

    def answer(self) -> bytes:
        return self._data


def refuse() -> Fault:
    """The connection is reset before the client has said anything."""
    return Fault("refuse()", lambda link: _Answer(link, b""))


def http(status: int, headers: Iterable[tuple[str, str]] = (), body: str | bytes = b"") -> Fault:
    """An HTTP response instead of the WebSocket: 503 with a Retry-After, for instance."""
    content = body.encode() if isinstance(body, str) else body
    data = build_refusal(status, None, content, tuple(headers))
    return Fault(f"http({status})", lambda link: _Answer(link, data))
