"""An environment of its own for each group of contestants, made on first use and kept.

websocket-client has this library's names, so it can't live beside it; with and without wsaccel
are two environments, as it uses wsaccel wherever it finds it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

PACKAGES: Final = {
    "old": ("websocket-client==1.9.2",),
    "old-wsaccel": ("websocket-client==1.9.2", "wsaccel"),
    "rivals": ("websockets", "aiohttp", "picows", "uvloop"),
}


def python_of(name: str, home: Path) -> str:
    """The interpreter of an environment; "ours" is the one that runs the benchmark."""
    if name == "ours":
        return sys.executable
    folder = home / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    marker = folder / "complete"
    wanted = " ".join(PACKAGES[name])
    if not marker.exists() or marker.read_text() != wanted:
        print(f"making the environment {name!r}: {wanted}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *PACKAGES[name]],
            check=True,
            stdout=sys.stderr,
        )
        marker.write_text(wanted)
    return str(python)


def versions(name: str, home: Path) -> dict[str, str]:
    """What is installed in an environment."""
    script = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.name: d.version for d in m.distributions()}))"
    )
    output = subprocess.check_output([python_of(name, home), "-c", script], text=True, cwd="/")
    wanted = {package.split("==")[0] for package in PACKAGES.get(name, ("websocket-client",))}
    found: dict[str, str] = json.loads(output)
    return {package: version for package, version in sorted(found.items()) if package in wanted}
