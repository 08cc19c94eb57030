"""Creating a task: fields, rules between them and between tasks, name and quota, live checks, what is decided once, insert, in this order
(api.md §2, §4).
A refused call leaves nothing behind: the only write is the inserting transaction, which decides name and quota for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from smartconnect.control import codes
from smartconnect.control.call import CallContext, ControlParts
from smartconnect.control.common_fields import TASK_NAME, TOP_LEVEL, name_problem, name_problems
from smartconnect.control.kinds import PAIRS, kind_problem, read_types
from smartconnect.control.live_checks import run_checks, run_resolve
from smartconnect.control.lookup import Found
from smartconnect.control.notices import warning_events
from smartconnect.control.ports import NameTaken, NotEnabled, QuotaReached
from smartconnect.control.refusals import Refusal, refuse_if
from smartconnect.control.secrecy import Unquoted, unquoted
from smartconnect.domain.fields import Flag, read_object
from smartconnect.domain.problems import Problem
from smartconnect.domain.progress import Event
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Desired, Kind, Status, Task, TaskConfig
from smartconnect.engine.job import Job

CREATE_FIELDS = (TASK_NAME, Flag("start_later"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A create request whose fields are right in themselves and with each other."""

    kind: Kind
    name: str
    start_later: bool
    config: TaskConfig
    secrets: Mapping[str, Secret]
    ignored: Sequence[str]


def read_request(jobs: Mapping[Kind, Job], instance_id: str, body: Mapping[str, object]) -> Wanted:
    """Read a create request; refuses it with all its problems together."""
    common = read_object("", body, CREATE_FIELDS, known=TOP_LEVEL)
    pair, type_problems = read_types(body)
    refuse_if([*type_problems, *(common.problems if type_problems else ())], codes.CREATE_FAILED)
    unsupported = kind_problem(pair, jobs)
    if unsupported is not None:
        raise Refusal(codes.UNSUPPORTED_TYPE, [unsupported, *common.problems])
    kind = PAIRS[pair]
    parsed = jobs[kind].parse(instance_id, body)
    refuse_if([*common.problems, *parsed.problems], codes.CREATE_FAILED)
    return Wanted(
        kind=kind,
        name=common.text("task_name") or "",
        start_later=common.flag("start_later"),
        config=parsed.config,
        secrets=parsed.secrets,
        ignored=[*common.ignored, *parsed.ignored],
    )


async def create(parts: ControlParts, call: CallContext, body: Mapping[str, object]) -> Found:
    """The new task. `Refusal` if anything is wrong."""
    with unquoted(body) as hidden:
        return await _create(parts, call, body, hidden)


async def _create(parts: ControlParts, call: CallContext, body: Mapping[str, object], hidden: Unquoted) -> Found:
    wanted = read_request(parts.jobs, call.instance.id, body)
    job = parts.jobs[wanted.kind]
    task = _new_task(parts, call, wanted)
    await _refuse_if_misplaced(parts, job, task)
    checks: Sequence[Problem] = ()
    if parts.policy().check_connections:
        checks = await run_checks(parts, call, job, wanted.config, wanted.secrets)
        refuse_if(checks, codes.CREATE_FAILED)
    resolved = await run_resolve(call.instance.id, job, wanted.config, wanted.secrets)
    refuse_if(resolved.problems, codes.CREATE_FAILED)
    task = replace(task, config=resolved.config)
    events = warning_events(task.create_time, wanted.ignored, checks, hidden)
    async with parts.placing:
        await _refuse_if_misplaced(parts, job, task)
        await _insert(parts, task, wanted.secrets, events)
    parts.nudge()
    return Found(task=task, job=job, units_stopped=True)


def _new_task(parts: ControlParts, call: CallContext, wanted: Wanted) -> Task:
    now_ms = parts.clock.now_ms()
    return Task(
        id=parts.new_id(),
        project_id=call.instance.project_id,
        instance_id=call.instance.id,
        name=wanted.name,
        kind=wanted.kind,
        config=wanted.config,
        desired=Desired.WAITING if wanted.start_later else Desired.RUNNING,
        run=0 if wanted.start_later else 1,
        revision=1,
        create_time=now_ms,
        run_started_at=None if wanted.start_later else now_ms,
        pending_status=Status.WAITING if wanted.start_later else Status.CREATING,
    )


async def _refuse_if_misplaced(parts: ControlParts, job: Job, task: Task) -> None:
    """What cannot be beside the tasks that exist: another task's target, its name; then the quota."""
    others = await parts.store.all_tasks(deleted=False)
    siblings = [other for other in others if other.instance_id == task.instance_id]
    refuse_if([*name_problems(task.name, siblings), *job.conflicts(task, others)], codes.CREATE_FAILED)
    if len(siblings) >= parts.policy().max_tasks:
        raise Refusal(codes.QUOTA_REACHED)


async def _insert(parts: ControlParts, task: Task, secrets: Mapping[str, Secret], events: Sequence[Event]) -> None:
    job = parts.jobs[task.kind]
    leaving = await parts.store.all_tasks(deleted=True)
    waits_for = [other.id for other in leaving if job.conflicts(task, [other])]
    try:
        await parts.store.insert_task(task, secrets, max_tasks=parts.policy().max_tasks, waits_for=waits_for, events=events)
    except NameTaken:
        raise Refusal(codes.CREATE_FAILED, [name_problem(task.name)]) from None
    except QuotaReached:
        raise Refusal(codes.QUOTA_REACHED) from None
    except NotEnabled:
        raise Refusal(codes.CONNECTOR_MISSING) from None
