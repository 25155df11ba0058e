"""Proxies of other projects on loopback: squid, tinyproxy, dante, microsocks, and stunnel.

Each function is a context manager that yields the ports of its proxy. To have them all by hand::

    cd tests && python -m support.real_proxies

prints their URLs, and ends with Ctrl-C.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from support.programs import missing, program, running

USER, PASSWORD = "alice", "open sesame"
# What "openssl passwd -apr1" makes of the password.
_APR1 = "$apr1$saltsalt$HIDXe7D36X22w1CH4M1cQ."
_REALM = "tests"
_HELPERS = Path("/usr/lib/squid")

Ports = AbstractContextManager[list[int]]

_SQUID = """\
http_port 127.0.0.1:{ports[0]} name=open
http_port 127.0.0.1:{ports[1]} name=closed
auth_param {scheme} program {helper}
auth_param {scheme} children 1 startup=1
auth_param {scheme} realm {realm}
acl open myportname open
acl known proxy_auth REQUIRED
acl forbidden dstdomain forbidden.example
http_access deny forbidden
http_access allow open
http_access allow known
http_access deny all
cache deny all
pid_filename none
access_log none
cache_log {folder}/cache.log
coredump_dir {folder}
netdb_filename none
pinger_enable off
visible_hostname localhost
shutdown_lifetime 0 seconds
cache_effective_user {user}
"""


def squid(folder: Path, scheme: str) -> Ports:
    """Two ports: one is open to everybody, one wants ``basic`` or ``digest`` authentication."""
    command = program("squid")
    passwords = folder / "passwords"
    if scheme == "basic":
        helper = f"{_HELPERS}/basic_ncsa_auth {passwords}"
        passwords.write_text(f"{USER}:{_APR1}\n")
    else:
        helper = f"{_HELPERS}/digest_file_auth -c {passwords}"
        secret = hashlib.md5(f"{USER}:{_REALM}:{PASSWORD}".encode()).hexdigest()
        passwords.write_text(f"{USER}:{_REALM}:{secret}\n")
    if not Path(helper.split()[0]).exists():
        missing(f"squid has no {helper.split()[0]}")
    _open_to_others(folder)

    def make(ports: Sequence[int]) -> list[str]:
        config = folder / "squid.conf"
        config.write_text(
            _SQUID.format(
                ports=ports,
                scheme=scheme,
                helper=helper,
                realm=_REALM,
                folder=folder,
                user=_unprivileged(),
            )
        )
        # Without a name of its own it would share memory with other instances.
        return [command, "-N", "-n", f"tests{ports[0]}", "-f", str(config)]

    return running(make, folder, ports=2)


def tinyproxy(folder: Path, *, closed: bool = False) -> Ports:
    command = program("tinyproxy", "tinyproxy-bin")

    def make(ports: Sequence[int]) -> list[str]:
        config = folder / "tinyproxy.conf"
        # Its passwords can't have a space in them.
        auth = f"BasicAuth {USER} {PASSWORD.replace(' ', '-')}\n" if closed else ""
        config.write_text(f"Port {ports[0]}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\n{auth}")
        return [command, "-d", "-c", str(config)]

    return running(make, folder)


def microsocks(folder: Path, *, closed: bool = False) -> Ports:
    command = program("microsocks")

    def make(ports: Sequence[int]) -> list[str]:
        auth = ["-u", USER, "-P", PASSWORD] if closed else []
        return [command, "-i", "127.0.0.1", "-p", str(ports[0]), *auth]

    return running(make, folder)


_DANTE = """\
logoutput: {folder}/danted.log
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.unprivileged: {user}
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 protocol: tcp }}
"""


def dante(folder: Path) -> Ports:
    """SOCKS 4, 4a and 5."""
    command = program("danted", "dante-server")
    _open_to_others(folder)

    def make(ports: Sequence[int]) -> list[str]:
        config = folder / "danted.conf"
        config.write_text(_DANTE.format(folder=folder, port=ports[0], user=_unprivileged()))
        return [command, "-f", str(config), "-N", "1", "-p", str(folder / "danted.pid")]

    return running(make, folder)


def stunnel(folder: Path, certificate: Path, behind: int) -> Ports:
    """TLS in front of the proxy that listens on the port ``behind``."""
    command = program("stunnel", "stunnel4")

    def make(ports: Sequence[int]) -> list[str]:
        config = folder / "stunnel.conf"
        config.write_text(
            f"foreground = yes\npid =\nsyslog = no\n[proxy]\naccept = 127.0.0.1:{ports[0]}\n"
            f"connect = 127.0.0.1:{behind}\ncert = {certificate}\n"
        )
        return [command, str(config)]

    return running(make, folder)


def _unprivileged() -> str:
    import getpass
    import os

    return "nobody" if os.getuid() == 0 else getpass.getuser()


def _open_to_others(folder: Path) -> None:
    """Let a daemon that gives its privileges up into the folder."""
    folder.chmod(0o777)
    for parent in folder.parents:
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(parent.stat().st_mode | 0o011)


@contextlib.contextmanager
def all_of_them(folder: Path) -> Iterator[dict[str, str]]:
    """The URLs of all proxies that are installed here."""
    import trustme

    certificate = folder / "proxy.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        str(certificate)
    )
    known = f"{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1"
    with contextlib.ExitStack() as stack:

        def start(name: str, make: object, *arguments: object, **options: object) -> list[int]:
            place = folder / name
            place.mkdir()
            assert callable(make)
            return stack.enter_context(make(place, *arguments, **options))

        basic = start("squid-basic", squid, "basic")
        digest = start("squid-digest", squid, "digest")
        tiny = start("tinyproxy", tinyproxy)
        front = start("stunnel", stunnel, certificate, tiny[0])
        micro = start("microsocks", microsocks)
        closed = start("microsocks-closed", microsocks, closed=True)
        socks = start("dante", dante)
        yield {
            "squid": f"http://127.0.0.1:{basic[0]}",
            "squid, Basic": f"http://{known}:{basic[1]}",
            "squid, Digest": f"http://{known}:{digest[1]}",
            "tinyproxy": f"http://127.0.0.1:{tiny[0]}",
            "stunnel before tinyproxy": f"https://localhost:{front[0]}",
            "microsocks": f"socks5h://127.0.0.1:{micro[0]}",
            "microsocks with a password": f"socks5h://{known}:{closed[0]}",
            "dante": f"socks5h://127.0.0.1:{socks[0]}",
            "dante, SOCKS 4": f"socks4a://127.0.0.1:{socks[0]}",
        }


if __name__ == "__main__":
    place = Path(tempfile.mkdtemp(prefix="proxies-"))
    try:
        with contextlib.suppress(KeyboardInterrupt), all_of_them(place) as urls:
            for name, url in urls.items():
                print(f"{name:30}{url}", flush=True)
            while True:
                time.sleep(3600)
    finally:
        shutil.rmtree(place, ignore_errors=True)
