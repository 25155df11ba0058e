"""The programs beside the library that documentation of earlier releases named.

``wsdump`` as its usage line shows it, and Wireshark (its terminal form, ``tshark``), which
reads a session whose mask keys are zero. Wireshark is no part of Python: without it that test
is skipped, unless the environment variable ``CI_REQUIRE_TOOLS`` is 1.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.recorder import TEXT, Recorder, echo, record

import websocket

DEADLINE = 10.0


@pytest.fixture
def server() -> Iterator[Recorder]:
    with record(echo) as recorder:
        yield recorder


def zero_mask_key(_: int) -> str:
    return "\x00\x00\x00\x00"


# The command


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"},
    )


SCRIPT = Path(__file__).parent.parent / "bin" / "wsdump.py"


@pytest.fixture(params=["-m websocket", "bin/wsdump.py"])
def command(request: pytest.FixtureRequest) -> tuple[str, ...]:
    if request.param == "-m websocket":
        return ("-m", "websocket")
    return (str(SCRIPT),)


def test_wsdump_sends_the_initial_text(server: Recorder, command: tuple[str, ...]) -> None:
    done = run_command(*command, server.url, "-t", "hello world", "--eof-wait", "1")
    assert done.returncode == 0, done.stderr
    assert "hello world" in done.stdout
    assert server.session().of(TEXT) == [b"hello world"]


def test_wsdump_help_lists_every_documented_option(command: tuple[str, ...]) -> None:
    done = run_command(*command, "-h")
    assert done.returncode == 0
    for option in (
        "-h, --help",
        "-p", "--proxy",
        "-v", "--verbose",
        "-n, --nocert",
        "-r, --raw",
        "-s", "--subprotocols",
        "-o", "--origin",
        "--eof-wait",
        "-t", "--text",
        "--timings",
        "--headers",
    ):  # fmt: skip
        assert re.search(rf"(?<![\w-]){re.escape(option)}\b", done.stdout), option


# Wireshark


def require_tshark() -> str:
    """The path of tshark on a machine where it can capture."""
    reason = None
    path = shutil.which("tshark")
    if path is None:
        reason = "tshark is not installed"
    elif sys.platform != "linux" or os.geteuid() != 0:
        reason = "capturing on the loopback device takes root on Linux"
    if reason is None and path is not None:
        return path
    if os.environ.get("CI_REQUIRE_TOOLS") == "1":
        pytest.fail(reason or "")
    pytest.skip(reason or "")


@contextlib.contextmanager
def capture(tshark: str, port: int, file: Path) -> Iterator[None]:
    """Capture the packets of a port on the loopback device into a file."""
    process = subprocess.Popen(
        [
            tshark,
            "-i",
            "lo",
            "-f",
            f"tcp port {port}",
            "-w",
            str(file),
            "-P",
            "-l",
            "-d",
            f"tcp.port=={port},http",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    seen = threading.Condition()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with seen:
                lines.append(line)
                seen.notify_all()

    def wait_for(done: Callable[[], bool], what: str) -> None:
        with seen:
            if not seen.wait_for(lambda: done() or process.poll() is not None, DEADLINE):
                pytest.fail(f"tshark {what} not in time: {lines}")
            if not done():
                pytest.fail(f"tshark ended early: {lines}")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        # It says so a little before the first packet is taken: knock until one is printed.
        wait_for(lambda: any("Capturing on" in line for line in lines), "did start")
        for _ in range(50):
            with contextlib.suppress(OSError), socket.socket() as knocker:
                knocker.connect(("127.0.0.1", port))
            with seen:
                if seen.wait_for(lambda: any("127.0.0.1" in line for line in lines), 0.2):
                    break
        yield
        # The end of the session is the last that is captured.
        wait_for(lambda: sum("WebSocket Connection Close" in line for line in lines) >= 2,
                 "saw the closing handshake")  # fmt: skip
    finally:
        process.terminate()
        process.wait(DEADLINE)
        reader.join(DEADLINE)
        process.stdout.close()


def test_wireshark_reads_a_session_without_unmasking(server: Recorder, tmp_path: Path) -> None:
    tshark = require_tshark()
    file = tmp_path / "session.pcapng"
    with capture(tshark, server.port, file):
        ws = websocket.WebSocket()
        ws.set_mask_key(zero_mask_key)
        ws.connect(server.url)
        ws.send("Hello, Wireshark")
        assert ws.recv() == "Hello, Wireshark"
        ws.close()

    # The payload stands in the packet as it is ...
    assert file.read_bytes().count(b"Hello, Wireshark") == 2
    # ... and the dissector sees two text messages and the closing handshake.
    decoded = subprocess.run(
        [tshark, "-r", str(file), "-d", f"tcp.port=={server.port},http", "-Y", "websocket", "-V"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert re.findall(r"Opcode: \D+\((\d+)\)", decoded) == ["1", "1", "8", "8"]
    assert re.findall(r"Masking-Key: (\w+)", decoded) == ["00000000", "00000000"]
    assert decoded.count("Text: Hello, Wireshark") == 2
    assert decoded.count("(1000)") == 2
