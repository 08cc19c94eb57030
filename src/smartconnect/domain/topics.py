"""Which topics a task means: the comma list `topics`, or a pattern that must match the whole name (api.md §4). Pure: the compiled
pattern is passed in as a function, so that this package needs no regular-expression engine. Called by jobs, to validate a request,
to select topics of a cluster and to see whether two tasks may meet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from smartconnect.domain.fields import quoted

MAX_TOPICS = 20
INTERNAL_PREFIX = "__"
Matcher = Callable[[str], bool]

_LEGAL = re.compile(r"[A-Za-z0-9._-]{1,249}")


def is_legal_topic(name: str) -> bool:
    """Kafka's own rule: up to 249 of letters, digits, ".", "_", "-"; not "." or ".."."""
    return _LEGAL.fullmatch(name) is not None and name not in (".", "..")


def split_topics(text: str) -> tuple[str, ...]:
    """The names of a comma list; blanks around names do not count."""
    return tuple(name.strip() for name in text.split(","))


def topic_list_reasons(text: str) -> list[str]:
    """Why a comma list is refused, one sentence each; empty if it is fine. Names that start with "__" are checked apart
    (`internal_names`): not every kind of task refuses them."""
    names = split_topics(text)
    reasons = []
    if len(names) > MAX_TOPICS:
        reasons.append(f"must name at most {MAX_TOPICS} topics, not {len(names)}")
    if "" in names:
        reasons.append("has an empty name between its commas")
    seen: set[str] = set()
    for name in dict.fromkeys(names[: MAX_TOPICS + 1]):
        if name and not is_legal_topic(name):
            reasons.append(f'{quoted(name)} is no legal topic name (1–249 letters, digits, ".", "_", "-")')
    for name in names:
        if name and name in seen:
            reasons.append(f"names {quoted(name)} more than once")
            break
        seen.add(name)
    return reasons


def internal_names(names: Iterable[str]) -> list[str]:
    """Those that belong to Kafka itself or to a tool: they start with "__"."""
    return [name for name in names if name.startswith(INTERNAL_PREFIX)]


@dataclass(frozen=True, slots=True)
class TopicSelection:
    """The topics of one task: `names`, or those that `matches` accepts (None: no pattern). A pattern never selects names that start
    with "__"."""

    names: frozenset[str]
    matches: Matcher | None = None

    def selects(self, topic: str) -> bool:
        if self.matches is None:
            return topic in self.names
        return not topic.startswith(INTERNAL_PREFIX) and self.matches(topic)

    def common_with(self, other: TopicSelection) -> str | None:
        """What both may select, in words; None if they cannot meet. Two patterns are assumed to meet: whether they do is not decided."""
        if self.matches is not None and other.matches is not None:
            return "topics that both patterns may match"
        listed, tested = (other, self) if self.matches is not None else (self, other)
        common = sorted(name for name in listed.names if tested.selects(name))
        return f"topic {quoted(common[0])}" if common else None
