"""The names, bases, parameters and constants that programs know from earlier releases.

The two files in ``compat`` list what releases 0.59.0 and 1.9.2 offered, private names
included: per module and name its kind, base classes, parameters (``name=default``), value and
class members. What deliberately differs stands below with its reason.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import websocket
from websocket._protocol.handshake import accept_value

RELEASES = ("0.59.0", "1.9.2")
FACTS: dict[str, dict[str, dict[str, Any]]] = {
    release: json.loads((Path(__file__).parent / "compat" / f"api-{release}.json").read_text())
    for release in RELEASES
}

_PLATFORM = "made of what the platform has; a test below compares it on Linux"
_REDIRECTS = "307 and 308 are followed as well"
_TYPE_ONLY = "stood for a type checker only; here it is what its name says"

# Values that differ. "module.name" or "release module.name": the reason.
OTHER_VALUES = {
    "websocket.DEFAULT_SOCKET_OPTION": _PLATFORM,
    "websocket._core.DEFAULT_SOCKET_OPTION": _PLATFORM,
    "websocket._handshake.DEFAULT_SOCKET_OPTION": _PLATFORM,
    "websocket._http.DEFAULT_SOCKET_OPTION": _PLATFORM,
    "websocket._socket.DEFAULT_SOCKET_OPTION": _PLATFORM,
    "websocket._utils._UTF8D": "computed from RFC 3629; a test below decodes with it",
    "0.59.0 websocket._abnf.VALID_CLOSE_STATUS": "1012 and 1013 were registered later",
    "1.9.2 websocket._abnf.VALID_CLOSE_STATUS": "a test below compares the numbers",
    "0.59.0 websocket._core.SUPPORTED_REDIRECT_STATUSES": _REDIRECTS,
    "0.59.0 websocket._handshake.SUPPORTED_REDIRECT_STATUSES": _REDIRECTS,
    "0.59.0 websocket._handshake.SUCCESS_STATUSES": _REDIRECTS,
    "1.9.2 websocket._http.HAVE_PYTHON_SOCKS": "this release dials through no SOCKS proxy",
    "1.9.2 websocket._ssl_compat._SSLEOFErrorType": _TYPE_ONLY,
    "1.9.2 websocket._ssl_compat._SSLErrorType": _TYPE_ONLY,
    "1.9.2 websocket._ssl_compat._SSLWantReadErrorType": _TYPE_ONLY,
    "1.9.2 websocket._ssl_compat._SSLWantWriteErrorType": _TYPE_ONLY,
    "1.9.2 websocket._ssl_compat._ssl_module": _TYPE_ONLY,
}
# Lists that may have grown: what they held is part of ours.
LISTS = ("__all__", "VALID_CLOSE_STATUS", "SUPPORTED_REDIRECT_STATUSES", "SUCCESS_STATUSES")

# Defaults that differ, by "release module.function(parameter)".
OTHER_DEFAULTS = {
    "0.59.0 websocket.enableTrace(handler)": "None stands for a new StreamHandler",
    "0.59.0 websocket._logging.enableTrace(handler)": "None stands for a new StreamHandler",
    "0.59.0 websocket._handshake._get_resp_headers(success_statuses)": _REDIRECTS,
    "0.59.0 websocket._abnf.ABNF.__init__(mask)": "None stands for mask_value, which is 1",
    "0.59.0 websocket._core.WebSocket.__init__(enable_multithread)": "locks by default",
}

_BOTH_ORDERS = "both orders are taken; a test below calls it with each"

# Where the two releases have different orders, ours is the other one's.
OTHER_ORDER = {
    "0.59.0 websocket._abnf.ABNF.__init__": "mask is mask_value in the same place",
    "0.59.0 websocket._handshake._get_handshake_headers": _BOTH_ORDERS,
    "0.59.0 websocket._handshake.handshake": _BOTH_ORDERS,
    "1.9.2 websocket._app.WebSocketApp.__init__": "on_reconnect came between",
    "1.9.2 websocket._app.WebSocketApp.run_forever": "http_proxy_timeout came between",
}

# Private functions whose parameters 1.9 renamed or dropped; ours are those of 1.9.
OTHER_PARAMETERS = {
    "0.59.0 websocket._abnf._mask": "the same two values, called mask_value and data_value",
    "0.59.0 websocket._app.SSLDispatcher.select": "is handed the socket and the selector",
    "0.59.0 websocket._app.WebSocketApp._get_close_args": "the same value, called close_frame",
    "0.59.0 websocket._app.WebSocketApp._send_ping": "was a thread's loop; sends one ping",
}

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the recorded values are Linux's")


def _names() -> Iterator[Any]:
    for release, modules in FACTS.items():
        for module, entries in modules.items():
            for name, entry in entries.items():
                yield pytest.param(release, module, name, entry, id=f"{release}-{module}.{name}")


def _members() -> Iterator[Any]:
    for release, modules in FACTS.items():
        for module, entries in modules.items():
            for name, entry in entries.items():
                for member, fact in entry.get("members", {}).items():
                    where = f"{module}.{name}.{member}"
                    yield pytest.param(release, module, name, member, fact, id=f"{release}-{where}")


NAMES = list(_names())
MEMBERS = list(_members())


def find(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("release", "module", "name", "entry"), NAMES)
def test_name_is_there_and_of_its_kind(
    release: str, module: str, name: str, entry: dict[str, Any]
) -> None:
    found = find(module, name)
    if f"{release} {module}.{name}" in OTHER_VALUES and entry["value"] == "None":
        assert found is not None
    elif entry["kind"] == "class":
        assert inspect.isclass(found)
    elif entry["kind"] == "function":
        assert inspect.isroutine(found)
    else:
        assert not inspect.isclass(found)
        assert not inspect.isroutine(found)
    if "from" in entry:
        assert found is find(entry["from"], name), "one object under both names"


@pytest.mark.parametrize(
    ("release", "module", "name", "entry"),
    [case for case in NAMES if case.values[3].get("bases")],
)
def test_class_has_its_bases(release: str, module: str, name: str, entry: dict[str, Any]) -> None:
    line = [cls.__name__ for cls in find(module, name).__mro__]
    assert [base for base in entry["bases"] if base not in line] == []


@pytest.mark.parametrize(
    ("release", "module", "name", "entry"),
    [case for case in NAMES if case.values[3]["kind"] == "value"],
)
def test_constant_has_its_value(
    release: str, module: str, name: str, entry: dict[str, Any]
) -> None:
    found = find(module, name)
    where = f"{module}.{name}"
    if name in LISTS:
        assert set(ast.literal_eval(entry["value"])) <= set(found)
    if (
        where not in OTHER_VALUES
        and f"{release} {where}" not in OTHER_VALUES
        and (name != "__all__")
    ):
        assert found == ast.literal_eval(entry["value"])


@needs_linux
@pytest.mark.parametrize("release", RELEASES)
def test_default_socket_options_on_linux(release: str) -> None:
    recorded = FACTS[release]["websocket"]["DEFAULT_SOCKET_OPTION"]["value"]
    assert ast.literal_eval(recorded) == websocket.DEFAULT_SOCKET_OPTION


def test_default_socket_options_are_triples_of_numbers() -> None:
    assert websocket.DEFAULT_SOCKET_OPTION
    for option in websocket.DEFAULT_SOCKET_OPTION:
        assert [type(part) is int or isinstance(part, int) for part in option] == [True] * 3


def test_the_utf8_table_decodes() -> None:
    utils = importlib.import_module("websocket._utils")

    def accepts(data: bytes) -> bool:
        state, codepoint = utils._UTF8_ACCEPT, 0
        for byte in data:
            state, codepoint = utils._decode(state, codepoint, byte)
            if state == utils._UTF8_REJECT:
                return False
        return bool(state == utils._UTF8_ACCEPT)

    assert len(utils._UTF8D) >= 256
    for good in ("", "a", "é", "€", "𝄞", "\U0010ffff", "\ud7ff\ue000"):
        assert accepts(good.encode())
    for bad in (b"\x80", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"):
        assert not accepts(bad)
    assert not accepts("€".encode()[:2]), "a character that is not whole"


def check_parameters(where: str, release: str, found: Any, recorded: list[str]) -> None:
    signature = inspect.signature(found)
    ours = dict(signature.parameters)
    if f"{release} {where}" in OTHER_PARAMETERS:
        return
    kinds = inspect.Parameter
    positional = [
        name
        for name, parameter in ours.items()
        if parameter.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    ]
    wanted: list[str] = []
    for text in recorded:
        name, _, default = text.partition("=")
        if name.startswith("**"):
            assert any(p.kind is kinds.VAR_KEYWORD for p in ours.values()), where
            continue
        if name.startswith("*"):
            assert any(p.kind is kinds.VAR_POSITIONAL for p in ours.values()), where
            continue
        wanted.append(name)
        assert name in ours, f"{where} has no parameter {name}"
        parameter = ours[name]
        assert parameter.kind is not kinds.POSITIONAL_ONLY, f"{where}: {name} by keyword"
        if not default:
            continue
        assert parameter.default is not kinds.empty, f"{where}: {name} may be left out"
        if f"{release} {where}({name})" in OTHER_DEFAULTS:
            continue
        if default.isidentifier() and default not in ("None", "True", "False"):
            assert parameter.default is not None
            continue
        assert parameter.default == ast.literal_eval(default), f"{where}: default of {name}"
    if f"{release} {where}" not in OTHER_ORDER:
        assert positional[: len(wanted)] == wanted, f"{where}: order of parameters"
    # What we have beyond must not be demanded.
    extra = [
        parameter
        for name, parameter in ours.items()
        if name not in wanted
        and parameter.default is kinds.empty
        and parameter.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
    ]
    assert extra == [], f"{where} demands more than it did"


@pytest.mark.parametrize(
    ("release", "module", "name", "entry"),
    [case for case in NAMES if "parameters" in case.values[3]],
)
def test_function_takes_its_parameters(
    release: str, module: str, name: str, entry: dict[str, Any]
) -> None:
    check_parameters(f"{module}.{name}", release, find(module, name), entry["parameters"])


@pytest.mark.parametrize(("release", "module", "name", "member", "fact"), MEMBERS)
def test_class_member_is_there(
    release: str, module: str, name: str, member: str, fact: Any
) -> None:
    cls = find(module, name)
    where = f"{module}.{name}.{member}"
    static = inspect.getattr_static(cls, member)
    if fact == "property":
        assert hasattr(static, "__get__")
        assert not callable(static)
    elif isinstance(fact, list):
        found = getattr(cls, member)
        assert callable(found)
        receiver = fact[0] if fact and fact[0] in ("self", "cls") else None
        if receiver == "self" and isinstance(static, types.FunctionType):
            check_parameters(where, release, found, fact)
        else:
            check_parameters(where, release, found, fact[1:] if receiver else fact)
    else:
        assert getattr(cls, member) == ast.literal_eval(fact)


@pytest.mark.parametrize("key", [*OTHER_VALUES, *OTHER_DEFAULTS, *OTHER_ORDER, *OTHER_PARAMETERS])
def test_exception_to_the_rule_names_something_recorded(key: str) -> None:
    release, _, where = key.rpartition(" ")
    path = where.partition("(")[0]
    for facts in [FACTS[release]] if release else FACTS.values():
        for module, entries in facts.items():
            for name, entry in entries.items():
                full = f"{module}.{name}"
                if full == path or any(f"{full}.{m}" == path for m in entry.get("members", ())):
                    return
    pytest.fail(f"{path} is not in the recorded facts")


@pytest.mark.parametrize("release", RELEASES)
def test_close_codes_of_earlier_releases_are_valid(release: str) -> None:
    recorded = ast.literal_eval(FACTS[release]["websocket._abnf"]["VALID_CLOSE_STATUS"]["value"])
    abnf = importlib.import_module("websocket._abnf")
    assert set(recorded) <= set(abnf.VALID_CLOSE_STATUS)
    assert set(abnf.VALID_CLOSE_STATUS) == {*range(1000, 1004), *range(1007, 1015)}


class ScriptedServer:
    """Stands in for a socket: answers the request that it is sent."""

    def __init__(self) -> None:
        self.sent = b""
        self.answer = b""

    def send(self, data: bytes) -> int:
        self.sent += bytes(data)
        if self.sent.endswith(b"\r\n\r\n"):
            lines = self.sent.decode().split("\r\n")
            key = next(line for line in lines if line.startswith("Sec-WebSocket-Key:"))[18:].strip()
            self.answer = (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept_value(key)}\r\n\r\n"
            ).encode()
        return len(data)

    def recv(self, size: int) -> bytes:
        data, self.answer = self.answer[:size], self.answer[size:]
        return data

    def gettimeout(self) -> None:
        return None

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "arguments",
    [("server", 8080, "/chat"), ("ws://server:8080/chat", "server", 8080, "/chat")],
    ids=RELEASES,
)
def test_handshake_takes_both_orders(arguments: tuple[Any, ...]) -> None:
    module = importlib.import_module("websocket._handshake")
    sock = ScriptedServer()
    response = module.handshake(sock, *arguments, origin="http://page")
    assert response.status == 101
    assert sock.sent.startswith(b"GET /chat HTTP/1.1\r\n")
    assert b"\r\nHost: server:8080\r\n" in sock.sent
    assert b"\r\nOrigin: http://page\r\n" in sock.sent


@pytest.mark.parametrize(
    "arguments",
    [("/chat", "server", 8080), ("/chat", "ws://server:8080/chat", "server", 8080)],
    ids=RELEASES,
)
def test_handshake_headers_take_both_orders(arguments: tuple[Any, ...]) -> None:
    module = importlib.import_module("websocket._handshake")
    lines, key = module._get_handshake_headers(*arguments, {"cookie": "a=b"})
    assert lines[0] == "GET /chat HTTP/1.1"
    assert "Host: server:8080" in lines
    assert f"Sec-WebSocket-Key: {key}" in lines
    assert "Cookie: a=b" in lines


def test_frame_takes_mask_under_both_names() -> None:
    abnf = websocket.ABNF
    assert abnf(mask=0).mask == abnf(mask_value=0).mask_value == 0
    assert abnf(1, 0, 0, 0, abnf.OPCODE_TEXT, 0, "hi").mask == 0
    assert abnf().mask == 1
    assert abnf.mask("abcd", "abcd") == bytes(4), "on the class it is the masking function"


# The package itself


def test_every_export_is_listed_and_every_listed_name_is_there() -> None:
    at_home = {name for names in websocket._HOMES.values() for name in names}
    assert set(websocket.__all__) == at_home | {"__version__"}
    assert len(websocket.__all__) == len(set(websocket.__all__))
    for module, names in websocket._HOMES.items():
        home = importlib.import_module(f"websocket.{module}")
        assert all(getattr(websocket, name) is getattr(home, name) for name in names)
    assert set(dir(websocket)) >= {*websocket.__all__, "aio", "aconnect"}


def test_type_checkers_see_the_same_exports() -> None:
    """What they are shown is not what runs, so the two are compared."""
    tree = ast.parse(Path(websocket.__file__).read_text(encoding="utf-8"))
    (shown,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = {
        str(node.module): {alias.name for alias in node.names}
        for node in shown.body
        if isinstance(node, ast.ImportFrom) and node.module is not None
    }
    assert imports == {module: set(names) for module, names in websocket._HOMES.items()}


def fresh(program: str) -> str:
    """What a program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_importing_the_package_costs_next_to_nothing() -> None:
    """Many programs import it because something that they import might need it."""
    program = (
        "import sys, websocket\n"
        "heavy = {'socket', 'ssl', 'hashlib', 'logging', 'asyncio', 'inspect'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "print([name for name in sys.modules if name.startswith('websocket.')])"
    )
    assert fresh(program).splitlines() == ["[]", "[]"]


