"""The hot functions. Each case is in a base class, which the test class of each twin inherits:
all twins face the same."""

from __future__ import annotations

import collections
import functools
import itertools
import os
import random
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame as OtherFrame
from websockets.streams import StreamReader
from wire import KEY, frame, naive_mask, parse

from websocket import _accel
from websocket._accel import py

try:
    from websocket._accel import _c
except ImportError:
    # A machine without a compiler has the reference only. CI has one.
    if os.environ.get("CI_REQUIRE_TOOLS"):
        raise
    _c = None  # type: ignore[assignment]

needs_extension = pytest.mark.skipif(_c is None, reason="the accelerator was not built")

BORDERS = [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 65535, 65536, 65537, 200_000]


def other_parse(data: bytes, *, mask: bool) -> OtherFrame:
    """One frame as another library reads it."""
    reader = StreamReader()
    reader.feed_data(data)
    reading = OtherFrame.parse(reader.read_exact, mask=mask)
    try:
        next(reading)
    except StopIteration as result:
        assert not reader.buffer, "bytes are left behind the frame"
        return result.value
    raise AssertionError("the frame is incomplete")


def cyclic_mask(key: bytes, data: bytes) -> bytes:
    return bytes(octet ^ k for octet, k in zip(data, itertools.cycle(key), strict=False))


class MaskCases:
    twin: ModuleType

    @pytest.mark.parametrize("sizes", [range(70), BORDERS, [3 * 65536 + 1]])
    def test_against_naive_versions(self, sizes):
        for size in sizes:
            data = random.Random(size).randbytes(size)
            masked = self.twin.mask(KEY, data)
            assert type(masked) is bytes
            assert masked == naive_mask(KEY, data) == cyclic_mask(KEY, data)
            assert self.twin.mask(KEY, masked) == data

    @settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(st.binary(min_size=4, max_size=4), st.binary(max_size=300))
    def test_any_key_any_data(self, key, data):
        assert self.twin.mask(key, data) == naive_mask(key, data)

    @pytest.mark.parametrize("size", [0, 5, 70_000])
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_kinds_of_data(self, kind, size):
        data = random.Random(size).randbytes(size)
        assert self.twin.mask(KEY, kind(data)) == naive_mask(KEY, data)

    @pytest.mark.parametrize("size", [1, 3, 4, 9, 66_000])
    def test_part_of_a_buffer_at_any_alignment(self, size):
        block = bytearray(random.Random(size).randbytes(size + 16))
        before = bytes(block)
        for start in range(9):
            with memoryview(block)[start : start + size] as part:
                assert self.twin.mask(KEY, part) == naive_mask(KEY, before[start : start + size])
        assert block == before
        block.append(0)  # no view of it is left

    def test_zero_key_changes_nothing(self):
        assert self.twin.mask(bytes(4), b"as it is") == b"as it is"


