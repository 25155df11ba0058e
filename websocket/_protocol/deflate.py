"""permessage-deflate (RFC 7692): negotiating it in both roles, compressing and decompressing.

Decompressing is bounded: what comes out comes in parts, so that whoever takes them can stop
before the memory is spent.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import zlib as standard_zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from .._accel import scan_deflated
from .._exceptions import WebSocketArgumentException, WebSocketPayloadException
from .extensions import Codec, Extension, Limits, NegotiationError, Params, Volumes
from .frames import FIN, OP_BINARY
from .messages import invalid_text

NAME: Final = "permessage-deflate"

_RSV1: Final = 0x40  # section 6
_MARKED_BINARY: Final = FIN | _RSV1 | OP_BINARY

# The end of an empty block without compression, which each message ends with and which is
# left out on the way (section 7.2.1).
_TAIL: Final = b"\x00\x00\xff\xff"
_EMPTY: Final = b"\x00"  # ... and the beginning of such a block (section 7.2.3.6)
# Behind the end of a message, this ends the whole stream, if the stream is where it must be.
_STREAM_END: Final = b"\x03\x00"

_PART: Final = 64 * 1024
# zlib copies the input that it did not need; from long input it would do so again and again.
_SLICE: Final = 8 * 1024

_MIN_BITS: Final = 8
_MAX_BITS: Final = 15
# zlib compresses with a window of 512 bytes at least, but its matches then reach back no
# further than 512 - 262 bytes: a peer with a window of 256 can follow.
_LEAST_BITS: Final = 9

_SERVER_NO_TAKEOVER: Final = "server_no_context_takeover"
_CLIENT_NO_TAKEOVER: Final = "client_no_context_takeover"
_SERVER_BITS: Final = "server_max_window_bits"
_CLIENT_BITS: Final = "client_max_window_bits"

# The extra ``speed`` brings zlib-ng: the same interface, faster.
zlib: Any = standard_zlib
if os.environ.get("WEBSOCKET_NO_EXTENSIONS", "0") in ("", "0"):
    with contextlib.suppress(ImportError):
        zlib = importlib.import_module("zlib_ng.zlib_ng")


@dataclass(frozen=True, kw_only=True)
class Deflate:
    """Settings of permessage-deflate (RFC 7692), for ``compression=``.

    ``server_`` and ``client_`` name the direction: what the server sends, what the client
    sends. The server may choose smaller windows and less context than it is offered.

    Parameters:
        server_no_context_takeover: the server is to compress each message by itself. That
            saves memory and costs compression.
        client_no_context_takeover: the client does.
        server_max_window_bits: the server's window has at most 2 to the power of this many
            bytes, 8 to 15. None: no limit.
        client_max_window_bits: the same for the client's window.
        level: how hard to try when compressing, 0 (not at all) to 9; -1 is zlib's default.
        memory_level: memory for compressing, 1 (about 128 KiB less) to 9.
        threshold: messages of fewer bytes are sent as they are.

    Raises:
        WebSocketArgumentException: a value is out of its range.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None
    level: int = -1
    memory_level: int = 8
    threshold: int = 64

    def __post_init__(self) -> None:
        for option in (_SERVER_BITS, _CLIENT_BITS):
            bits = getattr(self, option)
            if bits is not None:
                _check_range(option, bits, _MIN_BITS, _MAX_BITS)
        _check_range("level", self.level, -1, 9)
        _check_range("memory_level", self.memory_level, 1, 9)
        _check_range("threshold", self.threshold, 0, None)

    @property
    def name(self) -> str:
        return NAME

    # The client role

    def offer(self) -> Params:
        """Section 7.1: all that is wanted, and that the server may limit our window."""
        params: list[tuple[str, str | None]] = []
        if self.server_no_context_takeover:
            params.append((_SERVER_NO_TAKEOVER, None))
        if self.client_no_context_takeover:
            params.append((_CLIENT_NO_TAKEOVER, None))
        if self.server_max_window_bits is not None:
            params.append((_SERVER_BITS, str(self.server_max_window_bits)))
        bits = self.client_max_window_bits
        params.append((_CLIENT_BITS, None if bits is None else str(bits)))
        return params

    def agree(self, params: Params) -> Codec:
        """Sections 7.1.1 and 7.1.2: what a server may answer to our offer."""
        answer = _read(params, bare_client_bits=False)
        server_bits, client_bits = answer.get(_SERVER_BITS), answer.get(_CLIENT_BITS)
        if self.server_no_context_takeover and _SERVER_NO_TAKEOVER not in answer:
            raise NegotiationError(f"{_SERVER_NO_TAKEOVER} was demanded, but is not there")
        if self.server_max_window_bits is not None and (
            server_bits is None or server_bits > self.server_max_window_bits
        ):
            raise NegotiationError(
                f"{_SERVER_BITS} of at most {self.server_max_window_bits} was demanded"
            )
        own_bits = self.client_max_window_bits or _MAX_BITS
        if client_bits is not None and client_bits > own_bits:
            raise NegotiationError(f"{_CLIENT_BITS} of at most {own_bits} was offered")
        return self._codec(
            compress=(client_bits or own_bits, _CLIENT_NO_TAKEOVER in answer),
            decompress=(server_bits or _MAX_BITS, _SERVER_NO_TAKEOVER in answer),
            own_no_takeover=self.client_no_context_takeover,
        )

    # The server role

    def accept(self, params: Params) -> tuple[Params, Codec] | None:
        """Section 7.1: answer a client's offer; one that makes no sense is declined."""
        try:
            offered = _read(params, bare_client_bits=True)
        except NegotiationError:
            return None
        answer: list[tuple[str, str | None]] = []
        if self.server_no_context_takeover or _SERVER_NO_TAKEOVER in offered:
            answer.append((_SERVER_NO_TAKEOVER, None))
        if self.client_no_context_takeover or _CLIENT_NO_TAKEOVER in offered:
            answer.append((_CLIENT_NO_TAKEOVER, None))
        server_bits = min(offered.get(_SERVER_BITS) or _MAX_BITS, self._bits(_SERVER_BITS))
        if server_bits < _MAX_BITS or _SERVER_BITS in offered:
            answer.append((_SERVER_BITS, str(server_bits)))
        client_bits = _MAX_BITS
        if _CLIENT_BITS in offered:
            # Without the parameter, a client can't be told to use less (section 7.1.2.2).
            client_bits = min(offered[_CLIENT_BITS] or _MAX_BITS, self._bits(_CLIENT_BITS))
            if client_bits < _MAX_BITS:
                answer.append((_CLIENT_BITS, str(client_bits)))
        codec = self._codec(
            compress=(server_bits, (_SERVER_NO_TAKEOVER, None) in answer),
            decompress=(client_bits, (_CLIENT_NO_TAKEOVER, None) in answer),
        )
        return answer, codec

    def _bits(self, option: str) -> int:
        return getattr(self, option) or _MAX_BITS

    def _codec(
        self,
        compress: tuple[int, bool],
        decompress: tuple[int, bool],
        own_no_takeover: bool = False,
    ) -> DeflateCodec:
        bits, no_takeover = compress
        settings = (bits, no_takeover or own_no_takeover, self.level, self.memory_level)
        return DeflateCodec(settings, decompress, self.threshold)


