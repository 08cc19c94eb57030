"""What must hold in every state: (a)–(d) of obs-dump.md §12.5, and the order in which promise (1) lets objects appear."""

from __future__ import annotations

from itertools import pairwise

from tests.model.state import Content, Gone, Label, Phase, State, Work, committed_contents, unfinished
from tests.model.unit import owns


def broken(state: State, records: int) -> str | None:
    """The invariant that does not hold in this state, with a sentence; None if all hold."""
    shown = state.shown
    for (_, end), (start, _) in pairwise(shown):
        if start < end:
            return f"(a) records {start}…{end - 1} are visible, or were taken, twice"
    if len(shown) > 1:
        return f"(order) records from {shown[1][0]} on are visible before {shown[0][1]}"
    fates = dict(state.store)
    for content in committed_contents(state):
        if any(fates.get(up.label) == Gone.ABORTED for up in content.entries):
            return f"(c) the committed offset {content.end} names an aborted upload"
        lost = _first_uncovered(state, content, fates)
        if lost < content.end:
            return f"(b) record {lost} is below the committed offset {content.end} and in no object and no named upload"
    return _caught_up(state, records)


def _first_uncovered(state: State, content: Content, fates: dict[Label, int]) -> int:
    reached = state.shown[0][1]
    for up in content.entries:
        if up.start <= reached < up.end and up.label not in fates:
            reached = up.end
    return reached


def caught_up(state: State, records: int) -> bool:
    """Has an owner dumped all there is, finished every entry, and is at rest?"""
    for index, inc in enumerate(state.incs):
        txn = state.txns[inc.tx]
        if txn.holder == index and txn.phase in (Phase.NONE, Phase.DONE_COMMIT) and owns(inc) and inc.work == Work.IDLE:
            return inc.base.end == records and not unfinished(inc) and inc.plan == state.plan
    return False


def _caught_up(state: State, records: int) -> str | None:
    if caught_up(state, records) and state.shown != ((0, records),):
        return f"(d) the last owner has caught up, yet of {records} records only {state.shown} are visible or taken"
    return None
