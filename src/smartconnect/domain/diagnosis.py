"""What `smart-connect doctor` finds: one line for each thing that has to hold. `Examination` runs the checks of one patient, so that a
check that fails does not hide the next one.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from smartconnect.domain.errors import SmartConnectError


class Verdict(enum.StrEnum):
    """WARNING: works, but not as well as it could, or could not be tried."""

    HOLDS = "holds"
    WARNING = "warning"
    FAILS = "fails"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`what` has to hold; `detail` says what was seen, or what to do."""

    what: str
    verdict: Verdict
    detail: str = ""


class DoesNotHold(SmartConnectError):
    """A server behaved in another way than we need; the sentence says how."""

    code = "does_not_hold"


class OnlyWarning(SmartConnectError):
    """Not as well as it could be, or it could not be tried."""

    code = "warning"


@dataclass(slots=True)
class Examination:
    """`told` hears of each diagnosis at once."""

    told: Callable[[Diagnosis], None]
    found: list[Diagnosis] = field(default_factory=list)

    async def check(self, what: str, step: Callable[[], Awaitable[str]]) -> bool:
        """Run one step, which gives what it saw or raises; True if it holds (warnings count as that)."""
        try:
            diagnosis = Diagnosis(what, Verdict.HOLDS, await step())
        except OnlyWarning as warning:
            diagnosis = Diagnosis(what, Verdict.WARNING, str(warning))
        except SmartConnectError as error:
            diagnosis = Diagnosis(what, Verdict.FAILS, str(error))
        except TimeoutError:
            diagnosis = Diagnosis(what, Verdict.FAILS, "no answer in time")
        self.found.append(diagnosis)
        self.told(diagnosis)
        return diagnosis.verdict is not Verdict.FAILS
