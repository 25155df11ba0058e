"""``python -m websocket`` is ``wsdump``."""

from __future__ import annotations

from ._wsdump import main

if __name__ == "__main__":
    main()
