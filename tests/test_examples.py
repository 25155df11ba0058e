"""Each script in examples/ runs as it is, without anybody to talk to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from websocket.testing import Server

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
DEADLINE = 30.0


def run(name: str, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    result = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / name), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env={**environment, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


SHOWN = {
    "aio_bridge.py": "from blocking code: ['0', '1', '2']",
    "aio_chat.py": "somebody has joined",
    "aio_fan_in.py": "100 feeds, 5000 messages",
    "aio_market_feed.py": "every symbol was seen",
    "echo_client.py": "Received 'Hello, World'",
    "echoapp_client.py": "received: Hello 2\nclosed: 1000",
    "ping.py": "average",
    "receive_without_blocking.py": "with asyncio: 'four'",
    "reconnecting_client.py": "done after",
    "rel_client.py": "three closed: 1000",
    "timings.py": "echo of 10000000 bytes",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_runs_with_its_own_server(name: str):
    if name == "rel_client.py":
        pytest.importorskip("rel")
    assert SHOWN[name] in run(name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_runs_with_the_server_of_the_url(name: str):
    if name == "rel_client.py":
        pytest.importorskip("rel")
    with Server() as server:
        assert SHOWN[name] in run(name, server.url)
    assert server.errors == []
