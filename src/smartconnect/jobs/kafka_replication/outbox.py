"""Batches on their way to the target's leaders, in order per partition, whatever the leaders do (kafka-replication.md §6.2).

A batch waits in its lane until the lane is *admitted* (part of the open transaction) and the gate is open; from then on it is *open*
until its final outcome, and goes to the channel of the partition's leader. Leaders that move, replicas that are missing and, without
transactions, lost answers are mended here: the same bytes again, in the same order. What the target refuses for good is told to
`refused`, once for each lane, with everything that was not stored taken back; what has an unknown outcome inside a transaction ends
the incarnation. Called by the runner (`put`) and the committer (`admit`, the gate, `write`); everything in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from smartconnect.domain.errors import ClusterUnreachable, Fenced, Retryable
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.partition import Flight, Lane
from smartconnect.kafka.codes import FENCED, LEADER_MOVED, TRANSIENT, KafkaCode
from smartconnect.kafka.errors import BrokerRefused, ConnectionLost
from smartconnect.kafka.produce_channel import Outcome, OutgoingBatch, ProduceChannel, ProduceOptions
from smartconnect.kafka.produce_codec import Buffer, ProduceAnswer
from smartconnect.kafka.timing import Pauses
from smartconnect.kafka.types import TopicPartition

MENDS_FOR_S: Final = 5.0
"""A lane whose retriable error has lasted so long is given up for now: the rest commits without it."""

_NOT_STORED: Final = frozenset({KafkaCode.NOT_ENOUGH_REPLICAS, KafkaCode.UNKNOWN_TOPIC_OR_PARTITION})
"""Of the errors that waiting cures, those that say for sure that nothing was stored. A leader that steps down while a batch waits for its
replicas answers NOT_LEADER_OR_FOLLOWER, and the next leader may have the batch."""

_AGAIN: Final = LEADER_MOVED | TRANSIENT | {KafkaCode.UNKNOWN_TOPIC_OR_PARTITION}
_STATE_LOST: Final = frozenset(
    {KafkaCode.OUT_OF_ORDER_SEQUENCE_NUMBER, KafkaCode.INVALID_TXN_STATE, KafkaCode.TRANSACTION_ABORTABLE}
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a lane's batches were taken back; none of `flights` is stored. `code` None: its leader cannot be reached."""

    flights: list[Flight]
    code: KafkaCode | None
    answer: ProduceAnswer | None


@dataclass(frozen=True, slots=True)
class OutboxEvents:
    """Called in the event loop; must not block. `uncertain`: the lane has made the incarnation end."""

    acked: Callable[[Flight, ProduceAnswer], None]
    refused: Callable[[Lane, Refusal], None]
    uncertain: Callable[[Lane], None]


@dataclass(slots=True)
class _Trouble:
    """A lane that does not flow: since when, and how long to wait before the next try. `maybe_stored`: some batch that was answered with an
    error may be stored all the same; repeating it is harmless, giving it up is a guess."""

    since: float
    pauses: Pauses
    maybe_stored: bool = False


