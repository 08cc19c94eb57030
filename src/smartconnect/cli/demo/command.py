"""`demo`: the story, from nothing to a bucket and a second Kafka in which every record was found once."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from rich.console import Console

from smartconnect.cli.client import ApiClient, instance_path
from smartconnect.cli.demo.bucket import BucketCheck
from smartconnect.cli.demo.peer import PeerCheck
from smartconnect.cli.demo.screen import Found, Screen
from smartconnect.cli.demo.source import TOPICS, DemoFailed, Source, open_source
from smartconnect.cli.demo.stage import BUCKET, Stage, set_up
from smartconnect.cli.demo.task import DUMP_PATH, INTERVAL_S, DemoTask, dump_request, masked, replication_request
from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import SmartConnectError
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.objectstore import ObjectStore, StoreCredentials, StoreLocation

_BACKLOG: Final = 120_000
_LOOK_EVERY_S: Final = 1.0
_ONCE_WITHIN_S: Final = 180.0
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


@dataclass(frozen=True, slots=True)
class _Play:
    """What acts on the stage: who writes, what moves the data, who counts it."""

    source: Source
    dump: DemoTask
    replication: DemoTask
    bucket: BucketCheck
    peer: PeerCheck

    @property
    def tasks(self) -> tuple[DemoTask, DemoTask]:
        return self.dump, self.replication

    @property
    def found(self) -> Found:
        return Found(self.source.written, self.bucket.tally, self.peer.tally)


class _Demo:
    """`enough`: stop writing, count, end. `flowing`: there is something to count."""

    def __init__(self, screen: Screen, *, once: bool, keep_folder: bool) -> None:
        self.screen, self.enough, self.flowing = screen, asyncio.Event(), False
        self._once, self._keep_folder = once, keep_folder

    async def play(self) -> int:
        screen = self.screen
        screen.title()
        async with set_up(screen.step, keep_folder=self._keep_folder) as stage, _play(screen, stage) as play:
            screen.where_to_look(stage, [task.name for task in play.tasks])
            found = await self._flow(play)
            screen.verdict(found)
            if self._keep_folder:
                screen.console.print(f"  Objects and logs stay in {stage.folder}\n", soft_wrap=True, highlight=False)
            elif self._once:
                screen.console.print("  All of it is removed now; --keep leaves objects and logs.\n")
        return 0 if found.perfect else 1

    async def _flow(self, play: _Play) -> Found:
        self.flowing = True
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(play.source.flow(self.enough))
                with self.screen.live():
                    await self._watch(play)
                self.enough.set()
        except* SmartConnectError as failures:
            raise failures.exceptions[0] from None
        written = play.source.written
        with self.screen.step("Nothing is written any more; both tasks have read all of it"):
            await asyncio.gather(*(task.until_read(written.records) for task in play.tasks))
        with self.screen.step("PUT …/pause: what was read becomes visible at once"):
            await asyncio.gather(*(task.pause() for task in play.tasks))
        with self.screen.step("Every record of every object and of the peer's topics was compared"):
            await asyncio.gather(play.bucket.conclude(written), play.peer.conclude(written))
        return play.found

    async def _watch(self, play: _Play) -> None:
        started = asyncio.get_running_loop().time()
        while not self.enough.is_set():
            progress = await asyncio.gather(*(task.progress() for task in play.tasks))
            await asyncio.gather(play.bucket.look(), play.peer.look())
            waited, found = asyncio.get_running_loop().time() - started, play.found
            self.screen.update(progress, found, self._hint(found, waited))
            if self._once and found.everywhere:
                return
            if self._once and waited > _ONCE_WITHIN_S:
                raise DemoFailed(f"after {waited:.0f} s not every partition was in the bucket and the peer; see the service's log")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.enough.wait(), _LOOK_EVERY_S)

    def _hint(self, found: Found, waited: float) -> str:
        if not found.bucket.objects:
            left = max(0, INTERVAL_S - waited)
            return f"Objects appear whole, every {INTERVAL_S} s: the first ones in {left:.0f} s at most"
        return "Ctrl-C counts everything once more and ends" if not self._once else "Ends when every partition has an object"


@contextlib.asynccontextmanager
async def _play(screen: Screen, stage: Stage) -> AsyncIterator[_Play]:
    """A backlog is written, then both tasks are created and run."""
    servers = stage.servers
    location = StoreLocation(endpoint=servers.s3.endpoint, region=servers.s3.region)
    keys = StoreCredentials(servers.s3.access_key, servers.s3.secret_key)
    async with (
        Cluster(servers.kafka.bootstrap_servers, KafkaSecurity(), client_id="smartconnect-demo") as kafka,
        Cluster(servers.peer.bootstrap_servers, KafkaSecurity(), client_id="smartconnect-demo") as peer,
        open_source(kafka) as source,
        PeerCheck(peer) as peer_check,
        ObjectStore(location, keys, BUCKET, clock=Clock(), random=random.random) as store,
        ApiClient(stage.endpoint, stage.key) as api,
    ):
        with screen.step(f"Topics {', '.join(TOPICS)}: {_BACKLOG:,} records are waiting in them"):
            await source.write(_BACKLOG)
        dump, replication = await _create(screen, stage, api)
        yield _Play(source, dump, replication, BucketCheck(store, f"{DUMP_PATH}/"), peer_check)


async def _create(screen: Screen, stage: Stage, api: ApiClient) -> list[DemoTask]:
    """Each task by the documented call, signed."""
    path = f"{instance_path(stage.project_id, stage.instance_id)}/connector/tasks"
    tasks: list[DemoTask] = []
    for body in (dump_request(stage), replication_request(stage)):
        with screen.step(f"Task {body['task_name']} created by a signed request"):
            tasks.append(await DemoTask.create(api, path, body))
        screen.request("POST", path, masked(body))
    with screen.step("Both tasks are RUNNING"):
        await asyncio.gather(*(task.until_running() for task in tasks))
    return tasks
