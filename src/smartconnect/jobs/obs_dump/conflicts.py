"""What two dumps may not share, and which changes make stored positions meaningless (obs-dump.md §13, F6; api.md §6). Two writers of
one topic under one prefix of a bucket would hide each other's objects. Pure; called by the job object for control.
"""

from __future__ import annotations

from collections.abc import Sequence

from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.task import Kind, Task, TaskConfig
from smartconnect.jobs.obs_dump.request import stripped_path
from smartconnect.jobs.other_tasks import named
from smartconnect.jobs.topic_pattern import selection


def conflicts(task: Task, others: Sequence[Task]) -> list[Problem]:
    """Dumps among `others`, of any instance, that write to the same bucket and path and may select the same topic name."""
    mine = selection(task.config.topics, task.config.topics_regex)
    target = _target(task.config)
    problems = []
    for other in others:
        if other.kind is not Kind.OBS_DUMP or other.id == task.id or _target(other.config) != target:
            continue
        common = mine.common_with(selection(other.config.topics, other.config.topics_regex))
        if common is not None:
            reason = f"{named(other, task)} writes {common} to bucket {target[0]}, path {target[1] or '/'}: choose another path"
            problems.append(Problem("sink_task.obs_path", reason, ProblemKind.BETWEEN_FIELDS))
    return problems


def meaningless_positions(old: TaskConfig, new: TaskConfig) -> list[Problem]:
    """The reason names only what the positions are for; control adds the run and the way out."""
    bucket = old.sink_task.get("obs_bucket_name")
    if bucket == new.sink_task.get("obs_bucket_name"):
        return []
    return [Problem("sink_task.obs_bucket_name", f"bucket {bucket}", ProblemKind.BETWEEN_FIELDS)]


def _target(config: TaskConfig) -> tuple[str, str]:
    return str(config.sink_task.get("obs_bucket_name", "")), stripped_path(config)
