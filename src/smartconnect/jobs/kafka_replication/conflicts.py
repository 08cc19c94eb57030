"""What two replications may not share, and which changes make stored positions meaningless (kafka-replication.md §16, api.md §6). Two
tasks that copy one source topic to one target topic would write each record twice. Pure; called by the job object for control.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from smartconnect.domain.fields import quoted
from smartconnect.domain.kafka_replication_spec import Direction, Peer, ReplicationOptions, ReplicationSpec
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.task import Kind, Task, TaskConfig
from smartconnect.jobs.kafka_replication.naming import Naming, rule_of, selection_of, target_under
from smartconnect.jobs.kafka_replication.peers import NO_SECRET, ClusterName, Find, current_name, peer_name
from smartconnect.jobs.kafka_replication.request import spec_with
from smartconnect.jobs.other_tasks import named

_NO_PEER = Peer(None, "", "PLAINTEXT", "PLAIN", "", NO_SECRET)
_UNLISTED = "an unlisted topic"
"""Stands for every topic that a pattern may match and no mapping names."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction of one task."""

    source: ClusterName
    target: ClusterName
    spec: ReplicationSpec
    naming: Naming

    def names(self) -> set[str]:
        """Topics that the configuration names itself."""
        return {*self.spec.topics, *self.spec.mapping}


def conflicts(task: Task, others: Sequence[Task], find: Find) -> list[Problem]:
    """Replications among `others`, of any instance, that copy the same source topic to the same target topic."""
    mine = list(_flows(task, find))
    problems = []
    for other in others:
        if other.kind is not Kind.KAFKA_REPLICATION or other.id == task.id:
            continue
        pairs = [(flow, theirs) for theirs in _flows(other, find) for flow in mine]
        common = next((common for flow, theirs in pairs if (common := _common(flow, theirs)) is not None), None)
        if common is not None:
            reason = f"{named(other, task)} replicates {common} already: leave it out, or give it another name on the target"
            problems.append(Problem(_topics_field(task.config), reason, ProblemKind.TOPIC_IN_USE))
        crossed = next((crossed for flow, theirs in pairs if (crossed := _crossed(flow, theirs)) is not None), None)
        if crossed is not None:
            reason = (
                f"{named(other, task)} replicates {crossed} the other way and translates group offsets too; neither knows of the other's "
                "records: make one two-way task of both"
            )
            problems.append(Problem("source_task.sync_consumer_offsets_enabled", reason, ProblemKind.BETWEEN_FIELDS))
    return problems


def _flows(task: Task, find: Find) -> Iterator[Flow]:
    """The directions of a task whose names on the target can be told: an alias that only the peer can tell comes later."""
    spec = _spec(task.config)
    if spec.rename and not (spec.current_alias and spec.peer_alias):
        return
    current, peer = current_name(task.instance_id, task.config, find), peer_name(task.config, find)
    for direction in spec.directions:
        source, target = (peer, current) if direction is Direction.PULL else (current, peer)
        yield Flow(source, target, spec, Naming(spec, direction, same_cluster=current.same_as(peer) is True))


def _common(mine: Flow, other: Flow) -> str | None:
    """What both copy to one name, in words."""
    if mine.source.same_as(other.source) is not True or mine.target.same_as(other.target) is not True:
        return None
    for name in sorted(mine.names() | other.names()):
        target = mine.naming.target_of(name)
        if mine.naming.selects(name) and other.naming.selects(name) and other.naming.target_of(name) == target:
            return f"topic {quoted(name)}" if name == target else f"topic {quoted(name)} to {quoted(target)}"
    both = mine.spec.topics_regex and other.spec.topics_regex
    if both and target_under(mine.naming.rule, _UNLISTED) == target_under(other.naming.rule, _UNLISTED):
        return "topics that both patterns may match"
    return None


def _crossed(mine: Flow, other: Flow) -> str | None:
    """A topic that both copy, to and fro, while both translate group offsets: a group could skip what the other side wrote itself."""
    if not (mine.spec.sync_offsets and other.spec.sync_offsets):
        return None
    if mine.source.same_as(other.target) is not True or mine.target.same_as(other.source) is not True:
        return None
    for name in sorted(mine.names() | other.names()):
        target = mine.naming.target_of(name)
        if mine.naming.selects(name) and other.naming.selects(target) and other.naming.target_of(target) == name:
            return f"topic {quoted(name)}"
    both = mine.spec.topics_regex and other.spec.topics_regex
    same_names = target_under(other.naming.rule, target_under(mine.naming.rule, _UNLISTED)) == _UNLISTED
    return "topics that both patterns may match" if both and same_names else None


def meaningless_positions(old: TaskConfig, new: TaskConfig, find: Find) -> list[Problem]:
    """The reason names only what the positions are for; control adds the run and the way out. Asked before `new` is resolved, and again
    when it is: what only the clusters can tell (`cluster_name`, the cluster ids) counts the second time."""
    problems = []
    if old.source_task.get("direction") != new.source_task.get("direction"):
        problems.append(_changed("source_task.direction", f"direction {old.source_task.get('direction')}"))
    if _other_peer(old, new, find):
        field = "instance_id" if new.source_task.get("instance_id") else "bootstrap_servers"
        before = old.source_task.get("instance_id") or old.source_task.get("bootstrap_servers")
        problems.append(_changed(f"source_task.{field}", f"the peer {before}"))
    renamed = _renamed_topic(_spec(old), _spec(new))
    if renamed is not None:
        problems.append(_changed(_naming_field(old, new), f"{renamed[0]} as {renamed[1]}"))
    return problems


def _other_peer(old: TaskConfig, new: TaskConfig, find: Find) -> bool:
    before, after = peer_name(old, find), peer_name(new, find)
    same = before.same_as(after)
    if same is not None:
        return not same
    return "peer_cluster_id" in new.source_task  # resolved, and still nobody knows that it is the same cluster


def _renamed_topic(old: ReplicationSpec, new: ReplicationSpec) -> tuple[str, str] | None:
    """A topic that both select and call differently on the target, with its old name there."""
    before, after = selection_of(old), selection_of(new)
    for direction in old.directions:
        if direction not in new.directions or (new.rename and not all(new.aliases(direction))):
            continue
        then, now = rule_of(old, direction), rule_of(new, direction)
        if then == now:
            continue
        for name in sorted({*old.topics, *old.mapping, *new.topics, *new.mapping}):
            if before.selects(name) and after.selects(name) and target_under(then, name) != target_under(now, name):
                return f"topic {quoted(name)}", quoted(target_under(then, name))
        if before.common_with(after) is not None and target_under(then, _UNLISTED) != target_under(now, _UNLISTED):
            return "topics", quoted(target_under(then, "<topic>"))
    return None


def _naming_field(old: TaskConfig, new: TaskConfig) -> str:
    names = ("rename_topic_enabled", "topics_mapping", "current_cluster_name", "cluster_name")
    changed = (name for name in names if (old.source_task.get(name) or "") != (new.source_task.get(name) or ""))
    return f"source_task.{next(changed, 'topics_mapping')}"


def _topics_field(config: TaskConfig) -> str:
    if config.topics:
        return "topics"
    return "topics_regex" if config.topics_regex else "source_task.topics_mapping"


def _changed(field: str, reason: str) -> Problem:
    return Problem(field, reason, ProblemKind.BETWEEN_FIELDS)


def _spec(config: TaskConfig) -> ReplicationSpec:
    return spec_with(config, _NO_PEER, ReplicationOptions())
