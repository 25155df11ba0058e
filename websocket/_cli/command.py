"""``wsdump`` from its arguments to its exit status."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from typing import Any

from .._core import WebSocket, create_connection
from .._exceptions import WebSocketArgumentException, WebSocketException
from .._url import URL
from ..testing import Server
from .arguments import (
    EXIT_INTERRUPTED,
    EXIT_LOST,
    EXIT_NOT_CONNECTED,
    EXIT_USAGE,
    connect_options,
)
from .console import InteractiveConsole, NonInteractive, is_terminal
from .demo import run_demo
from .session import Session, TraceHandler, complain, start_trace
from .text import connect_error, one_line


def run(args: argparse.Namespace) -> int:
    """Do what the command line says; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character must not end the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    trace = start_trace(args)
    try:
        if args.demo:
            return _demo(args, trace)
        return _dump(args, trace)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        complain(f"The output can't be written: {error.strerror or error}.")
        return EXIT_LOST


def _dump(args: argparse.Namespace, trace: TraceHandler | None) -> int:
    ws = _connect(args.ws_url, connect_options(args))
    if isinstance(ws, int):
        return ws
    console = InteractiveConsole() if is_terminal() and not args.raw else NonInteractive()
    if isinstance(console, InteractiveConsole):
        spoken = f", subprotocol {one_line(ws.subprotocol)}" if ws.subprotocol else ""
        spoken += ", compressed" if ws.compressed else ""
        where = one_line(str(URL.parse(args.ws_url)))
        console.note(f"Connected to {where}{spoken}. Ctrl-D closes the connection.")
    return Session(ws, args, console, trace).run()


def _connect(url: str, options: dict[str, Any]) -> WebSocket | int:
    """A connection, or the exit status where there is none."""
    try:
        return create_connection(url, **options)
    except WebSocketArgumentException as error:
        complain(one_line(str(error)))
        return EXIT_USAGE
    except (WebSocketException, OSError) as error:
        complain(connect_error(error, _host(url, options)))
        return EXIT_NOT_CONNECTED


def _host(url: str, options: dict[str, Any]) -> str:
    """Who was dialled, for a sentence: the host as the URL names it, and the port."""
    with contextlib.suppress(WebSocketException):
        parsed = URL.parse(url)
        host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
        via = options.get("http_proxy_host")
        return f"{host}:{parsed.port}" + (f" through the proxy {via}" if via else "")
    return "the server"


def _demo(args: argparse.Namespace, trace: TraceHandler | None) -> int:
    interactive = is_terminal() and not args.raw
    with Server(
        subprotocols=args.subprotocols or (), compression="deflate" if args.compress else None
    ) as server:
        print(f"An echo server on this machine: {server.url}\n", flush=True)
        options = connect_options(args)
        ws = _connect(server.url, options)
        if isinstance(ws, int):
            return ws
        try:
            run_demo(ws, lambda line: print(line, flush=True))
        except WebSocketException as error:
            ws.shutdown()
            complain(one_line(str(error)))
            return EXIT_LOST
        except BaseException:
            ws.close(timeout=1)
            raise
        print(flush=True)
        if not interactive:
            ws.close()
            if ws.close_code != 1000:
                complain("The server did not answer the closing handshake.")
                return EXIT_LOST
            print("Closed with code 1000.", flush=True)
            return 0
        console = InteractiveConsole()
        console.note("What you enter comes back. Ctrl-D closes the connection.")
        return Session(ws, args, console, trace).run()
