"""The hot functions: ``py`` is the reference."""

from __future__ import annotations

from .py import encode_frame, mask, mask_key, scan

__all__ = ["encode_frame", "mask", "mask_key", "scan"]
