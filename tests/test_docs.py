"""The documentation's examples run, its tables tell the truth, its links lead somewhere.

A block runs if the line before it is ``<!-- runs -->`` or ``<!-- runs: raises SomeError -->``.
A comment behind a ``print(...)`` is a part of what must be printed. The hosts under
``example.com`` are servers on this machine.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import logging
import re
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from loopback import unused_port
from support.connect_proxy import connect_proxy
from support.socks_proxy import socks_proxy

import websocket
from websocket import _tls
from websocket._cli import arguments
from websocket.testing import Refusal, Server, ServerConnection

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

BLOCK = re.compile(
    r"^<!-- runs(?:: raises (?P<raises>\w+))? -->\n```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PROMISE = re.compile(r"\bprint\(.*\).*\s# (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
IDLE = 0.2


class Example(NamedTuple):
    name: str
    code: str
    raises: str | None

    @property
    def promises(self) -> list[str]:
        return [] if self.raises else PROMISE.findall(self.code)


def examples() -> Iterator[Example]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start("code")) + 1
            name = f"{page.relative_to(ROOT).as_posix()}:{line}"
            yield Example(name, block["code"], block["raises"])


# --- a network of our own


def feed(connection: ServerConnection) -> None:
    connection.send("first")
    connection.send("second")
    connection.ping()
    with contextlib.suppress(websocket.WebSocketTimeoutException):
        while True:
            connection.send(connection.recv(timeout=IDLE))


def fragments(connection: ServerConnection) -> None:
    connection.send_fragments(["one", "two"])


class Network(NamedTuple):
    ports: dict[tuple[str, int], int]
    ca_file: Path
    client_file: Path


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    trustme = pytest.importorskip("trustme")
    folder = tmp_path_factory.mktemp("docs")
    authority = trustme.CA()
    certificate = authority.issue_cert("*.example.com")
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(secure)
    untrusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("*.example.com").configure_cert(untrusted)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    ports: dict[tuple[str, int], int] = {}
    with contextlib.ExitStack() as stack:
        for address, server in {
            ("echo.example.com", 80): Server(subprotocols=["binary"]),
            ("echo.example.com", 443): Server(ssl_context=secure),
            ("compressed.example.com", 443): Server(ssl_context=secure, compression="deflate"),
            ("feed.example.com", 443): Server(feed, ssl_context=secure, subprotocols=["binary"]),
            ("fragments.example.com", 443): Server(fragments, ssl_context=secure),
            ("untrusted.example.com", 443): Server(ssl_context=untrusted),
            ("forbidden.example.com", 80): Server(
                process_request=lambda _: Refusal(403, body="no entry")
            ),
        }.items():
            stack.enter_context(server)
            ports[address] = server.port
        ports["127.0.0.1", 443] = ports["echo.example.com", 443]
        ports["127.0.0.1", 8080] = stack.enter_context(connect_proxy()).port
        ports["127.0.0.1", 1080] = stack.enter_context(socks_proxy(("user", "secret"))).port
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ports["silent.example.com", 80] = silent.getsockname()[1]
        ports["closed.example.com", 80] = unused_port()
        yield Network(ports, folder / "ca.pem", folder / "client.pem")


@pytest.fixture
def lookup(network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Names lead to the servers of ``network``, and files of the examples are there."""
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any) -> Any:
        address = (host, int(port))
        if address in network.ports:
            return real("127.0.0.1", network.ports[address], *args)
        assert not host.endswith("example.com"), f"no server plays {host}:{port}"
        return real(host, port, *args)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", str(network.ca_file))
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    tmp_path.joinpath("my-ca.pem").write_bytes(network.ca_file.read_bytes())
    for name in ("client.pem", "client.key"):
        tmp_path.joinpath(name).write_bytes(network.client_file.read_bytes())
    monkeypatch.chdir(tmp_path)


