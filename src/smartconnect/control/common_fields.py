"""Fields that every kind of task has, and the rule about names (api.md §4)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from smartconnect.domain.fields import Text, quoted
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.task import Task

TASK_NAME = Text(
    "task_name",
    required=True,
    pattern=re.compile(r"[A-Za-z0-9_-]{4,64}"),
    form='4–64 of letters, digits, "_", "-"',
)

SIDE_NAMES = ("source_task", "sink_task")
TOP_LEVEL = ("topics", "topics_regex", "source_type", "sink_type", *SIDE_NAMES, "options")
"""Top-level fields that the job reads."""

RESPONSE_ONLY = ("id", "status", "create_time", "start_later")
"""Ignored in silence by modify, so that a shown task can be sent back."""


def name_problems(name: str, others: Iterable[Task]) -> list[Problem]:
    """Whether one of the instance's other tasks has the name already."""
    return [name_problem(name)] if any(other.name == name for other in others) else []


def name_problem(name: str) -> Problem:
    return Problem("task_name", f"{quoted(name)} is the name of another task of this instance", ProblemKind.BETWEEN_FIELDS)