def extension_of(compression: object) -> Extension | None:
    """The value of the option ``compression`` as an extension.

    Raises:
        WebSocketArgumentException: it is neither ``"deflate"`` nor an extension nor None.
    """
    if compression is None:
        return None
    if isinstance(compression, str):
        if compression == "deflate":
            return Deflate()
    elif all(hasattr(compression, name) for name in ("name", "offer", "agree", "accept")):
        extension: Any = compression
        return extension  # type: ignore[no-any-return]
    raise WebSocketArgumentException(
        f"compression is 'deflate', a Deflate(...) or None, not {compression!r}"
    )


def _check_range(option: str, value: object, least: int, most: int | None) -> None:
    # True is an int as well, but no number that anybody means.
    good = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if not good or (most is not None and value > most):  # type: ignore[operator]
        limits = f"from {least} to {most}" if most is not None else f"from {least} upwards"
        raise WebSocketArgumentException(f"{option} is a number {limits}, not {value!r}")


def _read(params: Params, *, bare_client_bits: bool) -> dict[str, int | None]:
    """Parameters by name, window sizes as numbers (section 7.1).

    Parameters:
        bare_client_bits: whether client_max_window_bits may stand without a value, as it
            may in an offer.

    Raises:
        NegotiationError: an unknown or repeated parameter, or a value that is none.
    """
    read: dict[str, int | None] = {}
    for name, value in params:
        if name in read:
            raise NegotiationError(f"the parameter {name} is there twice")
        if name in (_SERVER_NO_TAKEOVER, _CLIENT_NO_TAKEOVER):
            if value is not None:
                raise NegotiationError(f"the parameter {name} takes no value")
            read[name] = None
        elif name in (_SERVER_BITS, _CLIENT_BITS):
            bare = value is None and bare_client_bits and name == _CLIENT_BITS
            read[name] = None if bare else _read_bits(name, value)
        else:
            raise NegotiationError(f"the parameter {name[:80]!r} is unknown")
    return read


