"""wsdump as a command, and the names of websocket._wsdump that programs import."""

from __future__ import annotations

import argparse
import code
import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.connect_proxy import connect_proxy
from support.socks_proxy import socks_proxy

from websocket import _wsdump
from websocket._cli.arguments import connect_options, proxy_options
from websocket._cli.text import connect_error, display_payload, display_width, escape
from websocket._exceptions import WebSocketBadStatusException
from websocket.testing import Refusal, Server, ServerConnection, echo

DEADLINE = 20.0
ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-W", "error", "-m", "websocket"]
posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX terminal")


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return {**kept, "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8", **changes}


def wsdump(
    *arguments: str, stdin: bytes = b"", command: list[str] = COMMAND
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*command, *arguments],
        input=stdin,
        capture_output=True,
        timeout=DEADLINE,
        env=environment(),
        cwd=ROOT,
        check=False,
    )


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


# The command line


def test_help_has_the_documented_options_and_the_exit_status():
    result = wsdump("--help")
    # From Python 3.13 on, argparse shows an option's value once, behind its long name.
    text = re.sub(r"(-\w) [^,\n]+, --", r"\1, --", result.stdout.decode())
    assert result.returncode == 0
    for option in (
        "-h, --help",
        "-p, --proxy PROXY",
        "-v, --verbose [VERBOSE]",
        "-n, --nocert",
        "-r, --raw",
        "-s, --subprotocols [SUBPROTOCOLS ...]",
        "-o, --origin ORIGIN",
        "--eof-wait EOF_WAIT",
        "-t, --text TEXT",
        "--timings",
        "--headers HEADERS",
        "--compress",
        "--demo",
        "ws_url",
        "exit status:",
    ):
        assert option in text


@pytest.mark.parametrize(
    ("argv", "level"),
    [
        ([], 0),
        (["-v"], 1),
        (["-v", "2"], 2),
        (["-v2"], 2),
        (["-vv"], 2),
        (["--verbose"], 1),
        (["--verbose=2"], 2),
        (["--verbose", "2"], 2),
    ],
)
def test_verbosity(argv: list[str], level: int):
    for arguments in ([*argv, "ws://x/"], ["ws://x/", *argv]):
        args = _wsdump.parse_args(arguments)
        assert args.verbose == level
        assert args.ws_url == "ws://x/"


def test_subprotocols_may_stand_before_the_url():
    args = _wsdump.parse_args(["-s", "chat", "news", "ws://x/"])
    assert (args.subprotocols, args.ws_url) == (["chat", "news"], "ws://x/")


def test_options_become_connect_options():
    args = _wsdump.parse_args(
        ["ws://x/", "-n", "-o", "http://o", "-s", "a", "b", "--headers", "X: 1,Y:2", "-p", "h:81"]
    )
    options = connect_options(args)
    assert options.pop("sslopt")["cert_reqs"] == 0
    assert options.pop("proxy_sslopt")["cert_reqs"] == 0
    assert options == {
        "origin": "http://o",
        "subprotocols": ["a", "b"],
        "header": ["X: 1", "Y:2"],
        "http_proxy_host": "h",
        "http_proxy_port": 81,
        "proxy_type": "http",
    }
    assert connect_options(_wsdump.parse_args(["ws://x/"])) == {}
    compressed = connect_options(_wsdump.parse_args(["ws://x/", "--compress"]))
    assert compressed == {"compression": "deflate"}


