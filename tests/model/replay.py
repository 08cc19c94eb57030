"""Replays the log of a real run through the model: it is accepted exactly if it is a possible path.

What a unit does is in the log; what the servers did in between is not. So the replay keeps the *set* of all states in which the
model may be after a line. Before a line it lets the world move: markers, commits becoming readable, an EndTxn arriving, and
each request that is under way taking effect at any moment between its two lines, or, without an answer, at any moment or never.
The line then throws out every state in which the unit was not allowed to do this, or could not have got that answer. No state
left: the log is rejected. Rules and effects are those of the search (`unit.py`, `servers.py`), the invariants as well.

The set stays small because a partition has one owner most of the time, and because what is improbable (a timeout, the request
of a dead process, a reader) is only tried when a line cannot be explained without it: whatever it would have changed earlier
would have contradicted the lines accepted since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from smartconnect.jobs.obs_dump.steps import Outcome, Step
from tests.model import servers
from tests.model.acts import Item, Refused, act, effect
from tests.model.invariants import broken
from tests.model.ledger import FENCING, Ledger
from tests.model.logs import Line, Log, Rejected, Story, read_logs, stories
from tests.model.state import ENDED, NOBODY, Gone, Inc, Phase, State, Txn, with_inc
from tests.model.unit import Unit, ended

_TOO_WIDE = 20_000


@dataclass(slots=True)
class Report:
    """What was replayed."""

    partitions: int = 0
    lines: int = 0
    torn: int = 0
    widest: int = 0  # the largest set of states that had to be kept
    steps: Counter[str] = field(default_factory=Counter)  # lines by "step outcome"


def replay_files(paths: Iterable[Path], *, unit: Unit | None = None) -> Report:
    """Replays all logs of one machine together. Raises `Rejected`."""
    return replay(read_logs(paths), unit=unit)


def replay(log: Log, *, unit: Unit | None = None) -> Report:
    """Replays each partition of a log. Raises `Rejected` with the line that the model cannot explain."""
    report = Report(lines=len(log.lines), torn=log.torn)
    report.steps.update(f"{event.step} {event.outcome}" for _, event in log.lines)
    for story in stories(log):
        player = Player(story, unit or Unit())
        player.play()
        report.partitions += 1
        report.widest = max(report.widest, player.widest)
    return report


class Player:
    """Plays one partition's story. `items` are the possibilities left after the lines so far."""

    def __init__(self, story: Story, unit: Unit) -> None:
        self.widest = 1
        self._story = story
        self._ledger = Ledger.of(story, unit)
        count = len(story.units)
        origin = self._ledger.origin
        start = origin.entries[0].start if origin.entries else origin.end
        first = State(owners=(NOBODY,) * count, txns=(Txn(),) * count, position=origin, shown=((start, start),))
        self.items = {Item(first, frozenset())}

    def play(self) -> None:
        """Goes through all lines, or raises `Rejected`."""
        for number, line in enumerate(self._story.lines):
            self._ledger.at(number)
            if line.event.step is Step.START:
                self.items = self._start(line)
                continue
            near = self._drifted(self.items, wide=False) if self._must_drift(line) else self.items
            after, reasons = self._after(near, line)
            if not after:
                after, reasons = self._after(self._drifted(near, wide=True), line)
            if not after:
                raise Rejected(self._complaint(number, reasons))
            self.items = after
            self.widest = max(self.widest, len(after))

    def _must_drift(self, line: Line) -> bool:
        """Local steps and requests need nothing of the world, unless others have requests of their own under way."""
        if line.event.outcome not in (Outcome.SENT, Outcome.DONE):
            return True
        return any(self._ledger.pressing(item.waiting) for item in self.items)

    def _after(self, items: Iterable[Item], line: Line) -> tuple[set[Item], Counter[str]]:
        after: set[Item] = set()
        reasons: Counter[str] = Counter()
        for item in items:
            try:
                item = act(self._ledger, item, line)
            except Refused as refused:
                reasons[str(refused)] += 1
                continue
            state = servers.forget(item.state)
            violation = broken(state, records=-1)
            if violation is None:
                after.add(Item(state, self._ledger.kept(item.waiting, state)))
            else:
                reasons[violation] += 1
        return after, reasons

    def _start(self, line: Line) -> set[Item]:
        """A new incarnation takes the unit. Those of whom no line follows will never act: their slots are used again."""
        ledger, event = self._ledger, line.event
        dead = ledger.silent()
        items = {Item(_buried(item.state, dead), item.waiting) for item in self.items}
        held = {txn.holder for item in items for txn in item.state.txns}
        free = ledger.release([slot for slot in dead if slot not in held])
        plan = ledger.plans[event.unit]
        slot, owns = ledger.seat(event, free)
        after = set()
        for item in items:
            state = _seated(item.state, slot, Inc(plan, plan), owns)
            after.add(Item(servers.forget(state), ledger.kept(item.waiting, state)))
        return after

    def _drifted(self, items: set[Item], *, wide: bool) -> set[Item]:
        """All possibilities that the world can make of these by itself."""
        seen = set(items)
        todo = list(items)
        while todo:
            for state, waiting in self._moves(todo.pop(), wide):
                item = Item(servers.forget(state), waiting)
                if item not in seen and broken(item.state, records=-1) is None:
                    seen.add(item)
                    todo.append(item)
            if len(seen) > _TOO_WIDE:
                raise Rejected(f"{self._story.partition}: more than {_TOO_WIDE} possibilities")
        return seen

    def _moves(self, item: Item, wide: bool) -> Iterator[Item]:
        state, waiting = item
        calls = self._ledger.calls
        fencing = {self._ledger.target(calls[number]) for number in waiting if calls[number].event.step in FENCING}
        for after in _world(state, range(len(state.txns)) if wide else fencing):
            yield Item(after, waiting)
        for number in waiting:
            slot = self._ledger.slot(calls[number].event)
            if calls[number].event.step is Step.NEW_EPOCH and _has_open(state, slot):
                yield Item(servers.abort_own(state, slot), waiting)
        possible = (Outcome.OK, Outcome.LOST) if wide else (Outcome.OK,)
        for number in waiting:
            if calls[number].outcome in possible:
                changed = effect(self._ledger, state, calls[number])
                if changed is not None:
                    yield Item(changed, waiting - {number})
        if wide:
            for label, fate in state.store:
                if fate == Gone.VISIBLE:
                    yield Item(servers.take(state, label), waiting)

    def _complaint(self, number: int, reasons: Counter[str]) -> str:
        lines = self._story.lines
        tale = [f"{i:6} {line.at / 1e9:.6f} {_text(line)}" for i, line in enumerate(lines[: number + 1])][-25:]
        why = "; ".join(reason for reason, _ in reasons.most_common(3)) or "nothing explains it"
        return f"{self._story.partition}: the model refuses line {number}, {_text(lines[number])}: {why}\n" + "\n".join(tale)


