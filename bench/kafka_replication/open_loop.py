"""Records at a steady low rate, sent when their time has come, however the side is doing, and a reader on the target that notes when each
is there: what `latency`, `beside` and `pause` measure with.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from bench.common.data import PARTITIONS, make_topics
from bench.kafka_replication.job import Job, target_topic
from bench.kafka_replication.stage import Stage
from smartconnect.domain.errors import SandboxFailed
from smartconnect.kafka.admin import NewTopic
from smartconnect.kernels import Codec

VALUE_BYTES: Final = 100
_TIME_BYTES: Final = 8
_WARM_UP_S: Final = 10.0
_STARTED_WITHIN_S: Final = 90.0
_REST_WITHIN_S: Final = 30.0
_POLL_S: Final = 0.1
_POLLED_FROM_NS: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Steady:
    """What the sides are asked to do here: so many records each second."""

    rate: int
    exactly_once: bool

    @property
    def topic(self) -> str:
        return f"bench-latency-{self.rate}-{'exactly' if self.exactly_once else 'at-least'}-once"

    @property
    def job(self) -> Job:
        return Job(self.topic, self.exactly_once, self.exactly_once, Codec.NONE, None)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Milliseconds from the time for which the record was meant. The append: whole ms, rounded down."""

    append_ms: float
    seen_ms: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """The times of the records that were meant for a stretch of time, all of which have arrived; the load at its end."""

    sent: list[int]
    load: float


@dataclass(eq=False)
class Writer(threading.Thread):
    """Sends a record whenever its time has come; a value begins with that time (epoch ns), which names the record everywhere here."""

    bootstrap_servers: str
    topic: str
    rate: int
    sent: list[int] = field(default_factory=list)
    answered_ms: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()
        self._failed: list[str] = []

    def run(self) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap_servers, "linger.ms": 0, "acks": "all"})
        filler, period, at = b"x" * (VALUE_BYTES - _TIME_BYTES), 1_000_000_000 // self.rate, time.time_ns()
        number = 0
        while not self._ended.is_set():
            producer.poll(0)
            while (wait := at - time.time_ns()) > 0:
                if wait > _POLLED_FROM_NS:
                    producer.poll(wait / 1e9)  # answers are noted as they come
                else:
                    time.sleep(wait / 1e9)
            value = at.to_bytes(_TIME_BYTES, "big") + filler
            producer.produce(self.topic, value, partition=number % PARTITIONS, on_delivery=self._delivered)
            self.sent.append(at)
            number, at = number + 1, at + period
        if producer.flush(_REST_WITHIN_S):
            self._failed.append("records without an answer")

    def finish(self) -> None:
        """No more. Raises SandboxFailed if the source did not take one."""
        self._ended.set()
        if self.ident is not None:
            self.join()
        if self._failed:
            raise SandboxFailed(f"the source's broker did not store a record: {self._failed[0]}")

    def _delivered(self, error: object, message: Message) -> None:
        if error is not None:
            self._failed.append(str(error))
            return
        at = int.from_bytes((message.value() or b"")[:_TIME_BYTES], "big")
        self.answered_ms[at] = (time.time_ns() - at) / 1e6


@dataclass(eq=False)
class Reader(threading.Thread):
    """Notes when each record is there, by its time, and how many came once more. `times`: of all arrivals in order, epoch seconds."""

    bootstrap_servers: str
    topic: str
    isolation: str
    arrived: dict[int, Arrival] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    twice: int = 0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()

    def run(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": "bench-latency",
                "enable.auto.commit": False,
                "isolation.level": self.isolation,
                "fetch.wait.max.ms": 500,
                "fetch.min.bytes": 1,
            }
        )
        consumer.assign([TopicPartition(self.topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
        while not self._ended.is_set():
            message = consumer.poll(_POLL_S)
            if message is not None and message.error() is None:
                self._note(message, time.time_ns())
        consumer.close()

    def finish(self) -> None:
        self._ended.set()
        if self.ident is not None:
            self.join()

    def _note(self, message: Message, now: int) -> None:
        at = int.from_bytes((message.value() or b"")[:_TIME_BYTES], "big")
        if at in self.arrived:
            self.twice += 1
            return
        appended = message.timestamp()[1] * 1_000_000
        self.arrived[at] = Arrival((appended - at) / 1e6, (now - at) / 1e6)
        self.times.append(now / 1e9)


@dataclass(frozen=True, slots=True)
class Line:
    """From the writer by way of a side to the reader."""

    side: str
    writer: Writer
    reader: Reader

    async def flowing(self) -> None:
        """Begin to send; return when the side has copied for a while. Raises SandboxFailed if it does not begin to."""
        self.writer.start()
        await until(lambda: bool(self.reader.arrived), _STARTED_WITHIN_S, f"{self.side} does not copy a record")
        await asyncio.sleep(_WARM_UP_S)

    async def stretch(self, seconds: float) -> Stretch:
        """The records of so many seconds from now. Raises SandboxFailed if one does not arrive."""
        begin = time.time_ns()
        await asyncio.sleep(seconds)
        end, load = time.time_ns(), os.getloadavg()[0]
        wanted = [at for at in list(self.writer.sent) if begin <= at < end]
        await until(lambda: not self._missing(wanted), _REST_WITHIN_S, f"{self.side} loses records")
        return Stretch(wanted, round(load, 2))

    async def ended(self) -> int:
        """Send no more; how many of all records have not arrived after a while."""
        await asyncio.to_thread(self.writer.finish)
        with contextlib.suppress(SandboxFailed):
            await until(lambda: not self._missing(self.writer.sent), _REST_WITHIN_S, f"{self.side} loses records")
        return len(self._missing(self.writer.sent))

    def _missing(self, wanted: Sequence[int]) -> list[int]:
        """Without the source's answer, or not seen by the reader."""
        arrived, answered = self.reader.arrived, self.writer.answered_ms
        return [at for at in wanted if at not in arrived or at not in answered]


@contextlib.asynccontextmanager
async def open_loop(stage: Stage, side: str, job: Steady) -> AsyncIterator[Line]:
    """Topics, a reader that reads, and a writer that waits for `flowing`; the side is run inside. The topics are deleted at the end."""
    target = target_topic(side, job.topic)
    await make_topics(stage.reads, [NewTopic(job.topic, PARTITIONS)])
    await make_topics(stage.writes, [NewTopic(target, PARTITIONS, configs={"message.timestamp.type": "LogAppendTime"})])
    reader = Reader(stage.target.internal_servers, target, "read_committed" if job.exactly_once else "read_uncommitted")
    writer = Writer(stage.source.internal_servers, job.topic, job.rate)
    try:
        reader.start()
        yield Line(side, writer, reader)
    finally:
        await asyncio.to_thread(reader.finish)
        await asyncio.to_thread(writer.finish)
    await stage.forget(source=[job.topic], target=[target])


async def until(condition: Callable[[], bool], within_s: float, why: str) -> None:
    """Poll. Raises SandboxFailed with `why` after that time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise SandboxFailed(f"{why} within {within_s:.0f} s")
        await asyncio.sleep(_POLL_S)
