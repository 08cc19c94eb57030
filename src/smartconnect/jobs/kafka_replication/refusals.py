"""What follows when the target refuses a partition's batches (kafka-replication.md §3 last row, §6.4, §11): decode once, leave out or clamp
single records where the task says so, else the partition stands still with the reason and is tried again, slowly. Never a loop, and never
anybody else's trouble. Called by the outbox; nothing of the partition is on its way then."""

from __future__ import annotations

from typing import Final

from smartconnect.domain.errors import PartitionBlocked
from smartconnect.domain.kafka_replication_spec import OnRejectedRecord
from smartconnect.domain.progress import Level
from smartconnect.jobs.kafka_replication.gaps import Gaps
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.outbox import Refusal
from smartconnect.jobs.kafka_replication.partition import Flight, Partition
from smartconnect.jobs.kafka_replication.room import Room
from smartconnect.jobs.kafka_replication.topic_view import TopicView
from smartconnect.kafka.codes import UNAUTHORIZED, KafkaCode

_OF_THE_DATA: Final = frozenset(
    {
        KafkaCode.INVALID_RECORD,
        KafkaCode.INVALID_TIMESTAMP,
        KafkaCode.CORRUPT_MESSAGE,
        KafkaCode.UNKNOWN_SERVER_ERROR,
        KafkaCode.UNSUPPORTED_COMPRESSION_TYPE,
        KafkaCode.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    }
)
_TOO_LARGE: Final = frozenset({KafkaCode.MESSAGE_TOO_LARGE, KafkaCode.RECORD_LIST_TOO_LARGE})


class Refusals:
    """One incarnation's."""

    def __init__(self, inc: Incarnation, gaps: Gaps, view: TopicView, room: Room) -> None:
        self._inc, self._gaps, self._view, self._room = inc, gaps, view, room

    def take(self, partition: Partition, refusal: Refusal) -> None:
        """Decide about the first of the batches that were taken back; the partition looks at all of them again."""
        flight = refusal.flights[0]
        self._gaps.look_again(partition)
        target = partition.link.target
        match refusal.code:
            case code if code in _TOO_LARGE:
                self._too_large(partition, flight)
            case code if code in _OF_THE_DATA:
                self._of_the_data(partition, flight, refusal)
            case KafkaCode.UNKNOWN_TOPIC_OR_PARTITION as code:
                self._closed(partition, code)
            case code if code in UNAUTHORIZED:
                self._closed(partition, code)
            case None:
                self._gaps.rest(
                    partition, "target_unavailable", f"{target} on the target has no leader, or none that can be reached"
                )
            case code:
                self._gaps.rest(partition, "target_unavailable", f"the target answers {code.name} for {target}{_said(refusal)}")

    def not_admitted(self, partition: Partition, code: KafkaCode) -> None:
        """The target does not let the partition into a transaction; what waited was taken back."""
        self._gaps.look_again(partition)
        self._closed(partition, code)

    def _closed(self, partition: Partition, code: KafkaCode) -> None:
        target = partition.link.target
        if code is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
            self._gaps.rest(partition, "target_missing", f"{target} is not on the target", soon=True)
        elif code in UNAUTHORIZED:
            self._gaps.rest(
                partition,
                "permission_missing",
                f"Kafka refuses to write {target}: grant WRITE on topic {target.topic}, and READ if others write there in transactions",
            )
        else:
            self._gaps.rest(partition, "target_unavailable", f"the target answers {code.name} for {target}", soon=True)

    def _of_the_data(self, partition: Partition, flight: Flight, refusal: Refusal) -> None:
        if not flight.rewritten:
            partition.rewrite = flight.first
            return
        policy = self._inc.spec.options.on_rejected_record
        if policy is OnRejectedRecord.CLAMP and refusal.code is KafkaCode.INVALID_TIMESTAMP and not partition.clamps:
            partition.clamps = True
            self._tell("timestamps_clamped", f"timestamps of {partition.tp} that the target refuses are clamped")
            return
        bad = _named(flight, refusal)
        if policy is OnRejectedRecord.SKIP and bad and not bad <= partition.left_out:
            partition.left_out |= bad
            self._inc.counters["records_rejected"] += len(bad)
            self._tell(
                "record_rejected",
                f"{len(bad)} records of {partition.tp} from offset {min(bad)} on are left out: {_said(refusal)}",
            )
            return
        code = refusal.code.name if refusal.code is not None else "an error"
        where = f"offset {min(bad)}" if bad else f"offsets {flight.first} to {flight.next - 1}"
        self._gaps.rest(partition, "record_rejected", f"the target answers {code} for {partition.tp}, {where}{_said(refusal)}")

    def cannot(self, partition: Partition, why: PartitionBlocked) -> None:
        """The partition's next batch cannot be written anew for the target."""
        self._view.forget_limits(partition.link.target.topic)
        self._gaps.rest(partition, why.code, str(why))

    def _too_large(self, partition: Partition, flight: Flight) -> None:
        """The limit has shrunk, or the target recompresses: decode, by what the limit is said to be then."""
        target = partition.link.target
        if self._room.is_settling(target.topic, flight.nbytes):
            return  # fetched and sent again as it is
        self._view.forget_limits(target.topic)
        partition.rewrite = flight.first
        if flight.rewritten:
            self._gaps.rest(
                partition,
                "batch_too_large",
                f"{target} on the target takes no batch of {flight.nbytes} bytes: raise max.message.bytes of {target.topic} there",
                soon=True,
            )

    def _tell(self, code: str, message: str) -> None:
        self._inc.context.ledger.event(Level.WARNING, code, message)


def _named(flight: Flight, refusal: Refusal) -> frozenset[int]:
    """Source offsets of the records that the broker names."""
    if refusal.said is None:
        return frozenset()
    found = set()
    for index, _ in refusal.said.record_errors:
        for first, count, begin in flight.stretches or ((flight.first, flight.count, 0),):
            if begin <= index < begin + count:
                found.add(first + index - begin)
    return frozenset(found)


def _said(refusal: Refusal) -> str:
    said = refusal.said
    if said is None:
        return ""
    words = said.message or next((message for _, message in said.record_errors if message), "")
    return f" ({words})" if words else ""
