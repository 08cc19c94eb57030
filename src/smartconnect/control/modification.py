"""Modifying a task (api.md §6): the request is laid over what is stored, read again as a whole, and refused where it changes the kind
or makes stored positions meaningless without beginning a new run. What changes nothing writes nothing. Decided again if the task
changed between read and write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from smartconnect.control import codes
from smartconnect.control.actions import restart_status
from smartconnect.control.call import CallContext, ControlParts
from smartconnect.control.common_fields import RESPONSE_ONLY, TASK_NAME, TOP_LEVEL, name_problem, name_problems
from smartconnect.control.kinds import TYPE_FIELDS
from smartconnect.control.live_checks import run_checks, run_resolve
from smartconnect.control.lookup import Found
from smartconnect.control.merging import lonely_secrets, merged_body
from smartconnect.control.notices import warning_events
from smartconnect.control.ports import NameTaken, TaskChange
from smartconnect.control.refusals import Refusal, refuse_if
from smartconnect.control.secrecy import Unquoted, unquoted
from smartconnect.domain.errors import SecretUnreadable
from smartconnect.domain.fields import Flag, quoted, read_object
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Desired, Task, TaskConfig

MODIFY_FIELDS = (replace(TASK_NAME, required=False), Flag("restart"), *TYPE_FIELDS)
NEW_RUN_HINT = 'create another task, or send "restart": true with the change to begin a new run'


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a modify request makes of a task. `config` None, `secrets` empty: as they are."""

    name: str | None
    config: TaskConfig | None
    secrets: Mapping[str, Secret]
    all_secrets: Mapping[str, Secret]
    restart: bool
    ignored: Sequence[str]

    @property
    def changes_data(self) -> bool:
        return self.config is not None or bool(self.secrets)

    @property
    def changes_anything(self) -> bool:
        return self.changes_data or self.name is not None or self.restart


async def modify(parts: ControlParts, call: CallContext, found: Found, body: Mapping[str, object]) -> Found:
    """The task after the change. Raises `StaleTask` if it changed meanwhile: find it and decide again."""
    stored = await _stored_secrets(parts, found.task)
    with unquoted(body, stored) as hidden:
        return await _modify(parts, call, found, read_request(found, body, stored), hidden)


async def _modify(parts: ControlParts, call: CallContext, found: Found, wanted: Wanted, hidden: Unquoted) -> Found:
    checks: Sequence[Problem] = ()
    await _refuse_if_misplaced(parts, found, wanted)
    if wanted.changes_data and parts.policy().check_connections:
        config = wanted.config or found.task.config
        checks = await run_checks(parts, call, found.job, config, wanted.all_secrets)
        refuse_if(checks, codes.MODIFY_FAILED)
    wanted = await _resolved(found, wanted)
    events = warning_events(parts.clock.now_ms(), wanted.ignored, checks, hidden)
    if not wanted.changes_anything:
        if events:
            await parts.store.add_events(found.task.id, events)
        return found
    change = TaskChange(name=wanted.name, config=wanted.config, secrets=wanted.secrets or None, events=events)
    if wanted.restart:
        change = replace(change, desired=Desired.RUNNING, new_run=True, pending_status=restart_status(found.task))
    async with parts.placing:
        await _refuse_if_misplaced(parts, found, wanted)
        try:
            task = await parts.store.update_task(found.task, change)
        except NameTaken:
            raise Refusal(codes.MODIFY_FAILED, [name_problem(wanted.name or found.task.name)]) from None
    parts.nudge()
    return replace(found, task=task)


async def _stored_secrets(parts: ControlParts, task: Task) -> Mapping[str, Secret]:
    """Secrets that cannot be opened count as absent: sending them again is the cure."""
    try:
        return await parts.store.secrets(task.id)
    except SecretUnreadable:
        return {}