def test_proxy_url():
    assert proxy_options("socks5://me:p%40ss@[::1]:1080") == {
        "http_proxy_host": "::1",
        "http_proxy_port": 1080,
        "http_proxy_auth": ("me", "p@ss"),
        "proxy_type": "socks5",
    }


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "give the URL"),
        (["--demo", "ws://x/"], "leave out the URL"),
        (["-v", "loud", "--text"], "expected one argument"),
        (["-vx", "ws://x/"], "is no level"),
        (["ws://x/", "--eof-wait", "-1"], "no number of seconds"),
        (["ws://x/", "--eof-wait", "soon"], "no number of seconds"),
        (["ws://x/", "--eof-wait", "nan"], "no number of seconds"),
        (["ws://x/", "-p", "gopher://h"], "gopher"),
        (["ws://x/", "-p", "http://"], "names no host"),
        (["ws://x/", "-p", "http://u:secret@h:port"], "its port is no number"),
        (["ws://x/", "-t", "\udcff"], "not UTF-8"),
    ],
)
def test_wrong_usage_exits_with_2(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        _wsdump.parse_args(argv)
    assert caught.value.code == 2
    captured = capsys.readouterr().err
    assert said in captured
    assert "secret" not in captured


# Text for terminals


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u20ac \u4f60 \U0001f600", "plain \u20ac \u4f60 \U0001f600"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x00\x07\x08\r\x7f", r"\x00\x07\x08\x0d\x7f"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("a\u202eb\u2066c\u200f", r"a\u202eb\u2066c\u200f"),
        ("\u2028\u2029\ufeff", r"\u2028\u2029\ufeff"),
        ("\U000e0041", r"\U000e0041"),
        ("\udcff", r"\udcff"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("\u00a0\u3000", "\u00a0\u3000"),
    ],
)
def test_escape(text: str, shown: str):
    assert escape(text) == shown


def test_no_character_that_controls_a_terminal_passes():
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    passed = escape(everything, keep="")
    assert not re.search(
        "[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", passed
    )


def test_display_payload():
    assert display_payload("h\u00e9\x1b".encode(), True) == "h\u00e9\\x1b"
    assert display_payload(b"plain", False) == "plain"
    assert display_payload(b"\x00\x1b", False) == "00 1b"
    assert display_payload(b"\xff\xfe", False) == "ff fe"
    assert display_payload(b"\xff", True) == r"\udcff"


def test_display_width():
    assert display_width("abc") == 3
    assert display_width("\u4f60\u597d") == 4
    assert display_width("e\u0301") == 1


def test_refusal_is_one_clean_sentence():
    error = WebSocketBadStatusException(
        "x",
        403,
        "For\x1bbidden",
        {"content-type": "text/html"},
        b"<style>p{}</style><p>no\n<b>way</b>",
    )
    assert connect_error(error, "h:1") == (
        r"h:1 refused the WebSocket with status 403 For\x1bbidden: no way"
    )
    error = WebSocketBadStatusException("x", 302, "Found", {"location": "http://a/"}, b"")
    assert connect_error(error, "h:1") == (
        "h:1 refused the WebSocket with status 302 Found, redirecting to http://a/."
    )


# From pipes


def test_each_line_is_a_message_and_answers_come_before_the_end(server: Server):
    result = wsdump(server.url, stdin="one\r\ntwo \u20ac\n\nlast".encode())
    assert result.stdout.decode() == "one\ntwo \u20ac\n\nlast\n"
    assert (result.returncode, result.stderr) == (0, b"")


def test_many_lines(server: Server):
    lines = b"".join(b"line %d\n" % number for number in range(3000))
    result = wsdump(server.url, stdin=lines)
    assert result.stdout == lines
    assert result.returncode == 0


def test_verbose_and_timings(server: Server):
    result = wsdump(server.url, "-v", "--timings", "-t", "first", stdin=b"second\n")
    assert re.fullmatch(
        r"\d+\.\d{6}: text: first\n\d+\.\d{6}: text: second\n\d+\.\d{6}: close: 1000\n",
        result.stdout.decode(),
    )


def test_eof_wait_waits_for_late_answers():
    asked = threading.Event()

    def handler(connection: ServerConnection) -> None:
        connection.recv()
        asked.set()
        with pytest.raises(Exception, match="timed out"):
            connection.recv(timeout=0.3)
        connection.send("late")
        connection.close(1001)

    with Server(handler) as server:
        result = wsdump(server.url, "--eof-wait", "15", stdin=b"question\n")
    assert asked.is_set()
    assert result.stdout == b"late\n"
    assert result.returncode == 0


