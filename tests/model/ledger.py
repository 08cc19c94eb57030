"""What a replay knows of a story as a whole: the rules, who sits in which slot of the model, the calls under way, the names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from smartconnect.jobs.obs_dump.steps import Outcome, Step, StepEvent
from tests.model import servers
from tests.model.logs import Call, Rejected, Story
from tests.model.state import NOBODY, Content, Label, State, Upload
from tests.model.unit import Unit

FENCING: Final = frozenset({Step.INIT_PRODUCER, Step.INIT_OLDER_PLAN, Step.NEW_EPOCH})

STORE: Final = frozenset({Step.COMPLETE, Step.ABORT_UPLOAD, Step.JANITOR_ABORT})


@dataclass(slots=True)
class Ledger:
    """What is known of a story: rules, plans, who sits in which slot of the model, calls, names."""

    unit: Unit
    plans: dict[str, int]
    origin: Content
    _starts: frozenset[int]
    _early: frozenset[int]  # ids of the events before the first object
    _last: dict[str, int]
    calls: dict[int, Call] = field(default_factory=dict)
    keys: dict[Label, Label] = field(default_factory=dict)
    _slots: dict[str, int] = field(default_factory=dict)
    _runs: dict[str, int] = field(default_factory=dict)
    _epochs: dict[int, int] = field(default_factory=dict)
    _count: int = 0
    _now: int = 0

    @classmethod
    def of(cls, story: Story, unit: Unit) -> Ledger:
        """Reads a story once, for what has to be known beforehand."""
        events = [line.event for line in story.lines]
        last = {event.incarnation: number for number, event in enumerate(events)}
        seals = [number for number, event in enumerate(events) if event.step is Step.SEAL]
        first_seal = seals[0] if seals else len(events)
        plans = {name: index for index, name in enumerate(story.units)}
        origin, starts = _origin(events, first_seal)
        return cls(unit, plans, origin, starts, frozenset(map(id, events[:first_seal])), last)

    def at(self, number: int) -> None:
        """The story has come to this line."""
        self._now = number

    def seat(self, event: StepEvent, free: list[int]) -> tuple[int, bool]:
        """The slot for a new incarnation, and whether the registry names it: a later epoch may have been taken before."""
        if event.incarnation in self._slots:
            raise Rejected(f"incarnation {event.incarnation} starts twice")
        slot = free[0] if free else self._count
        self._count = max(self._count, slot + 1)
        self._slots[event.incarnation] = slot
        self._runs[event.incarnation] = event.run
        plan = self.plans[event.unit]
        newest = event.epoch >= self._epochs.get(plan, event.epoch)
        self._epochs[plan] = max(event.epoch, self._epochs.get(plan, event.epoch))
        return slot, newest

    def slot(self, event: StepEvent) -> int:
        """Where the incarnation sits; NOBODY when its slot was given away."""
        return self._slots.get(event.incarnation, NOBODY)

    def closes(self, event: StepEvent) -> bool:
        """Is this an incarnation of a later run, which only finishes what this one had promised?"""
        return self._runs.get(event.incarnation, event.run) > event.run

    def silent(self) -> list[int]:
        """Slots of incarnations of which no line follows."""
        return [slot for name, slot in self._slots.items() if self._last[name] < self._now]

    def release(self, slots: list[int]) -> list[int]:
        """Frees slots whose incarnations neither act nor hold an epoch any more; gives all that are free."""
        for name in [name for name, slot in self._slots.items() if slot in slots]:
            del self._slots[name]
        taken = set(self._slots.values())
        return [slot for slot in range(self._count) if slot not in taken]

    def kept(self, waiting: frozenset[int], state: State) -> frozenset[int]:
        """Calls under way that can still have an effect."""
        if not waiting:
            return waiting
        live = set(servers.listing(state))
        return frozenset(number for number in waiting if self._may_come(self.calls[number], state, live))

    def _may_come(self, call: Call, state: State, live: set[Label]) -> bool:
        """What was answered for sure has its effect before; of the rest, calls of an old epoch are refused, questions change
        nothing, and a new epoch that its owner never heard of is given again."""
        slot, step = self.slot(call.event), call.event.step
        if call.outcome is not Outcome.LOST:
            return slot != NOBODY
        if step in STORE:
            return call.event.upload in live
        if step in (Step.ADD_OFFSETS, Step.TXN_OFFSET_COMMIT):
            return slot != NOBODY and state.txns[state.incs[slot].tx].holder == slot
        return step in (Step.INIT_PRODUCER, Step.INIT_OLDER_PLAN)

    def of_old_epoch(self, number: int, incarnation: str) -> bool:
        """Is this a call that the coordinator refuses now that its sender has a new epoch?"""
        event = self.calls[number].event
        return event.incarnation == incarnation and event.step in (Step.ADD_OFFSETS, Step.TXN_OFFSET_COMMIT)

    def pressing(self, waiting: frozenset[int]) -> bool:
        """Is a call under way that has had its effect for sure before its answer?"""
        return any(self.calls[number].outcome is Outcome.OK for number in waiting)

    def target(self, call: Call) -> int:
        """The transactional id that a call is about."""
        return self.plans[call.event.target or call.event.unit]

    def content(self, event: StepEvent) -> Content:
        """A committed offset in the model's terms: where the next range starts, and the entries."""
        end = event.start if event.start is not None else event.offset
        entries = tuple(Upload(up.upload, up.start, up.end, self.keys.get(up.upload, up.upload)) for up in event.entries or ())
        if end is None or (id(event) in self._early and not entries and end in self._starts):
            end = self.origin.end
        return Content(end, entries)


def _origin(events: list[StepEvent], first_seal: int) -> tuple[Content, frozenset[int]]:
    """The position before the story: read by its first incarnation, or the start that was committed for want of one. If
    several starts were tried, that one counts from which objects go on."""
    for event in events:
        if event.step is Step.READ_POSITIONS and event.outcome is Outcome.OK and event.partition is not None:
            if event.offset is not None:
                entries = tuple(Upload(up.upload, up.start, up.end, up.upload) for up in event.entries or ())
                return Content(event.offset if event.start is None else event.start, entries), frozenset()
            break
    offers = [event for event in events[:first_seal] if event.step is Step.TXN_OFFSET_COMMIT and not event.entries]
    starts = frozenset(event.offset for event in offers if event.offset is not None)
    dumped = {event.start for event in events[first_seal:] if event.step is Step.SEAL and event.start is not None}
    return Content(min(starts & dumped, default=min(starts, default=0)), ()), starts
