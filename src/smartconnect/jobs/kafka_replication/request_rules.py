"""The rules between the fields of a replication (kafka-replication.md §16): topics and mapping, the peer and its login, names that must
not meet, loops. Pure; each gives all its problems. Called by `request.parse` with what could be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from smartconnect.domain.errors import SettingsInvalid
from smartconnect.domain.fields import Reading, Unfit, quoted
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.topics import split_topics, topic_list_reasons
from smartconnect.jobs.allowed_targets import is_allowed
from smartconnect.jobs.kafka_replication.naming import is_internal
from smartconnect.jobs.kafka_replication.peers import address_set, reach
from smartconnect.jobs.kafka_replication.topics_mapping import mapping_reasons, split_mapping
from smartconnect.jobs.topic_pattern import compile_pattern, selection
from smartconnect.kafka.addresses import parse_addresses
from smartconnect.settings import InstanceSettings

LOOP: Final = (
    "two-way needs rename_topic_enabled, provenance_header_enabled, or a topics_mapping whose targets are not replicated themselves; "
    "otherwise records would circulate for ever"
)
ONE_CLUSTER: Final = (
    "is the cluster of this instance itself: set rename_topic_enabled, or a topics_mapping of every selected topic to a name that is not "
    "selected itself"
)
_INSTANCE, _ADDRESSES, _MAPPING = "source_task.instance_id", "source_task.bootstrap_servers", "source_task.topics_mapping"


def topic_problems(top: Reading, source: Reading) -> list[Problem]:
    """`topics`, `topics_regex`, and the form of `topics_mapping`, which may stand for both."""
    mapping = source.text("topics_mapping")
    problems = [Problem(_MAPPING, reason) for reason in mapping_reasons(mapping)] if mapping is not None else []
    topics, pattern = top.text("topics"), top.text("topics_regex")
    if topics is not None and pattern is not None:
        return [*problems, Problem("topics_regex", "excludes topics: give exactly one of the two")]
    if topics is None and pattern is None:
        wrong = top.problems or any(problem.field == _MAPPING for problem in source.problems)
        if mapping is None and not wrong:
            problems.append(Problem("topics", "is required, or topics_regex, or source_task.topics_mapping"))
        return problems
    if topics is not None:
        problems += [Problem("topics", reason) for reason in topic_list_reasons(topics)]
        for name in filter(is_internal, split_topics(topics)):
            reason = f'{quoted(name)} is never replicated: it starts with "__" or ends with "internal"'
            problems.append(Problem("topics", reason))
            break
        return problems
    try:
        compile_pattern(pattern or "")
    except Unfit as unfit:
        problems.append(Problem("topics_regex", str(unfit)))
    return problems


def peer_problems(source: Reading, instance: InstanceSettings | None, allowed_targets: Sequence[str]) -> list[Problem]:
    """Who the peer is, and its login. `instance`: the configured one that `instance_id` names; without it the addresses must be allowed."""
    wrong = {problem.field for problem in source.problems}
    named, servers = source.text("instance_id"), source.text("bootstrap_servers")
    if named is None and servers is None:
        return [] if wrong & {_INSTANCE, _ADDRESSES} else [Problem(_ADDRESSES, "is required, or instance_id")]
    problems = _address_problems(servers, () if instance is not None else allowed_targets)
    if named is not None and instance is None:
        return [*problems, Problem(_INSTANCE, f"{quoted(named)} is no configured instance")]
    if instance is not None and not problems and servers is not None and not _agrees(servers, instance):
        reason = f"{quoted(servers)} are not the addresses of instance {quoted(instance.id)}: give one of the two"
        problems.append(Problem(_ADDRESSES, reason, ProblemKind.BETWEEN_FIELDS))
    return problems + _login_problems(source, instance)


def _address_problems(servers: str | None, allowed_targets: Sequence[str]) -> list[Problem]:
    if servers is None:
        return []
    try:
        hosts = [host for host, _ in parse_addresses(servers)]
    except SettingsInvalid:
        return [Problem(_ADDRESSES, f"must be host:port,…, not {quoted(servers)}")]
    forbidden = [host for host in dict.fromkeys(hosts) if not is_allowed(host, allowed_targets)]
    return [Problem(_ADDRESSES, f"{quoted(host)} is not among control.allowed_targets") for host in forbidden]


def _agrees(servers: str, instance: InstanceSettings) -> bool:
    return address_set(servers) == address_set(instance.bootstrap_servers)


def _login_problems(source: Reading, instance: InstanceSettings | None) -> list[Problem]:
    how = reach(source.values, instance)
    user_name, has_password = source.text("user_name"), bool(source.secrets)
    problems = []
    if not how.uses_sasl:
        given = [name for name, there in (("user_name", user_name is not None), ("password", has_password)) if there]
        reason = f'is only of use with SASL_PLAINTEXT or SASL_SSL, the security_protocol is {how.security_protocol}; "" clears it'
        return [Problem(f"source_task.{name}", reason, ProblemKind.BETWEEN_FIELDS) for name in given]
    if not how.user_name:
        problems.append(("user_name", f"is required with security_protocol {how.security_protocol}"))
    of_instance = instance is not None and bool(instance.password) and how.user_name == instance.user_name
    if not has_password and not of_instance:
        problems.append(("password", f"is required with security_protocol {how.security_protocol}"))
    unread = {problem.field for problem in source.problems}
    return [
        Problem(f"source_task.{name}", reason, ProblemKind.BETWEEN_FIELDS)
        for name, reason in problems
        if f"source_task.{name}" not in unread
    ]


def naming_problems(top: Reading, source: Reading, two_way: str) -> list[Problem]:
    """Names on the target: aliases that differ, rename or mapping, no two topics of one name, and in two-way no circle."""
    problems = []
    mine, other = source.text("current_cluster_name"), source.text("cluster_name")
    if mine is not None and mine == other:
        reason = f"must differ from current_cluster_name, both are {quoted(mine)}"
        problems.append(Problem("source_task.cluster_name", reason, ProblemKind.BETWEEN_FIELDS))
    mapping = split_mapping(source.text("topics_mapping") or "")
    rename = source.flag("rename_topic_enabled")
    if rename and mapping:
        reason = "excludes topics_mapping: give one of the two"
        problems.append(Problem("source_task.rename_topic_enabled", reason, ProblemKind.BETWEEN_FIELDS))
    problems += _mapping_problems(top, mapping)
    guarded = rename or source.flag("provenance_header_enabled")
    if source.text("direction") == two_way and not guarded and not separates(top.text("topics"), top.text("topics_regex"), mapping):
        problems.append(Problem("source_task.direction", LOOP, ProblemKind.BETWEEN_FIELDS))
    return problems


def _mapping_problems(top: Reading, mapping: Mapping[str, str]) -> list[Problem]:
    topics, pattern = top.text("topics"), top.text("topics_regex")
    if topics is None and pattern is None:
        return []
    try:
        chosen = selection(topics, pattern)
    except Unfit:
        return []
    where = "topics" if topics is not None else "topics_regex"
    outside = [name for name in mapping if not chosen.selects(name)]
    twice = [name for name in mapping.values() if name not in mapping and chosen.selects(name)]
    reasons = [f"{quoted(name)} is not selected by {where}" for name in outside]
    reasons += [f"the target {quoted(name)} is also the name of a topic that {where} selects: map that one too" for name in twice]
    return [Problem(_MAPPING, reason, ProblemKind.BETWEEN_FIELDS) for reason in reasons]


def separates(topics: str | None, pattern: str | None, mapping: Mapping[str, str]) -> bool:
    """Whether a mapping gives every selected topic a name that is not selected itself: then nothing comes back."""
    if not mapping or pattern is not None:
        return False
    selected = set(mapping) | (set(split_topics(topics)) if topics is not None else set())
    return selected <= mapping.keys() and selected.isdisjoint(mapping.values())


def same_instance_problems(top: Reading, source: Reading, current: InstanceSettings | None) -> list[Problem]:
    """A peer that is the task's own instance. (That two names mean one cluster is found by the live checks.)"""
    if current is None or source.text("instance_id") != current.id:
        return []
    mapping = split_mapping(source.text("topics_mapping") or "")
    if source.flag("rename_topic_enabled") or separates(top.text("topics"), top.text("topics_regex"), mapping):
        return []
    return [Problem(_INSTANCE, ONE_CLUSTER, ProblemKind.BETWEEN_FIELDS)]
