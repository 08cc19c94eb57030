"""Warnings that a call leaves with the task as events: fields that were ignored, and what live checks found worth telling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smartconnect.control.secrecy import Unquoted
from smartconnect.domain.problems import Problem
from smartconnect.domain.progress import Event, Level


def warning_events(now_ms: int, ignored: Sequence[str], warnings: Iterable[Problem], hidden: Unquoted) -> list[Event]:
    """One event for all ignored fields, one for each warning; without the secrets that are `hidden`."""
    told = [("live_check", f"{problem.field}: {problem.reason}") for problem in warnings]
    if ignored:
        told.append(("unknown_fields", f"ignored: {', '.join(ignored)}"))
    return [Event(now_ms, Level.WARNING, code, hidden.clean(message)) for code, message in told]
