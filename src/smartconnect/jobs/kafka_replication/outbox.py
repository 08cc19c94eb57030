"""Batches on their way to the target's leaders, in order per partition, whatever the leaders do (kafka-replication.md §6.2).

A batch waits in its lane until the lane is *admitted* (part of the open transaction) and the gate is open; from then on it is *open*
until its final outcome, and goes to the channel of the partition's leader. Leaders that move, replicas that are missing and, without
transactions, lost answers are mended here, as `troubles` decides: the same bytes again, in the same order. What the target refuses for
good is told to `refused`, once for each lane, with everything that was not stored taken back. A lane that is stuck, with an outcome that
nobody can know or a batch stored out of its turn, makes whoever waits here raise LaneStuck: the transaction has to be aborted (`stop`,
`begin_again`). A lost answer inside a transaction ends the incarnation. Called by the runner (`put`) and the committer (`admit`, the gate,
`write`); all in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from smartconnect.domain.errors import ClusterUnreachable, Retryable
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.partition import SEQUENCES, Flight, Lane
from smartconnect.jobs.kafka_replication.troubles import LaneStuck, Troubles, why
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import BrokerRefused, ConnectionLost
from smartconnect.kafka.produce_channel import Outcome, OutgoingBatch, ProduceChannel, ProduceOptions
from smartconnect.kafka.produce_codec import ProduceRefusal
from smartconnect.kafka.types import TopicPartition
from smartconnect.telemetry.meters import PROCESS_METERS
from smartconnect.telemetry.names import REPLICATION_ACK


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a lane's batches were taken back; none of `flights` is stored. `code` None: its leader cannot be reached."""

    flights: list[Flight]
    code: KafkaCode | None
    said: ProduceRefusal | None


@dataclass(frozen=True, slots=True)
class OutboxEvents:
    """Called in the event loop; must not block. `acked`: batches with their base offsets on the target, those of one answer."""

    acked: Callable[[Sequence[tuple[Flight, int]]], None]
    refused: Callable[[Lane, Refusal], None]