def read_request(found: Found, body: Mapping[str, object], stored: Mapping[str, Secret]) -> Wanted:
    """Read a modify request against the stored task; refuses it with all its problems together."""
    task, job = found.task, found.job
    common = read_object("", body, MODIFY_FIELDS, known=(*TOP_LEVEL, *RESPONSE_ONLY))
    parsed = job.parse(task.instance_id, merged_body(body, task.config, stored))
    problems = [*common.problems, *parsed.problems, *lonely_secrets(body, stored)]
    for name, old in (("source_type", task.config.source_type), ("sink_type", task.config.sink_type)):
        sent = common.text(name)
        if sent is not None and sent != old:
            reason = f"the kind of a task cannot change from {old} to {quoted(sent)}; create another task"
            problems.append(Problem(name, reason, ProblemKind.BETWEEN_FIELDS))
    restart = common.flag("restart")
    if not problems and not restart and task.desired is not Desired.WAITING:
        problems += _meaningless(found, parsed.config)
    refuse_if(problems, codes.MODIFY_FAILED)
    new_name = common.text("task_name")
    return Wanted(
        name=None if new_name == task.name else new_name,
        config=parsed.config if _differs(found, parsed.config) else None,
        secrets=_changed_secrets(stored, parsed.secrets),
        all_secrets=parsed.secrets,
        restart=restart,
        ignored=[*common.ignored, *parsed.ignored],
    )


def _changed_secrets(stored: Mapping[str, Secret], wanted: Mapping[str, Secret]) -> dict[str, Secret]:
    """An empty one clears: a stored secret that the result has no more must not come back with the next modification."""
    cleared = {key: Secret("") for key in stored if key not in wanted}
    return cleared | {key: secret for key, secret in wanted.items() if stored.get(key) != secret}


async def _resolved(found: Found, wanted: Wanted) -> Wanted:
    """With what is decided once; a cluster may only now have told that the stored positions belong to another one."""
    if wanted.config is None:
        return wanted
    task = found.task
    resolved = await run_resolve(task.instance_id, found.job, wanted.config, wanted.all_secrets, task.config)
    problems = list(resolved.problems)
    if not problems and not wanted.restart and task.desired is not Desired.WAITING and resolved.config != wanted.config:
        problems = _meaningless(found, resolved.config)
    refuse_if(problems, codes.MODIFY_FAILED)
    return replace(wanted, config=resolved.config)


def _meaningless(found: Found, config: TaskConfig) -> list[Problem]:
    return [
        replace(problem, reason=f"run {found.task.run} has stored positions for {problem.reason}; {NEW_RUN_HINT}")
        for problem in found.job.meaningless_positions(found.task.config, config)
    ]


def _differs(found: Found, config: TaskConfig) -> bool:
    """Whether the change means anything: a default that is now spelled out does not."""
    old = found.task.config
    if (old.topics, old.topics_regex, old.options or {}) != (config.topics, config.topics_regex, config.options or {}):
        return True
    return found.job.shown(old) != found.job.shown(config)


async def _refuse_if_misplaced(parts: ControlParts, found: Found, wanted: Wanted) -> None:
    """Another task's name or target; also the target of a deleted task that still cleans up, which only a new task may wait for."""
    task = found.task
    others = [other for other in await parts.store.all_tasks(deleted=False) if other.id != task.id]
    problems: list[Problem] = []
    if wanted.name is not None:
        problems += name_problems(wanted.name, (other for other in others if other.instance_id == task.instance_id))
    if wanted.config is not None:
        moved = replace(task, config=wanted.config)
        problems += found.job.conflicts(moved, others)
        leaving = await parts.store.all_tasks(deleted=True)
        new_to_it = [other for other in leaving if not found.job.conflicts(task, [other])]
        problems += [
            replace(problem, reason=f"{problem.reason} (it is being deleted: try again when that is done)")
            for problem in found.job.conflicts(moved, new_to_it)
        ]
    refuse_if(problems, codes.MODIFY_FAILED)
