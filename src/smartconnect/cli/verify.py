"""`verify`: is every record of a task in its target once? Prints what is wrong as it is found; exit code 0 only if nothing is."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import aclosing
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from smartconnect.cli import words
from smartconnect.cli.options import DEFAULT_FILE, ConfigOption, JsonOption
from smartconnect.cli.stored_task import job_of, opened, stored_task
from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import SmartConnectError
from smartconnect.domain.verification import Finding, VerifyRequest, VerifyResult, VerifySubject

if TYPE_CHECKING:
    from smartconnect.domain.task import Task
    from smartconnect.registry import Registry

_PAGE: Final = 5000
_AGO: Final = re.compile(r"(\d+)\s*([smhd])")
_UNITS_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="Id or name.")]
TopicOption = Annotated[str, typer.Option("--topic", help="This topic alone.")]
SinceOption = Annotated[str, typer.Option("--since", help="What was written since then: 2026-01-02T03:04, or 30m, 12h, 7d ago.")]
DeepOption = Annotated[bool, typer.Option("--deep", help="Read each range from Kafka and compare every byte.")]
InstanceOption = Annotated[str, typer.Option("--instance", help="Id of the instance, if two have a task of this name.")]


class NotVerified(SmartConnectError):
    """Something is wrong, or the question cannot be asked of this task."""

    code = "not_verified"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("verify")
    def verify(
        task: TaskArgument,
        topic: TopicOption = "",
        since: SinceOption = "",
        deep: DeepOption = False,
        instance: InstanceOption = "",
        config: ConfigOption = DEFAULT_FILE,
        as_json: JsonOption = False,
    ) -> None:
        """Check a task's objects: gaps, overlaps, unfinished and foreign ones; with --deep every byte. Runs beside the live task."""
        clock = Clock()
        request = VerifyRequest(topic or None, since_ms(since, clock.now_ms()), deep)
        result = asyncio.run(_verify(config, (task, instance), request, clock, as_json=as_json))
        if result.wrong:
            found = ", ".join(f"{count} {kind.value}" for kind, count in sorted(result.findings.items()))
            raise NotVerified(f"{task} is not as it should be: {found}")


def since_ms(text: str, now_ms: int) -> int | None:
    """A moment (ISO 8601, local time without an offset) or a time ago, as epoch ms; NotVerified for anything else."""
    if not text:
        return None
    if (ago := _AGO.fullmatch(text)) is not None:
        return now_ms - int(ago[1]) * _UNITS_MS[ago[2]]
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except ValueError:
        raise NotVerified(f"--since {text}: write a moment like 2026-01-02T03:04, or a time ago like 30m, 12h, 7d") from None


async def _verify(config: Path, which: tuple[str, str], request: VerifyRequest, clock: Clock, *, as_json: bool) -> VerifyResult:
    from smartconnect.engine.job import VerifiableJob

    async with opened(config) as (settings, registry):
        task = await stored_task(registry, *which)
        job = job_of(task, settings, clock)
        if not isinstance(job, VerifiableJob):
            raise NotVerified(f"tasks of the kind {task.kind} cannot be verified in this version")
        subject = await _subject(registry, task)
        result = VerifyResult()
        async with aclosing(job.verify(subject, request, result)) as findings:
            async for finding in findings:
                print(json.dumps(asdict(finding) | {"wrong": finding.wrong}) if as_json else _line(finding), flush=True)
        print(json.dumps(_summary(task, result)) if as_json else _told(task, result, deep=request.deep))
        return result


async def _subject(registry: Registry, task: Task) -> VerifySubject:
    starts: dict[tuple[str, int], int] = {}
    offset = 0
    while (rows := await registry.progress(task.id, offset=offset, limit=_PAGE, topic=None)) is not None:
        starts |= {(p.topic, p.partition): p.start_offset for _, p in rows.partitions if p.start_offset is not None}
        offset += _PAGE
        if offset >= rows.partitions_total:
            break
    paths = await registry.facts(task.id, "obs_path")
    return VerifySubject(task, await registry.secrets(task.id), tuple(paths), starts)


def _line(finding: Finding) -> str:
    return f"{finding.kind.value.upper():<11} {finding.message}"


def _summary(task: Task, result: VerifyResult) -> dict[str, object]:
    counts = {kind.value: count for kind, count in result.findings.items()}
    return {"task": task.id, "task_name": task.name, "summary": asdict(result) | {"findings": counts, "wrong": result.wrong}}


def _told(task: Task, result: VerifyResult, *, deep: bool) -> str:
    compared = f", {words.number(result.compared)} compared byte by byte" if deep else ""
    others = f"; {words.number(result.others)} objects of other tasks beside them" if result.others else ""
    expired = sum(count for kind, count in result.findings.items() if kind.value == "expired")
    cannot = f"; of {words.number(expired)} Kafka no longer has all records" if expired else ""
    verdict = f"{words.number(result.wrong)} findings" if result.wrong else "every record is there once"
    mark = "" if not sys.stdout.isatty() else "✘ " if result.wrong else "✔ "
    return (
        f"{mark}{task.name}: {verdict} ({words.number(result.objects)} objects, {words.size(result.nbytes)}, "
        f"{words.number(result.partitions)} partitions{compared}{others}{cannot})"
    )
