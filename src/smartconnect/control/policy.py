"""The values of `[control]` that decide what users may do, as control needs them; `app.py` makes this from the settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ControlPolicy:
    """`max_tasks` of one instance; whether create and modify check connections live; seconds for all live checks of one call."""

    max_tasks: int = 18
    check_connections: bool = True
    check_timeout_s: float = 10