def test_control_characters_are_escaped_but_not_in_raw_mode():
    nasty = "\x1b]0;title\x07\x9b31m\u202e\r"

    def handler(connection: ServerConnection) -> None:
        connection.send(nasty)
        connection.send(b"\x00\x1b")
        connection.close(4001, nasty)

    with Server(handler) as server:
        result = wsdump(server.url, "-v")
        assert b"\x1b" not in result.stdout + result.stderr
        assert r"text: \x1b]0;title\x07\x9b31m\u202e\x0d" in result.stdout.decode()
        assert b"binary: 00 1b" in result.stdout
        assert "closed the connection with code 4001" in result.stderr.decode()
        assert result.returncode == 1
        result = wsdump(server.url, "-r")
        assert result.stdout == nasty.encode() + b"\n\x00\x1b"
        assert b"\x1b" not in result.stderr


def test_trace_goes_to_stderr_escaped():
    with Server(headers=[("X-Nasty", "\u009b31m\u202e")]) as server:
        result = wsdump(server.url, "-vv", "-t", "hello")
    trace = result.stderr.decode()
    assert "--- request header ---" in trace
    assert r"X-Nasty: \x9b31m\u202e" in trace
    assert "send: b'" in trace
    assert result.stdout == b"text: hello\nclose: 1000\n"


def test_options_reach_the_server():
    with Server(subprotocols=["chat"]) as server:
        seen: list[Any] = []
        server.process_request = seen.append
        result = wsdump(server.url, "-s", "chat", "-o", "http://me", "--headers", "X-A: 1, X-B: 2")
    assert result.returncode == 0
    headers = seen[0].headers
    assert headers["Sec-WebSocket-Protocol"] == "chat"
    assert (headers["Origin"], headers["X-A"], headers["X-B"]) == ("http://me", "1", "2")


@pytest.mark.parametrize("kind", ["http", "https", "socks4a", "socks5h"])
def test_through_a_proxy(kind, certificates, server):
    auth = ("joe", "") if kind == "socks4a" else ("joe", "open sesame")
    with contextlib.ExitStack() as stack:
        if kind.startswith("socks"):
            proxy = stack.enter_context(socks_proxy(None if kind == "socks4a" else auth))
        else:
            tls = certificates.server if kind == "https" else None
            proxy = stack.enter_context(connect_proxy(auth, tls=tls))
        user = "joe" if kind == "socks4a" else "joe:open%20sesame"
        url = f"{kind}://{user}@localhost:{proxy.port}"
        done = wsdump(server.url, "-n", "-p", url, "-t", "hello", "--eof-wait", "1")
        assert done.stdout == b"hello\n", done.stderr
        assert done.returncode == 0
        assert len(proxy.requests) == 1


def test_a_proxy_that_refuses(server):
    with connect_proxy(("joe", "open sesame")) as proxy:
        done = wsdump(server.url, "-p", f"http://joe:hunter2@127.0.0.1:{proxy.port}")
    assert done.returncode == 3
    assert b"refused the tunnel" in done.stderr
    assert b"407" in done.stderr
    assert b"hunter2" not in done.stderr


def test_nocert(certificates):
    with Server(ssl_context=certificates.server) as server:
        refused = wsdump(server.url)
        taken = wsdump(server.url, "-n", "-t", "hello")
    assert refused.returncode == 3
    assert "ca_certs" in refused.stderr.decode()
    assert (taken.returncode, taken.stdout) == (0, b"hello\n")


def test_line_that_is_not_utf8_ends_with_2(server: Server):
    result = wsdump(server.url, stdin=b"one\n\xff\nthree\n")
    assert result.stdout == b"one\n"
    assert result.returncode == 2
    assert result.stderr == (
        b"wsdump: Line 2 of the input is not UTF-8, as text messages must be; it was not sent.\n"
    )


def test_refused_handshake_exits_with_3():
    with Server(process_request=lambda head: Refusal(403, body="not \x1b[31m you")) as server:
        result = wsdump(server.url)
        assert result.returncode == 3
        assert result.stderr.decode() == (
            f"wsdump: 127.0.0.1:{server.port} refused the WebSocket with status"
            " 403 Forbidden: not \\x1b[31m you\n"
        )


