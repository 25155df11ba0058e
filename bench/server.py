"""Compiles and starts the server in C (see server.c)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

from .certificates import write_certificate

SOURCE = Path(__file__).with_name("server.c")


class Server:
    """The running server; ``url`` makes the address of one connection.

    Parameters:
        folder: where the program and its certificate are put.

    Attributes:
        ca_file: what a client needs to trust the server.
    """

    def __init__(self, folder: Path) -> None:
        program = folder / "server"
        if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
            compiler = os.environ.get("CC") or shutil.which("cc") or "cc"
            libraries = ["-lssl", "-lcrypto", "-lpthread"]
            subprocess.run([compiler, "-O2", SOURCE, "-o", program, *libraries], check=True)
        certificate, key = write_certificate(folder)
        self.ca_file = str(certificate)
        self._process = subprocess.Popen(
            [program, certificate, key], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        plain, tls = self._process.stdout.readline().split()
        self._ports = {"ws": plain, "wss": tls}

    def url(self, path: str, *, tls: bool = False, cpu: int | None = None) -> str:
        scheme = "wss" if tls else "ws"
        # The certificate names localhost, whose first address may be an IPv6 one elsewhere.
        host = "localhost" if tls else "127.0.0.1"
        query = "" if cpu is None else f"?cpu={cpu}"
        return f"{scheme}://{host}:{self._ports[scheme]}{path}{query}"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