class MaskKeyCases:
    twin: ModuleType

    def run(self, program: str) -> str:
        """Run a program in a process of its own, with the twin's ``mask_key``."""
        head = f"import os, sys\nfrom {self.twin.__name__} import mask_key\n"
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", head + program],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=30,
        ).stdout

    def test_four_bytes(self):
        for _ in range(1000):
            key = self.twin.mask_key()
            assert type(key) is bytes
            assert len(key) == 4

    def test_spread(self):
        keys = [self.twin.mask_key() for _ in range(20_000)]
        # By chance 0.05 pairs of equal keys are to be expected.
        assert len(set(keys)) >= len(keys) - 3
        for bit in range(32):
            ones = sum(int.from_bytes(key, "big") >> bit & 1 for key in keys)
            # Eight standard deviations of 70.7.
            assert abs(ones - len(keys) // 2) < 566
        # Keys that follow each other have nothing in common either.
        for bit in range(32):
            numbers = [int.from_bytes(key, "big") >> bit & 1 for key in keys]
            equal = sum(a == b for a, b in itertools.pairwise(numbers))
            assert abs(equal - len(keys) // 2) < 566

    def test_two_processes_differ(self):
        program = "print([mask_key().hex() for _ in range(2000)])"
        first, second = (set(eval(self.run(program))) for _ in range(2))
        assert len(first & second) <= 2

    @pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
    def test_parent_and_children_differ(self):
        output = self.run(
            "mask_key()\n"
            "children = []\n"
            "for _ in range(3):\n"
            "    read, write = os.pipe()\n"
            "    child = os.fork()\n"
            "    if not child:\n"
            "        os.write(write, b''.join(mask_key() for _ in range(1000)))\n"
            "        os._exit(0)\n"
            "    os.close(write)\n"
            "    with os.fdopen(read, 'rb') as pipe:\n"
            "        print(pipe.read().hex())\n"
            "    os.waitpid(child, 0)\n"
            "print(b''.join(mask_key() for _ in range(1000)).hex())\n"
        )
        streams = [bytes.fromhex(line) for line in output.split()]
        assert [len(stream) for stream in streams] == [4000] * 4
        keys = [stream[i : i + 4] for stream in streams for i in range(0, 4000, 4)]
        assert len(set(keys)) >= len(keys) - 3

    def test_no_key_is_given_to_two_threads(self):
        count, threads = 3000, 8
        keys: list[list[bytes]] = [[] for _ in range(threads)]
        start = threading.Barrier(threads)

        def draw(into: list[bytes]) -> None:
            start.wait(10)
            into.extend(self.twin.mask_key() for _ in range(count))

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            workers = [threading.Thread(target=draw, args=(part,)) for part in keys]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join(30)
        finally:
            sys.setswitchinterval(interval)
        drawn = collections.Counter(itertools.chain.from_iterable(keys))
        assert sum(drawn.values()) == count * threads
        # By chance 0.07 pairs of equal keys are to be expected.
        assert len(drawn) >= count * threads - 3


class EncodeFrameCases:
    twin: ModuleType

    @pytest.mark.parametrize("key", [None, KEY])
    @pytest.mark.parametrize("size", BORDERS)
    def test_lengths(self, size, key):
        payload = random.Random(size).randbytes(size)
        encoded = self.twin.encode_frame(0x82, payload, key)
        assert type(encoded) is bytes
        assert encoded == frame(2, payload, key=key)
        other = other_parse(encoded, mask=key is not None)
        assert (other.opcode, other.fin, other.data) == (2, True, payload)

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    @pytest.mark.parametrize("key", [None, KEY])
    def test_kinds_of_payload(self, kind, key):
        for payload in (b"", b"payload", bytes(70_000)):
            assert self.twin.encode_frame(0x82, kind(payload), key) == frame(2, payload, key=key)

    @pytest.mark.parametrize("key", [None, KEY])
    @pytest.mark.parametrize(
        "text", ["", "ascii", "é" * 62, "é" * 63, "é" * 64, "\U0001f600" * 20_000, "\0\x7f\x80"]
    )
    def test_text_is_measured_in_bytes(self, text, key):
        encoded = self.twin.encode_frame(0x81, text, key)
        assert encoded == frame(1, text.encode(), key=key)

    @pytest.mark.parametrize("text", ["\ud800", "ok \udfff", "x" * 70_000 + "\udc80"])
    def test_lone_surrogates(self, text):
        with pytest.raises(UnicodeEncodeError):
            self.twin.encode_frame(0x81, text, KEY)

    def test_first_byte_is_taken_as_it_is(self):
        for first in range(256):
            assert self.twin.encode_frame(first, b"x", None) == bytes([first, 1]) + b"x"

    def test_view_is_released(self):
        block = bytearray(b"0123456789")
        with memoryview(block)[2:5] as part:
            assert self.twin.encode_frame(0x82, part, None) == frame(2, b"234")
        block.append(0)

    @settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(st.binary(max_size=200), st.binary(min_size=4, max_size=4))
    def test_any_payload_any_key(self, payload, key):
        (parsed,) = parse(self.twin.encode_frame(0x02, payload, key))
        assert parsed == (False, 0, 2, key, payload)


class EncodeBatchCases:
    twin: ModuleType

    def batch(self, messages, limit=1 << 20, convert=memoryview):
        return self.twin.encode_batch(iter(messages), limit, convert)

    def test_nothing(self):
        assert self.batch([]) == (b"", 0, None)

    @pytest.mark.parametrize("size", BORDERS)
    def test_kinds_and_sizes(self, size):
        text = ("\u00e9" + "x" * size)[:size]
        messages = [text, b"y" * size, bytearray(b"z" * size), memoryview(b"w" * size), "last"]
        frames, count, error = self.batch(messages)
        assert (count, error) == (5, None)
        parsed = parse(frames)
        assert [f.opcode for f in parsed] == [1, 2, 2, 2, 1]
        assert all(f.fin and not f.rsv and f.key is not None for f in parsed)
        expected = [m.encode() if isinstance(m, str) else bytes(m) for m in messages]
        assert [f.payload for f in parsed] == expected

    def test_each_frame_has_its_own_key(self):
        frames, _, _ = self.batch(["x"] * 1000)
        assert len({f.key for f in parse(frames)}) > 990

    @pytest.mark.parametrize("size", BORDERS)
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_encode_masked(self, size, kind):
        (parsed,) = parse(self.twin.encode_masked(0x82, kind(b"y" * size)))
        assert parsed[:3] == (True, 0, 2)
        assert parsed.payload == b"y" * size
        assert parsed.key is not None
        (parsed,) = parse(self.twin.encode_masked(0x01, "\u00e9" * size))
        assert parsed[:3] == (False, 0, 1)
        assert parsed.payload == "\u00e9".encode() * size

    def test_the_limit(self):
        source = iter(["x" * 94] * 10)
        frames, count, error = self.twin.encode_batch(source, 250, memoryview)
        assert (len(frames), count, error) == (300, 3, None)
        assert self.twin.encode_batch(source, 0, memoryview)[1] == 1
        assert len(list(source)) == 6

    def test_what_the_iterable_raises(self):
        def messages():
            yield "a"
            yield b"b"
            raise KeyError("source")

        frames, count, error = self.batch(messages())
        assert [f.payload for f in parse(frames)] == [b"a", b"b"]
        assert count == 2
        assert isinstance(error, KeyError)
        assert error.__traceback__ is not None

    @pytest.mark.parametrize(
        ("bad", "kind"), [(5, TypeError), ("\ud800", UnicodeEncodeError), (None, TypeError)]
    )
    def test_a_message_that_is_none(self, bad, kind):
        frames, count, error = self.batch(["a", bad, "b"])
        assert [f.payload for f in parse(frames)] == [b"a"]
        assert count == 1
        assert isinstance(error, kind)

    def test_what_is_converted(self):
        class Message(bytes):
            pass

        seen = []

        def convert(message):
            seen.append(message)
            return b"converted"

        frames, _, _ = self.batch([Message(b"x"), 5, b"as it is"], convert=convert)
        assert seen == [b"x", 5]
        assert [f.payload for f in parse(frames)] == [b"converted", b"converted", b"as it is"]


class ScanCases:
    twin: ModuleType

    STREAM = (
        frame(1, b"Hello")
        + frame(2, b"\x00\xff")
        + frame(1)
        + frame(2)
        + frame(1, "€".encode() * 42)
        + frame(2, bytes(range(256)) * 20)
        + frame(1, b"x" * 65536)
    )
    MESSAGES = ("Hello", b"\x00\xff", "", b"", "€" * 42, bytes(range(256)) * 20, "x" * 65536)

    def scan(self, data: bytes, limit: int = sys.maxsize, *, before: bytes = b"", after=b""):
        """Scan ``data`` in the middle of a block; the messages and the bytes consumed."""
        block = bytearray(before + data + after)
        kept = bytes(block)
        end = len(before) + len(data)
        stopped, messages = self.twin.scan(block, len(before), end, limit)
        assert block == kept
        block.append(0)  # no view of it is left
        return messages, stopped - len(before)

    def test_whole_frames(self):
        messages, consumed = self.scan(self.STREAM)
        assert tuple(messages) == self.MESSAGES
        assert [type(m) for m in messages] == [type(m) for m in self.MESSAGES]
        assert consumed == len(self.STREAM)

    def test_nothing(self):
        assert self.scan(b"") == ([], 0)

    def test_works_in_the_middle_of_a_block(self):
        messages, consumed = self.scan(self.STREAM, before=b"\x81\x01", after=b"\x81\x01z")
        assert tuple(messages) == self.MESSAGES
        assert consumed == len(self.STREAM)

    @pytest.mark.parametrize("after", [b"", b"\x81\x01z" * 10])
    def test_cut_anywhere(self, after):
        # What stands behind the end must not be looked at, though the block holds it.
        ends = list(
            itertools.accumulate(
                len(
                    frame(
                        2 if isinstance(m, bytes) else 1, m if isinstance(m, bytes) else m.encode()
                    )
                )
                for m in self.MESSAGES
            )
        )
        cuts = {*range(400), *range(5300, 5600), len(self.STREAM) - 1}
        cuts.update(end + near for end in ends for near in (-1, 0, 1))
        for cut in sorted(cuts):
            if cut > len(self.STREAM):
                continue
            messages, consumed = self.scan(
                self.STREAM[:cut], after=self.STREAM[cut : cut + 50] + after
            )
            whole = [end for end in ends if end <= cut]
            assert tuple(messages) == self.MESSAGES[: len(whole)]
            assert consumed == (whole[-1] if whole else 0)

    PLAIN = frame(1, b"before")

    @pytest.mark.parametrize(
        "odd",
        [
            *(frame(opcode, b"odd") for opcode in range(16) if opcode not in (1, 2)),
            frame(1, b"odd", fin=False),
            frame(2, b"odd", fin=False),
            *(frame(opcode, b"odd", rsv=rsv) for opcode in (1, 2) for rsv in range(1, 8)),
            frame(1, b"odd", key=KEY),
            frame(2, b"", key=KEY),
            frame(2, bytes(126), key=KEY),
            frame(2, bytes(65536), key=KEY),
            frame(1, b"odd", form=16),
            frame(2, bytes(125), form=16),
            frame(2, b"", form=16),
            frame(1, b"odd", form=64),
            frame(2, bytes(125), form=64),
            frame(2, bytes(65535), form=64),
            frame(2, b"x", form=64, length=2**63),
            frame(2, b"x", form=64, length=2**64 - 1),
            frame(2, b"x", form=64, length=2**63 - 1),
            frame(1, b"\xff"),
            frame(1, b"good \xc3"),
            frame(1, b"\xed\xa0\x80"),
            frame(1, b"\xf4\x90\x80\x80"),
            frame(1, b"\xc0\x80"),
            frame(1, b"x" * 5000 + b"\x80"),
        ],
    )
    def test_stops_at_what_is_not_plain(self, odd):
        messages, consumed = self.scan(self.PLAIN + odd + self.PLAIN)
        assert messages == ["before"]
        assert consumed == len(self.PLAIN)

    @pytest.mark.parametrize("size", [0, 1, 125, 126, 5000, 65536])
    @pytest.mark.parametrize("opcode", [1, 2])
    def test_limit(self, opcode, size):
        data = self.PLAIN + frame(opcode, b"x" * size)
        if size > 6:
            messages, consumed = self.scan(data, size - 1)
            assert messages == ["before"]
            assert consumed == len(self.PLAIN)
        messages, consumed = self.scan(data, max(size, 6))
        assert len(messages) == 2
        assert consumed == len(data)
        assert self.scan(frame(opcode, b"x"), 0) == ([], 0)
        assert self.scan(frame(opcode), 0)[1] == 2

    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
    )
    @given(st.data())
    def test_any_bytes(self, data):
        plain = st.builds(frame, st.sampled_from([1, 2]), st.binary(max_size=10))
        pieces = data.draw(st.lists(st.one_of(plain, st.binary(max_size=12)), max_size=6))
        stream = b"".join(pieces)
        messages, consumed = self.scan(stream)
        for message, parsed in zip(messages, parse(stream[:consumed]), strict=True):
            assert parsed[:4] == (True, 0, 1 if isinstance(message, str) else 2, None)
            assert parsed.payload == (message.encode() if isinstance(message, str) else message)


# RFC 7692 section 7.2.3.1
HELLO = frame(1, b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv=4)


class ScanDeflatedCases:
    twin: ModuleType

    MESSAGES = ("Hello", b"\x00\xff", "€" * 42, bytes(range(256)), "again " * 700, "Hello")

    @staticmethod
    def payload(message: str | bytes, stream: Any) -> bytes:
        data = message.encode() if isinstance(message, str) else message
        compressed = stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)
        assert compressed.endswith(b"\x00\x00\xff\xff")
        return compressed[:-4]

    @classmethod
    def frames(cls, messages: Iterable[str | bytes] = MESSAGES) -> list[bytes]:
        stream = zlib.compressobj(6, zlib.DEFLATED, -15)
        return [
            frame(1 if isinstance(message, str) else 2, cls.payload(message, stream), rsv=4)
            for message in messages
        ]

    def scan(
        self,
        data: bytes,
        most: int = 65536,
        *,
        errors: str = "strict",
        before: bytes = b"",
        after: bytes = b"",
        stream: Any = None,
    ) -> tuple[list[str | bytes], int, int, bytes | None]:
        """Scan ``data`` in the middle of a block; what was appended, and what was returned."""
        block = bytearray(before + data + after)
        kept = bytes(block)
        end = len(before) + len(data)
        found: list[str | bytes] = []
        stream = stream or zlib.decompressobj(-15)
        stopped, first, beginning, *self.sizes = self.twin.scan_deflated(
            block, len(before), end, stream, most, errors, found.append
        )
        assert block == kept
        block.append(0)  # no view of it is left
        return found, stopped - len(before), first, beginning

    @pytest.mark.parametrize("around", [b"", HELLO])
    def test_whole_frames(self, around):
        data = b"".join(self.frames())
        found, *rest = self.scan(data, before=around, after=around)
        assert tuple(found) == self.MESSAGES
        assert [type(m) for m in found] == [type(m) for m in self.MESSAGES]
        assert rest == [len(data), 0, None]
        originals = [m.encode() if isinstance(m, str) else m for m in self.MESSAGES]
        headers = [4 if len(frame) > 127 else 2 for frame in self.frames()]
        assert self.sizes == [len(data) - sum(headers), sum(map(len, originals))]

    def test_the_example_of_the_standard(self):
        assert self.scan(HELLO) == (["Hello"], len(HELLO), 0, None)

    def test_cut_anywhere(self):
        frames = self.frames()
        data = b"".join(frames)
        ends = list(itertools.accumulate(map(len, frames)))
        for cut in range(len(data)):
            found, *rest = self.scan(data[:cut], after=data[cut : cut + 50])
            whole = [end for end in ends if end <= cut]
            assert tuple(found) == self.MESSAGES[: len(whole)]
            assert rest == [whole[-1] if whole else 0, 0, None]

    @pytest.mark.parametrize(
        "odd",
        [
            *(frame(opcode, HELLO[2:], rsv=4) for opcode in range(16) if opcode not in (1, 2)),
            *(frame(opcode, HELLO[2:], rsv=rsv) for opcode in (1, 2) for rsv in (0, 1, 2, 5, 7)),
            frame(1, HELLO[2:], rsv=4, fin=False),
            frame(1, HELLO[2:], rsv=4, key=KEY),
            frame(1, HELLO[2:], rsv=4, form=16),
            frame(1, HELLO[2:], rsv=4, form=64),
            frame(1, b"", rsv=4),
            frame(2, bytes(8193), rsv=4),
            frame(2, HELLO[2:-1] + b"\x20", rsv=4),  # no end of a flushed block
        ],
    )
    def test_stops_at_what_is_not_usual(self, odd):
        stream = zlib.decompressobj(-15)
        assert self.scan(HELLO + odd + HELLO, stream=stream) == (
            ["Hello"],
            len(HELLO),
            0,
            None,
        )
        # Nothing of it went into the stream.
        assert stream.decompress(HELLO[2:] + b"\x00\x00\xff\xff") == b"Hello"

    @pytest.mark.parametrize("most", [1, 4, 5])
    @pytest.mark.parametrize("opcode", [1, 2])
    def test_of_long_messages_the_beginning(self, opcode, most):
        odd = frame(opcode, HELLO[2:], rsv=4)
        stream = zlib.decompressobj(-15)
        assert self.scan(odd + HELLO, most, stream=stream) == (
            [],
            len(odd),
            odd[0],
            b"Hello"[:most],
        )
        rest = stream.decompress(stream.unconsumed_tail)
        assert b"Hello"[:most] + rest == b"Hello"

    def test_the_largest_payload(self):
        noise = random.Random(1).randbytes(8192)
        sizes = set()
        for size in range(8160, 8192):
            (data,) = self.frames([noise[:size]])
            sizes.add(len(data) - 4)
            if len(data) - 4 <= 8192:
                assert self.scan(data) == ([noise[:size]], len(data), 0, None)
            else:
                assert self.scan(data) == ([], 0, 0, None)
        assert {8192, 8193} <= sizes

    def test_a_stream_that_ends_of_itself(self):
        stream = zlib.compressobj(6, zlib.DEFLATED, -15)
        odd = frame(1, stream.compress(b"ended") + stream.flush() + b"\x00", rsv=4)
        found, *rest = self.scan(HELLO + odd + HELLO)
        assert found == ["Hello"]
        assert rest == [len(HELLO + odd), 0xC1, b"ended"]
        assert self.sizes == [len(HELLO + odd) - 4, len("Hello" + "ended")]

    def test_what_zlib_refuses(self):
        found: list[str | bytes] = []
        data = HELLO + frame(1, b"\xff\xff\xff\x00", rsv=4)
        with pytest.raises(zlib.error):
            self.twin.scan_deflated(
                bytearray(data),
                0,
                len(data),
                zlib.decompressobj(-15),
                65536,
                "strict",
                found.append,
            )
        assert found == ["Hello"]

    def test_what_is_not_text(self):
        data = b"".join(self.frames(["good", b"good \xff", "more"]))
        data = data.replace(b"\xc2", b"\xc1", 1)
        found: list[str | bytes] = []
        arguments = (bytearray(data), 0, len(data))
        with pytest.raises(UnicodeDecodeError):
            self.twin.scan_deflated(
                *arguments, zlib.decompressobj(-15), 65536, "strict", found.append
            )
        assert found == ["good"]
        assert self.scan(data, errors="surrogateescape")[0] == ["good", "good \udcff", "more"]

    @pytest.mark.parametrize("failing", ["append", "eof", "decompress"])
    def test_errors_pass(self, failing):
        class Stream:
            eof = False

            def __getattribute__(self, name: str) -> Any:
                if name == failing:
                    raise KeyError(name)
                return object.__getattribute__(self, name)

            def decompress(self, data: bytes, most: int) -> bytes:
                return b"Hello"

        def append(message: str | bytes) -> None:
            if failing == "append":
                raise KeyError("append")

        with pytest.raises(KeyError, match=failing):
            self.twin.scan_deflated(
                bytearray(HELLO), 0, len(HELLO), Stream(), 65536, "strict", append
            )

    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
    )
    @given(
        st.lists(
            st.one_of(st.text(min_size=1, max_size=200), st.binary(min_size=1, max_size=200)),
            max_size=8,
        )
    )
    def test_any_messages(self, messages):
        frames = self.frames(messages)
        found, consumed, *rest = self.scan(b"".join(frames))
        assert found == messages
        assert consumed == sum(map(len, frames))
        assert rest == [0, None]


