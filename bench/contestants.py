"""Who takes part: a module of ``clients``, an environment, and what else makes the difference."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent

_PATIENCE = 60.0  # seconds for one round of one contestant


class Contestant(NamedTuple):
    """One line of the tables.

    Attributes:
        name: as the tables show it.
        module: in ``clients``.
        environment: in ``environments``.
        loop: asyncio's or uvloop, for those that have one.
        variables: of the process environment.
    """

    name: str
    module: str
    environment: str
    loop: str | None = None
    variables: tuple[tuple[str, str], ...] = ()


_PYTHON_TWIN = (("WEBSOCKET_NO_EXTENSIONS", "1"),)

RAW = "raw socket"
NATIVE = "websocket, C twin"
TWIN = "websocket, Python twin"
NATIVE_APP = "WebSocketApp, C twin"
TWIN_APP = "WebSocketApp, Python twin"
AIO = "websocket.aio, C twin"
AIO_LISTENER = "aio.Listener, C twin"
OLD = "websocket-client 1.9.2 + wsaccel"
OLD_PLAIN = "websocket-client 1.9.2"
OLD_APP = "WebSocketApp of 1.9.2 + wsaccel"
PICOWS = "picows core"
PICOWS_AWAITED = "picows.websockets"
WEBSOCKETS = "websockets"

_OWN_ON_LOOPS = [(AIO, "aio_connection"), (AIO_LISTENER, "aio_listener")]

_ON_LOOPS = [
    (PICOWS, "picows_core"),
    (PICOWS_AWAITED, "picows_websockets"),
    ("aiohttp", "aiohttp_client"),
    (WEBSOCKETS, "websockets_asyncio"),
]

CONTESTANTS = [
    Contestant(RAW, "raw", "ours"),
    Contestant(NATIVE, "blocking", "ours"),
    Contestant(TWIN, "blocking", "ours", variables=_PYTHON_TWIN),
    Contestant(NATIVE_APP, "callback", "ours"),
    Contestant(TWIN_APP, "callback", "ours", variables=_PYTHON_TWIN),
    *(
        Contestant(name + ("" if loop == "asyncio" else f", {loop}"), module, "ours", loop)
        for name, module in _OWN_ON_LOOPS
        for loop in ("asyncio", "uvloop")
        # Our own environment is the one that this runs in, whatever is installed there.
        if importlib.util.find_spec(loop)
    ),
    Contestant(OLD, "blocking", "old-wsaccel"),
    Contestant(OLD_PLAIN, "blocking", "old"),
    Contestant(OLD_APP, "callback", "old-wsaccel"),
    *(
        Contestant(name + ("" if loop == "asyncio" else f", {loop}"), module, "rivals", loop)
        for name, module in _ON_LOOPS
        for loop in ("asyncio", "uvloop")
    ),
    Contestant("websockets, threads", "websockets_sync", "rivals"),
]


class Worker:
    """A contestant's process, which waits for commands (see worker.py)."""

    def __init__(self, contestant: Contestant, python: str) -> None:
        self.contestant = contestant
        environment = {**os.environ, **dict(contestant.variables)}
        self._process = subprocess.Popen(
            [python, str(HERE / "worker.py"), contestant.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            # Not where a folder named websocket could be imported by accident.
            cwd=HERE,
        )

    def call(self, verb: str, cpu: int | None, **arguments: Any) -> Any:
        """What the contestant's function returns.

        Raises:
            RuntimeError: it failed; the text is its traceback.
        """
        if self.contestant.loop is not None:
            arguments["loop"] = self.contestant.loop
        binary = isinstance(arguments.get("message"), bytes)
        if binary:
            arguments["message"] = arguments["message"].decode("latin-1")
        command = {"verb": verb, "cpu": cpu, "arguments": arguments, "binary": binary}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        # One that hangs must not hang the whole run.
        alarm = threading.Timer(_PATIENCE, self._process.kill)
        alarm.start()
        answer = json.loads(self._process.stdout.readline() or '{"error": "it hung, or died"}')
        alarm.cancel()
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"{self.contestant.name}: {verb}: {answer['error']}")
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
