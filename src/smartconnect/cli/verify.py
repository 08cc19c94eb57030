"""`verify`: is every record of a task in its target once? Prints what is found as it is found; exit code 0 only if nothing is wrong."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
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
from smartconnect.domain.task import Kind
from smartconnect.domain.verification import Finding, FindingKind, VerifyRequest, VerifyResult, VerifySubject

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
LastOption = Annotated[int | None, typer.Option("--last", min=1, help="The newest N records of each partition alone.")]
InstanceOption = Annotated[str, typer.Option("--instance", help="Id of the instance, if two have a task of this name.")]


class NotVerified(SmartConnectError):
    """Something is wrong, or the question cannot be asked of this task."""

    code = "not_verified"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("verify")
    def verify(  # noqa: PLR0913 # each is an option of the command
        task: TaskArgument,
        topic: TopicOption = "",
        since: SinceOption = "",
        deep: DeepOption = False,
        last: LastOption = None,
        instance: InstanceOption = "",
        config: ConfigOption = DEFAULT_FILE,
        as_json: JsonOption = False,
    ) -> None:
        """Check what a task has written, beside the live task. A dump: gaps, overlaps, unfinished and foreign objects; with --deep every
        byte. A replication: every record of both sides, or the --last of them."""
        clock = Clock()
        request = VerifyRequest(topic or None, since_ms(since, clock.now_ms()), deep, last)
        result = asyncio.run(_verify(config, (task, instance), request, clock, as_json=as_json))
        if not result.good:
            raise NotVerified(what_is_amiss(task, result))


def what_is_amiss(task: str, result: VerifyResult) -> str:
    """Of a result that is not good, in one sentence. What is equal is no part of it."""
    amiss = {kind: count for kind, count in result.findings.items() if kind is not FindingKind.EQUAL}
    found = ", ".join(f"{count} {kind.value}" for kind, count in sorted(amiss.items()))
    return f"{task} is not as it should be: {found}" if result.wrong else f"not all of {task} can be told: {found}"


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
    starts: dict[tuple[str, str, int], int] = {}
    offset = 0
    while (rows := await registry.progress(task.id, offset=offset, limit=_PAGE, topic=None)) is not None:
        for _, row in rows.partitions:
            if row.start_offset is not None:
                starts[row.direction or "", row.topic, row.partition] = row.start_offset
        offset += _PAGE
        if offset >= rows.partitions_total:
            break
    paths = await registry.facts(task.id, "obs_path")
    return VerifySubject(task, await registry.secrets(task.id), tuple(paths), starts)


def _line(finding: Finding) -> str:
    return f"{finding.kind.value.upper():<11} {finding.message}"


def _summary(task: Task, result: VerifyResult) -> dict[str, object]:
    counts = {kind.value: count for kind, count in result.findings.items()}
    summary = asdict(result) | {"findings": counts, "wrong": result.wrong, "good": result.good}
    del summary["must_prove"]
    return {"task": task.id, "task_name": task.name, "summary": summary}


def _told(task: Task, result: VerifyResult, *, deep: bool) -> str:
    mark = "" if not sys.stdout.isatty() else "✔ " if result.good else "✘ "
    return f"{mark}{task.name}: {_copies(result) if task.kind is Kind.KAFKA_REPLICATION else _objects(result, deep=deep)}"


def _copies(result: VerifyResult) -> str:
    kinds = Counter({kind.value: count for kind, count in result.findings.items()})
    verdict = words.counted(result.wrong, "finding") if result.wrong else "all is equal" if result.good else "what is left is equal"
    expired = f"; of {words.number(kinds['expired'])} a part has expired" if kinds["expired"] else ""
    looked = f"{words.counted(result.records, 'record')} found equal, {words.size(result.nbytes)} read from the source"
    return f"{verdict} ({looked}, {words.counted(result.partitions, 'partition')}{expired})"


def _objects(result: VerifyResult, *, deep: bool) -> str:
    compared = f", {words.number(result.compared)} compared byte by byte" if deep else ""
    others = f"; {words.number(result.others)} objects of other tasks beside them" if result.others else ""
    expired = sum(count for kind, count in result.findings.items() if kind.value == "expired")
    cannot = f"; of {words.number(expired)} Kafka no longer has all records" if expired else ""
    verdict = words.counted(result.wrong, "finding") if result.wrong else "every record is there once"
    return (
        f"{verdict} ({words.counted(result.objects, 'object')}, {words.size(result.nbytes)}, "
        f"{words.counted(result.partitions, 'partition')}{compared}{others}{cannot})"
    )
