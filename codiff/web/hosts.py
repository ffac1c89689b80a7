"""Names that the page is reached by, and which other pages may call it: none."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit


class Hosts:
    """Names in the Host header that are ours.

    A name that others own may point to this machine (DNS rebinding): their pages would then be of the same origin as
    this one, and could use it with the rights of whoever looks at them. Addresses in digits cannot be abused so.

    Args:
        names: beyond localhost and the machine's own name.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        machine = socket.gethostname().lower()
        self._names = {"localhost", machine, f"{machine}.local", *(name.lower() for name in names)}

    def add(self, name: str) -> None:
        """One more name is ours."""
        self._names.add(name.lower())

    def know(self, host: str) -> bool:
        """Whether a Host header, "name", "name:port" or an address, is ours."""
        name, _port = _split(host)
        return name is not None and (name in self._names or name.endswith(".localhost") or _is_address(name))


def same_origin(origin: str, hosts: Iterable[str]) -> bool:
    """Whether an Origin header ("https://name:port") tells of a page of one of these Host headers.

    A Host header without a port, as some proxies pass it on, matches any port.
    """
    name, port = _split(origin.partition("://")[2])
    if name is None:
        return False
    for host in hosts:
        own_name, own_port = _split(host)
        if own_name == name and own_port in (None, port):
            return True
    return False


def _split(host: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(f"//{host}")
        plain = parts.netloc == host and "@" not in host
        return (parts.hostname, parts.port) if plain else (None, None)
    except ValueError:
        return None, None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
