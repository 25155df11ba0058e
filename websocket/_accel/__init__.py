"""The hot functions: ``py`` is the reference, ``_c`` its twin where a compiler was there.

With ``WEBSOCKET_NO_EXTENSIONS=1`` in the environment the reference is used in any case.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .py import mask_key

if TYPE_CHECKING or os.environ.get("WEBSOCKET_NO_EXTENSIONS", "0") not in ("", "0"):
    from .py import encode_frame, mask, scan
else:
    try:
        from ._c import encode_frame, mask, scan
    except ImportError:
        from .py import encode_frame, mask, scan

__all__ = ["encode_frame", "mask", "mask_key", "scan"]
