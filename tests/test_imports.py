"""Imports run downwards only: faces, then policies and dialers, then the protocol, then _accel."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import websocket

PACKAGE = Path(websocket.__file__).parent

LEVELS = {
    "_accel": 0,
    "_protocol": 1,
    # policies, dialers and what they share
    "_auth": 2,
    "_call_off": 2,
    "_cookiejar": 2,
    "_deadline": 2,
    "_dial": 2,
    "_dispatcher": 2,
    "_handshake": 2,
    "_happy_eyeballs": 2,
    "_http": 2,
    "_keepalive": 2,
    "_logging": 2,
    "_observe": 2,
    "_nested_tls": 2,
    "_open": 2,
    "_outbox": 2,
    "_pieces": 2,
    "_pinger": 2,
    "_pong": 2,
    "_reconnect": 2,
    "_reconnecting": 3,
    "_resolve": 2,
    "_route": 2,
    "_socket": 2,
    "_ssl_compat": 2,
    "_stats": 2,
    "_stream": 2,
    "_tls": 2,
    "_tls_cache": 2,
    "_tls_errors": 2,
    "_transport": 2,
    "_url": 2,
    "_utils": 2,
    # faces
    "_abnf": 3,
    "_core": 3,
    "_run": 3,
    "_session": 3,
    "_app": 3,
    "aio": 3,
    "testing": 3,
    "otel": 3,
    # what the package exports, and the program on top of it
    "__init__": 4,
    "_cli": 5,
    "_wsdump": 5,
    "__main__": 6,
}

FORBIDDEN_IN_PROTOCOL = {
    "asyncio",
    "logging",
    "select",
    "selectors",
    "socket",
    "ssl",
    "threading",
    "time",
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(module: Path) -> str:
    """The folder or module at the top of the package that a file belongs to."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(module: Path) -> list[tuple[str, str]]:
    """Pairs of kind (``own`` or ``foreign``) and name: a room of the package, or a library."""
    parts = ["websocket", *module.relative_to(PACKAGE).with_suffix("").parts]
    found = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            source = ".".join(filter(None, (base, node.module)))
            names = [f"{source}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, *below = name.split(".")
            if top == "websocket":
                found.append(("own", below[0] if below else "__init__"))
            else:
                found.append(("foreign", top))
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_imports_run_downwards(module: Path) -> None:
    own = room(module)
    assert own == "_exceptions" or own in LEVELS, f"give {own} a level"
    for kind, name in imports(module):
        if kind == "foreign" or name == "_exceptions" or name == own:
            continue
        if own == "_exceptions":
            pytest.fail(f"_exceptions is a leaf, but imports {name}")
        # A name that is no module is something the package itself exports.
        level = LEVELS.get(name, LEVELS["__init__"])
        assert level <= LEVELS[own], f"{own} must not import {name}"


@pytest.mark.parametrize(
    "module",
    [m for m in MODULES if room(m) in ("_protocol", "_accel")],
    ids=lambda m: str(m.relative_to(PACKAGE)),
)
def test_the_protocol_does_no_io(module: Path) -> None:
    foreign = {name for kind, name in imports(module) if kind == "foreign"}
    assert not foreign & FORBIDDEN_IN_PROTOCOL


def test_the_protocol_loads_nothing_of_the_kind() -> None:
    """Not even by way of another module of the package or a library."""
    script = (
        "import sys, types\n"
        f"package = types.ModuleType('websocket'); package.__path__ = [{str(PACKAGE)!r}]\n"
        "sys.modules['websocket'] = package\n"
        "import websocket._protocol.connection, websocket._protocol.handshake\n"
        f"print(*sorted({FORBIDDEN_IN_PROTOCOL!r} - {{'time'}} & sys.modules.keys()))"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []
