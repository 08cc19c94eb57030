"""Checking a connection without creating a task (api.md §6): the fields of one side are read, what the check does not need may be
missing, and the live checks run whatever the settings say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from smartconnect.control import codes
from smartconnect.control.call import CallContext, ControlParts
from smartconnect.control.kinds import PAIRS, SIDES, side_problem
from smartconnect.control.live_checks import run_checks
from smartconnect.control.refusals import Refusal, refuse_if
from smartconnect.control.secrecy import unquoted
from smartconnect.domain.fields import Text, quoted, read_object
from smartconnect.domain.problems import Problem

TYPE_FIELD = Text("type")


async def validate(parts: ControlParts, call: CallContext, body: Mapping[str, object]) -> None:
    """Returns if everything that can be checked holds, else refuses with all problems; fields are named "task.…"."""
    with unquoted(body):
        await _validate(parts, call, body)


async def _validate(parts: ControlParts, call: CallContext, body: Mapping[str, object]) -> None:
    reading = read_object("", body, (TYPE_FIELD,), known=("task",))
    task = body.get("task")
    if task in (None, ""):
        reading.problems.append(Problem("task", "is required"))
    elif not isinstance(task, Mapping):
        reading.problems.append(Problem("task", f"must be an object, not {quoted(task)}"))
    refuse_if(reading.problems, codes.VALIDATE_FAILED)
    sent = task if isinstance(task, Mapping) else {}
    type_name = reading.text("type") or _guessed_type(sent)
    unsupported = side_problem(type_name, parts.jobs)
    if unsupported is not None or type_name is None:
        raise Refusal(codes.UNSUPPORTED_TYPE, [unsupported] if unsupported else [])
    kind, side = SIDES[type_name]
    job = parts.jobs[kind]
    source_type, sink_type = next(pair for pair, of in PAIRS.items() if of is kind)
    parsed = job.parse(call.instance.id, {"source_type": source_type, "sink_type": sink_type, side: sent}, partial=True)
    of_side = [problem for problem in parsed.problems if problem.field.partition(".")[0] == side]
    refuse_if(_renamed(side, of_side), codes.VALIDATE_FAILED)
    findings = await run_checks(parts, call, job, parsed.config, parsed.secrets)
    standing = [problem for problem in _renamed(side, findings) if not problem.warning]
    if standing:
        raise Refusal(codes.VALIDATE_FAILED, standing)


def _guessed_type(task: Mapping[str, object]) -> str | None:
    if task.get("bootstrap_servers") or task.get("instance_id"):
        return "KAFKA_REPLICATOR_SOURCE"
    return "OBS_SINK" if task.get("obs_bucket_name") else None


def _renamed(side: str, problems: Sequence[Problem]) -> list[Problem]:
    """Problems under the names that the caller used."""
    return [replace(problem, field=problem.field.replace(side, "task", 1)) for problem in problems]
