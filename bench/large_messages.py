"""A message of 2 GiB each way: ``python -m bench.large_messages [MiB]``.

Shows how long it takes and how far the process grows, against a peer that has no more of it in
memory either. Received: as one single frame, as many fragments, and compressed. Sent: from an
iterable, plain and compressed.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import websocket
from websocket._protocol.connection import Connection, Role
from websocket._protocol.extensions import Codec, accept, agree, offer
from websocket._protocol.messages import Piece

MIB = 1 << 20
CHUNK = bytes(range(256)) * 256


def codecs() -> tuple[Codec, Codec]:
    """Those of a client and a server that have negotiated."""
    settings = websocket.Deflate(level=1)
    accepted = accept(settings, [offer(settings)])
    assert accepted is not None
    answer, server = accepted
    client = agree(settings, [answer])
    assert client is not None
    return client, server


def header(first: int, size: int) -> bytes:
    return bytes([first, 127]) + size.to_bytes(8, "big")


def send_frame(sock: socket.socket, size: int) -> None:
    sock.sendall(header(0x82, size))
    for _ in range(size // len(CHUNK)):
        sock.sendall(CHUNK)


def send_fragments(sock: socket.socket, size: int) -> None:
    sock.sendall(header(0x02, len(CHUNK)) + CHUNK)
    for _ in range(size // len(CHUNK) - 1):
        sock.sendall(header(0x00, len(CHUNK)) + CHUNK)
    sock.sendall(b"\x80\x00")


def send_compressed(sock: socket.socket, size: int) -> None:
    stream = zlib.compressobj(1, zlib.DEFLATED, -15)
    first = 0x42
    for _ in range(size // len(CHUNK)):
        piece = stream.compress(CHUNK) + stream.flush(zlib.Z_SYNC_FLUSH)
        sock.sendall(bytes([first, 126]) + len(piece).to_bytes(2, "big") + piece)
        first = 0x00
    sock.sendall(b"\x80\x01\x00")


def receive(sock: socket.socket, size: int, compressed: bool) -> None:
    """The core in the server role, streaming; the count of bytes is the answer."""
    core = Connection(Role.SERVER, codec=codecs()[1] if compressed else None)
    core.stream()
    count = 0
    done = False
    while not done:
        with core.writable() as free:
            received = sock.recv_into(free)
        assert received
        core.received(received)
        while core.events and not done:
            piece = core.events.popleft()
            assert isinstance(piece, Piece), piece
            count += len(piece.data)
            done = piece.fin
            if not core.events and not done:
                core.go_on()
    assert count == size
    sock.sendall(core.encode(1, str(count)))


PEERS: dict[str, Callable[[socket.socket, int], None]] = {
    "receive, one frame": send_frame,
    "receive, fragments": send_fragments,
    "receive, compressed": send_compressed,
    "send": lambda sock, size: receive(sock, size, False),
    "send, compressed": lambda sock, size: receive(sock, size, True),
}


def peer(name: str, descriptor: str, size: str) -> None:
    with socket.socket(fileno=int(descriptor)) as sock:
        PEERS[name](sock, int(size))
        while sock.recv(65536):
            pass


def pieces(size: int) -> Iterator[bytes]:
    for _ in range(size // len(CHUNK)):
        yield CHUNK


def measure(name: str, size: int) -> None:
    ours, theirs = socket.socketpair()
    command = [sys.executable, __file__, name, str(theirs.fileno()), str(size)]
    with subprocess.Popen(command, pass_fds=[theirs.fileno()]) as process:
        theirs.close()
        ws = websocket.WebSocket()
        if "compressed" in name:
            ws._codec = codecs()[0]
        ws.sock = ours
        before, start = resident(), time.perf_counter()
        if name.startswith("receive"):
            count = sum(map(len, ws.recv_stream()))
        else:
            ws.send_stream(pieces(size))
            count = int(ws.recv())
        seconds = time.perf_counter() - start
        assert count == size
        grown = peak() - before
        ws.shutdown()
        process.wait()
    print(f"| {name} | {seconds:.1f} s | {grown / 1024:.1f} MiB |", flush=True)


def resident() -> float:
    """KiB of memory that the process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def peak() -> int:
    """KiB of memory that the process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    match sys.argv[1:]:
        case [name, descriptor, size]:
            peer(name, descriptor, size)
        case rest:
            size = int(rest[0]) * MIB if rest else 2048 * MIB
            print(f"{size // MIB} MiB\n\n| | time | memory above the idle process |\n|---|---|---|")
            for name in PEERS:
                # Each in a process of its own: the peak of one would hide that of the next.
                child = os.fork()
                if not child:
                    measure(name, size)
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