@contextlib.contextmanager
def unix_echo(path: Path) -> Iterator[None]:
    server_module = pytest.importorskip("websockets.sync.server")

    def echo(connection: Any) -> None:
        for message in connection:
            connection.send(message)

    with server_module.unix_serve(echo, str(path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.fixture
def globals_restored() -> Iterator[None]:
    """Puts back what examples set for the whole process."""
    logger = logging.getLogger("websocket")
    level, on_interrupt = logger.level, signal.getsignal(signal.SIGINT)
    handlers = list(logger.handlers)
    yield
    websocket.enableTrace(False)
    websocket.setdefaulttimeout(None)
    logger.setLevel(level)
    logger.handlers[:] = handlers
    signal.signal(signal.SIGINT, on_interrupt)


# --- examples


def test_examples_are_found() -> None:
    assert sum(1 for _ in examples()) > 50


@pytest.mark.parametrize("example", list(examples()), ids=lambda example: example.name)
@pytest.mark.usefixtures("lookup", "globals_restored")
def test_example(example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.sub(r"(timeout[=(])5\b", r"\g<1>0.3", example.code)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.ExitStack() as stack:
        if "unix.socket" in code:
            if not hasattr(socket, "AF_UNIX"):
                pytest.skip("this system has no Unix domain sockets")
            path = tmp_path / "socket"
            code = code.replace("/path/to/my/unix.socket", str(path))
            stack.enter_context(unix_echo(path))
        if "import rel" in code:
            pytest.importorskip("rel")
        if example.raises:
            stack.enter_context(pytest.raises(getattr(websocket, example.raises)))
        exec(compile(code, example.name, "exec"), namespace)
    printed = capsys.readouterr().out
    for promise in example.promises:
        assert promise in printed
    if "on_error" not in code:
        apps = [value for value in namespace.values() if isinstance(value, websocket.WebSocketApp)]
        assert not any(app.has_errored for app in apps), "a connection failed"
    if example.raises and "ws" in namespace:
        namespace["ws"].close()


# --- tables


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    text = (DOCS / page).read_text(encoding="utf-8")
    section = text.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        for row in rows[2:]  # the head, and the line below it
    ]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def default(cell: str) -> object:
    if cell == "100 MiB":
        return 100 * 1024 * 1024
    return ast.literal_eval(cell.strip("`"))


@pytest.mark.parametrize(
    ("heading", "function", "omitted"),
    [
        ("## `WebSocket(...)`", websocket.WebSocket, {"_"}),
        ("## `WebSocketApp(url, ...)`", websocket.WebSocketApp, {"url"}),
        (
            "## `WebSocketApp.run_forever(...)`",
            websocket.WebSocketApp.run_forever,
            {"self", "dialing"},
        ),
    ],
)
def test_option_tables(heading: str, function: Callable[..., Any], omitted: set[str]) -> None:
    documented = {names(row[0])[0]: default(row[1]) for row in table("options.md", heading)}
    parameters = inspect.signature(function).parameters
    assert list(documented) == [name for name in parameters if name not in omitted]
    assert documented == {name: parameters[name].default for name in documented}


def test_connect_options_are_those_of_its_docstring() -> None:
    documented = {
        name
        for row in table("options.md", "## `WebSocket.connect(url, ...)`")
        for name in names(row[0])
    }
    docstring = inspect.getdoc(websocket.WebSocket.connect) or ""
    told = set(re.findall(r"\b[a-z_]+\b", docstring.split("Raises:")[0]))
    assert documented - {"cookie_jar"} <= told


def test_tls_options() -> None:
    documented = {name for row in table("tls.md", "## Options") for name in names(row[0])}
    assert documented == _tls.KNOWN_OPTIONS


def test_close_codes() -> None:
    for code, constant, _, may_be_sent in table("errors.md", "## Close codes"):
        if constant:
            assert getattr(websocket, constant.strip("`")) == int(code)
        sent = websocket.ABNF._is_valid_close_status(int(code.split()[0]))
        assert may_be_sent == ("yes" if sent else "no")
    told = {names(row[1])[0] for row in table("errors.md", "## Close codes") if row[1]}
    assert told == {name for name in websocket.__all__ if name.startswith("STATUS_")}


def test_exceptions_are_all_in_the_tree() -> None:
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    reference = (DOCS / "api" / "exceptions.md").read_text(encoding="utf-8")
    for name in websocket.__all__:
        if name.endswith("Exception"):
            assert re.search(rf"── {name}\b", text)
            assert re.search(rf"autoexception:: websocket\.{name}$", reference, re.MULTILINE)


def test_wsdump_options() -> None:
    heading = "## `wsdump`: a server in your terminal"
    documented = {
        option.split()[0]
        for row in table("getting-started.md", heading)
        for option in names(row[0])
        if option.startswith("-")
    }
    told = {option for action in arguments._parser()._actions for option in action.option_strings}
    assert documented == told - {"-h", "--help"}


# --- links


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_links_of_the_pages_at_the_root(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in LINK.findall(text):
        assert (ROOT / link).exists(), f"{page} links to {link}"
