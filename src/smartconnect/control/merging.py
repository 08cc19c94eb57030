"""A modify request laid over what is stored (api.md §6): absent fields are kept, "" clears, one of `topics` / `topics_regex` replaces
the other, and secrets need not be repeated. Pure. The merged body is read like a create request, so that every rule of api.md §4
applies to the result.
"""

from __future__ import annotations

from collections.abc import Mapping

from smartconnect.control.common_fields import SIDE_NAMES
from smartconnect.domain.fields import full_name
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import TaskConfig

REPLACES = {"topics": "topics_regex", "topics_regex": "topics"}


def merged_body(body: Mapping[str, object], config: TaskConfig, secrets: Mapping[str, Secret]) -> dict[str, object]:
    """The kind's part of the result: topics, both sides with the secrets in clear, options. For the job's `parse` alone."""
    merged: dict[str, object] = {"topics": config.topics, "topics_regex": config.topics_regex}
    for name, other in REPLACES.items():
        if _is_given(body.get(name)) and not _is_given(body.get(other)):
            merged[other] = None
    for name in REPLACES:
        if body.get(name) is not None:
            merged[name] = body[name]
    for side, stored in zip(SIDE_NAMES, (config.source_task, config.sink_task), strict=True):
        merged[side] = _overlaid({**stored, **_clear_secrets(side, secrets)}, body.get(side))
    merged["options"] = _overlaid(config.options, body.get("options"))
    return merged


def lonely_secrets(body: Mapping[str, object], secrets: Mapping[str, Secret]) -> list[Problem]:
    """The secrets of one side come together (an access key with its secret key): which of them the request leaves out."""
    problems = []
    for side in SIDE_NAMES:
        names = [name.removeprefix(f"{side}.") for name in secrets if name.startswith(f"{side}.")]
        sent = body.get(side)
        given = [name for name in names if isinstance(sent, Mapping) and _is_given(sent.get(name))]
        if given and len(given) < len(names):
            missing = [name for name in names if name not in given]
            reason = f"must come together with {full_name(side, given[0])}"
            problems += [Problem(full_name(side, name), reason, ProblemKind.BETWEEN_FIELDS) for name in missing]
    return problems


def _is_given(value: object) -> bool:
    return value is not None and value != ""


def _clear_secrets(side: str, secrets: Mapping[str, Secret]) -> dict[str, object]:
    return {name.removeprefix(f"{side}."): secret.reveal() for name, secret in secrets.items() if name.startswith(f"{side}.")}


def _overlaid(stored: Mapping[str, object] | None, sent: object) -> object:
    if not _is_given(sent):
        return stored
    if not isinstance(sent, Mapping):
        return sent
    return {**(stored or {}), **{name: value for name, value in sent.items() if value is not None}}
