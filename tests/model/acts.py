"""One line of a log, done in one possible state of the model: is the unit allowed to, can it have got this answer, what follows?

`act` does the line, `effect` lets a request under way take effect.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from smartconnect.jobs.obs_dump.steps import Outcome, Step, StepEvent
from tests.model import servers
from tests.model.ledger import FENCING, STORE, Ledger
from tests.model.logs import Call, Line
from tests.model.state import (
    NOBODY,
    Gone,
    Inc,
    Jan,
    Label,
    Late,
    State,
    Upload,
    Work,
    gone,
    unfinished,
    with_inc,
)
from tests.model.unit import READY, Unit, begun, ended, finished


class Refused(Exception):
    """This state cannot be the one in which the line was made; the message says what speaks against it."""


class Item(NamedTuple):
    """One possibility: a state of the model, and the calls that have not had their effect yet."""

    state: State
    waiting: frozenset[int]


_ENDS: Final = frozenset({Step.END_COMMIT, Step.END_ABORT})
_WAITING: Final = (
    FENCING | STORE | _ENDS | {Step.CHECK_REGISTRY, Step.READ_POSITIONS, Step.HEAD_OBJECT, Step.ADD_OFFSETS, Step.TXN_OFFSET_COMMIT}
)
"""Calls whose effect has a moment of its own between their lines. That of EndTxn is the moment of its answer, which a frozen owner may read
long after its successor has begun; its arrival lives in the state (`Inc.late`)."""

_UNASKED: Final = frozenset({Step.TXN_OFFSET_COMMIT, Step.JANITOR_LIST, Step.READ_POSITIONS, Step.CREATE_UPLOAD, Step.UPLOAD_PART})
"""Answers that need no request in this story: the transaction was about other partitions; the listing counts from its last page;
a position read beside the work changes nothing; uploads are begun and filled side by side."""


def act(ledger: Ledger, item: Item, line: Line) -> Item:
    """Does a line in a state, or raises `Refused`."""
    event = line.event
    slot = ledger.slot(event)
    if slot == NOBODY:
        if event.step in (Step.FENCED, Step.STOPPED):
            return item  # it ended before it had begun
        raise Refused("the incarnation has not logged its start")
    if event.outcome is Outcome.DONE:
        return Item(with_inc(item.state, slot, _local(ledger, item.state.incs[slot], event)), item.waiting)
    if event.outcome is Outcome.SENT:
        assert line.call is not None
        ledger.calls[line.call.number] = line.call
        inc = _sent(ledger, item.state, item.state.incs[slot], event)
        waiting = item.waiting | {line.call.number} if event.step in _WAITING else item.waiting
        return Item(with_inc(item.state, slot, inc), waiting)
    return _answered(ledger, item, slot, line)


def _require(allowed: bool, rule: str) -> None:
    if not allowed:
        raise Refused(rule)


def _sent(ledger: Ledger, state: State, inc: Inc, event: StepEvent) -> Inc:
    unit, step = ledger.unit, event.step
    match step:
        case Step.INIT_PRODUCER:
            _require(unit.may_init(inc), "§1.1: only at the start, and never again after a fence (rule 5)")
        case Step.INIT_OLDER_PLAN:
            _require(unit.may_init_older(inc), "§1.2: after step 1, before step 3")
        case Step.CHECK_REGISTRY:
            _require(unit.may_check(state, inc), "§1.3: after step 1, and after step 2 for each older plan not retired")
        case Step.READ_POSITIONS:
            _require(inc.pc in READY, "§1.4: positions are read after steps 1 to 3")
        case Step.ADD_OFFSETS:
            _require(unit.may_begin(inc), "§2: one transaction at a time, and a new epoch first after a lost answer (rule 4)")
        case Step.TXN_OFFSET_COMMIT:
            return _offer(ledger, inc, event)
        case Step.END_COMMIT | Step.END_ABORT:
            return _end(unit, inc, step is Step.END_COMMIT)
        case Step.NEW_EPOCH:
            _require(unit.may_new_epoch(inc), "rule 4, §8: between two transactions, or at once after a lost answer")
        case _:
            return _sent_to_store(ledger, inc, event)
    return inc


def _offer(ledger: Ledger, inc: Inc, event: StepEvent) -> Inc:
    content = ledger.content(event)
    if ledger.closes(event) and not content.entries:
        content = content._replace(end=inc.base.end)
    if inc.content is None:
        _require(inc.work == Work.ADDED, "§2: TxnOffsetCommit after AddOffsetsToTxn")
        _require(ledger.unit.may_name(inc, content), "§2: names what is committed and not finished, then what is sealed")
        inc = begun(inc, content)
    _require(inc.content == content and ledger.unit.may_offer(inc), "§2: the content is frozen, and offered once")
    return inc


def _end(unit: Unit, inc: Inc, commit: bool) -> Inc:
    _require(unit.may_end(inc, commit), "rules 2 and 3: after commit was sent, the same EndTxn and nothing else")
    late = Late.COMMIT if commit else Late.ABORT
    return inc._replace(work=Work.COMMITTING if commit else Work.ABORTING, late=late)


def _sent_to_store(ledger: Ledger, inc: Inc, event: StepEvent) -> Inc:
    unit, label = ledger.unit, event.upload
    match event.step:
        case Step.CREATE_UPLOAD:
            _require(unit.may_cut(inc), "§1.5: nothing is fetched before predecessors' entries are finished")
        case Step.UPLOAD_PART:
            ready = inc.sealed + inc.base.entries + (inc.content.entries if inc.content is not None else ())
            _require(all(up.label != label for up in ready), "rule 2: a sealed upload is not extended")
        case Step.COMPLETE:
            _require(_may_complete(unit, inc, label), "rule 1: only what is committed, in offset order")
        case Step.HEAD_OBJECT:
            _require(_first(inc, label), "§3: HEAD is for the entry that is being finished")
        case Step.ABORT_UPLOAD:
            assert label is not None
            _require(unit.may_abort_own(inc, label), "rule 2: named by a TxnOffsetCommit, abort not acknowledged")
            opened = tuple(up for up in inc.opened if up.label != label)
            return inc._replace(opened=opened, sealed=tuple(up for up in inc.sealed if up.label != label))
        case Step.JANITOR_LIST:
            _require(unit.may_list(inc), "§8: the janitor of an owner")
        case Step.JANITOR_ABORT:
            assert label is not None
            _require(unit.may_janitor_abort(inc, label), "§8: listed, then proven, and named by no entry or object of ours")
            return inc._replace(listed=tuple(other for other in inc.listed if other != label))
        case _:
            raise Refused(f"{event.step} is no call")
    return inc


def _first(inc: Inc, label: Label | None) -> bool:
    return [up.label for up in unfinished(inc)[:1]] == [label]


def _may_complete(unit: Unit, inc: Inc, label: Label | None) -> bool:
    known = inc.base.entries if inc.content is None else inc.base.entries + inc.content.entries
    return any(up.label == label and unit.may_complete(inc, up) for up in known)


def _local(ledger: Ledger, inc: Inc, event: StepEvent) -> Inc:
    match event.step:
        case Step.SEAL:
            return _seal(ledger, inc, event)
        case Step.REWIND:
            _require(ledger.unit.may_rewind(inc), "an owner forgets what it has not committed")
            return inc._replace(opened=(), sealed=())
        case Step.SKIP_LOST:
            _require(_first(inc, event.upload), "§3: the entry given up is the one that is being finished")
            return finished(inc)
        case Step.JANITOR_PROVE:
            _require(inc.jan == Jan.PROVEN, "§8: a transaction or a new epoch, begun after the listing and acknowledged")
            return inc
        case Step.FENCED | Step.STOPPED:
            return ended(inc)
        case _:
            raise Refused(f"{event.step} is a call")


def _seal(ledger: Ledger, inc: Inc, event: StepEvent) -> Inc:
    assert event.upload is not None and event.offset is not None and event.start is not None
    key = event.upload if event.replaces is None else ledger.keys.get(event.replaces, event.replaces)
    ledger.keys[event.upload] = key
    upload = Upload(event.upload, event.start, event.offset, key)
    _require(any(up.label == upload.label for up in inc.opened), "§2: the upload was begun by this incarnation")
    _require(ledger.unit.may_seal(inc, upload, event.replaces), "§2: a range beyond the position, and of no other object")
    opened = tuple(up for up in inc.opened if up.label != upload.label)
    return inc._replace(opened=opened, sealed=tuple(sorted((*inc.sealed, upload), key=lambda up: up.start)))


def _answered(ledger: Ledger, item: Item, slot: int, line: Line) -> Item:
    """An answer. That of a call that has had no moment of effect yet cannot be OK."""
    state, waiting = item
    event, call, inc = line.event, line.call, item.state.incs[slot]
    if call is None:
        _require(event.step in _UNASKED, "an answer without its request")
    elif event.outcome is Outcome.OK:
        _require(call.number not in waiting, f"no moment at which {event.step} could have been answered OK")
        if event.step is Step.NEW_EPOCH:
            waiting = frozenset(number for number in waiting if not ledger.of_old_epoch(number, event.incarnation))
    elif event.outcome is not Outcome.LOST:
        _require(_could_fail(state, slot, event), f"{event.step} cannot have been answered {event.outcome}")
        waiting = waiting - {call.number}
    return Item(with_inc(state, slot, _informed(ledger, state, inc, slot, event)), waiting)


def _could_fail(state: State, slot: int, event: StepEvent) -> bool:
    """Does the state explain an answer other than OK? BUSY, UNSTABLE, REFUSED and the registry's FENCED need no reason."""
    label = event.upload
    match event.step, event.outcome:
        case ((Step.END_COMMIT | Step.END_ABORT), Outcome.FENCED):
            return servers.end_outcome(state, slot, event.step is Step.END_COMMIT) is Outcome.FENCED
        case ((Step.ADD_OFFSETS | Step.TXN_OFFSET_COMMIT | Step.NEW_EPOCH), Outcome.FENCED):
            return state.txns[state.incs[slot].tx].holder != slot
        case Step.COMPLETE, Outcome.GONE:
            return label is not None and gone(state, label) != 0
        case Step.HEAD_OBJECT, Outcome.GONE:
            return label is not None and gone(state, label) != Gone.VISIBLE
    return True