def test_nobody_there_exits_with_3():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        result = wsdump(f"ws://127.0.0.1:{port}/")
    assert result.returncode == 3
    assert result.stderr.decode() == (
        f"wsdump: Could not connect to 127.0.0.1:{port}: Connection refused.\n"
    )


def test_url_that_cannot_be_used_exits_with_2():
    result = wsdump("http://localhost/")
    assert result.returncode == 2
    assert 'write "ws://" instead' in result.stderr.decode()
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("end", "status", "said"),
    [
        (lambda connection: connection.close(1000), 0, ""),
        (lambda connection: connection.close(1001), 0, ""),
        (lambda connection: connection.close(None), 0, ""),
        (lambda connection: connection.close(1011, "oops"), 1, "with code 1011. oops"),
        (lambda connection: connection.abort(), 1, "was lost"),
        (lambda connection: connection.send_raw(b"\x83\x00"), 1, "Invalid opcode"),
    ],
)
def test_end_by_the_server_ends_wsdump_though_its_input_is_open(
    end: Callable[[ServerConnection], Any], status: int, said: str
):
    def handler(connection: ServerConnection) -> None:
        end(connection)
        echo(connection)

    with Server(handler) as server:
        process = subprocess.Popen(
            [*COMMAND, server.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd=ROOT,
        )
        with process:
            assert process.wait(DEADLINE) == status
            assert process.stderr is not None
            text = process.stderr.read().decode()
    assert said in text
    assert len(text.splitlines()) == (1 if said else 0)


def test_server_that_never_answers_the_close_exits_with_1():
    release = threading.Event()

    def handler(connection: ServerConnection) -> None:
        release.wait(DEADLINE)
        connection.abort()

    with Server(handler) as server:
        result = wsdump(server.url)
        release.set()
    assert result.returncode == 1
    assert b"did not answer the closing handshake within 3 seconds" in result.stderr


def only_connection(server: Server) -> ServerConnection:
    end = time.monotonic() + DEADLINE
    while not server.connections and time.monotonic() < end:
        time.sleep(0.005)
    (connection,) = server.connections
    return connection


def wait_for_close(connection: ServerConnection) -> None:
    end = time.monotonic() + DEADLINE
    while connection.close_code is None and time.monotonic() < end:
        time.sleep(0.005)


def test_ctrl_c_closes_cleanly_and_exits_with_130():
    with Server() as server:
        process = subprocess.Popen(
            [*COMMAND, "-v", server.url, "-t", "hello"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd=ROOT,
        )
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == b"text: hello\n"
            connection = only_connection(server)
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE) == 130
            assert process.stderr.read() == b""
        wait_for_close(connection)
        assert connection.close_code == 1000


def test_reader_of_the_output_that_goes_away_is_no_traceback():
    def handler(connection: ServerConnection) -> None:
        while True:
            connection.send("x" * 1000)

    with Server(handler) as server:
        process = subprocess.Popen(
            [*COMMAND, server.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd=ROOT,
        )
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(DEADLINE) == 1
            assert process.stderr.read() == b"wsdump: The output can't be written: Broken pipe.\n"


# The demo


def test_demo_needs_nobody_and_exits_with_0():
    result = wsdump("--demo")
    text = result.stdout.decode()
    assert (result.returncode, result.stderr) == (0, b"")
    for kind in ("text", "binary", "fragments", "ping"):
        assert re.search(rf"^  {kind} .* \d+\.\d\d ms$", text, re.MULTILINE)
    assert text.endswith("Closed with code 1000.\n")


def test_demo_with_compression():
    result = wsdump("--demo", "--compress", "-vv")
    assert result.returncode == 0
    assert "Sec-WebSocket-Extensions: permessage-deflate" in result.stderr.decode()
    assert result.stdout.decode().endswith("Closed with code 1000.\n")


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, str(ROOT / "bin" / "wsdump.py")],
        [sys.executable, "-c", "from websocket._wsdump import main; main()"],
    ],
)
def test_other_ways_to_start_it(command: list[str]):
    result = wsdump("--demo", command=command)
    assert result.returncode == 0
    assert b"Closed with code 1000." in result.stdout


