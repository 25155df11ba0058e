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
receive_messages = getattr(chosen, "receive_messages", py.receive_messages)
send_bytes = getattr(chosen, "send_bytes", py.send_bytes)

__all__ = [
    "encode_batch",
    "encode_frame",
    "encode_masked",
    "frame_header",
    "mask",
    "mask_key",
    "receive_messages",
    "scan",
    "scan_deflated",
    "send_bytes",
]
