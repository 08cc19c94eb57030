"""A log of JSON lines that several processes write, some of which are killed in the middle of a line."""

from __future__ import annotations

import json
from typing import Any


def log_lines(text: str) -> list[dict[str, Any]]:
    """What can be read of each line: behind half a line of a killed process stands the next one's whole line. What is no JSON is left
    out."""
    return [entry for line in text.splitlines() if (entry := _entry(line)) is not None]


def _entry(line: str) -> dict[str, Any] | None:
    at = line.find("{") if line.startswith("{") else -1
    while at >= 0:
        try:
            found: dict[str, Any] = json.loads(line[at:])
        except json.JSONDecodeError:
            at = line.find('{"', at + 1)
        else:
            return found
    return None
