"""The command line of ``wsdump``: options, exit codes, and the connect options they mean."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, Final

from .._exceptions import WebSocketProxyException
from .._ssl_compat import HAVE_SSL, ssl
from .._url import parse_proxy

EXIT_OK: Final = 0
EXIT_LOST: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_CONNECTED: Final = 3
EXIT_INTERRUPTED: Final = 130

_EPILOG: Final = """\
exit status:
  0    the connection was closed normally (code 1000, 1001 or none)
  1    the connection was lost, or closed with another code, or the output could
       not be written
  2    the command line, the URL, or a line of the input can't be used
  3    no connection: name lookup, TCP, TLS or proxy failed, or the server refused
       the opening handshake
  130  ended with Ctrl-C, after a closing handshake

On a terminal, each line that you enter is sent as a text message; Ctrl-D ends.
From a pipe, each line is a message; at its end, answers are awaited for EOF_WAIT
seconds, then until the server has answered the closing handshake.
Control characters that the server sends are shown as \\x1b, binary data as
hexadecimal numbers, unless it is plain text; with -r, all is written as it came.
"""


class VAction(argparse.Action):
    """Verbosity: ``-v`` and ``-v 1`` mean 1, ``-vv`` and ``-v 2`` mean 2."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        text = "" if values is None else str(values)
        if text.isdecimal():
            level = int(text)
        elif text == "v" * len(text):
            level = 1 + len(text)
        else:
            parser.error(f"argument -v/--verbose: {text!r} is no level; use 1 or 2")
        setattr(namespace, self.dest, level)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; what can't be used ends in ``SystemExit(2)``.

    Parameters:
        argv: the arguments, without the program's name; by default those of the process.
    """
    parser = _parser()
    args = parser.parse_args(_untangle(list(sys.argv[1:] if argv is None else argv)))
    # "-s chat ws://host" reads as two subprotocols. A subprotocol can't have "://" in it.
    if args.ws_url is None and args.subprotocols and "://" in args.subprotocols[-1]:
        args.ws_url = args.subprotocols.pop()
    if args.demo and args.ws_url is not None:
        parser.error("--demo brings its own server; leave out the URL")
    if not args.demo and args.ws_url is None:
        parser.error("give the URL of a server, ws://localhost:8000/ for instance, or --demo")
    if args.text is not None:
        try:
            args.text = _as_entered(args.text)
        except UnicodeDecodeError:
            parser.error("argument -t/--text: the text is not UTF-8, as text messages must be")
    if args.proxy is not None:
        try:
            proxy_options(args.proxy)
        except WebSocketProxyException as error:
            parser.error(f"argument -p/--proxy: {error}")
    return args


def _as_entered(text: str) -> str:
    """UTF-8 stays UTF-8, also where the locale knows ASCII only."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode()
    return text


def _untangle(argv: list[str]) -> list[str]:
    """Keep ``-v`` from taking the URL behind it for its level."""
    return [
        f"{argument}{'=' if argument.startswith('--') else ''}1"
        if argument in ("-v", "--verbose") and not following.isdecimal()
        else argument
        for argument, following in zip(argv, [*argv[1:], ""], strict=False)
    ]


def _parser() -> argparse.ArgumentParser:
    from .. import __version__

    parser = argparse.ArgumentParser(
        prog=_program(),
        description="WebSocket Simple Dump Tool: talk to a WebSocket server by hand or by script.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("ws_url", nargs="?", metavar="ws_url", help="websocket url, ex. ws://localhost:8000/")
    add("-p", "--proxy", help="proxy url, ex. socks5h://127.0.0.1:1080")
    add(
        "-v",
        "--verbose",
        default=0,
        nargs="?",
        action=VAction,
        dest="verbose",
        help="1 (or -v): show the opcode, and pings, pongs and Close as well;"
        " 2 (or -vv): trace what goes over the wire, too",
    )
    add("-n", "--nocert", action="store_true", help="ignore an invalid certificate")
    add("-r", "--raw", action="store_true", help="write messages as they came, and no prompt")
    add("-s", "--subprotocols", nargs="*", help="subprotocols to offer")
    add("-o", "--origin", help="value of the Origin header")
    add(
        "--eof-wait",
        default=0,
        type=_seconds,
        help="seconds to wait after the end of the input (default 0)",
    )
    add("-t", "--text", help="send this text first")
    add("--timings", action="store_true", help="show the time of each message in seconds")
    add("--compress", action="store_true", help="offer compression (permessage-deflate)")
    add("--headers", help="request headers, ex. 'X-One: 1,X-Two: 2'; ',' separates them")
    add(
        "--demo",
        action="store_true",
        help="try it without a server: starts one on this machine, and echoes",
    )
    add("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _program() -> str:
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return "python -m websocket" if name == "__main__.py" else name or "wsdump"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 upwards")
    return seconds


def proxy_options(proxy: str) -> dict[str, Any]:
    """The connect options for a proxy URL.

    Raises:
        WebSocketProxyException: it is no proxy URL.
    """
    found = parse_proxy(proxy, "the option")
    options: dict[str, Any] = {"http_proxy_host": found.host, "proxy_type": found.type}
    if found.port:
        options["http_proxy_port"] = found.port
    if found.auth is not None:
        options["http_proxy_auth"] = found.auth
    return options


def connect_options(args: argparse.Namespace) -> dict[str, Any]:
    """What ``create_connection`` has to be told."""
    options: dict[str, Any] = {}
    if args.proxy:
        options.update(proxy_options(args.proxy))
    if args.origin:
        options["origin"] = args.origin
    if args.subprotocols:
        options["subprotocols"] = args.subprotocols
    if args.nocert and HAVE_SSL:
        options["sslopt"] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
        options["proxy_sslopt"] = options["sslopt"]
    if args.compress:
        options["compression"] = "deflate"
    if args.headers:
        options["header"] = [part.strip() for part in args.headers.split(",") if part.strip()]
    return options
