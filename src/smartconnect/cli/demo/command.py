"""`demo`: the story, from nothing to a bucket in which every record was found once."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator
from typing import Any, Final

from rich.console import Console

from smartconnect.cli.client import ApiClient, instance_path
from smartconnect.cli.demo.bucket import BucketCheck, Tally
from smartconnect.cli.demo.screen import Screen
from smartconnect.cli.demo.source import TOPICS, DemoFailed, Source, open_source
from smartconnect.cli.demo.stage import BUCKET, Stage, set_up
from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import SmartConnectError
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.objectstore import ObjectStore, StoreCredentials, StoreLocation

_NAME: Final = "demo-dump"
_PATH: Final = "dump"
_INTERVAL_S: Final = 30
_BACKLOG: Final = 120_000
_LOOK_EVERY_S: Final = 1.0
_POLL_S: Final = 0.25
_RUNNING_WITHIN_S: Final = 60.0
_ONCE_WITHIN_S: Final = 180.0
_DRAINED_WITHIN_S: Final = 90.0
_INTERRUPTED: Final = 130


async def run(*, once: bool, keep_folder: bool) -> int:
    """The exit code: 0 if every record was found exactly once."""
    demo = _Demo(Screen(Console()), once=once, keep_folder=keep_folder)
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    assert main is not None

    def interrupted() -> None:
        if not demo.flowing or demo.enough.is_set():
            main.cancel()
        demo.enough.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
    try:
        return await demo.play()
    except asyncio.CancelledError:
        demo.screen.console.print("\n  Stopped; everything was removed.")
        return _INTERRUPTED


class _Demo:
    """`enough`: stop writing, count, end. `flowing`: there is something to count."""

    def __init__(self, screen: Screen, *, once: bool, keep_folder: bool) -> None:
        self.screen, self.enough, self.flowing = screen, asyncio.Event(), False
        self._once, self._keep_folder = once, keep_folder

    async def play(self) -> int:
        screen = self.screen
        screen.title()
        async with set_up(screen.step, keep_folder=self._keep_folder) as stage, _clients(stage) as (api, source, check):
            with screen.step(f"Topics {', '.join(TOPICS)}: {_BACKLOG:,} records are waiting in them"):
                await source.write(_BACKLOG)
            task = await self._create(stage, api)
            screen.where_to_look(stage)
            tally = await self._flow(api, task, source, check)
            screen.verdict(source.written, tally)
            if self._keep_folder:
                screen.console.print(f"  Objects and logs stay in {stage.folder}\n", soft_wrap=True, highlight=False)
            elif self._once:
                screen.console.print("  All of it is removed now; --keep leaves objects and logs.\n")
        return 0 if tally.perfect else 1

    async def _create(self, stage: Stage, api: ApiClient) -> str:
        """Create the task by the documented call, signed; its path."""
        path = f"{instance_path(stage.project_id, stage.instance_id)}/connector/tasks"
        body = _request(stage)
        masked = body | {"sink_task": body["sink_task"] | {"access_key": "…", "secret_key": "…"}}
        with self.screen.step("Task created by a signed request"):
            created = await api.call("POST", path, body)
        self.screen.request("POST", path, masked)
        task = f"{path}/{created['id']}"
        with self.screen.step(f"Task {created['id']} is RUNNING"):
            await _until_status(api, task, "RUNNING", _RUNNING_WITHIN_S)
        return task

    async def _flow(self, api: ApiClient, task: str, source: Source, check: BucketCheck) -> Tally:
        self.flowing = True
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(source.flow(self.enough))
                with self.screen.live():
                    await self._watch(api, task, source, check)
                self.enough.set()
        except* SmartConnectError as failures:
            raise failures.exceptions[0] from None
        with self.screen.step("Nothing is written any more; all of it was read from Kafka"):
            await api.call("PUT", f"{task}/resume")  # no more than a word, unless somebody has paused it meanwhile
            await self._until_read(api, task, source.written.records)
        with self.screen.step("PUT …/pause: what was read becomes visible at once"):
            await api.call("PUT", f"{task}/pause")
            await _until_status(api, task, "PAUSED", _DRAINED_WITHIN_S)
        with self.screen.step("Every record of every object was compared"):
            return await check.conclude(source.written)

    async def _watch(self, api: ApiClient, task: str, source: Source, check: BucketCheck) -> None:
        started = asyncio.get_running_loop().time()
        while not self.enough.is_set():
            progress = await api.call("GET", f"{task}/progress")
            await check.look()
            waited = asyncio.get_running_loop().time() - started
            self.screen.update(progress, source.written, check.tally, self._hint(check.tally, waited))
            if self._once and check.tally.every_partition:
                return
            if self._once and waited > _ONCE_WITHIN_S:
                raise DemoFailed(f"after {waited:.0f} s not every partition had an object in the bucket; see the service's log")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.enough.wait(), _LOOK_EVERY_S)

    async def _until_read(self, api: ApiClient, task: str, records: int) -> None:
        """Pausing makes visible what was read; what waits in Kafka would wait for the resume."""
        try:
            async with asyncio.timeout(_DRAINED_WITHIN_S):
                while True:
                    progress = await api.call("GET", f"{task}/progress")
                    if progress["counters"].get("records_in", 0) >= records:
                        return
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise DemoFailed(f"the task did not read all {records} records; see the service's log") from None

    def _hint(self, tally: Tally, waited: float) -> str:
        if not tally.objects:
            left = max(0, _INTERVAL_S - waited)
            return f"Objects appear whole, every {_INTERVAL_S} s: the first ones in {left:.0f} s at most"
        return "Ctrl-C counts everything once more and ends" if not self._once else "Ends when every partition has an object"


@contextlib.asynccontextmanager
async def _clients(stage: Stage) -> AsyncIterator[tuple[ApiClient, Source, BucketCheck]]:
    location = StoreLocation(endpoint=stage.s3.endpoint, region=stage.s3.region)
    keys = StoreCredentials(stage.s3.access_key, stage.s3.secret_key)
    async with (
        Cluster(stage.kafka.bootstrap_servers, KafkaSecurity(), client_id="smartconnect-demo") as cluster,
        open_source(cluster) as source,
        ObjectStore(location, keys, BUCKET, clock=Clock(), random=random.random) as store,
        ApiClient(stage.endpoint, stage.key) as api,
    ):
        yield api, source, BucketCheck(store, f"{_PATH}/")


def _request(stage: Stage) -> dict[str, Any]:
    return {
        "task_name": _NAME,
        "topics": ",".join(TOPICS),
        "source_type": "NONE",
        "sink_type": "OBS_SINK",
        "sink_task": {
            "access_key": stage.s3.access_key,
            "secret_key": stage.s3.secret_key,
            "obs_bucket_name": BUCKET,
            "obs_path": _PATH,
            "consumer_strategy": "earliest",
            "destination_file_type": "TEXT",
            "deliver_time_interval": _INTERVAL_S,
            "record_delimiter": "\n",
        },
    }


async def _until_status(api: ApiClient, task: str, status: str, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            while True:
                if (await api.call("GET", task))["status"] == status:
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise DemoFailed(f"the task did not show {status} within {within_s:.0f} s; see the service's log") from None
