"""How much later a record is while a dump runs at full speed in the same worker: one worker process with a replication at a low rate,
measured alone and then with dump after dump of a topic that is full, from the target's broker to the sandbox's S3 server.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.common import data
from bench.common.data import Case
from bench.common.watching import Watch
from bench.kafka_replication.latency import Latency, of_stretch
from bench.kafka_replication.open_loop import Steady, open_loop
from bench.kafka_replication.ours import NAME, Served, copy_task, served
from bench.kafka_replication.stage import Stage
from bench.obs_dump.count import objects, stored_bytes, visible_bytes
from bench.obs_dump.ours import body, per_object, store_settings
from smartconnect.kernels import Codec
from smartconnect.sandbox.s3 import S3Options, S3Server

TOPIC: Final = Case(1024, 2_000_000, Codec.LZ4)
"""What each dump reads; seconds of work, so the pauses between two of them are few."""
SECONDS: Final = 20.0
_AT_FULL_SPEED_AFTER_S: Final = 3.0
_MEMORY: Final = Path("/dev/shm")  # Linux: a tmpfs
_DUMPS_AT_ONCE: Final = 3
"""One that is made, one that is deleted, and room to spare."""


@dataclass(frozen=True, slots=True)
class Beside:
    """The same records to the same reader. `dumped_mb_per_s`: what the dumps stored meanwhile, as values."""

    alone: Latency
    beside: Latency
    dumped_mb_per_s: float

    @property
    def ratio(self) -> float:
        """Of the 99th percentiles: exactly once to the reader, at least once to the append on the target."""
        alone, beside = (one.seen_ms if one.exactly_once else one.append_ms for one in (self.alone, self.beside))
        return round(beside["p99"] / max(alone["p99"], 0.01), 2)


@contextlib.asynccontextmanager
async def dumpable(stage: Stage) -> AsyncIterator[S3Server]:
    """A store, and the topic on the target."""
    with tempfile.TemporaryDirectory(prefix="beside-", dir=_room(stage)) as folder:
        store = S3Server(S3Options(), Path(folder))
        try:
            await store.start()
            await data.fill(stage.writes, TOPIC)
            yield store
        finally:
            await store.kill()


def _room(stage: Stage) -> Path:
    """Where the store's objects lie: in memory if there is room, so that not the disk is measured that both brokers write to as well."""
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _DUMPS_AT_ONCE * TOPIC.total_bytes
    return _MEMORY if in_memory else stage.folder


async def measure(stage: Stage, store: S3Server, job: Steady, tasks: int, seconds: float) -> Beside:
    """So many seconds alone, then as many beside the dumps. Raises SandboxFailed if a record does not arrive, or a dump stands still."""
    async with open_loop(stage, NAME, job) as line, served(stage, 1, store_settings(store)) as us:
        await copy_task(us, job.job, tasks)
        await line.flowing()
        alone = await of_stretch(line, job, seconds)
        async with _dumping(stage, store, us) as dumps:
            await asyncio.sleep(_AT_FULL_SPEED_AFTER_S)
            before, began = dumps.stored(), time.monotonic()
            beside = await of_stretch(line, job, seconds)
            rate = (dumps.stored() - before) / 1e6 / (time.monotonic() - began)
    return Beside(alone, beside, round(rate, 1))


@contextlib.asynccontextmanager
async def _dumping(stage: Stage, store: S3Server, us: Served) -> AsyncIterator[_Dumps]:
    """Dumps run inside; if one failed, that is raised at the end."""
    dumps = _Dumps(stage, store, us)
    running = asyncio.create_task(dumps.run())
    try:
        yield dumps
        if running.done():
            await running
    finally:
        running.cancel()
        await asyncio.wait([running])


class _Dumps:
    """One dump of the whole topic after the other, each a task with a bucket of its own; task and objects go with it."""

    def __init__(self, stage: Stage, store: S3Server, us: Served) -> None:
        self._stage, self._store, self._us = stage, store, us
        self._whole = 0
        self._bucket = self._new_bucket()

    async def run(self) -> None:
        """Until cancelled. Raises SandboxFailed, ApiRefused."""
        service = self._us.service
        while True:
            task = await service.create(body(self._store, self._bucket.name, TOPIC.topic, flush_size=per_object(TOPIC)))
            watch = Watch(service.pid, self._stage.others, from_birth=False)
            await watch.until(TOPIC.total_bytes, lambda: visible_bytes(self._bucket, last_newline=True))
            await service.api.call("DELETE", task)
            done, self._bucket = self._bucket, self._new_bucket()
            self._whole += TOPIC.total_bytes
            await asyncio.to_thread(_empty, done)

    def stored(self) -> int:
        """Bytes of values, parts of open objects included."""
        return self._whole + min(stored_bytes(self._bucket), TOPIC.total_bytes)

    def _new_bucket(self) -> Path:
        bucket = self._store.buckets / f"beside-{secrets.token_hex(4)}"
        bucket.mkdir()
        return bucket


def _empty(bucket: Path) -> None:
    """Make room. The bucket stays: the task that is being deleted still looks into it."""
    for path in objects(bucket):
        path.unlink()
