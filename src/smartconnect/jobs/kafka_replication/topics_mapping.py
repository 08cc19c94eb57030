"""The text of `topics_mapping`, `source:target,…` (api.md §4.2): read, and why it is refused. Pure; called by request and its rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from smartconnect.domain.fields import quoted
from smartconnect.domain.topics import INTERNAL_PREFIX, is_legal_topic
from smartconnect.jobs.kafka_replication.naming import is_internal

MAX_PAIRS: Final = 20


def split_mapping(text: str) -> dict[str, str]:
    """Source → target of a text that `mapping_reasons` accepts; of another one, the pairs that can be told. Blanks around names do not
    count."""
    return dict(pair for pair in _pairs(text) if all(pair))


def mapping_reasons(text: str) -> list[str]:
    """Why a mapping is refused in itself, one sentence each; empty if it is fine."""
    parts = text.split(",")
    if len(parts) > MAX_PAIRS:
        return [f"must have at most {MAX_PAIRS} pairs, not {len(parts)}"]
    reasons = [
        f"{quoted(part.strip())} is not source:target"
        for part in parts
        if part.count(":") != 1 or not all(map(str.strip, part.split(":")))
    ]
    if reasons:
        return reasons
    pairs = _pairs(text)
    for name in dict.fromkeys(name for pair in pairs for name in pair):
        if not is_legal_topic(name):
            reasons.append(f'{quoted(name)} is no legal topic name (1–249 letters, digits, ".", "_", "-")')
    for source, target in pairs:
        if is_internal(source):
            reasons.append(f'{quoted(source)} is never replicated: it starts with "__" or ends with "internal"')
        if target.startswith(INTERNAL_PREFIX):
            reasons.append(f'{quoted(target)} is no target: names that start with "__" are internal to Kafka')
    reasons += [f"has the source {quoted(name)} more than once" for name in _repeated(source for source, _ in pairs)]
    reasons += [f"has the target {quoted(name)} more than once" for name in _repeated(target for _, target in pairs)]
    return reasons


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = (part.partition(":") for part in text.split(","))
    return [(source.strip(), target.strip()) for source, _, target in pairs]


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name in names:
        if name in seen:
            twice[name] = None
        seen.add(name)
    return list(twice)