def _read_bits(name: str, value: str | None) -> int:
    """Section 7.1.2: a decimal number from 8 to 15 without leading zeros."""
    for bits in range(_MIN_BITS, _MAX_BITS + 1):
        if value == str(bits):
            return bits
    raise NegotiationError(f"{name} must be a number from 8 to 15, not {value!r:.80}")


class Compressor:
    """Compresses what we send (section 7.2.1)."""

    __slots__ = ("_settings", "_stream", "no_takeover", "size_in", "size_out")

    def __init__(self, bits: int, no_takeover: bool, level: int, memory_level: int) -> None:
        self.no_takeover = no_takeover
        self.size_in = self.size_out = 0  # of all that was compressed so far
        self._settings = (level, zlib.DEFLATED, -max(bits, _LEAST_BITS), memory_level)
        # 256 KiB with the usual settings: only once there is something to compress.
        self._stream: Any = None

    def message(self, payload: bytes | bytearray | memoryview) -> bytes:
        """A whole message, without the tail."""
        if not payload:
            return _EMPTY
        compressed = self.piece(payload)
        if self.no_takeover:
            self._stream = None
        self.size_out -= 4
        return compressed[:-4]

    def piece(self, payload: bytes | bytearray | memoryview) -> bytes:
        """A piece of a message that does not wait for the next one, with its tail."""
        if self._stream is None:
            self._stream = zlib.compressobj(*self._settings)
        compressed: bytes = self._stream.compress(payload)
        compressed += self._stream.flush(zlib.Z_SYNC_FLUSH)
        self.size_in += len(payload)
        self.size_out += len(compressed)
        return compressed

    def forget(self) -> None:
        """Refer to nothing that was compressed before."""
        self._stream = None


