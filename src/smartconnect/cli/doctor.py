"""`doctor`: are the settings, the machine and the servers fit? Each finding is a row; exit code 0 if nothing fails."""

from __future__ import annotations

import asyncio
import email.utils
import getpass
import json
import os
import random
import ssl
import stat
import sys
import uuid
import zoneinfo
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from smartconnect.cli import words
from smartconnect.cli.options import DEFAULT_FILE, ConfigOption, JsonOption
from smartconnect.domain.clock import Clock
from smartconnect.domain.diagnosis import Diagnosis, DoesNotHold, Examination, OnlyWarning, Verdict
from smartconnect.domain.errors import SettingsInvalid, SmartConnectError
from smartconnect.settings import InstanceSettings, ObsSettings, Settings
from smartconnect.settings_load import load, secrets_in_file

ACCESS_KEY: Final = "SMARTCONNECT_DOCTOR_ACCESS_KEY"
SECRET_KEY: Final = "SMARTCONNECT_DOCTOR_SECRET_KEY"  # noqa: S105 the name of a variable
_SKEW_WARNING_S: Final = 60
_SKEW_FATAL_S: Final = 15 * 60
_ANSWER_S: Final = 10.0
_COLOURS: Final = {Verdict.HOLDS: "green", Verdict.WARNING: "yellow", Verdict.FAILS: "bold red"}

InstanceOption = Annotated[str, typer.Option("--instance", help="Run our whole protocol on this instance (id or name).")]
StoreOption = Annotated[
    str,
    typer.Option("--store", metavar="BUCKET", help=f"The same for a bucket; keys from {ACCESS_KEY} and _SECRET_KEY, or asked for."),
]


class NotFit(SmartConnectError):
    """Something does not hold."""

    code = "not_fit"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("doctor")
    def doctor(
        instance: InstanceOption = "", store: StoreOption = "", config: ConfigOption = DEFAULT_FILE, as_json: JsonOption = False
    ) -> None:
        """Check settings, clocks and rights; with --instance or --store, everything that we need of a Kafka or a bucket."""
        settings = load(config)
        examination = Examination(lambda diagnosis: None if as_json else _show(diagnosis))
        asyncio.run(_examine(settings, config, examination, (instance, store)))
        if as_json:
            print(json.dumps({"findings": [asdict(diagnosis) for diagnosis in examination.found]}))
        failed = [diagnosis.what for diagnosis in examination.found if diagnosis.verdict is Verdict.FAILS]
        if failed:
            raise NotFit(f"{len(failed)} of {words.counted(len(examination.found), 'check')} failed: {'; '.join(failed)}")


async def _examine(settings: Settings, config: Path, examination: Examination, which: tuple[str, str]) -> None:
    instance, store = which
    if instance:
        await _examine_instance(_instance(settings, instance), examination)
    if store:
        await _examine_store(settings, store, examination)
    if not instance and not store:
        await _examine_machine(settings, config, examination)


def _instance(settings: Settings, wanted: str) -> InstanceSettings:
    found = next((item for item in settings.instances if wanted in (item.id, item.name)), None)
    if found is None:
        known = ", ".join(f"{item.name or '?'} ({item.id})" for item in settings.instances)
        raise SettingsInvalid(f"--instance {wanted}: there is no such [[instances]]; the file has {known or 'none'}")
    return found


async def _examine_instance(instance: InstanceSettings, examination: Examination) -> None:
    from smartconnect.jobs.clusters import open_cluster
    from smartconnect.kafka.doctor import KafkaDoctor

    async with open_cluster(instance, client_id="smartconnect.doctor") as cluster:
        await KafkaDoctor(cluster, examination, uuid.uuid4().hex[:12], Clock().now_ms()).examine()


async def _examine_store(settings: Settings, bucket: str, examination: Examination) -> None:
    from smartconnect.jobs.obs_dump.doctor_store import StoreDoctor
    from smartconnect.objectstore import ObjectStore, StoreCredentials, StoreLocation

    where = settings.obs.location_of(bucket)
    if not where.endpoint:
        raise SettingsInvalid(f"obs.endpoint: is needed to find bucket {bucket}")
    location = StoreLocation(endpoint=where.endpoint, region=where.region, addressing=where.addressing, ca_file=where.ca_file)
    keys = StoreCredentials(*_keys())
    integrity = settings.obs_dump.part_integrity
    async with ObjectStore(location, keys, bucket, integrity=integrity, clock=Clock(), random=random.random) as store:
        await StoreDoctor(store, examination, uuid.uuid4().hex[:12]).examine()


def _keys() -> tuple[str, str]:
    """From the environment, else asked for: never from the command line, which others on this machine can read."""
    access_key, secret_key = os.environ.get(ACCESS_KEY, ""), os.environ.get(SECRET_KEY, "")
    if access_key and secret_key:
        return access_key, secret_key
    if not sys.stdin.isatty():
        raise SettingsInvalid(f"the keys of the bucket are needed: set {ACCESS_KEY} and {SECRET_KEY}")
    return access_key or input("Access key: "), getpass.getpass("Secret key: ")


