#!/usr/bin/env python3
"""Runs ``wsdump`` from a checkout: ``python bin/wsdump.py ws://localhost:8000/``."""

from __future__ import annotations

import pathlib
import sys

_CHECKOUT = pathlib.Path(__file__).resolve().parent.parent

if (_CHECKOUT / "websocket" / "_wsdump.py").is_file():
    sys.path.insert(0, str(_CHECKOUT))

from websocket._wsdump import main  # noqa: E402

if __name__ == "__main__":
    main()
