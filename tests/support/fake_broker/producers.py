"""What a partition remembers of each producer, and whether its next batch is the next one.

Source: Kafka's `ProducerStateManager`, `ProducerAppendInfo`, `VerificationStateEntry` (KIP-98, KIP-360, KIP-890)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from smartconnect.kafka.batch import BatchHeader
from smartconnect.kafka.codes import KafkaCode
from tests.support.fake_broker.batch_checks import Refused

REMEMBERED: Final = 5
_NUMBERS: Final = 2**31


class Stored(NamedTuple):
    """A batch as it is remembered: first and last sequence number, its base offset, its newest time."""

    first: int
    last: int
    base_offset: int
    newest_ms: int


@dataclass(slots=True)
class Producer:
    """One producer in one partition. `open_since`: the first offset of its open transaction; `lowest_tried`: while a partition is being
    verified for a transaction, (epoch, lowest sequence number that was tried)."""

    epoch: int = -1
    batches: deque[Stored] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    open_since: int | None = None
    lowest_tried: tuple[int, int] | None = None

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last if self.batches else -1


def forget_all_but_the_last(producer: Producer) -> None:
    """What a broker still knows after a kill: the newest batch is read from the log's state of producers."""
    while len(producer.batches) > 1:
        producer.batches.popleft()
    producer.lowest_tried = None


def last_sequence(header: BatchHeader) -> int:
    return (header.base_sequence + header.last_offset_delta) % _NUMBERS


def tried(producer: Producer, header: BatchHeader) -> None:
    """A transactional batch asks for verification: nothing above it may be stored before it."""
    epoch, sequence = header.producer_epoch, header.base_sequence
    known = producer.lowest_tried
    if known is None or epoch > known[0] or (epoch == known[0] and sequence < known[1]):
        producer.lowest_tried = (epoch, sequence)


def repeated(producer: Producer, header: BatchHeader) -> Stored | None:
    """The remembered batch that this one repeats."""
    if header.producer_epoch != producer.epoch:
        return None
    numbers = (header.base_sequence, last_sequence(header))
    return next((stored for stored in producer.batches if (stored.first, stored.last) == numbers), None)


def check_next(producer: Producer, header: BatchHeader) -> None:
    """Refused unless the batch is the producer's next one."""
    epoch, sequence = header.producer_epoch, header.base_sequence
    if epoch < producer.epoch:
        raise Refused(KafkaCode.INVALID_PRODUCER_EPOCH)
    if producer.lowest_tried is not None and sequence > producer.lowest_tried[1]:
        raise Refused(KafkaCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    if producer.epoch < 0:
        return
    following = 0 if epoch > producer.epoch else (producer.last_sequence + 1) % _NUMBERS
    if sequence != following:
        raise Refused(KafkaCode.OUT_OF_ORDER_SEQUENCE_NUMBER)


def appended(producer: Producer, header: BatchHeader, base_offset: int, *, transactional: bool) -> None:
    """Remember a batch that is stored."""
    if header.producer_epoch > producer.epoch:
        producer.epoch = header.producer_epoch
        producer.batches.clear()
    producer.batches.append(Stored(header.base_sequence, last_sequence(header), base_offset, header.max_timestamp))
    if transactional:
        producer.lowest_tried = None
        if producer.open_since is None:
            producer.open_since = base_offset


def ended(producer: Producer, epoch: int) -> int | None:
    """A marker ends the producer's transaction: its first offset, None where it has written nothing here."""
    if epoch > producer.epoch:
        producer.epoch = epoch
        producer.batches.clear()
    since, producer.open_since, producer.lowest_tried = producer.open_since, None, None
    return since
