"""The composition root: the only module that knows every adapter. It is also what every process of the service runs:
`python -m smartconnect.app <role> <options>` (see `engine.launch`). Imports are made inside the functions, so that each process loads
only what its role needs: the parent no settings, no registry, no web code; the nursery what workers and the API have in common.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from setproctitle import setproctitle

from smartconnect.engine import launch
from smartconnect.engine.launch import Launch

if TYPE_CHECKING:
    import ssl

    from smartconnect.domain.clock import Clock
    from smartconnect.domain.task import Kind
    from smartconnect.engine.job import Job
    from smartconnect.registry import Registry
    from smartconnect.settings import InstanceSettings, Settings
    from smartconnect.settings_watch import SettingsWatch

    JobMaker = Callable[["Callable[[], Settings]", "Clock"], Mapping["Kind", "Job"]]

EXIT_SETTINGS = 78  # EX_CONFIG
MODULE = "smartconnect.app"
_COMMON: Final = (
    "smartconnect.coordination.local",
    "smartconnect.engine.worker",
    "smartconnect.jobs.kafka_replication.job",
    "smartconnect.jobs.obs_dump.job",
    "smartconnect.registry",
    "smartconnect.settings_load",
)


def make_jobs(settings: Callable[[], Settings], clock: Clock) -> Mapping[Kind, Job]:
    """Every kind of task. `settings` gives them as they are now."""
    from random import Random

    from smartconnect.jobs.kafka_replication import environment as replication
    from smartconnect.jobs.kafka_replication.job import KafkaReplicationJob
    from smartconnect.jobs.obs_dump import environment as dump
    from smartconnect.jobs.obs_dump.job import ObsDumpJob

    of_dump = dump.Directory(
        instance=lambda instance_id: _instance(settings(), instance_id),
        obs=lambda: settings().obs,
        obs_dump=lambda: settings().obs_dump,
    )
    of_replication = replication.Directory(
        find_instance=lambda instance_id: settings().instance(instance_id),
        kafka_replication=lambda: settings().kafka_replication,
        allowed_targets=lambda: settings().control.allowed_targets,
    )
    jobs: Sequence[Job] = [ObsDumpJob(of_dump, clock, Random()), KafkaReplicationJob(of_replication, clock, Random())]
    return {job.kind: job for job in jobs}


def main(arguments: Sequence[str], *, module: str = MODULE, jobs: JobMaker = make_jobs) -> int:
    """The life of one process; gives its exit code. `module`: what children are started with (tests bring jobs of their own)."""
    role, options = arguments[0], Launch.parse(arguments[1])
    if role == launch.PARENT:
        _without_ssl()
    if role == launch.NURSERY:
        from smartconnect.engine.forking import fork_on_demand

        _show(options.name(role), options)
        _preload()
        born = fork_on_demand(options.link)
        if born is None:
            return 0
        role, options = born.arguments[0], replace(Launch.parse(born.arguments[1]), link=born.link)
    from smartconnect.domain.errors import SmartConnectError
    from smartconnect.telemetry.logs import LogFormat, configure, get_logger

    name = options.name(role)
    _show(name, options)
    configure(name, log_format=cast(LogFormat, options.log_format), level=options.log_level)
    try:
        match role:
            case launch.PARENT:
                _run(run_parent(options, module))
            case launch.WORKER:
                _run(run_worker(options, jobs))
            case launch.API:
                _run(run_api(options, jobs))
            case launch.STATUS:
                _run(run_status(options))
            case _:
                raise ValueError(f"there is no role {role!r}")
    except SmartConnectError as error:
        get_logger().error("process cannot go on", code=error.code, error=str(error))
        return EXIT_SETTINGS
    return 0


def _run(life: Coroutine[Any, Any, None]) -> None:
    """On an event loop that is measured."""
    import asyncio

    from smartconnect.telemetry.loop_lag import measured_loop

    with asyncio.Runner(loop_factory=measured_loop) as runner:
        runner.run(life)


async def run_parent(options: Launch, module: str) -> None:
    """Supervise. Nothing of the settings is needed here: the command line has looked at them."""
    from smartconnect.coordination.board import BucketBoard
    from smartconnect.engine.nursery import Nursery
    from smartconnect.engine.parent import Parent, ParentTiming

    timing = ParentTiming(frozen_after_s=options.frozen_after_s, stop_within_s=options.stop_within_s)
    nursery = Nursery(lambda fd: replace(options, link=fd).command(module, launch.NURSERY))
    await Parent(options.children(), nursery, BucketBoard(options.workers), timing, time.monotonic).run()


async def run_worker(options: Launch, jobs: JobMaker) -> None:
    """Move data."""
    import socket
    import uuid
    from random import Random

    from smartconnect.coordination.local import PipeCoordinator
    from smartconnect.domain.backoff import Backoff
    from smartconnect.domain.clock import Clock
    from smartconnect.engine.parts import EngineParts
    from smartconnect.engine.worker import Worker
    from smartconnect.telemetry.meters import PROCESS_METERS
    from smartconnect.telemetry.redaction import PROCESS_REDACTOR

    watch, clock, backoff = _settings_watch(options), Clock(), Backoff(first_s=0.2, cap_s=30.0)
    registry = await open_registry(watch.current)
    dice = Random()
    parts = EngineParts(
        registry=registry,
        jobs=jobs(lambda: watch.current, clock),
        owner=f"{socket.gethostname()}/worker-{options.index}",
        clock=clock,
        backoff=lambda attempt: backoff.delay(attempt - 1, dice.random),
        new_id=lambda: uuid.uuid4().hex,
        meters=PROCESS_METERS,
        redactor=PROCESS_REDACTOR,
    )
    try:
        await Worker(parts, watch, options.link, PipeCoordinator).run()
    finally:
        await registry.close()


async def run_api(options: Launch, jobs: JobMaker) -> None:
    """Answer the API."""
    from smartconnect import app_api

    watch = _settings_watch(options)
    registry = await open_registry(watch.current)
    try:
        await app_api.serve(options.link, watch, registry, jobs)
    finally:
        await registry.close()


async def run_status(options: Launch) -> None:
    """Answer /healthz, /readyz and /metrics for `smart-connect worker`."""
    from smartconnect.engine.child import ChildProcess
    from smartconnect.engine.probes import FleetView
    from smartconnect.engine.protocol import Fleet, Message
    from smartconnect.engine.status_server import StatusServer
    from smartconnect.telemetry.logs import get_logger
    from smartconnect.telemetry.meters import PROCESS_METERS

    watch = _settings_watch(options)
    fleet = FleetView(launch.STATUS, PROCESS_METERS, time.monotonic)

    def handle(message: Message) -> None:
        if isinstance(message, Fleet):
            fleet.heard(message)

    child = ChildProcess(options.link, watch=watch, meters=PROCESS_METERS, handle=handle)
    server = StatusServer(fleet)
    async with child.living():
        tls = tls_context(watch.current)
        await server.start(*watch.current.api.address(), tls)
        get_logger().info("listening", address=watch.current.api.listen, tls=tls is not None)
        await child.stopped()
        await server.close()


async def open_registry(settings: Settings) -> Registry:
    """Open what `[registry]` names."""
    from smartconnect.registry import Registry

    key = settings.registry.key
    return await Registry.open(settings.registry.url, Path(settings.registry.key_file), key=key or None)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """For the listener; None without `tls_cert_file`. SettingsInvalid if the files are unusable."""
    import ssl

    from smartconnect.domain.errors import SettingsInvalid

    if not settings.api.tls_cert_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.api.tls_cert_file, settings.api.tls_key_file)
    except OSError as error:
        raise SettingsInvalid(f"api.tls_cert_file: certificate and key cannot be used: {error}") from error
    return context


def _without_ssl() -> None:
    """The parent opens no connection; asyncio does without ssl where it is missing, and that saves a fifth of the parent's memory."""
    sys.modules["ssl"] = cast(Any, None)


def _preload() -> None:
    """What workers and the API have in common; whoever is forked afterwards finds it there."""
    for module in _COMMON:
        importlib.import_module(module)


def _show(name: str, options: Launch) -> None:
    """What a list of processes shows for this one."""
    setproctitle(f"smart-connect {name} {options.config}")


def _settings_watch(options: Launch) -> SettingsWatch:
    from smartconnect.settings_load import load
    from smartconnect.settings_watch import SettingsWatch
    from smartconnect.telemetry.meters import PROCESS_METERS

    path = Path(options.config)
    return SettingsWatch(path, load(path), PROCESS_METERS)


def _instance(settings: Settings, instance_id: str) -> InstanceSettings:
    from smartconnect.domain.errors import ClusterUnreachable

    instance = settings.instance(instance_id)
    if instance is None:
        raise ClusterUnreachable(f"instance {instance_id} is not in the settings any more; add it to [[instances]] again")
    return instance


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
