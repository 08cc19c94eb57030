"""What becomes of each fetched batch: the table of kafka-replication.md §3 as one pure function. First match wins; neighbours with the same
fate go together. Called by the intake for each partition of a fetch answer."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from smartconnect.kernels import Batch, Codec, Kind

LOG_APPEND_TIME: Final = 0x08
COALESCE_BELOW: Final = 4 << 10


class Fate(enum.StrEnum):
    """Skipped: the position moves over it. Forwarded: as bytes. Recoded: its records are written anew."""

    SKIP = "skip"
    FORWARD = "forward"
    RECODE = "recode"


class Group(NamedTuple):
    """Consecutive batches with one fate. `next_offset`: source offset behind them."""

    fate: Fate
    rows: list[Batch]
    next_offset: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What a task asks of every batch. `codec` None: each keeps its own. `append_time`: readers of LogAppendTime batches see the append
    time, so it becomes the create time."""

    codec: Codec | None = None
    provenance: bool = False
    append_time: bool = True


@dataclass(frozen=True, slots=True)
class Situation:
    """One partition at this moment. `limit`: the target's max.message.bytes. `rewrite`: source offset of a batch that the target refused
    as it was. `coalesce`: so many small batches came at once that they would wait for each other's acks."""

    position: int
    limit: int
    rewrite: int | None = None
    rewrite_all: bool = False
    coalesce: bool = False


def decide(
    rows: Sequence[Batch], rules: Rules, now: Situation, looped: Callable[[int], bool] | None, hits: Counter[str]
) -> list[Group]:
    """Groups in order, together all of `rows`. `looped` tells of a producer id that its batches came from where we write; `hits` counts
    how often each rule decided."""
    groups: list[Group] = []
    fate: Fate | None = None
    group: list[Batch] = []
    for row in rows:
        rule = _rule(row, rules, now, looped)
        hits[rule] += 1
        its = _FATES[rule]
        if its is not fate and group:
            groups.append(Group(fate or its, group, group[-1].last_offset + 1))
            group = []
        fate = its
        group.append(row)
    if group and fate is not None:
        groups.append(Group(fate, group, group[-1].last_offset + 1))
    return groups


def _rule(row: Batch, rules: Rules, now: Situation, looped: Callable[[int], bool] | None) -> str:
    """The first rule of §3 that fits."""
    if row.kind is not Kind.DATA:
        return "legacy" if row.kind is Kind.LEGACY and row.last_offset >= now.position else _SKIPPED[row.kind]
    if row.last_offset < now.position:
        return "behind"
    if looped is not None and row.producer_id >= 0 and looped(row.producer_id):
        return "looped"
    if row.base_offset < now.position:
        return "sliced"
    if row.count != row.last_offset - row.base_offset + 1:
        return "compacted"
    if rules.provenance:
        return "provenance"
    if rules.codec is not None and row.codec is not rules.codec:
        return "codec"
    if row.attributes & LOG_APPEND_TIME and rules.append_time:
        return "append_time"
    if row.end - row.start > now.limit:
        return "too_large"
    if now.rewrite_all or (now.rewrite is not None and row.base_offset <= now.rewrite <= row.last_offset):
        return "refused"
    return "coalesced" if now.coalesce else "passed"


_SKIPPED: Final = {
    Kind.CONTROL: "control",
    Kind.ABORTED: "aborted",
    Kind.EMPTY: "empty",
    Kind.LEGACY: "behind",
}

_FATES: Final = {
    "control": Fate.SKIP,
    "aborted": Fate.SKIP,
    "empty": Fate.SKIP,
    "behind": Fate.SKIP,
    "looped": Fate.SKIP,
    "legacy": Fate.RECODE,
    "sliced": Fate.RECODE,
    "compacted": Fate.RECODE,
    "provenance": Fate.RECODE,
    "codec": Fate.RECODE,
    "append_time": Fate.RECODE,
    "too_large": Fate.RECODE,
    "refused": Fate.RECODE,
    "coalesced": Fate.RECODE,
    "passed": Fate.FORWARD,
}