class Decompressor:
    """Decompresses what the peer sends (section 7.2.2)."""

    __slots__ = ("_bits", "_fresh", "_last", "_stream", "no_takeover", "size_in", "size_out")

    def __init__(self, bits: int, no_takeover: bool) -> None:
        self.no_takeover = no_takeover
        # A peer that means 8 may be of those whose zlib takes 9 instead.
        self._bits = -max(bits, _LEAST_BITS)
        self._last = 0xFF
        self.size_in = self.size_out = 0  # of all that was decompressed so far
        self._begin()

    def _begin(self) -> None:
        self._stream: Any = zlib.decompressobj(self._bits)
        self._fresh = True  # nothing went into it yet

    def take(
        self,
        data: bytearray,
        start: int,
        end: int,
        limits: Limits,
        append: Callable[[str | bytes], object],
    ) -> int:
        """The road of a feed of small messages: see ``Codec.take``.

        Left alone is whatever is not the common case: a message in fragments or not here to
        its end, one of more than 8 KiB, or without takeover.
        """
        if self.no_takeover:
            return start
        most = min(_PART, limits.limit + 1)
        errors = "strict" if limits.check_text else "surrogateescape"
        try:
            while True:
                start, first, beginning, size_in, size_out = scan_deflated(
                    data, start, end, self._stream, most, errors, append
                )
                self.size_in += size_in
                self.size_out += size_out
                if beginning is None:
                    return start
                message = self._whole(beginning, limits)
                append(message if first == _MARKED_BINARY else message.decode("utf-8", errors))
        except zlib.error as error:
            raise _corrupt(error) from error
        except UnicodeDecodeError as error:
            raise invalid_text(error) from error

    def _whole(self, beginning: bytes, limits: Limits) -> bytes:
        """A message of which there is more than the first part."""
        parts, size = [beginning], len(beginning)
        limits.check_size(size)
        for part in self._rest(beginning, ending=True):
            size += len(part)
            limits.check_size(size)
            parts.append(part)
        return b"".join(parts)

    def decode(self, payload: bytes | bytearray | memoryview, fin: bool) -> Iterator[bytes]:
        """What a piece of a message stands for, in parts of at most 64 KiB."""
        with memoryview(payload) as view:
            self.size_in += len(view)
            for start in range(0, len(view), _SLICE):
                with view[start : start + _SLICE] as part:
                    yield from self._parts(part)
            if view:
                self._last = view[-1]
        if fin:
            self._check_last()
            yield from self._parts(_TAIL)
            if self.no_takeover:
                self._check_end()

    def _check_last(self) -> None:
        """Section 7.2.1: the last byte holds the beginning of the block that _TAIL ends."""
        last, self._last = self._last, 0xFF
        if last & 0xE0 or self._fresh:
            raise _no_end()

    def _check_end(self) -> None:
        """The message must be whole, and the next one begins anew."""
        rest = b"".join(self._parts(_STREAM_END))
        if rest or not self._fresh:
            raise WebSocketPayloadException(
                "A compressed message breaks off in the middle of a block (RFC 7692 section 7.2.2)"
            )

    def _parts(self, data: bytes | memoryview) -> Iterator[bytes]:
        self._fresh = False
        part = self._decompress(data)
        if part:
            yield part
        yield from self._rest(part)

    def _rest(self, part: bytes, ending: bool = False) -> Iterator[bytes]:
        """What is left of the input and the output behind ``part``.

        Parameters:
            ending: whether the input ends with _TAIL.
        """
        while True:
            stream = self._stream
            if stream.eof:
                # A block marked as the last one ends the stream, but not the message
                # (section 7.2.3.4): what follows begins anew.
                data = stream.unused_data
                if ending and data == _TAIL:
                    raise _no_end()
                self._begin()
                if not data:
                    return
                self._fresh = False
            elif len(part) < _PART:
                return
            else:
                data = stream.unconsumed_tail
            part = self._decompress(data)
            if part:
                yield part

    def _decompress(self, data: bytes | memoryview) -> bytes:
        try:
            part: bytes = self._stream.decompress(data, _PART)
        except zlib.error as error:
            raise _corrupt(error) from error
        self.size_out += len(part)
        return part


def _no_end() -> WebSocketPayloadException:
    return WebSocketPayloadException(
        "A compressed message does not end with an empty block, as it must (RFC 7692 section 7.2.1)"
    )


def _corrupt(error: Exception) -> WebSocketPayloadException:
    return WebSocketPayloadException(
        f"A compressed message can't be decompressed: {error} (RFC 7692 section 7.2.2)"
    )


class DeflateCodec(Decompressor, Codec):
    """Both directions of one connection."""

    rsv = _RSV1

    def __init__(
        self, compress: tuple[int, bool, int, int], decompress: tuple[int, bool], threshold: int
    ) -> None:
        super().__init__(*decompress)
        self._compressor = Compressor(*compress)
        self._threshold = threshold

    def encode(self, payload: bytes | bytearray | memoryview) -> bytes | None:
        if len(payload) < self._threshold:
            return None
        return self._compressor.message(payload)

    def encode_piece(self, payload: bytes | bytearray | memoryview, fin: bool) -> bytes:
        compressed = self._compressor.piece(payload) if payload else b""
        if fin:
            compressed += _EMPTY
            if self._compressor.no_takeover:
                self._compressor.forget()
        return compressed

    @property
    def volumes(self) -> Volumes:
        compressor = self._compressor
        return Volumes(compressor.size_in, compressor.size_out, self.size_out, self.size_in)

    def unsent(self) -> None:
        self._compressor.forget()
