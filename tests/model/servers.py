"""What the servers do with a call, and what they do by themselves: registry, transaction coordinator, group, store.

Each function takes a state and gives the outcome with the next state, as obs-dump.md §1–§3 and Kafka's coordinator have it.
Nothing here knows what a unit may do: that is `unit.py`.
"""

from __future__ import annotations

from typing import Final

from smartconnect.jobs.obs_dump.steps import Outcome
from tests.model.state import (
    ENDED,
    NOBODY,
    Content,
    Gone,
    Inc,
    Label,
    Late,
    Pc,
    Phase,
    State,
    Txn,
    Upload,
    Work,
    all_fenced,
    gone,
    unfinished,
    with_inc,
    with_txn,
)

Answer = tuple[Outcome, State]

UNREADABLE: Final = 2
"""So many commits may wait to become readable: more of them would only make OffsetFetch wait longer."""

DECIDED: Final = (Phase.COMMITTED, Phase.ABORTED)


def take_unit(state: State, inc: Inc) -> State:
    """A slot is taken: the registry's epoch of the unit grows. Stale starters of an older plan do this too."""
    index = len(state.incs)
    owners = tuple(index if plan == inc.plan else owner for plan, owner in enumerate(state.owners))
    return state._replace(owners=owners, incs=(*state.incs, inc))


def check_registry(state: State, index: int) -> Answer:
    """Are plan and epoch still those of the incarnation?"""
    plan = state.incs[index].plan
    ours = state.plan == plan and state.owners[plan] == index
    return (Outcome.OK if ours else Outcome.FENCED), state


def _new_epoch_for(state: State, tx: int, txn: Txn) -> State:
    """The epoch of a transactional id changes: late calls of the old one are refused for ever."""
    if any(inc.late and inc.tx == tx for inc in state.incs):
        incs = tuple(inc._replace(late=Late.NONE) if inc.late and inc.tx == tx else inc for inc in state.incs)
        state = state._replace(incs=incs)
    return with_txn(state, tx, txn)


def init_producer(state: State, tx: int, holder: int) -> Answer:
    """InitProducerId with id -1: an open transaction is aborted first (epoch fence), a decided one completed first."""
    txn = state.txns[tx]
    if txn.phase == Phase.OPEN:
        return Outcome.BUSY, time_out(state, tx)
    if txn.phase in DECIDED:
        return Outcome.BUSY, state
    return Outcome.OK, _new_epoch_for(state, tx, Txn(holder, Phase.NONE, txn.content))


def fence_older(state: State, index: int, tx: int) -> Answer:
    """InitProducerId for the unit of an older plan. With the last of them step 2 is done, and recorded."""
    outcome, state = init_producer(state, tx, NOBODY)
    if outcome is not Outcome.OK:
        return outcome, state
    inc = state.incs[index]
    inc = inc._replace(older=inc.older | 1 << tx)
    if all_fenced(inc, state.retired):
        state = state._replace(retired=max(state.retired, inc.plan))
    return outcome, with_inc(state, index, inc)


def new_epoch(state: State, index: int) -> Answer:
    """InitProducerId with our own (id, epoch). While a transaction is open the coordinator compares the id alone: it aborts
    the transaction, *whoever's it is*, with an epoch that nobody knows, and the repeated call is fenced (but see `abort_own`)."""
    tx = state.incs[index].tx
    txn = state.txns[tx]
    if txn.phase == Phase.OPEN:
        return Outcome.BUSY, time_out(state, tx)
    if txn.phase in DECIDED:
        return Outcome.BUSY, state
    if txn.holder != index:
        return Outcome.FENCED, state
    return Outcome.OK, _new_epoch_for(state, tx, Txn(index, Phase.NONE, txn.content))


def abort_own(state: State, index: int) -> State:
    """As `new_epoch` on an open transaction of the caller, by a coordinator that can tell it from a stranger's: the repeated
    call is answered with a new epoch."""
    tx = state.incs[index].tx
    return _new_epoch_for(state, tx, Txn(index, Phase.ABORTED, state.txns[tx].content))


def time_out(state: State, tx: int) -> State:
    """The coordinator aborts an open transaction and fences its producer."""
    return _new_epoch_for(state, tx, Txn(NOBODY, Phase.ABORTED, state.txns[tx].content))


def add_offsets(state: State, index: int) -> Answer:
    """AddOffsetsToTxn opens the transaction."""
    tx = state.incs[index].tx
    txn = state.txns[tx]
    if txn.holder != index:
        return Outcome.FENCED, state
    if txn.phase in DECIDED:
        return Outcome.BUSY, state
    return Outcome.OK, with_txn(state, tx, txn._replace(phase=Phase.OPEN))


def txn_offset_commit(state: State, index: int, content: Content) -> Answer:
    """TxnOffsetCommit: pending at the group. Out of a transaction, a broker that does not verify lets it hang there."""
    tx = state.incs[index].tx
    txn = state.txns[tx]
    if txn.holder != index:
        return Outcome.FENCED, state
    if txn.phase in DECIDED:
        return Outcome.BUSY, state
    return Outcome.OK, with_txn(state, tx, txn._replace(content=content))


