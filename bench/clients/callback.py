"""``WebSocketApp``: messages arrive through ``on_message``."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import websocket

from ._timing import Timing


def receive(url: str, size: int, chunk: int, seconds: float, ca_file: str) -> Timing:
    # The first message starts the clock, every ``chunk``-th looks at it.
    count = -1
    start = cpu = stop = stop_cpu = 0.0

    def on_message(app: Any, message: str | bytes) -> None:
        nonlocal count, start, cpu, stop, stop_cpu
        count += 1
        if count % chunk:
            return
        now = time.perf_counter()
        if not count:
            start, cpu = now, time.process_time()
        elif now - start >= seconds:
            if not stop:
                stop, stop_cpu = now, time.process_time()
                raise _Enough
            raise AssertionError("the app went on after its end")

    class _Enough(BaseException):
        pass

    app = websocket.WebSocketApp(url, on_message=on_message)
    with contextlib.suppress(_Enough):
        app.run_forever(sslopt={"ca_certs": ca_file})
    return Timing(count, stop - start, stop_cpu - cpu)
