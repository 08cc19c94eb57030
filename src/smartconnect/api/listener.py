"""Which listeners are acceptable: no authentication only on loopback; beyond loopback only with TLS, ours or that of a proxy in front
(api.md §3, architecture.md §6). `app.py` asks before it listens.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from smartconnect.api.access import AuthMode
from smartconnect.domain.errors import SettingsInvalid


@dataclass(frozen=True, slots=True)
class Listener:
    """`listen`: "127.0.0.1:8080", "[::1]:8080", "localhost:8080"."""

    listen: str
    mode: AuthMode
    has_tls: bool
    behind_proxy: bool

    def host_and_port(self) -> tuple[str, int]:
        """SettingsInvalid if `listen` is no "host:port"."""
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise SettingsInvalid(f'api.listen must be "host:port", not "{self.listen}"')
        return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """Names other than localhost are not: what they resolve to may change."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_listener(listener: Listener) -> None:
    """Raise SettingsInvalid for a listener that would let strangers in or secrets out."""
    host, _ = listener.host_and_port()
    if is_loopback(host):
        return
    if listener.mode is AuthMode.NONE:
        raise SettingsInvalid(f'api.auth = "none" is only accepted on a loopback address, not on {listener.listen}')
    if not listener.has_tls and not listener.behind_proxy:
        raise SettingsInvalid(
            f"api.listen {listener.listen} is beyond loopback: set api.tls_cert_file and api.tls_key_file, "
            "or api.behind_proxy = true if something in front of it speaks TLS"
        )
