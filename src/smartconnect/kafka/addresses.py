"""`host:port,host:port` → addresses. Used wherever a cluster's addresses are given by a user."""

from __future__ import annotations

from smartconnect.domain.errors import SettingsInvalid


def parse_addresses(text: str) -> list[tuple[str, int]]:
    """Addresses of `bootstrap_servers`; IPv6 hosts in brackets. SettingsInvalid names the part that is wrong."""
    addresses = []
    for part in text.split(","):
        host, colon, port = part.strip().rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
            raise SettingsInvalid(f"bootstrap_servers: {part.strip()!r} is not host:port")
        addresses.append((host, int(port)))
    return addresses