class Outbox:
    """One incarnation's."""

    def __init__(self, inc: Incarnation, events: OutboxEvents) -> None:
        self._cluster, self._crew, self._clock = inc.target, inc.crew, inc.clock
        self._options = ProduceOptions(transactional_id=inc.guard.transactional_id)
        self._connections = 1 if inc.guard.transactional_id else inc.spec.options.produce_connections
        self._events = events
        self._channels: dict[tuple[int, int], ProduceChannel] = {}
        self._waiting: dict[Lane, None] = {}
        self._failures: dict[Lane, Outcome] = {}
        self._troubles: dict[Lane, _Trouble] = {}
        self._gate_open = False
        self._changed = asyncio.Event()
        self.open = 0
        self.nbytes = 0
        self.admitted: set[Lane] = set()

    # What comes in

    def put(self, flight: Flight, data: Buffer) -> None:
        """A batch behind those of its lane."""
        lane, batch = flight.lane, OutgoingBatch(data, flight)
        channel = lane.channel
        if channel is not None and self._gate_open and lane.admitted and not (lane.mending or lane.waiting or lane.due):
            self._count(batch)
            channel.put(lane.tp, batch)
            return
        lane.waiting.append(batch)
        if lane not in self._waiting:
            self._waiting[lane] = None
            self._changed.set()

    async def write(self, flight: Flight, data: Buffer) -> int:
        """A batch of our own, past the gate; its base offset on the target. Retryable where the target refuses it."""
        flight.done = asyncio.get_running_loop().create_future()
        batch = OutgoingBatch(data, flight)
        self._count(batch)
        flight.lane.due.append(batch)
        await self._place([flight.lane])
        return await flight.done

    # The transaction's side

    def outsiders(self) -> list[Lane]:
        """Lanes with something to send that are not part of the transaction yet."""
        return [lane for lane in self._waiting if not lane.admitted and not lane.mending]

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def quiet(self) -> bool:
        """Nothing waits for its turn and nothing is open."""
        return not self._waiting and self.open == 0

    def open_gate(self) -> None:
        self._gate_open = True

    def close_gate(self) -> None:
        """What is put from now on waits for the next transaction."""
        self._gate_open = False

    def admit(self, lanes: Collection[Lane]) -> None:
        for lane in lanes:
            lane.admitted = True
        self.admitted.update(lanes)

    def begin_anew(self, *, stay_admitted: bool) -> None:
        """The transaction is over and nobody is part of the next one yet; without transactions whoever is in stays in."""
        self.nbytes = 0
        if not stay_admitted:
            for lane in self.admitted:
                lane.admitted = False
            self.admitted.clear()

    def withdraw(self, lane: Lane) -> bool:
        """Forget what waits in a lane that is in no transaction and has nothing on its way; False where there is nothing to forget."""
        if lane.admitted or lane.mending or lane.due or not lane.waiting:
            return False
        flights = [_flight(batch) for batch in lane.waiting]
        lane.waiting.clear()
        self._waiting.pop(lane, None)
        lane.sequence = flights[0].sequence
        for flight in flights:
            if flight.hold is not None:
                flight.hold.drop()
        return True

    async def release(self) -> None:
        """What waits in admitted lanes becomes open."""
        ready = [lane for lane in self._waiting if lane.admitted and not lane.mending]
        for lane in ready:
            self._waiting.pop(lane, None)
            while lane.waiting:
                batch = lane.waiting.popleft()
                self._count(batch)
                lane.due.append(batch)
        if ready:
            await self._place(ready)

    async def settled(self) -> None:
        """Until everything that is open has its final outcome."""
        while self.open:
            await self.changed(None)

    async def changed(self, timeout_s: float | None) -> None:
        """Until something came in, or the last open batch got its outcome."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    def nudge(self) -> None:
        """Let whoever waits for a change look again."""
        self._changed.set()

    # Sending

    def _count(self, batch: OutgoingBatch) -> None:
        self.open += 1
        self.nbytes += len(batch.records)

    async def _place(self, lanes: Collection[Lane]) -> None:
        """Give what is due to the channels of the lanes' leaders; who has no leader now is mended."""
        homeless = [lane.tp for lane in lanes if lane.channel is None]
        leaders: dict[TopicPartition, tuple[int, int]] = {}
        if homeless:
            try:
                leaders = await self._cluster.leaders_of(homeless)
            except (ConnectionLost, ClusterUnreachable, BrokerRefused) as error:
                raise Retryable(str(error), code=error.code) from error
        for lane in lanes:
            if lane.channel is None and lane.tp in leaders:
                lane.channel = self._channel(lane.tp, leaders[lane.tp][0])
            if lane.channel is None:
                self._mend(lane, None)
                continue
            while lane.due:
                lane.channel.put(lane.tp, lane.due.popleft())

    def _channel(self, tp: TopicPartition, node_id: int) -> ProduceChannel:
        """Each partition sticks to one connection of its leader; in a transaction there is only one (§6.1)."""
        key = (node_id, hash(tp) % self._connections)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = ProduceChannel(self._cluster, node_id, self._options, self._outcome)
            self._crew.spawn(channel.run(), f"produce to {node_id}")
        return channel

    def _outcome(self, outcome: Outcome) -> None:
        flight = outcome.batch.tag
        assert isinstance(flight, Flight)
        if outcome.stored:
            assert outcome.answer is not None
            self._landed(flight, outcome.answer)
            return
        lane = flight.lane
        lane.mending = True
        first = self._failures.setdefault(lane, outcome)
        if lane.channel is not None and lane.channel.stands_still(lane.tp):
            del self._failures[lane]
            self._mend(lane, first)

    def _landed(self, flight: Flight, answer: ProduceAnswer) -> None:
        self._troubles.pop(flight.lane, None)
        if flight.partition is not None:
            self._events.acked(flight, answer)
        if flight.done is not None and not flight.done.done():
            flight.done.set_result(answer.base_offset)
        self._ended(flight)

    def _ended(self, flight: Flight) -> None:
        if flight.hold is not None:
            flight.hold.drop()
        self.open -= 1
        if self.open == 0:
            self._changed.set()

    # Mending

    def _mend(self, lane: Lane, failure: Outcome | None) -> None:
        lane.mending = True
        self._crew.spawn(self._mending(lane, failure), f"mend {lane.tp}")

    async def _mending(self, lane: Lane, failure: Outcome | None) -> None:
        """Nothing of the lane is on its way: send it all again after a pause, or give it up, or end the incarnation."""
        if failure is not None:
            self._raise_if_over(failure)
        trouble = self._troubles.setdefault(lane, _Trouble(self._clock.monotonic(), self._cluster.pauses(0.02, 1.0)))
        trouble.maybe_stored |= _maybe_stored(failure)
        tired = self._clock.monotonic() - trouble.since > MENDS_FOR_S
        if failure is not None and not _repeatable(failure):
            self._give_up(lane, failure)
        elif tired and trouble.maybe_stored and self._options.transactional_id is not None:
            self._events.uncertain(lane)
            raise Retryable(f"{lane.tp} on the target: {_why(failure)} for {MENDS_FOR_S:g} s", code="target_partition_stuck")
        elif tired:
            self._give_up(lane, failure)
        else:
            await asyncio.sleep(trouble.pauses.next())
            self._take_back(lane)
            self._cluster.leaders.invalidate({lane.tp.topic})
            lane.mending = False
            if lane.waiting:
                self._changed.set()
            await self._place([lane])

    def _take_back(self, lane: Lane) -> None:
        if lane.channel is not None and lane.channel.stands_still(lane.tp):
            lane.due.extendleft(reversed(lane.channel.take_back(lane.tp)))
        lane.channel = None

    def _raise_if_over(self, failure: Outcome) -> None:
        """What ends the incarnation: somebody newer, a state that the broker has lost, in a transaction a lost answer."""
        code = failure.answer.error if failure.answer is not None else None
        if self._options.transactional_id is not None:
            if code in FENCED:
                raise Fenced(f"the target refuses our producer ({code.name}): somebody newer, or our transaction timed out")
            if failure.lost is not None:
                raise Retryable(f"an answer of the target was lost: {failure.lost}", code="connection_lost")
        if code in _STATE_LOST or code in FENCED:
            raise Retryable(f"the target answers {code.name} for {failure.tp}", code="transaction_aborted")

    def _give_up(self, lane: Lane, failure: Outcome | None) -> None:
        """Take everything of the lane back; sequence numbers go on where the target has stopped."""
        self._take_back(lane)
        flights = [_flight(batch) for batch in (*lane.due, *lane.waiting)]
        opened = len(lane.due)
        lane.due.clear()
        lane.waiting.clear()
        self._waiting.pop(lane, None)
        self._troubles.pop(lane, None)
        lane.mending = False
        if not flights:
            return
        lane.sequence = flights[0].sequence
        answer = failure.answer if failure is not None else None
        refusal = Refusal(flights, answer.error if answer is not None else None, answer)
        for number, flight in enumerate(flights):
            if number >= opened:
                self.open += 1  # it never was: `_ended` takes it off again
            if flight.done is not None and not flight.done.done():
                flight.done.set_exception(Retryable(f"the target refuses {lane.tp}: {_why(failure)}", code="target_refused"))
            self._ended(flight)
        self._events.refused(lane, refusal)


def _flight(batch: OutgoingBatch) -> Flight:
    assert isinstance(batch.tag, Flight)
    return batch.tag


def _repeatable(failure: Outcome) -> bool:
    return failure.answer is None or failure.answer.error in _AGAIN


def _maybe_stored(failure: Outcome | None) -> bool:
    return failure is not None and _repeatable(failure) and (failure.answer is None or failure.answer.error not in _NOT_STORED)


def _why(failure: Outcome | None) -> str:
    if failure is None:
        return "no leader"
    if failure.answer is None or failure.answer.error is None:
        return str(failure.lost)
    return failure.answer.error.name
