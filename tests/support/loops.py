"""Coroutines on the event loops that there are, with nothing left behind and nothing hidden."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

MakeLoop = Callable[[], asyncio.AbstractEventLoop]


def loop_makers() -> dict[str, MakeLoop]:
    """Who makes loops here: asyncio itself, and uvloop where it is installed."""
    makers: dict[str, MakeLoop] = {"asyncio": asyncio.new_event_loop}
    try:
        import uvloop
    except ImportError:
        return makers
    # The first loop opens descriptors that stay with the process.
    loop = uvloop.new_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    return {**makers, "uvloop": uvloop.new_event_loop}


def run_on(
    make: MakeLoop, main: Coroutine[Any, Any, Any], seconds: float, debug: bool = True
) -> Any:
    """What ``main`` returns, on a loop of its own.

    Fails where tasks are left, where it takes longer, and where the loop has to complain.
    """
    complaints: list[Any] = []
    loop = make()
    loop.set_debug(debug)
    loop.set_exception_handler(lambda loop, context: complaints.append(context))
    try:
        result = loop.run_until_complete(asyncio.wait_for(main, seconds))
        assert not asyncio.all_tasks(loop), "a task was left behind"
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
    assert not complaints, complaints
    return result
