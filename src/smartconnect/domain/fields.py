"""A small declarative reader of request fields (api.md §2). A table of `Text`, `Whole`, `Real` and `Flag` says what a JSON object may
hold; `read_object` gives the values as sent, the secrets apart, the names nobody knows, and *all* problems at once, each with the
field's name. `null` is absent; so is "" unless the field gives it a meaning. Values are quoted up to 64 characters, secrets never.
Called by control for the fields every task has, and by each job for its own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from smartconnect.domain.problems import Problem
from smartconnect.domain.secret import Secret

MAX_TEXT = 4096
MAX_QUOTED = 64
MAX_IGNORED = 50


class Unfit(Exception):
    """A value does not fit its field; str() is the reason for the user."""


def quoted(value: object) -> str:
    """A value as it may stand in a message: short, on one line, in double quotes if it is a string."""
    if isinstance(value, str):
        return json.dumps(_shortened(value), ensure_ascii=False)
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return _shortened(json.dumps(value))


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "…"


@dataclass(frozen=True, slots=True)
class Text:
    """A string. `empty`: "" is a value of its own, not absence. `pattern` must match the whole; `form` says it in words."""

    name: str
    required: bool = False
    secret: bool = False
    empty: bool = False
    max_length: int = MAX_TEXT
    choices: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    form: str = ""

    def accept(self, value: object) -> str:
        if not isinstance(value, str):
            raise Unfit("must be a string" + self._instead(value))
        if len(value) > self.max_length:
            raise Unfit(f"must have at most {self.max_length} characters, not {len(value)}")
        if self.choices and value not in self.choices:
            raise Unfit(f"must be one of {', '.join(quoted(choice) for choice in self.choices)}" + self._instead(value))
        if self.pattern is not None and not self.pattern.fullmatch(value):
            raise Unfit(f"must be {self.form}" + self._instead(value))
        return value

    def _instead(self, value: object) -> str:
        return "" if self.secret else f", not {quoted(value)}"


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer: 2 and 2.0 are, "2", 2.5 and true are not."""

    name: str
    minimum: int
    maximum: int
    required: bool = False

    def accept(self, value: object) -> int:
        wanted = f"must be an integer from {self.minimum} to {self.maximum}, not {quoted(value)}"
        if isinstance(value, bool) or not isinstance(value, int | float) or value != math.floor(value):
            raise Unfit(wanted)
        if not self.minimum <= value <= self.maximum:
            raise Unfit(wanted)
        return int(value)


@dataclass(frozen=True, slots=True)
class Real:
    """A number, whole or not; never a string, never true."""

    name: str
    minimum: float
    maximum: float
    required: bool = False

    def accept(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.minimum <= value <= self.maximum:
            raise Unfit(f"must be a number from {self.minimum:g} to {self.maximum:g}, not {quoted(value)}")
        return value


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false, nothing else."""

    name: str
    required: bool = False

    def accept(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise Unfit("must be true or false")
        return value


Field = Text | Whole | Real | Flag


@dataclass(slots=True)
class Reading:
    """What a JSON object held. `values` as sent (integers made int), absent fields absent; `secrets` by full field name; `ignored`
    the full names of unknown fields, at most 50."""

    values: dict[str, object] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        return value if isinstance(value, str) else None

    def flag(self, name: str) -> bool:
        return self.values.get(name) is True


def full_name(path: str, name: str) -> str:
    """ "sink_task.store_keys", or the name alone at the top of a request."""
    shown = _shortened(name)
    return f"{path}.{shown}" if path else shown


def read_object(path: str, raw: object, fields: Sequence[Field], *, known: Collection[str] = ()) -> Reading:
    """Read `raw` (None: absent, then only required fields are missing) by the table. `known`: names that are neither in the table nor
    worth a warning."""
    reading = Reading()
    if raw is None or raw == "":
        raw = {}
    if not isinstance(raw, Mapping):
        reading.problems.append(Problem(path, f"must be an object, not {quoted(raw)}"))
        return reading
    for spec in fields:
        _read_field(reading, full_name(path, spec.name), spec, raw.get(spec.name))
    expected = {spec.name for spec in fields} | set(known)
    unknown = (str(name) for name, value in raw.items() if name not in expected and value is not None and value != "")
    reading.ignored = [full_name(path, name) for name, _ in zip(unknown, range(MAX_IGNORED), strict=False)]
    return reading


def _read_field(reading: Reading, name: str, spec: Field, value: object) -> None:
    if value is None or (value == "" and not (isinstance(spec, Text) and spec.empty)):
        if spec.required:
            reading.problems.append(Problem(name, "is required"))
        return
    try:
        accepted = spec.accept(value)
    except Unfit as unfit:
        reading.problems.append(Problem(name, str(unfit)))
        return
    if isinstance(spec, Text) and spec.secret:
        reading.secrets[name] = Secret(str(accepted))
    else:
        reading.values[spec.name] = accepted