@pytest.mark.skipif(sys.platform == "win32", reason="not used there")
class SocketCases:
    twin: ModuleType

    @pytest.fixture(autouse=True)
    def pair(self) -> Iterator[None]:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        with self.ours, self.theirs:
            yield

    def test_no_socket(self):
        fd = os.dup(self.ours.fileno())
        os.close(fd)
        with pytest.raises(OSError, match="Bad file descriptor"):
            self.twin.send_bytes(fd, b"x")

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_sending(self, kind):
        data = bytearray(b"Hello")
        assert self.twin.send_bytes(self.ours.fileno(), kind(data)) == 5
        data.append(0)
        assert self.theirs.recv(9) == b"Hello"

    def test_sending_until_there_is_no_room(self):
        send = functools.partial(self.twin.send_bytes, self.ours.fileno(), bytes(10_000_000))
        assert 0 < send() < 10_000_000
        with pytest.raises(BlockingIOError):
            collections.deque(iter(send, 0), 0)

    def test_sending_to_nobody(self):
        self.theirs.close()
        with pytest.raises(BrokenPipeError):
            self.twin.send_bytes(self.ours.fileno(), b"x")


class TestPythonMask(MaskCases):
    twin = py


class TestPythonMaskKey(MaskKeyCases):
    twin = py

    def test_comes_from_the_operating_system(self, monkeypatch):
        drawn = []

        def urandom(size: int) -> bytes:
            drawn.append(random.Random(size).randbytes(size))
            return drawn[-1]

        monkeypatch.setattr(py, "_keys", [])
        monkeypatch.setattr(py.os, "urandom", urandom)
        keys = [py.mask_key() for _ in range(256)]
        assert len(drawn) == 1, "one system call per frame is what the pool is there to avoid"
        assert sorted(keys) == sorted(drawn[0][i : i + 4] for i in range(0, 1024, 4))
        py.mask_key()
        assert len(drawn) == 2


