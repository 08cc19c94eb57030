"""Which of a bucket's own rules abort uploads under way. Pure; a rule that is shorter than our longest absence can destroy a prepared
upload (obs-dump §4, F1), so the dump warns at creation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def smallest_abort_days(rules: Iterable[Mapping[str, Any]], prefix: str) -> int | None:
    """The smallest `DaysAfterInitiation` of the enabled rules that touch keys under `prefix`; None if there is none."""
    days = [
        int(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
        for rule in rules
        if rule.get("Status") == "Enabled"
        and rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        and _touches(_prefix_of(rule), prefix)
    ]
    return min(days, default=None)


def _prefix_of(rule: Mapping[str, Any]) -> str:
    """Rules of three generations: `Prefix`, `Filter.Prefix`, `Filter.And.Prefix`."""
    filtered = rule.get("Filter", {})
    return str(rule.get("Prefix") or filtered.get("Prefix") or filtered.get("And", {}).get("Prefix") or "")


def _touches(of_rule: str, ours: str) -> bool:
    return of_rule.startswith(ours) or ours.startswith(of_rule)
