"""Warnings that a call leaves with the task as events: fields that were ignored, and what live checks found worth telling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smartconnect.domain.problems import Problem
from smartconnect.domain.progress import Event, Level


def warning_events(now_ms: int, ignored: Sequence[str], warnings: Iterable[Problem]) -> list[Event]:
    """One event for all ignored fields, one for each warning."""
    events = [Event(now_ms, Level.WARNING, "live_check", f"{problem.field}: {problem.reason}") for problem in warnings]
    if ignored:
        events.append(Event(now_ms, Level.WARNING, "unknown_fields", f"ignored: {', '.join(ignored)}"))
    return events