def _world(state: State, timing_out: Iterable[int]) -> Iterator[State]:
    """What the servers do by themselves; a timeout only where it is asked for."""
    if state.decided:
        yield servers.materialise(state)
    for index, inc in enumerate(state.incs):
        if inc.late and state.txns[inc.tx].phase == Phase.OPEN:
            yield servers.end_txn(state, index)
    for tx, txn in enumerate(state.txns):
        if txn.phase in servers.DECIDED and len(state.decided) < servers.UNREADABLE:
            yield servers.write_marker(state, tx)
    for tx in timing_out:
        if state.txns[tx].phase == Phase.OPEN:
            yield servers.time_out(state, tx)


def _has_open(state: State, slot: int) -> bool:
    if slot == NOBODY:
        return False
    txn = state.txns[state.incs[slot].tx]
    return txn.holder == slot and txn.phase == Phase.OPEN


def _text(line: Line) -> str:
    event = line.event
    what = {"offset": event.offset, "start": event.start, "upload": event.upload, "entries": event.entries, "target": event.target}
    told = " ".join(f"{name}={value}" for name, value in what.items() if value is not None)
    return f"{event.incarnation} {event.step} {event.outcome} {told}".rstrip()


def _buried(state: State, dead: list[int]) -> State:
    for slot in dead:
        if state.incs[slot] is not ENDED:
            state = with_inc(state, slot, ended(state.incs[slot]))
    return servers.forget(state)


def _seated(state: State, slot: int, inc: Inc, owns: bool) -> State:
    owners = tuple(NOBODY if owner == slot else owner for owner in state.owners)
    if owns:
        owners = tuple(slot if plan == inc.plan else owner for plan, owner in enumerate(owners))
    incs = (*state.incs[:slot], inc, *state.incs[slot + 1 :])
    return state._replace(plan=max(state.plan, inc.plan), owners=owners, incs=incs)