def end_txn(state: State, index: int) -> State:
    """A copy of the EndTxn that `index` has under way arrives. It has an effect only on an open transaction of its epoch."""
    inc = state.incs[index]
    txn = state.txns[inc.tx]
    if txn.phase != Phase.OPEN or txn.holder != index:
        return state
    decision = Phase.COMMITTED if inc.late == Late.COMMIT else Phase.ABORTED
    return with_txn(state, inc.tx, txn._replace(phase=decision))


def end_outcome(state: State, index: int, commit: bool) -> Outcome:
    """What the coordinator answers to an EndTxn that has arrived. With nothing open there is nothing to abort."""
    txn = state.txns[state.incs[index].tx]
    if txn.holder != index:
        return Outcome.FENCED
    if txn.phase in (Phase.COMMITTED, Phase.DONE_COMMIT):
        return Outcome.OK if commit else Outcome.FENCED
    if txn.phase == Phase.OPEN:
        return Outcome.BUSY
    return Outcome.FENCED if commit else Outcome.OK


def write_marker(state: State, tx: int) -> State:
    """The markers of a decided transaction are written; what the producer had pending is decided with it. An abort shows
    at once: showing it later would only make a reader wait."""
    txn = state.txns[tx]
    phase = Phase.DONE_COMMIT if txn.phase == Phase.COMMITTED else Phase.DONE_ABORT
    if txn.phase == Phase.COMMITTED and txn.content is not None:
        state = state._replace(decided=(*state.decided, txn.content))
    return with_txn(state, tx, Txn(txn.holder, phase, None))


def materialise(state: State) -> State:
    """OffsetFetch shows the oldest decided commit."""
    return state._replace(position=state.decided[0], decided=state.decided[1:])


def unstable(state: State) -> bool:
    """Would OffsetFetch with require_stable answer UNSTABLE_OFFSET_COMMIT?"""
    return bool(state.decided) or any(txn.content is not None for txn in state.txns)


def complete(state: State, upload: Upload) -> Answer:
    """CompleteMultipartUpload: the object appears, or the upload is gone."""
    if gone(state, upload.label):
        return Outcome.GONE, state
    shown = state.shown
    if not (upload.key != upload.label and gone(state, upload.key) == Gone.VISIBLE):
        shown = _with_range(shown, upload.start, upload.end)
    return Outcome.OK, _mark(state._replace(shown=shown), upload.label, Gone.VISIBLE)


def abort(state: State, label: Label) -> Answer:
    """AbortMultipartUpload."""
    if gone(state, label):
        return Outcome.GONE, state
    return Outcome.OK, _mark(state, label, Gone.ABORTED)


def take(state: State, label: Label) -> State:
    """A reader takes the object and deletes it."""
    return _mark(state, label, Gone.TAKEN)


def listing(state: State) -> tuple[Label, ...]:
    """ListMultipartUploads, as far as it matters: uploads that somebody may still name. Aborting any other is nothing."""
    return tuple(sorted({up.label for up in named(state) if not gone(state, up.label)}, key=str))


def forget(state: State) -> State:
    """Drops what can make no difference any more, so that equal situations are equal states: the fate of uploads that
    nobody will name again, and a transaction's outcome that nobody waits for."""
    for index, inc in enumerate(state.incs):
        if not inc.late:
            continue
        if state.txns[inc.tx].holder != index:
            inc = inc._replace(late=Late.NONE)
            state = with_inc(state, index, ENDED if inc.pc == Pc.ENDED else inc)
        elif inc.pc == Pc.ENDED and state.txns[inc.tx].phase != Phase.OPEN:
            state = with_inc(state, index, ENDED)
    for tx, txn in enumerate(state.txns):
        if txn.phase >= Phase.DONE_COMMIT and not _awaited(state, txn):
            txn = txn._replace(phase=Phase.NONE)
            state = with_txn(state, tx, txn)
        if txn.holder != NOBODY and state.incs[txn.holder] is ENDED:
            state = with_txn(state, tx, txn._replace(holder=NOBODY))
    if state.store:
        names = {name for up in named(state) for name in (up.label, up.key)}
        kept = tuple(item for item in state.store if item[0] in names)
        if len(kept) != len(state.store):
            state = state._replace(store=kept)
    return state


def _awaited(state: State, txn: Txn) -> bool:
    return txn.holder != NOBODY and state.incs[txn.holder].work not in (Work.IDLE, Work.RECOVERING)


def named(state: State) -> list[Upload]:
    """Uploads that a content, or an incarnation, may still name."""
    found = list(state.position.entries)
    for content in state.decided:
        found += content.entries
    for txn in state.txns:
        if txn.content is not None:
            found += txn.content.entries
    for inc in state.incs:
        found += unfinished(inc)
        found += inc.sealed
        found += inc.opened
        if inc.content is not None:
            found += inc.content.entries
    return found


def _mark(state: State, label: Label, fate: int) -> State:
    others = [item for item in state.store if item[0] != label]
    return state._replace(store=tuple(sorted([*others, (label, fate)], key=str)))


def _with_range(shown: tuple[tuple[int, int], ...], start: int, end: int) -> tuple[tuple[int, int], ...]:
    """Adds a range; ranges that touch become one, ranges that overlap stay two: that is how a duplicate is seen."""
    ranges = sorted([*shown, (start, end)])
    merged = [ranges[0]]
    for low, high in ranges[1:]:
        if merged[-1][1] == low:
            merged[-1] = (merged[-1][0], high)
        else:
            merged.append((low, high))
    return tuple(merged)