def _informed(ledger: Ledger, state: State, inc: Inc, slot: int, event: StepEvent) -> Inc:
    """The incarnation that has seen the answer."""
    unit, step, ok = ledger.unit, event.step, event.outcome is Outcome.OK
    match step:
        case Step.CREATE_UPLOAD:
            if not ok:
                return inc
            if event.upload is None:
                raise Refused("the answer to CreateMultipartUpload names the upload")
            return inc._replace(opened=(*inc.opened, Upload(event.upload, -1, -1, event.upload)))
        case Step.READ_POSITIONS:
            return unit.read(inc, ledger.content(event)) if ok and unit.may_read(inc) else inc
        case Step.COMPLETE | Step.HEAD_OBJECT:
            return finished(inc) if ok and _first(inc, event.upload) else inc
        case Step.JANITOR_LIST:
            return unit.listed(inc, event.uploads or ()) if ok else inc
        case Step.UPLOAD_PART | Step.ABORT_UPLOAD | Step.JANITOR_ABORT:
            return inc
        case Step.TXN_OFFSET_COMMIT if ok and inc.content is None:
            return inc
    if event.outcome is Outcome.FENCED and step is not Step.CHECK_REGISTRY:
        return inc._replace(work=Work.OUT)
    return unit.answered(inc, step, event.outcome)