class Outbox:
    """One incarnation's."""

    def __init__(self, inc: Incarnation, events: OutboxEvents) -> None:
        self._cluster, self._crew = inc.target, inc.crew
        labels = (inc.context.task.id,)
        self._options = ProduceOptions(
            transactional_id=inc.guard.transactional_id,
            took=lambda seconds: PROCESS_METERS.observe(REPLICATION_ACK, seconds, labels),
        )
        self._connections = 1 if inc.guard.transactional_id else inc.spec.options.produce_connections
        self._events = events
        self._channels: dict[tuple[int, int], ProduceChannel] = {}
        self._waiting: dict[Lane, None] = {}
        self._failures: dict[Lane, Outcome] = {}
        self._menders: set[asyncio.Task[None]] = set()
        self._troubles = Troubles(inc)
        self._position_lane = inc.position_lane
        self._stuck: LaneStuck | None = None
        self._gate_open = False
        self._changed = asyncio.Event()
        self.open = 0
        self.nbytes = 0
        self.admitted: set[Lane] = set()

    # What comes in

    def put(self, lane: Lane, flights: Sequence[Flight]) -> None:
        """Batches behind those of their lane."""
        channel = lane.channel
        if channel is not None and self._gate_open and lane.admitted and not (lane.mending or lane.waiting or lane.due):
            self._count(flights)
            channel.put(lane.tp, flights)
            return
        lane.waiting.extend(flights)
        if lane not in self._waiting:
            self._waiting[lane] = None
            self._changed.set()

    async def write(self, flight: Flight) -> int:
        """A batch of our own, past the gate; its base offset on the target. Retryable where the target refuses it."""
        flight.done = asyncio.get_running_loop().create_future()
        self._count([flight])
        flight.lane.due.append(flight)
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
        flights = list(lane.waiting)
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
            self._count(lane.waiting)
            lane.due.extend(lane.waiting)
            lane.waiting.clear()
        if ready:
            await self._place(ready)

    async def stop(self) -> Mapping[Lane, Outcome | None]:
        """The transaction is to be aborted: nothing more of it goes out, and every answer is here. The lanes that are stuck, with what was
        heard last of each."""
        self.close_gate()
        for mender in self._menders:
            mender.cancel()
        for channel in self._channels.values():
            await channel.clear()
        return self._troubles.stuck()

    def begin_again(self) -> None:
        """It is aborted: all that was put is forgotten, by the caller also in the lanes."""
        self._waiting.clear()
        self._failures.clear()
        self._troubles.all_over()
        self._stuck = None
        self.open = 0
        self.begin_anew(stay_admitted=False)

    async def settled(self) -> None:
        """Until everything that is open has its final outcome. LaneStuck."""
        while self.open:
            await self.changed(None)

    async def changed(self, timeout_s: float | None) -> None:
        """Until something came in, or the last open batch got its outcome. LaneStuck where the transaction must be aborted."""
        if self._stuck is None:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
        if self._stuck is not None:
            raise self._stuck

    def nudge(self) -> None:
        """Let whoever waits for a change look again."""
        self._changed.set()

    # Sending

    def _count(self, flights: Collection[Flight]) -> None:
        self.open += len(flights)
        self.nbytes += sum([flight.nbytes for flight in flights])

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
            if lane.due:
                lane.channel.put(lane.tp, lane.due)
                lane.due.clear()

    def _channel(self, tp: TopicPartition, node_id: int) -> ProduceChannel:
        """Each partition sticks to one connection of its leader; in a transaction there is only one (§6.1)."""
        key = (node_id, hash(tp) % self._connections)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = ProduceChannel(self._cluster, node_id, self._options, self._outcomes)
            self._crew.spawn(channel.run(), f"produce to {node_id}")
        return channel

    def _outcomes(self, outcomes: list[Outcome]) -> None:
        """Of the batches of one request."""
        landed, acked = [], []
        for outcome in outcomes:
            flight = outcome.batch
            assert isinstance(flight, Flight)
            if outcome.base_offset is None:
                self._failed(flight.lane, outcome)
                continue
            if flight.lane in self._failures:
                self._overtook(flight)
                continue
            self._troubles.over(flight.lane)
            landed.append(flight)
            if flight.partition is not None:
                acked.append((flight, outcome.base_offset))
            elif flight.done is not None and not flight.done.done():
                flight.done.set_result(outcome.base_offset)
        if acked:
            self._events.acked(acked)
        self._ended(landed)

    def _ended(self, flights: list[Flight]) -> None:
        for flight in flights:
            if flight.hold is not None:
                flight.hold.drop()
        self.open -= len(flights)
        if self.open == 0:
            self._changed.set()

    # Mending

    def _failed(self, lane: Lane, outcome: Outcome) -> None:
        lane.mending = True
        self._failures.setdefault(lane, outcome)
        self._mend_if_still(lane)

    def _overtook(self, flight: Flight) -> None:
        """It is stored, and a batch before it is not: it has not landed. The same bytes again, in order, would be refused."""
        self._troubles.overtaken(flight.lane, behind=(flight.sequence + flight.count) % SEQUENCES)
        self._mend_if_still(flight.lane)

    def _mend_if_still(self, lane: Lane) -> None:
        """As soon as everything that was on its way has its outcome."""
        if lane.channel is not None and lane.channel.stands_still(lane.tp):
            self._mend(lane, self._failures.pop(lane))

    def _mend(self, lane: Lane, failure: Outcome | None) -> None:
        lane.mending = True
        mender = self._crew.spawn(self._mending(lane, failure), f"mend {lane.tp}")
        self._menders.add(mender)
        mender.add_done_callback(self._menders.discard)

    async def _mending(self, lane: Lane, failure: Outcome | None) -> None:
        """Nothing of the lane is on its way: send it all again after a pause, or give it up, or let the transaction be aborted, or end the
        incarnation."""
        try:
            pause_s = self._troubles.next_try(lane, failure)
        except LaneStuck as stuck:
            if lane is self._position_lane:
                raise
            self._stuck = stuck
            self._changed.set()
        if self._stuck is not None:
            return
        if pause_s is None:
            self._give_up(lane, failure)
            return
        await asyncio.sleep(pause_s)
        self._take_back(lane)
        self._cluster.leaders.invalidate({lane.tp.topic})
        lane.mending = False
        if lane.waiting:
            self._changed.set()
        await self._place([lane])

    def _take_back(self, lane: Lane) -> None:
        if lane.channel is not None and lane.channel.stands_still(lane.tp):
            lane.due.extendleft(reversed(_flights(lane.channel.take_back(lane.tp))))
        lane.channel = None

    def _give_up(self, lane: Lane, failure: Outcome | None) -> None:
        """Take everything of the lane back; sequence numbers go on where the target has stopped, also where it has stored what it should
        not have."""
        self._take_back(lane)
        opened, flights = len(lane.due), list(chain(lane.due, lane.waiting))
        lane.due.clear()
        lane.waiting.clear()
        self._waiting.pop(lane, None)
        behind = self._troubles.behind(lane)
        self._troubles.over(lane)
        lane.mending = False
        if not flights:
            return
        lane.sequence = flights[0].sequence if behind is None else behind
        self.open += len(flights) - opened  # what only waited never was open: `_ended` takes it off again
        for flight in flights:
            if flight.done is not None and not flight.done.done():
                flight.done.set_exception(Retryable(f"the target refuses {lane.tp}: {why(failure)}", code="target_refused"))
        self._ended(flights)
        self._events.refused(lane, refusal_of(flights, failure))


def refusal_of(flights: list[Flight], failure: Outcome | None) -> Refusal:
    """`failure`: of the first of them; None: it has no leader."""
    said = failure.refused if failure is not None else None
    return Refusal(flights, said.error if said is not None else None, said)


def _flights(batches: Iterable[OutgoingBatch]) -> list[Flight]:
    return [batch for batch in batches if isinstance(batch, Flight)]