async def _examine_machine(settings: Settings, config: Path, examination: Examination) -> None:
    await examination.check("the settings", lambda: _settings(settings, config))
    await examination.check("the registry", lambda: _registry(settings))
    await examination.check("time zones", _zones)
    for instance in settings.instances:
        await examination.check(f"instance {instance.name or instance.id}", _of_instance(instance))
    for name, (endpoint, ca_file) in _endpoints(settings.obs).items():
        await examination.check(name, _of_endpoint(endpoint, ca_file))


async def _settings(settings: Settings, config: Path) -> str:
    mode = stat.S_IMODE(os.stat(config).st_mode)  # noqa: PTH116 one look at a local file, in a loop that does nothing else
    secrets = secrets_in_file(config)
    if mode & 0o004 and secrets:
        raise OnlyWarning(
            f"{config} holds secrets ({secrets[0]}) and can be read by everybody (mode {mode:04o}); chmod 600 {config}"
        )
    return f"{words.counted(len(settings.instances), 'instance')}, listens on {settings.api.listen}"


async def _registry(settings: Settings) -> str:
    from smartconnect.app import open_registry
    from smartconnect.cli.stored_task import check_registry_exists

    try:
        check_registry_exists(settings)
    except SettingsInvalid as missing:
        raise OnlyWarning(f"{settings.registry.url} does not exist here yet; it is made at the first start") from missing
    registry = await open_registry(settings)
    try:
        return f"{settings.registry.url}, {words.counted(len(await registry.all_tasks(deleted=False)), 'task')}"
    finally:
        await registry.close()


async def _zones() -> str:
    known = len(zoneinfo.available_timezones())
    if not known:
        raise DoesNotHold("Python finds no time zones; install tzdata")
    return f"{known} are known"


def _of_instance(instance: InstanceSettings) -> Callable[[], Awaitable[str]]:
    from smartconnect.jobs.clusters import open_cluster
    from smartconnect.kafka.doctor import examine_rights
    from smartconnect.kafka.timing import Timing

    async def look() -> str:
        timing = Timing(connect_s=_ANSWER_S / 2, request_s=_ANSWER_S / 2, patience_s=_ANSWER_S / 2)
        async with open_cluster(instance, client_id="smartconnect.doctor", timing=timing) as cluster, asyncio.timeout(_ANSWER_S):
            return await examine_rights(cluster)

    return look


def _endpoints(obs: ObsSettings) -> dict[str, tuple[str, str]]:
    """Address and CA file of every store in the file, by what the check is called."""
    found = {"the store's endpoint and clock": (obs.endpoint, obs.ca_file)} if obs.endpoint else {}
    return found | {f"endpoint and clock for bucket {name}": (b.endpoint, b.ca_file) for name, b in obs.buckets.items()}


def _of_endpoint(endpoint: str, ca_file: str) -> Callable[[], Awaitable[str]]:
    async def look() -> str:
        import aiohttp

        from smartconnect.objectstore.broken_link import reason_of

        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        try:
            trust = ssl.create_default_context(cafile=ca_file or None)
        except OSError as error:
            raise DoesNotHold(f"the ca_file {ca_file} cannot be used: {error.strerror or error}") from error
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(endpoint, ssl=trust) as answer:
                date = answer.headers.get("Date", "")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DoesNotHold(f"{endpoint} does not answer: {reason_of(error)}; check the endpoint") from error
        return _skew(endpoint, date)

    return look


def _skew(endpoint: str, date: str) -> str:
    """Signatures carry the time: stores refuse those that are 15 minutes off."""
    try:
        seconds = Clock().wall() - email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        raise OnlyWarning(f"{endpoint} answers, but does not tell its time") from None
    if abs(seconds) > _SKEW_FATAL_S:
        raise DoesNotHold(f"our clock is {seconds:+.0f} s from that of {endpoint}: signatures are refused; set the clock")
    if abs(seconds) > _SKEW_WARNING_S:
        raise OnlyWarning(f"our clock is {seconds:+.0f} s from that of {endpoint}; set the clock")
    return f"{endpoint}, our clock is {seconds:+.0f} s from its"


def _show(diagnosis: Diagnosis) -> None:
    """A row of a table; one line for a script or a log."""
    if not sys.stdout.isatty():
        print(f"{diagnosis.verdict.value:<8}  {diagnosis.what:<50}  {diagnosis.detail}".rstrip(), flush=True)
        return
    from rich.markup import escape
    from rich.table import Table

    from smartconnect.cli.output import console

    screen = console()
    table = Table.grid(padding=(0, 2))
    for width in (8, min(50, screen.width // 2 - 10), None):
        table.add_column(width=width, overflow="fold")
    colour = _COLOURS[diagnosis.verdict]
    table.add_row(f"[{colour}]{diagnosis.verdict.value}[/]", escape(diagnosis.what), f"[dim]{escape(diagnosis.detail)}[/]")
    screen.print(table)
