"""What is measured. A scenario is a row of facts; who can't do its verb doesn't take part."""

from __future__ import annotations

from typing import Final, NamedTuple

KIB: Final = 1024
MIB: Final = 1024 * KIB

ONE_CORE: Final = "one core"
TWO_CORES: Final = "two cores"


class Scenario(NamedTuple):
    """
    Attributes:
        key: its name on the command line and in the JSON file.
        title: its name in the tables.
        verb: the function of the clients that does it.
        path: what the server is to do (see server.c).
        size: of a message, in bytes.
        kind: t for ASCII text, u for a European language's, c for Chinese, b for binary.
        chunk: operations between two looks at the clock.
        cores: client and server share one core, or have one each. A round trip between two
            idle cores measures how fast the machine wakes up, and nothing else.
        tls: whether the connection is encrypted.
    """

    key: str
    title: str
    verb: str
    path: str
    size: int = 0
    kind: str = "t"
    chunk: int = 1
    cores: str = TWO_CORES
    tls: bool = False

    @property
    def message(self) -> str | bytes:
        """What is sent, for the verbs that send."""
        pattern = "".join(chr(ord("a") + i % 26) for i in range(self.size))
        return pattern.encode() if self.kind == "b" else pattern


SCENARIOS: Final = [
    Scenario("echo-32", "Echo, 32 B text", "echo", "/echo", 32, "t", 200, ONE_CORE),
    Scenario("echo-1k", "Echo, 1 KiB text", "echo", "/echo", KIB, "t", 200, ONE_CORE),
    Scenario("receive-32", "Receive, 32 B text", "receive", "/flood/t/32", 32, "t", 2000),
    Scenario("receive-4k", "Receive, 4 KiB binary", "receive", "/flood/b/4096", 4096, "b", 200),
    Scenario(
        "receive-1m",
        "Receive, 1 MiB text, every 40th character beyond ASCII",
        "receive",
        f"/flood/u/{MIB}",
        MIB,
        "u",
        4,
    ),
    Scenario(
        "receive-1m-cjk", "Receive, 1 MiB text, Chinese", "receive", f"/flood/c/{MIB}", MIB, "c", 4
    ),
    Scenario(
        "receive-16m", "Receive, 16 MiB binary", "receive", f"/flood/b/{16 * MIB}", 16 * MIB, "b", 4
    ),
    Scenario("send-32", "Send, 32 B text", "send", "/sink", 32, "t", 2000),
    Scenario("batch-32", "Send in batches, 32 B text", "batch", "/sink", 32, "t", 2000),
    Scenario("send-16m", "Send, 16 MiB binary", "send", "/sink", 16 * MIB, "b", 4),
    Scenario("tls-echo-32", "Echo over TLS, 32 B", "echo", "/echo", 32, "t", 200, ONE_CORE, True),
    Scenario(
        "tls-receive-1m",
        "Receive over TLS, 1 MiB binary",
        "receive",
        f"/flood/b/{MIB}",
        MIB,
        "b",
        4,
        tls=True,
    ),
    Scenario("connect", "Connect and close", "connect", "/echo", chunk=20, cores=ONE_CORE),
]