def test_names_and_modules_are_there_after_a_bare_import() -> None:
    program = (
        "import websocket\n"
        "assert websocket._core.WebSocket is websocket.WebSocket\n"
        "for name in sorted(websocket._MODULES): getattr(websocket, name)\n"
        "from websocket import *\n"
        "assert create_connection is websocket.create_connection\n"
        "try: websocket.no_such_name\n"
        "except AttributeError as error: print(error)"
    )
    assert fresh(program) == "module 'websocket' has no attribute 'no_such_name'"


def test_a_name_can_be_patched_before_it_was_used() -> None:
    program = (
        "import websocket\n"
        "from unittest import mock\n"
        "with mock.patch('websocket.create_connection', autospec=True) as patched:\n"
        "    assert websocket.create_connection is patched\n"
        "import websocket._core\n"
        "print(websocket.create_connection is websocket._core.create_connection)"
    )
    assert fresh(program) == "True"


@pytest.mark.parametrize("release", RELEASES)
def test_star_import_brings_what_it_brought(release: str) -> None:
    assert sorted(set(FACTS[release]["websocket"]) - set(websocket.__all__)) == []


def test_both_spellings_of_set_reconnect() -> None:
    assert websocket.setReconnect is websocket.set_reconnect


def test_version_is_in_the_ranges_that_dependents_demand() -> None:
    version = tuple(int(part) for part in websocket.__version__.split("."))
    assert (1, 9, 2) <= version < (2, 0, 0)


