"""The demo's tasks: what is asked for, and the documented calls, signed, by which one is made, followed and paused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from smartconnect.cli.client import ApiClient
from smartconnect.cli.demo.source import TOPICS, DemoFailed
from smartconnect.cli.demo.stage import BUCKET, Stage

DUMP_PATH: Final = "dump"
INTERVAL_S: Final = 30
_POLL_S: Final = 0.25
_RUNNING_WITHIN_S: Final = 60.0
_DRAINED_WITHIN_S: Final = 90.0


def dump_request(stage: Stage) -> dict[str, Any]:
    """Topics of the instance → objects in the bucket."""
    return {
        "task_name": "demo-dump",
        "topics": ",".join(TOPICS),
        "source_type": "NONE",
        "sink_type": "OBS_SINK",
        "sink_task": {
            "access_key": stage.servers.s3.access_key,
            "secret_key": stage.servers.s3.secret_key,
            "obs_bucket_name": BUCKET,
            "obs_path": DUMP_PATH,
            "consumer_strategy": "earliest",
            "destination_file_type": "TEXT",
            "deliver_time_interval": INTERVAL_S,
            "record_delimiter": "\n",
        },
    }


def replication_request(stage: Stage) -> dict[str, Any]:
    """The same topics of the instance → the peer."""
    return {
        "task_name": "demo-replication",
        "topics": ",".join(TOPICS),
        "source_type": "KAFKA_REPLICATOR_SOURCE",
        "sink_type": "NONE",
        "source_task": {
            "instance_id": stage.peer_id,
            "direction": "push",
            "consumer_strategy": "earliest",
            "task_num": 1,
        },
    }


def masked(body: Mapping[str, Any]) -> dict[str, Any]:
    """A request as it may be shown."""
    sink = body.get("sink_task")
    return dict(body) if sink is None else {**body, "sink_task": {**sink, "access_key": "…", "secret_key": "…"}}


@dataclass(frozen=True, slots=True)
class DemoTask:
    """One task; `path` is its address in the API."""

    api: ApiClient
    name: str
    path: str

    @classmethod
    async def create(cls, api: ApiClient, tasks: str, body: Mapping[str, Any]) -> DemoTask:
        """By the documented call; `tasks` is the address of all of them."""
        created = await api.call("POST", tasks, body)
        return cls(api, str(body["task_name"]), f"{tasks}/{created['id']}")

    async def until_running(self) -> None:
        await self._until_status("RUNNING", _RUNNING_WITHIN_S)

    async def progress(self) -> Mapping[str, Any]:
        return await self.api.call("GET", f"{self.path}/progress")

    async def until_read(self, records: int) -> None:
        """All of them: nothing is added any more. Pausing makes visible what was read; what waits in Kafka would wait for the resume."""
        await self.api.call("PUT", f"{self.path}/resume")  # no more than a word, unless somebody has paused it meanwhile
        try:
            async with asyncio.timeout(_DRAINED_WITHIN_S):
                while True:
                    if _has_read(await self.progress(), records):
                        return
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise DemoFailed(f"{self.name} did not read all {records} records; see the service's log") from None

    async def pause(self) -> None:
        """Until what was read is visible."""
        await self.api.call("PUT", f"{self.path}/pause")
        await self._until_status("PAUSED", _DRAINED_WITHIN_S)

    async def _until_status(self, status: str, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                while True:
                    if (await self.api.call("GET", self.path))["status"] == status:
                        return
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise DemoFailed(f"{self.name} did not show {status} within {within_s:.0f} s; see the service's log") from None


def _has_read(progress: Mapping[str, Any], records: int) -> bool:
    """By the count; a worker that was killed takes its last counts with it, and then all is visible and nothing has moved for a while."""
    moves = any(progress["throughput"].get(rate) for rate in ("bytes_in_per_s", "records_per_s"))
    return progress["counters"].get("records_in", 0) >= records or (progress["lag_records"] == 0 and not moves)
