"""Paging of lists (api.md §6, §7), from query parameters as they came: text or absent."""

from __future__ import annotations

import re
from dataclasses import dataclass

from smartconnect.control import codes
from smartconnect.control.refusals import Refusal
from smartconnect.domain.fields import quoted
from smartconnect.domain.problems import Problem

MAX_OFFSET = (1 << 31) - 1
_INTEGER = re.compile(r"-?[0-9]{1,100}")


@dataclass(frozen=True, slots=True)
class Page:
    """`offset` counts records."""

    offset: int
    limit: int


def task_page(offset: str | None, limit: str | None) -> Page:
    """A page of tasks: limit 1–50, 10 if absent; too much of either has a code of its own."""
    page, problems = _read(offset, limit, default=10, minimum=1)
    if problems:
        raise Refusal(codes.INVALID_PARAMETER, problems)
    if page.limit > 50:
        raise Refusal(codes.PAGE_TOO_LARGE, [Problem("limit", f"must be from 1 to 50, not {page.limit}")])
    if page.offset > MAX_OFFSET:
        raise Refusal(codes.OFFSET_TOO_LARGE, [Problem("offset", f"must be from 0 to {MAX_OFFSET}, not {page.offset}")])
    return page


def partition_page(offset: str | None, limit: str | None) -> Page:
    """A page of progress rows: limit 0–5000, 500 if absent."""
    page, problems = _read(offset, limit, default=500, minimum=0)
    if page.limit > 5000:
        problems.append(Problem("limit", f"must be from 0 to 5000, not {page.limit}"))
    if page.offset > MAX_OFFSET:
        problems.append(Problem("offset", f"must be from 0 to {MAX_OFFSET}, not {page.offset}"))
    if problems:
        raise Refusal(codes.INVALID_PARAMETER, problems)
    return page


def _read(offset: str | None, limit: str | None, *, default: int, minimum: int) -> tuple[Page, list[Problem]]:
    problems: list[Problem] = []
    page = Page(offset=_number("offset", offset, 0, 0, problems), limit=_number("limit", limit, default, minimum, problems))
    return page, problems


def _number(name: str, text: str | None, default: int, minimum: int, problems: list[Problem]) -> int:
    if text is None:
        return default
    if not _INTEGER.fullmatch(text) or int(text) < minimum:
        problems.append(Problem(name, f"must be an integer of at least {minimum}, not {quoted(text)}"))
        return default
    return int(text)
