"""What is fuzzed. Each invariant stands first, in the docstring."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from websocket._accel import py
from websocket._exceptions import WebSocketException
from websocket._protocol import deflate, receiving, sending
from websocket._protocol.connection import Connection, Role
from websocket._protocol.deflate import Deflate
from websocket._protocol.messages import Piece

try:
    from websocket._accel import _c
except ImportError:
    TWINS: tuple[ModuleType, ...] = (py,)
else:
    TWINS = (py, _c)

# Where the twin in use was imported to.
_USERS: dict[ModuleType, tuple[str, ...]] = {
    receiving: ("mask", "scan"),
    deflate: ("scan_deflated",),
    sending: ("encode_batch", "encode_frame", "encode_masked", "mask", "mask_key"),
}


@contextlib.contextmanager
def _using(twin: ModuleType) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for module, names in _USERS.items():
            for name in names:
                stack.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, getattr(twin, name))
        yield


def _pieces(data: bytes, sizes: bytes) -> Iterator[bytes]:
    """``data`` in pieces of 1 to 256 bytes, as ``sizes`` says, again and again."""
    start = number = 0
    while start < len(data):
        size = 1 + sizes[number % len(sizes)] if sizes else len(data)
        yield data[start : start + size]
        start += size
        number += 1


def _split(data: bytes) -> tuple[int, bytes, bytes]:
    """The first byte chooses options, the next eight the pieces; the rest is the stream."""
    return (data[0] if data else 0), data[1:9], data[9:]


def _outcome(options: int, pieces: Iterator[bytes]) -> list[Any]:
    """The events that the pieces bring, exceptions as their types.

    Their texts show what stands behind a bad byte, as far as it has come.
    """
    core = Connection(
        (Role.CLIENT, Role.SERVER, Role.ANY)[options % 3],
        max_size=100 if options & 4 else None,
        fragments=bool(options & 8),
        check_text=not options & 16,
    )
    for piece in pieces:
        core.feed(piece)
    return [type(event) if isinstance(event, Exception) else event for event in core.events]


def receive(data: bytes) -> None:
    """Any bytes at all end in messages or one error, the same from both twins, whole or cut."""
    options, sizes, stream = _split(data)
    outcomes = []
    for twin in TWINS:
        with _using(twin):
            outcomes.append(_outcome(options, iter([stream])))
            outcomes.append(_outcome(options, _pieces(stream, sizes)))
    assert all(outcome == outcomes[0] for outcome in outcomes), outcomes
    errors = [event for event in outcomes[0] if isinstance(event, type)]
    assert all(issubclass(error, WebSocketException) for error in errors)


def inflate(data: bytes) -> None:
    """On a compressed connection, too, any bytes end in messages or one error: the same from
    both twins, whole or cut. Without a limit, receiving in pieces brings the same, but may find
    an error earlier, in a frame that is not complete."""
    options, sizes, stream = _split(data)
    outcomes: list[list[Any]] = []
    for twin in TWINS:
        with _using(twin):
            outcomes.append(_inflated(options, iter([stream]), in_pieces=False))
            outcomes.append(_inflated(options, _pieces(stream, sizes), in_pieces=False))
            if not options & 4:
                found = _inflated(options, _pieces(stream, sizes), in_pieces=True)
                count = len(outcomes[0])
                assert found[:count] == outcomes[0], (found, outcomes[0])
                assert found[count:] in ([], [WebSocketException]), (found, outcomes[0])
    assert all(outcome == outcomes[0] for outcome in outcomes), outcomes


def _inflated(options: int, pieces: Iterator[bytes], *, in_pieces: bool) -> list[Any]:
    """The events; of a message in pieces the whole, of errors just that there is one.

    A message that is broken and too long as well may be found to be either.
    """
    settings = Deflate(
        server_no_context_takeover=bool(options & 8), server_max_window_bits=9 + options % 7
    )
    accepted = settings.accept(settings.offer())
    assert accepted is not None
    core = Connection(
        Role.SERVER if options & 1 else Role.CLIENT,
        max_size=100 if options & 4 else None,
        check_text=not options & 16,
        codec=accepted[1] if options & 1 else settings.agree(accepted[0]),
    )
    found: list[Any] = []
    parts: list[Any] = []
    for piece in pieces:
        if in_pieces and not core.events:
            core.stream()
        core.feed(piece)
        while core.events:
            event = core.events.popleft()
            if isinstance(event, Exception):
                assert isinstance(event, WebSocketException), event
                event = WebSocketException
            if isinstance(event, Piece):
                parts.append(event.data)
                if event.fin:
                    found.append(type(event.data)().join(parts))
                    parts.clear()
            else:
                found.append(event)
            if core.streaming and not core.events:
                core.go_on()
    return found


def scan(data: bytes) -> None:
    """Both twins find the same messages at the same place, wherever the block is cut off."""
    options, sizes, stream = _split(data)
    block = bytearray(stream)
    limit = options if options & 1 else 1 << 40
    ends = {len(stream), *(size * len(stream) // 256 for size in sizes)}
    for end in ends:
        found = [twin.scan(block, 0, end, limit) for twin in TWINS]
        assert all(one == found[0] for one in found), found
        stopped, messages = found[0]
        assert 0 <= stopped <= end
        for start in {0, stopped}:
            assert TWINS[-1].scan(block, start, stopped, limit)[0] == stopped
        assert all(isinstance(message, (str, bytes)) for message in messages)


def send(data: bytes) -> None:
    """What one twin encodes, a server receives unchanged, and the other encodes to the same."""
    options, sizes, stream = _split(data)
    messages: list[Any] = []
    for number, piece in enumerate(_pieces(stream, sizes)):
        text = piece.decode("latin-1")
        messages.append((text, piece, bytearray(piece), memoryview(piece))[(options + number) % 4])
    expected = [m if isinstance(m, str) else bytes(m) for m in messages]
    for twin in TWINS:
        frames, count, error = twin.encode_batch(iter(messages), 1 << 30, memoryview)
        assert (count, error) == (len(messages), None)
        server = Connection(Role.SERVER)
        server.feed(frames)
        assert list(server.events) == expected
    key = (sizes + b"key!")[:4]
    for message in messages:
        first = 0x81 if isinstance(message, str) else 0x82
        frames_of = [twin.encode_frame(first, message, key) for twin in TWINS]
        assert all(one == frames_of[0] for one in frames_of)
    for start in range(min(len(stream), 9)):
        masked = [twin.mask(key, memoryview(stream)[start:]) for twin in TWINS]
        assert all(one == masked[0] for one in masked)
        assert TWINS[-1].mask(key, masked[0]) == stream[start:]


TARGETS: dict[str, Callable[[bytes], None]] = {
    "inflate": inflate,
    "receive": receive,
    "scan": scan,
    "send": send,
}
