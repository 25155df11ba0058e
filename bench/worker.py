"""Runs one contestant in its own environment: a line of JSON in, a line of JSON out.

``python worker.py CONTESTANT`` imports ``clients.CONTESTANT`` and calls its functions by the
name in each command. ``loop`` chooses asyncio's event loop or uvloop for those that need one.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any


def main() -> None:
    client: Any = importlib.import_module(f"clients.{sys.argv[1]}")
    # The contestant's own output must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        command = json.loads(line)
        if hasattr(os, "sched_setaffinity") and command["cpu"] is not None:
            os.sched_setaffinity(0, {command["cpu"]})
        arguments = command["arguments"]
        if command.get("binary"):
            arguments["message"] = arguments["message"].encode("latin-1")
        try:
            answer: Any = getattr(client, command["verb"])(**arguments)
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