class TestPythonEncodeFrame(EncodeFrameCases):
    twin = py


class TestPythonEncodeBatch(EncodeBatchCases):
    twin = py


class TestPythonScan(ScanCases):
    twin = py


class TestPythonScanDeflated(ScanDeflatedCases):
    twin = py


class TestPythonSockets(SocketCases):
    twin = py


@needs_extension
class TestCMask(MaskCases):
    twin = _c


@needs_extension
class TestCEncodeFrame(EncodeFrameCases):
    twin = _c


@needs_extension
class TestCMaskKey(MaskKeyCases):
    twin = _c

    def test_the_pool_is_drawn_at_once(self):
        """In a process of its own, as the twin keeps the function that it was given at first."""
        script = (
            "import os\n"
            "sizes = []\n"
            "draw = os.urandom\n"
            "os.urandom = lambda size: (sizes.append(size), draw(size))[1]\n"
            "from websocket._accel import _c\n"
            "for _ in range(257): _c.mask_key()\n"
            "print(sizes)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        assert done.stdout == "[1024, 1024]\n"

    def test_a_generator_that_fails(self):
        script = (
            "import os\n"
            "def fail(size): raise NotImplementedError\n"
            "os.urandom = fail\n"
            "from websocket._accel import _c\n"
            "for call in (_c.mask_key, lambda: _c.encode_masked(1, b'')):\n"
            "    try: call()\n"
            "    except NotImplementedError: print('raised')\n"
            "print(_c.encode_batch(iter([b'']), 1, bytes)[1:])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        assert done.stdout == "raised\nraised\n(0, NotImplementedError())\n"


@needs_extension
class TestCEncodeBatch(EncodeBatchCases):
    twin = _c


@needs_extension
class TestCScanDeflated(ScanDeflatedCases):
    twin = _c

    def test_a_stream_that_returns_something_else(self):
        class Stream:
            eof = False

            def decompress(self, data: bytes, most: int) -> str:
                return "Hello"

        with pytest.raises(TypeError):
            _c.scan_deflated(bytearray(HELLO), 0, len(HELLO), Stream(), 9, "strict", print)


@needs_extension
class TestCScan(ScanCases):
    twin = _c


@needs_extension
class TestCSockets(SocketCases):
    twin = _c


@needs_extension
class TestCArguments:
    """What only C has to check: no argument may crash the interpreter."""

    @pytest.mark.parametrize(
        "call",
        [
            lambda: _c.mask(b"abc", b"x"),
            lambda: _c.mask("abcd", b"x"),
            lambda: _c.mask(b"abcd"),
            lambda: _c.mask(b"abcd", "text"),
            lambda: _c.encode_frame(256, b"", None),
            lambda: _c.encode_frame(-1, b"", None),
            lambda: _c.encode_frame("x", b"", None),
            lambda: _c.encode_frame(2**70, b"", None),
            lambda: _c.encode_frame(129, 5, None),
            lambda: _c.encode_frame(129, b"", b"abc"),
            lambda: _c.encode_frame(129, b""),
            lambda: _c.encode_masked(129),
            lambda: _c.encode_masked(129, 5),
            lambda: _c.encode_masked(-1, b""),
            lambda: _c.encode_batch([b""], 9, bytes),
            lambda: _c.encode_batch(iter([b""]), -1, bytes),
            lambda: _c.encode_batch(iter([b""]), 2**70, bytes),
            lambda: _c.encode_batch(iter([b""]), "9", bytes),
            lambda: _c.encode_batch(iter([b""]), 9),
            lambda: _c.scan(bytearray(4), 0, 5, 9),
            lambda: _c.scan(bytearray(4), -1, 4, 9),
            lambda: _c.scan(bytearray(4), 3, 2, 9),
            lambda: _c.scan(bytearray(4), 0, 4, -1),
            lambda: _c.scan(bytearray(4), 0, 2**70, 9),
            lambda: _c.scan("text", 0, 4, 9),
            lambda: _c.scan(bytearray(4), 0, 4),
            lambda: _c.send_bytes(0),
            lambda: _c.send_bytes(-1, b""),
            lambda: _c.send_bytes(0, "text"),
            lambda: _c.scan_deflated(),
            lambda: _c.scan_deflated(b"", 0, 0, zlib.decompressobj(-15), 1, "strict"),
            lambda: _c.scan_deflated(1, 0, 0, zlib.decompressobj(-15), 1, "strict", print),
            lambda: _c.scan_deflated(b"", None, 0, zlib.decompressobj(-15), 1, "strict", print),
            lambda: _c.scan_deflated(b"", 0, 0, zlib.decompressobj(-15), 1, 1, print),
            lambda: _c.scan_deflated(b"", 0, 1, zlib.decompressobj(-15), 1, "strict", print),
            lambda: _c.scan_deflated(b"", -1, 0, zlib.decompressobj(-15), 1, "strict", print),
            lambda: _c.scan_deflated(b"ab", 2, 1, zlib.decompressobj(-15), 1, "strict", print),
            lambda: _c.scan_deflated(b"", 0, 0, zlib.decompressobj(-15), 0, "strict", print),
        ],
    )
    def test_bad_arguments_are_errors(self, call):
        with pytest.raises((TypeError, ValueError, OverflowError, BufferError)):
            call()

    @settings(
        max_examples=200, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
    )
    @given(st.binary(max_size=300), st.integers(0, 300))
    def test_the_twins_agree(self, data, limit):
        block = bytearray(data)
        for start in (0, len(data) // 2):
            assert _c.scan(block, start, len(data), limit) == py.scan(
                block, start, len(data), limit
            )


def test_the_environment_keeps_to_the_reference():
    script = "from websocket import _accel; print(_accel.scan.__module__)"
    used = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "WEBSOCKET_NO_EXTENSIONS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert used.stdout.strip() == "websocket._accel.py"


def test_the_package_offers_one_twin_whole():
    assert all(hasattr(py, name) for name in _accel.__all__)
    # Of the header of a large frame there is one version only, as it is not hot.
    homes = {getattr(_accel, name).__module__ for name in _accel.__all__ if name != "frame_header"}
    assert len(homes) == 1