# On a terminal


def greeting(server: Server) -> str:
    return f"Connected to {server.url}. Ctrl-D closes the connection."


@posix
class TestOnATerminal:
    @pytest.fixture
    def start(self) -> Iterator[Callable[..., Any]]:
        pytest.importorskip("readline")
        from terminal import Terminal

        with contextlib.ExitStack() as stack:

            def start(*arguments: str, command: list[str] = COMMAND) -> Terminal:
                command = [*command, *arguments]
                return stack.enter_context(Terminal(command, environment(PYTHONPATH=str(ROOT))))

            yield start

    def test_editing_history_and_ctrl_d(self, server: Server, start: Callable[..., Any]):
        terminal = start(server.url)
        terminal.until(greeting(server), ">")
        terminal.type("helo\x1b[Dl\r")
        terminal.until("> hello", "< hello", ">")
        terminal.type("\x1b[A!\r")  # the line before, from the history
        terminal.until("> hello!", "< hello!", ">")
        terminal.type("\x04")
        assert terminal.wait() == 0
        assert "Traceback" not in terminal.raw
        assert terminal.screen.unknown == []

    def test_messages_do_not_garble_the_line_that_is_edited(self, start: Callable[..., Any]):
        received: list[str | bytes] = []

        def handler(connection: ServerConnection) -> None:
            for message in connection:
                received.append(message)

        with Server(handler) as server:
            terminal = start(server.url)
            terminal.until(greeting(server), ">")
            connection = only_connection(server)
            terminal.type("one three\x1bb")  # Alt-B: the cursor stands before "three"
            terminal.until("> one three")
            connection.send("first\nline two")
            terminal.until("< first", "  line two", "> one three")
            terminal.type("two ")
            terminal.until("> one two three")
            connection.send("again")
            terminal.until("< again", "> one two three")
            terminal.type("\r")
            terminal.until("> one two three", ">")
            # A line that takes two rows of the screen, the cursor in the first of them.
            terminal.type("x" * 90 + "\x01")
            terminal.until("> " + "x" * 78, "x" * 12)
            connection.send("third")
            terminal.until("< third", "> " + "x" * 78, "x" * 12)
            terminal.type("y\r")
            terminal.until("> y" + "x" * 77, "x" * 13, ">")
            terminal.type("\x04")
            assert terminal.wait() == 0
        assert received == ["one two three", "y" + "x" * 90]
        assert terminal.screen.text[1:] == [
            "< first",
            "  line two",
            "< again",
            "> one two three",
            "< third",
            "> y" + "x" * 77,
            "x" * 13,
            ">",
        ]

    def test_flood_arrives_whole_while_a_line_is_edited(self, start: Callable[..., Any]):
        with Server() as server:
            terminal = start(server.url)
            terminal.until(greeting(server), ">")
            connection = only_connection(server)
            terminal.type("kept")
            terminal.until("> kept")
            for number in range(300):
                connection.send(f"message {number}")
            terminal.until("< message 299", "> kept")
            assert re.findall(r"< message (\d+)\r", terminal.raw) == [str(n) for n in range(300)]
            terminal.type("\r")
            terminal.until("< kept", ">")

    def test_ctrl_c(self, server: Server, start: Callable[..., Any]):
        terminal = start("-v", server.url)
        terminal.until(greeting(server), ">")
        connection = only_connection(server)
        terminal.type("half a li")
        terminal.until("> half a li")
        terminal.type("\x03")
        assert terminal.wait() == 130
        assert "Traceback" not in terminal.raw
        assert "half a li" in terminal.screen.text[1]
        wait_for_close(connection)
        assert connection.close_code == 1000

    @pytest.mark.parametrize(
        ("end", "status", "last"),
        [
            (lambda c: c.close(1000), 0, "The server closed the connection."),
            (
                lambda c: c.close(1011, "\x1bx"),
                1,
                r"wsdump: The server closed the connection with code",
            ),
            (lambda c: c.abort(), 1, "wsdump: Connection to remote host was lost."),
        ],
    )
    def test_end_by_the_server_ends_the_prompt(
        self,
        start: Callable[..., Any],
        end: Callable[[ServerConnection], Any],
        status: int,
        last: str,
    ):
        go = threading.Event()

        def handler(connection: ServerConnection) -> None:
            assert go.wait(DEADLINE)
            end(connection)

        with Server(handler) as server:
            terminal = start(server.url)
            terminal.until(greeting(server), ">")
            terminal.type("half a li")
            terminal.until("> half a li")
            go.set()
            assert terminal.wait() == status
        assert terminal.screen.text[1] == "> half a li"
        assert terminal.screen.text[2].startswith(last)
        assert "\x1bx" not in terminal.raw

    def test_control_characters_do_not_reach_the_terminal(self, start: Callable[..., Any]):
        with Server() as server:
            terminal = start("-vv", server.url)
            terminal.until(greeting(server), ">")
            connection = only_connection(server)
            connection.send("\x1b]0;owned\x07\x9b2J\u202e")
            terminal.until(r"< text: \x1b]0;owned\x07\x9b2J\u202e", ">")
            assert "\x1b]0" not in terminal.raw
            assert "\x9b2" not in terminal.raw
            assert "\u202e" not in terminal.raw

    @pytest.mark.parametrize(
        ("prepare", "redrawn"),
        [
            (
                "import websocket._cli.editor as e; e._load_gnu_functions = lambda r: (None, None)",
                "ab",
            ),
            ("import sys; sys.modules['readline'] = None", ""),
        ],
    )
    def test_other_editors_than_gnu_readline(
        self, start: Callable[..., Any], prepare: str, redrawn: str
    ):
        program = f"{prepare}; from websocket._wsdump import main; main()"
        with Server() as server:
            terminal = start(server.url, command=[sys.executable, "-W", "error", "-c", program])
            terminal.until(greeting(server), ">")
            connection = only_connection(server)
            terminal.type("ab")
            terminal.until("> ab")
            connection.send("message")
            terminal.until("< message", f"> {redrawn}".rstrip())
            terminal.type("c\r")
            terminal.until(f"> {redrawn}c", "< abc", ">")
            terminal.type("\x04")
            assert terminal.wait() == 0

    def test_demo_stays_interactive(self, start: Callable[..., Any]):
        terminal = start("--demo")
        terminal.until("What you enter comes back. Ctrl-D closes the connection.", ">")
        terminal.type("hello\r")
        terminal.until("> hello", "< hello", ">")
        terminal.type("\x04")
        assert terminal.wait() == 0