# The positional order of 0.59, called as programs call it


def test_app_takes_its_arguments_in_the_order_of_0_59() -> None:
    recorded = FACTS["0.59.0"]["websocket._app"]["WebSocketApp"]["members"]["__init__"]
    order = [text.partition("=")[0] for text in recorded[1:]]
    values: dict[str, Any] = {name: (lambda *_: None) for name in order}
    values.update(url="ws://localhost/", header=["A: b"], keep_running=True, cookie="c=d",
                  subprotocols=["chat"])  # fmt: skip
    app = websocket.WebSocketApp(*[values[name] for name in order])
    for name in order:
        if name != "keep_running":
            assert getattr(app, name) is values[name]


@pytest.mark.parametrize("method", ["__init__", "run_forever"])
def test_later_parameters_are_taken_by_keyword(method: str) -> None:
    signature = inspect.signature(getattr(websocket.WebSocketApp, method))
    first: dict[str, list[str]] = {
        release: [
            text.partition("=")[0]
            for text in FACTS[release]["websocket._app"]["WebSocketApp"]["members"][method]
        ]
        for release in RELEASES
    }
    later = [name for name in first["1.9.2"] if name not in first["0.59.0"]]
    assert later
    arguments = [object() for _ in first["0.59.0"]]
    bound = signature.bind(*arguments, **dict.fromkeys(later))
    assert list(bound.arguments)[: len(arguments)] == first["0.59.0"]
