"""How late a record is at a low rate. Open loop: records are sent when their time has come, however the side is doing, and are late from
the moment for which they were meant. Three figures for each record: when the source's broker had answered for it (nobody can be faster),
when the target's broker appended it (LogAppendTime: whole ms, rounded down), and when a reader on the target had it, read_committed where
the side was asked for exactly once.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from bench.common.data import PARTITIONS, make_topics
from bench.kafka_replication.copying import Run
from bench.kafka_replication.job import Job, target_topic
from bench.kafka_replication.stage import Stage
from smartconnect.domain.errors import SandboxFailed
from smartconnect.kafka.admin import NewTopic
from smartconnect.kernels import Codec

VALUE_BYTES: Final = 100
RATES: Final = (10, 1000)
_TIME_BYTES: Final = 8
_WARM_UP_S: Final = 10.0
_STARTED_WITHIN_S: Final = 90.0
_REST_WITHIN_S: Final = 30.0
_POLL_S: Final = 0.1
_POLLED_FROM_NS: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds. `sent` in the measured time; `received` of those, each once."""

    side: str
    exactly_once: bool
    rate: int
    seconds: float
    sent: int
    received: int
    source_ms: dict[str, float]
    append_ms: dict[str, float]
    seen_ms: dict[str, float]
    load: float


@dataclass(frozen=True, slots=True)
class Steady:
    """What the sides are asked to do here: so many records each second."""

    rate: int
    exactly_once: bool

    @property
    def topic(self) -> str:
        return f"bench-latency-{self.rate}-{'exactly' if self.exactly_once else 'at-least'}-once"


WARM_UP: Final = Steady(RATES[-1], exactly_once=True)


async def measure(stage: Stage, side: str, run: Run, job: Steady, seconds: float) -> Latency:
    """Topics are made and deleted here. Raises SandboxFailed if the side does not start."""
    target = target_topic(side, job.topic)
    await make_topics(stage.reads, [NewTopic(job.topic, PARTITIONS)])
    await make_topics(stage.writes, [NewTopic(target, PARTITIONS, configs={"message.timestamp.type": "LogAppendTime"})])
    reader = _Reader(stage.target.internal_servers, target, "read_committed" if job.exactly_once else "read_uncommitted")
    writer = _Writer(stage.source.internal_servers, job.topic, job.rate)
    try:
        reader.start()
        async with run(stage, Job(job.topic, job.exactly_once, job.exactly_once, Codec.NONE, None)):
            writer.start()
            await _until(lambda: bool(reader.arrived), _STARTED_WITHIN_S, f"{side} does not copy a record")
            wanted, load = await _watched(writer, seconds)
            await _until(lambda: wanted <= reader.arrived.keys(), _REST_WITHIN_S, f"{side} loses records")
    finally:
        await asyncio.to_thread(writer.finish)
        await asyncio.to_thread(reader.finish)
    await stage.forget(source=[job.topic], target=[target])
    found = [reader.arrived[at] for at in wanted]
    return Latency(
        side=side,
        exactly_once=job.exactly_once,
        rate=job.rate,
        seconds=seconds,
        sent=len(wanted),
        received=len(found),
        source_ms=_percentiles(writer.answered_ms[at] for at in wanted),
        append_ms=_percentiles(one.append_ms for one in found),
        seen_ms=_percentiles(one.seen_ms for one in found),
        load=round(load, 2),
    )


@dataclass(frozen=True, slots=True)
class _Arrival:
    append_ms: float
    seen_ms: float


@dataclass(eq=False)
class _Writer(threading.Thread):
    """Sends a record whenever its time has come; a value begins with that time."""

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

    def finish(self) -> list[int]:
        """No more; the times of all records. Raises SandboxFailed if the source did not take one."""
        self._ended.set()
        if self.ident is not None:
            self.join()
        if self._failed:
            raise SandboxFailed(f"the source's broker did not store a record: {self._failed[0]}")
        return self.sent

    def _delivered(self, error: object, message: Message) -> None:
        if error is not None:
            self._failed.append(str(error))
            return
        at = int.from_bytes((message.value() or b"")[:_TIME_BYTES], "big")
        self.answered_ms[at] = (time.time_ns() - at) / 1e6


@dataclass(eq=False)
class _Reader(threading.Thread):
    """Notes when each record is there, by its time."""

    bootstrap_servers: str
    topic: str
    isolation: str
    arrived: dict[int, _Arrival] = field(default_factory=dict)

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
        appended = message.timestamp()[1] * 1_000_000
        self.arrived.setdefault(at, _Arrival((appended - at) / 1e6, (now - at) / 1e6))


async def _watched(writer: _Writer, seconds: float) -> tuple[set[int], float]:
    """The times of the records of so many seconds, and the load at their end; then no more are sent."""
    await asyncio.sleep(_WARM_UP_S)
    begin = time.time_ns()
    await asyncio.sleep(seconds)
    end, load = time.time_ns(), os.getloadavg()[0]
    sent = await asyncio.to_thread(writer.finish)
    return {at for at in sent if begin <= at < end}, load


async def _until(condition: Callable[[], bool], within_s: float, why: str) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise SandboxFailed(f"{why} within {within_s:.0f} s")
        await asyncio.sleep(_POLL_S)


def _percentiles(values: Iterable[float]) -> dict[str, float]:
    ordered = sorted(values)
    if not ordered:
        return {}
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) for name, share in at.items()}
