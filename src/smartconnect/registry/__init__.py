"""Tasks, plans, units, starts, progress, secrets, events and audit, in SQLite. `Registry` is its one door."""

from smartconnect.registry.database import Timing
from smartconnect.registry.registry import Registry

__all__ = ["Registry", "Timing"]
