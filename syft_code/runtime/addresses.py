"""Hosts and ports as people write them: host:port, an IPv6 address in brackets."""

import ipaddress
import re

MOST_PORT = 65_535
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened at
"""What one listens at, and nobody can be reached at."""
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")


def split(address: str) -> tuple[str, int] | None:
    """Host and port of an address at which somebody can be reached; None if it is none.

    >>> split("north.example.org:8443"), split("[::1]:8443"), split("north"), split("0.0.0.0:1")
    (('north.example.org', 8443), ('::1', 8443), None, None)
    """
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return None
    good = port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= MOST_PORT
    return (host, int(port)) if good and is_host(host) and host not in EVERYWHERE else None


def joined(host: str, port: int) -> str:
    """Host and port as one text.

    >>> joined("::1", 8201), joined("localhost", 8201)
    ('[::1]:8201', 'localhost:8201')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_host(text: str) -> bool:
    """Whether a text is an IP address or a host's name.

    >>> is_host("::1"), is_host("north.example.org"), is_host("north example")
    (True, True, False)
    """
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) <= 253 and _HOST_NAME.fullmatch(text) is not None
    return True
