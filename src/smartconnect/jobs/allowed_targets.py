"""Which addresses tasks may name: `[control] allowed_targets`, host patterns and CIDRs, empty for any (architecture.md §6). Without it
whoever may create tasks can try hosts and ports of the service's network. Pure. Called by jobs whose requests carry addresses.
"""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Sequence


def is_allowed(host: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns allows the host: an address by a CIDR that holds it, a name or address by a pattern with `*`. Names are
    not resolved, so a CIDR allows no name."""
    return not patterns or any(_matches(host.lower(), pattern.strip().lower()) for pattern in patterns)


def _matches(host: str, pattern: str) -> bool:
    if fnmatch.fnmatchcase(host, pattern):
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return False
