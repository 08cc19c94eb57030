"""How control says no: a `Refusal` carries a row of `codes.py` and the fields that are wrong. `code_of` decides which row a set of
problems asks for (api.md §4.5, §8). Raised in control and in the API, rendered by the API and by the console.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from smartconnect.control import codes
from smartconnect.control.codes import ApiError
from smartconnect.domain.problems import Problem, ProblemKind


class Refusal(Exception):
    """A call is refused and changed nothing. `why` follows the sentence after a comma, or fills its `{key}`."""

    def __init__(self, error: ApiError, problems: Sequence[Problem] = (), *, why: str = "", key: str = "") -> None:
        self.error = error
        self.problems = tuple(problems)
        self._why = why
        self._key = key
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The sentence without its full stop, then the fields and reasons."""
        sentence = self.error.sentence.replace("{key}", self._key)
        if self._why:
            sentence += f", {self._why}"
        if not self.problems:
            return sentence
        reasons = (f"{problem.field}: {problem.reason}" if problem.field else problem.reason for problem in self.problems)
        return f"{sentence}: {'; '.join(reasons)}"

    def cleaned(self, clean: Callable[[str], str]) -> Refusal:
        """The same, with its problems' texts as `clean` gives them."""
        problems = [replace(problem, field=clean(problem.field), reason=clean(problem.reason)) for problem in self.problems]
        return Refusal(self.error, problems, why=self._why, key=self._key)


PRECEDENCE: tuple[tuple[ProblemKind, ApiError], ...] = (
    (ProblemKind.FIELD, codes.INVALID_PARAMETER),
    (ProblemKind.TOPIC_MISSING, codes.TOPIC_MISSING),
    (ProblemKind.TOPIC_IN_USE, codes.TOPIC_IN_USE),
    (ProblemKind.REPLICATION_FACTOR, codes.REPLICATION_FACTOR),
    (ProblemKind.REDIS_TYPE, codes.REDIS_TYPES),
    (ProblemKind.STORE_CREDENTIALS, codes.STORE_CREDENTIALS),
    (ProblemKind.KAFKA_CLUSTER, codes.KAFKA_CONFIG),
)


def code_of(problems: Sequence[Problem], otherwise: ApiError) -> ApiError:
    """The first row that applies; `otherwise` (the operation's own) for rules between fields and all other live checks."""
    kinds = {problem.kind for problem in problems}
    return next((error for kind, error in PRECEDENCE if kind in kinds), otherwise)


def refuse_if(problems: Sequence[Problem], otherwise: ApiError) -> None:
    """Raise a `Refusal` with all problems that are not mere warnings; return if there are none."""
    standing = [problem for problem in problems if not problem.warning]
    if standing:
        raise Refusal(code_of(standing, otherwise), standing)
