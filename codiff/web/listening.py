"""The place where the page is served."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from codiff.errors import InputError


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound before anything slow is done, so that nobody else takes the port meanwhile.

    Args:
        host: an address or a name of this machine.
        port: 0 for any that is free.

    Raises:
        InputError: the port is in use or not allowed, or the host is none of this machine's.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"a port is from 0 to 65535, not {port}; 0 takes any that is free")
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"there is no host {host!r}; give an address of this machine, such as 127.0.0.1") from error
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two programs share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise InputError(_explain(error, host, port)) from error
    return listener


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def address_of(listener: socket.socket) -> str:
    """What to type into a browser on this machine."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; choose another: --port {port % 65535 + 1}, or --port 0 for a free one"
    if error.errno == errno.EACCES:
        return f"port {port} is not allowed for you; choose one from 1024 up, such as --port 7860"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine; 127.0.0.1 is, and 0.0.0.0 stands for all it has"
    return f"cannot listen on {host}, port {port}: {error.strerror or error}"