# Names that programs import


def test_legacy_names():
    assert _wsdump.OPCODE_DATA == (1, 2)
    assert issubclass(_wsdump.VAction, argparse.Action)
    assert issubclass(_wsdump.NonInteractive, _wsdump.RawInput)
    assert issubclass(_wsdump.InteractiveConsole, _wsdump.RawInput)
    assert issubclass(_wsdump.InteractiveConsole, code.InteractiveConsole)


def test_non_interactive(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "stdin", io.StringIO("one \u20ac\ntwo\n"))
    console = _wsdump.NonInteractive()
    assert console.read() == "one \u20ac".encode()
    assert console.raw_input() == b"two"
    with pytest.raises(EOFError):
        console.read()
    console.write("shown")
    assert capsys.readouterr().out == "shown\n"


def test_interactive_console(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdin", io.StringIO("typed\n"))
    console = _wsdump.InteractiveConsole()
    console.write("shown\nin two lines")
    assert console.read() == b"typed"
    assert capsys.readouterr().out == "< shown\n  in two lines\n> "


def test_main_exits_with_the_status(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["wsdump", "http://localhost/"])
    with pytest.raises(SystemExit) as caught:
        _wsdump.main()
    assert caught.value.code == 2
    monkeypatch.setattr(sys, "argv", ["wsdump", "--demo"])
    assert _wsdump.main() is None
