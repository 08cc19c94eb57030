"""Which consumer groups have their offsets translated: `groups_include` and `groups_exclude`, comma lists of RE2 patterns that match a
group's whole name (kafka-replication.md §7). Pure. Called by request and checks, and by the sync of groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from smartconnect.domain.fields import Unfit, quoted
from smartconnect.domain.kafka_replication_spec import ReplicationOptions
from smartconnect.domain.topics import Matcher
from smartconnect.jobs.topic_pattern import compile_pattern

OURS: Final = "smartconnect."


def group_patterns(text: str) -> tuple[Matcher, ...]:
    """The patterns of a comma list. Raises `Unfit` naming the one that is none."""
    matchers = []
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            matchers.append(compile_pattern(part))
        except Unfit as unfit:
            raise Unfit(f"{quoted(part)} {unfit}") from None
    return tuple(matchers)


def group_selector(options: ReplicationOptions) -> Callable[[str], bool]:
    """Whether a group's offsets are translated; groups of this service never are."""
    include, exclude = group_patterns(options.groups_include), group_patterns(options.groups_exclude)

    def selects(group: str) -> bool:
        return not group.startswith(OURS) and any(matches(group) for matches in include) and not any(m(group) for m in exclude)

    return selects
