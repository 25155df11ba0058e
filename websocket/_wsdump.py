"""The command ``wsdump``, under the module name that installed scripts and programs import.

Its parts are in ``_cli``.
"""

from __future__ import annotations

import sys

from ._cli.arguments import VAction, parse_args
from ._cli.command import run
from ._cli.console import InteractiveConsole, NonInteractive, RawInput
from ._cli.session import OPCODE_DATA

__all__ = [
    "OPCODE_DATA",
    "InteractiveConsole",
    "NonInteractive",
    "RawInput",
    "VAction",
    "main",
    "parse_args",
]


def main() -> None:
    """Run ``wsdump`` with the arguments of the process.

    Raises:
        SystemExit: the exit status is not 0; ``wsdump --help`` tells what each means.
    """
    try:
        status = run(parse_args())
    except KeyboardInterrupt:
        status = 130
    if status:
        sys.exit(status)