def effect(ledger: Ledger, state: State, call: Call) -> State | None:
    """The state in which a call under way has had the effect that its answer tells; None if it cannot have it now."""
    slot, step, event = ledger.slot(call.event), call.event.step, call.event
    if step in STORE:
        return _store_effect(state, call, slot)
    if step is Step.READ_POSITIONS:
        assert call.answer is not None or call.outcome is Outcome.LOST
        seen = call.answer is not None and ledger.content(call.answer) == state.position
        return state if seen and not servers.unstable(state) else None
    if slot == NOBODY and step is not Step.INIT_PRODUCER and step is not Step.INIT_OLDER_PLAN:
        return None
    tx = ledger.target(call)
    match step:
        case Step.INIT_PRODUCER:
            outcome, after = servers.init_producer(state, tx, slot)
        case Step.INIT_OLDER_PLAN:
            outcome, after = servers.init_producer(state, tx, NOBODY) if slot == NOBODY else servers.fence_older(state, slot, tx)
        case Step.CHECK_REGISTRY:
            outcome, after = servers.check_registry(state, slot)
        case Step.HEAD_OBJECT:
            fate = gone(state, event.upload) if event.upload is not None else 0
            outcome, after = (Outcome.OK if fate == Gone.VISIBLE else Outcome.GONE), state
        case Step.ADD_OFFSETS:
            outcome, after = servers.add_offsets(state, slot)
        case Step.TXN_OFFSET_COMMIT:
            content = state.incs[slot].content
            if content is None:
                return None
            outcome, after = servers.txn_offset_commit(state, slot, content)
        case Step.END_COMMIT | Step.END_ABORT:
            outcome, after = servers.end_outcome(state, slot, step is Step.END_COMMIT), state
        case _:
            outcome, after = servers.new_epoch(state, slot)
    return after if outcome is Outcome.OK else None


def _store_effect(state: State, call: Call, slot: int) -> State | None:
    label = call.event.upload
    assert label is not None
    for up in servers.named(state):
        if up.label == label and not gone(state, label):
            return servers.complete(state, up)[1] if call.event.step is Step.COMPLETE else servers.abort(state, label)[1]
    lost = call.event.step is Step.COMPLETE and gone(state, label) == Gone.ABORTED
    return state if call.outcome is Outcome.OK and not lost else None
