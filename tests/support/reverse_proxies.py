"""nginx and haproxy on loopback, with the configurations that the documentation shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from support.programs import program, running

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "behind-a-proxy.md"

Ports = AbstractContextManager[list[int]]


def recipe(heading: str, port: int, **changes: str) -> str:
    """The configuration under a heading of the page, with its server at ``port``.

    ``changes`` are values of settings, by names with ``_`` for a space.
    """
    text = PAGE.read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    block = re.search(r"^```\w+\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert block is not None
    config = block[1].replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    for name, value in changes.items():
        setting = name.replace("_", " ") if " " in block[1] and name not in block[1] else name
        config, count = re.subn(rf"(\b{setting}) \S+?(;?)$", rf"\1 {value}\2", config, flags=re.M)
        assert count == 1, f"{setting} is not in the recipe"
    return config


_NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{servers}
}}
"""


def nginx(folder: Path, servers: Sequence[Callable[[int], str]]) -> Ports:
    """One port for each of ``servers``, which make the text of a server block from it."""
    command = program("nginx", "nginx-light")

    def make(ports: Sequence[int]) -> list[str]:
        config = folder / "nginx.conf"
        blocks = [block(port) for block, port in zip(servers, ports, strict=True)]
        config.write_text(_NGINX.format(folder=folder, servers="\n".join(blocks)))
        return [command, "-p", str(folder), "-c", str(config), "-e", str(folder / "start.log")]

    return running(make, folder, ports=len(servers))


def plain_server(location: str) -> Callable[[int], str]:
    return lambda port: f"server {{ listen 127.0.0.1:{port};\n{location} }}"


def tls_server(location: str, certificate: Path, key: Path, *settings: str) -> Callable[[int], str]:
    extra = "".join(f"{setting};\n" for setting in settings)
    return lambda port: (
        f"server {{ listen 127.0.0.1:{port} ssl;\nssl_certificate {certificate};\n"
        f"ssl_certificate_key {key};\n{extra}{location} }}"
    )


def haproxy(folder: Path, config: str) -> Ports:
    """One port, in the place of the recipe's 8080."""
    command = program("haproxy")

    def make(ports: Sequence[int]) -> list[str]:
        path = folder / "haproxy.cfg"
        path.write_text(config.replace("127.0.0.1:8080", f"127.0.0.1:{ports[0]}"))
        return [command, "-db", "-f", str(path)]

    return running(make, folder)
