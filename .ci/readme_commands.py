"""Print one of README's two set-up commands (``main`` or ``tests``), to be run as it stands."""

from __future__ import annotations

import re
import sys
from pathlib import Path

text = Path(__file__).resolve().parent.parent.joinpath("README.md").read_text()
quick_start = text.split("## Quick start", 1)[1].split("\n## ", 1)[0]
commands = re.findall(r"^python3 -m venv .*$", quick_start, re.MULTILINE)
if len(commands) != 2:
    sys.exit(f"README's Quick start must have exactly two set-up commands, not {len(commands)}")
print(commands[{"main": 0, "tests": 1}[sys.argv[1]]])
