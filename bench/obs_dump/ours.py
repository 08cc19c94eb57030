"""Our side: one dump of a topic, created over the API of a running service."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from bench.common import service
from bench.common.data import Case
from bench.common.service import Instance, Service
from bench.common.watching import Measured, Watch
from bench.obs_dump.asking import asking
from bench.obs_dump.count import stored_bytes, visible_bytes
from bench.obs_dump.stage import Stage
from smartconnect.sandbox.s3 import S3Server

MOST_RECORDS: Final = 1_000_000


async def dump(stage: Stage, case: Case, bucket: Path, workers: int, *, ask: bool = False) -> Measured:
    """The whole topic into the bucket. The last object of each partition is cut by `flush_size`, not by the clock: all of them are equal
    and none larger than the default allows. From RUNNING; the notes say what it is from the call that creates the task. `ask`: the API is
    asked meanwhile, and the notes say how long it took to answer."""
    async with serve(stage, stage.folder / f"service-{bucket.name}", workers) as running:
        whole = Watch(running.pid, stage.others, from_birth=False)
        task = await running.create(body(stage.s3, bucket.name, case.topic, flush_size=per_object(case)))
        await running.until(task, status="RUNNING")
        watch, before = Watch(running.pid, stage.others, from_birth=False), stored_bytes(bucket)
        paths = {"show": task, "list": running.tasks} if ask else {}
        with asking(running.endpoint, running.headers, paths) as answers:
            measured = await watch.until(case.total_bytes, lambda: visible_bytes(bucket, last_newline=True))
        with_start = whole.measured()
        progress = await running.until(f"{task}/progress", lag_records=0, phase="dumping")
    measured.notes = {
        "wall_from_create_s": with_start.wall_s,
        "cpu_from_create_s": with_start.cpu_s,
        "stored_before_running_mb": before / 1e6,
        "retries": progress["counters"].get("retries", 0),
        **answers.notes(),
    }
    return measured


def per_object(case: Case) -> int:
    """Records of each object: all of a partition are equal, none is larger than the default allows."""
    return case.per_partition // -(-case.per_partition // MOST_RECORDS)


def body(store: S3Server, bucket: str, topic: str, **sink: object) -> dict[str, object]:
    """The request that creates the dump of a topic."""
    return {
        "task_name": f"dump-{topic}",
        "topics": topic,
        "source_type": "NONE",
        "sink_type": "OBS_SINK",
        "sink_task": {
            "access_key": store.access_key,
            "secret_key": store.secret_key,
            "obs_bucket_name": bucket,
            "obs_path": topic,
            "consumer_strategy": "earliest",
            "destination_file_type": "TEXT",
            "deliver_time_interval": 30,
            "record_delimiter": "\n",
            **sink,
        },
    }


@contextlib.asynccontextmanager
async def serve(stage: Stage, folder: Path, workers: int) -> AsyncIterator[Service]:
    """The service with the stage's broker and store."""
    async with service.serve(
        folder, [Instance("bench", stage.kafka.bootstrap_servers)], workers, store_settings(stage.s3)
    ) as running:
        yield running


def store_settings(store: S3Server) -> str:
    """The section of the service's settings that names the store."""
    ca_file = f'ca_file = "{store.ca_file}"\n' if store.options.scheme == "https" else ""
    return f'[obs]\nendpoint = "{store.endpoint}"\nregion = "{store.region}"\n{ca_file}'
