"""The hot functions: ``py`` is the reference, ``_c`` its twin where a compiler was there.

With ``WEBSOCKET_NO_EXTENSIONS=1`` in the environment the reference is used in any case.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import py
from .py import frame_header

if TYPE_CHECKING or os.environ.get("WEBSOCKET_NO_EXTENSIONS", "0") not in ("", "0"):
    chosen = py
else:
    try:
        from . import _c as chosen
    except ImportError:
        chosen = py

encode_batch = chosen.encode_batch
encode_frame = chosen.encode_frame
encode_masked = chosen.encode_masked
mask = chosen.mask
mask_key = chosen.mask_key
scan = chosen.scan
scan_deflated = chosen.scan_deflated

# Windows has neither: there the event loop reads and writes itself.
send_bytes = getattr(chosen, "send_bytes", py.send_bytes)

# What stands for ``FastPath`` of ``aio._fast_path``, which does I/O and is not here therefore.
CFastPath = getattr(chosen, "FastPath", None)

__all__ = [
    "encode_batch",
    "encode_frame",
    "encode_masked",
    "frame_header",
    "mask",
    "mask_key",
    "scan",
    "scan_deflated",
    "send_bytes",
]
