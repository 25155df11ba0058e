"""A few rounds of ``stress.py``; CI plays more of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from conftest import DEADLINE, Certificates

import websocket
from websocket.testing import Server

STRESS = Path(__file__).with_name("stress.py")


@pytest.mark.parametrize(("what", "rounds"), [("threads", 8), ("interrupts", 12), ("apps", 60)])
def test_stress(what: str, rounds: int) -> None:
    if what == "interrupts" and not hasattr(signal, "pthread_kill"):
        pytest.skip("signals of POSIX")
    done = subprocess.run(
        [sys.executable, "-W", "error", STRESS, what, f"--rounds={rounds}", "--seconds=20"],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # An interrupt in the moment between a socket and its owner leaves it to Python to close it,
    # which is done at once, but not without a warning.
    assert done.stderr == "" or what == "interrupts"


@pytest.mark.usefixtures("no_leaks")
def test_more_than_1024_descriptors() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1400:
        pytest.skip("this system allows no more")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1400), hard))
    taken = []
    try:
        with Server() as server:
            taken += [os.dup(0) for _ in range(1100)]
            with websocket.create_connection(server.url, timeout=DEADLINE) as ws:
                assert ws.fileno() > 1024
                ws.send("a")
                assert ws.recv(timeout=DEADLINE) == "a"
                assert ws.ping().wait(DEADLINE) >= 0
            seen: list[object] = []
            app = websocket.WebSocketApp(
                server.url,
                on_open=lambda app: app.send("b"),
                on_message=lambda app, message: (seen.append(message), app.close()),
                on_error=lambda app, error: seen.append(error),
            )
            assert app.run_forever(ping_interval=5) is False
            assert seen == ["b"]
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


FORK = """
    import os, sys, websocket

    how, url = sys.argv[1:3]
    options = {"sslopt": {"ca_certs": sys.argv[3]}} if url.startswith("wss") else {}
    ws = websocket.create_connection(url, timeout=10, **options)
    ws.send("before")
    assert ws.recv() == "before"
    child = os.fork()
    if not child:
        # Whatever the child does to its copy.
        if how == "exit":
            sys.exit(0)
        if how == "delete":
            del ws
        else:
            getattr(ws, how)()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    for text in ("after", "and again"):
        ws.send(text)
        assert ws.recv() == text
    ws.close()
    assert ws.close_code == 1000
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is of POSIX")
@pytest.mark.parametrize("how", ["close", "shutdown", "abort", "send_close", "exit", "delete"])
@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_a_forked_child_does_not_disturb_the_parent(
    how: str, tls: bool, certificates: Certificates
) -> None:
    with Server(host="localhost", ssl_context=certificates.server if tls else None) as server:
        code = textwrap.dedent(FORK)
        done = subprocess.run(
            [sys.executable, "-c", code, how, server.url, certificates.ca_file],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert server.errors == []


FORK_OF_AN_APP = """
    import os, sys, threading, websocket

    face, url = sys.argv[1:]
    greeted, answered = threading.Event(), threading.Event()

    def fork(close):
        child = os.fork()
        if not child:
            close()
            if face == "callback":
                return  # and the child's run_forever as well
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

    def hear(message):
        (answered if message == "after" else greeted).set()

    def on_message(app, message):
        hear(message)
        if face == "callback" and message == "before":
            fork(app.close)

    if face == "loop":
        one = websocket.reconnecting(url, 10, on_connect=lambda ws: ws.send("before"))
        run = lambda: [hear(message) for message in one]
    else:
        one = websocket.WebSocketApp(
            url, on_open=lambda app: app.send("before"), on_message=on_message
        )
        run = one.run_forever
    parent = os.getpid()

    def play():
        assert greeted.wait(10)
        if face != "callback":
            fork(one.close)
        one.send("after")
        assert answered.wait(10)
        one.close()

    if face == "callback":
        # In the child, only the thread that forks goes on.
        player = threading.Thread(target=play)
        player.start()
        assert run() is False
        if os.getpid() != parent:
            os._exit(0)
        player.join()
    else:
        runner = threading.Thread(target=run)
        runner.start()
        play()
        runner.join()
    assert answered.is_set()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is of POSIX")
@pytest.mark.parametrize("face", ["app", "callback", "loop"])
def test_a_forked_child_may_close_a_run_of_its_parent(face: str) -> None:
    with Server() as server:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(FORK_OF_AN_APP), face, server.url],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert server.errors == []


FORK_WHILE_CONNECTING = """
    import os, sys, threading, websocket

    ws = websocket.WebSocket()
    errors = []

    def connect():
        try:
            ws.connect(sys.argv[1], timeout=30)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    sys.stdin.readline()  # the server has the request
    child = os.fork()
    if not child:
        ws.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print("closed", flush=True)
    thread.join()
    assert not errors, errors
    ws.send("after")
    assert ws.recv() == "after"
    ws.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is of POSIX")
def test_a_forked_child_may_close_what_its_parent_connects() -> None:
    asked, closed = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        asked.set()
        closed.wait(DEADLINE)

    code = textwrap.dedent(FORK_WHILE_CONNECTING)
    with (
        Server(process_request=wait, handshake_timeout=60) as server,
        subprocess.Popen(
            [sys.executable, "-c", code, server.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        assert asked.wait(DEADLINE)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "closed\n"
        closed.set()
        _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is of POSIX")
def test_a_child_gives_back_its_copy_while_a_thread_of_the_parent_holds_the_locks() -> None:
    left, right = socket.socketpair()
    with left, right:
        ws = websocket.WebSocket()
        ws.sock = left
        held = threading.Event()
        go = threading.Event()

        def hold() -> None:
            with ws.lock, ws.readlock:
                held.set()
                go.wait(DEADLINE)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(DEADLINE)
        stream = ws._stream
        assert stream is not None
        # What a child sees: another process, and locks that nobody will ever release.
        stream._process = -1
        ws.close()
        assert left.fileno() == -1
        go.set()
        thread.join(DEADLINE)
