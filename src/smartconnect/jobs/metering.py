"""What the meters of jobs have in common (api.md §7): how far the initial copy is, who is held back by an open transaction, what a unit
says of its blocked partitions, rows of progress that are made only when somebody reads them, and the gauges that all kinds of task have.
Times are passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar, overload

from smartconnect.domain.errors import PartitionBlocked
from smartconnect.domain.progress import Level, PartitionProgress
from smartconnect.domain.task import Kind, Reason
from smartconnect.jobs.lag import EndsSeen
from smartconnect.jobs.memory_budget import MemoryBudget
from smartconnect.telemetry.meters import PROCESS_METERS
from smartconnect.telemetry.names import MEMORY_LIMIT, MEMORY_USED

_ETA_WINDOW_S: Final = 60.0
_HELD_EVENT_S: Final = 60.0
_EVERY_S: Final = 1.0
T = TypeVar("T")


class CopyPace:
    """How the initial copy goes on: offsets done of all, looked at once a second. `percent` never falls, and is 100 only when done."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._remaining = 0
        self.percent = 0.0

    def is_due(self, now: float) -> bool:
        return not self._seen or now - self._seen[-1][0] >= _EVERY_S

    def saw(self, now: float, done: int, total: int) -> None:
        self._seen.append((now, done))
        while now - self._seen[0][0] > _ETA_WINDOW_S:
            self._seen.popleft()
        self._remaining = total - done
        if self._remaining:
            self.percent = max(self.percent, min(99.9, round(100 * done / total, 1)))

    @property
    def is_done(self) -> bool:
        return bool(self._seen) and self._remaining == 0

    @property
    def eta_ms(self) -> int | None:
        """From the rate of the last minute; None where there is none."""
        if len(self._seen) < 2:
            return None
        (before, done_before), (now, done) = self._seen[0], self._seen[-1]
        if done <= done_before:
            return None
        return int(self._remaining * (now - before) / (done - done_before) * 1000)


class HeldBack:
    """Records held back by an open transaction of somebody for a minute look like a hang: that is told, once. `tell`: the ledger's."""

    def __init__(self, tell: Callable[[Level, str, str], None]) -> None:
        self._tell = tell
        self._since: dict[Hashable, float] = {}

    def look(self, where: Hashable, records: int, now: float) -> None:
        """So many records of partition `where` are hidden now."""
        if not records:
            self._since.pop(where, None)
        elif now - self._since.setdefault(where, now) > _HELD_EVENT_S:
            self._since[where] = float("inf")
            message = f"{records} records of {where} are held back by an open transaction of a producer"
            self._tell(Level.WARNING, "held_by_open_transaction", message)


def blocked_reason(reasons: Iterable[Reason | None]) -> Reason | None:
    """What the unit as a whole says while some of its partitions stand still."""
    standing = [reason for reason in reasons if reason is not None]
    if not standing:
        return None
    first = min(standing, key=lambda reason: reason.since)
    more = f" (and {len(standing) - 1} more)" if len(standing) > 1 else ""
    return Reason(PartitionBlocked.code, first.message + more, since=first.since)


def measure_budget(kind: Kind, budget: MemoryBudget) -> None:
    """Show how full the worker's budget for this kind of task is."""
    PROCESS_METERS.set(MEMORY_USED, budget.used, (kind.value,))
    PROCESS_METERS.set(MEMORY_LIMIT, budget.total, (kind.value,))


class Metered(Protocol):
    """What the meters of all jobs know of a partition."""

    @property
    def tp(self) -> Hashable: ...
    @property
    def ends(self) -> EndsSeen: ...
    @property
    def selected(self) -> bool: ...
    @property
    def blocked(self) -> Reason | None: ...


P = TypeVar("P", bound=Metered)


class Standing(NamedTuple):
    """All partitions of a unit in one look. Lags are of those that are selected; `lag_records` is None where one is not known: it is never
    shown as nothing. `version` and `blocked_version` change when a row, or who is blocked, does."""

    lag_records: int | None
    lag_ms: int
    version: int
    blocked_version: int
    blocked: list[Reason]


def standing(partitions: Iterable[P], reached: Callable[[P], int | None], now_ms: int) -> Standing:
    """`reached`: up to where a partition is done, None while that is not known."""
    lag, unknown, lag_ms, version, blocked_version = 0, False, 0, 0, 0
    blocked: list[Reason] = []
    for partition in partitions:
        position, ends = reached(partition), partition.ends
        version += (position or 0) + (ends.end or 0)
        if partition.blocked is not None:
            blocked.append(partition.blocked)
            blocked_version += hash(partition.tp)
        if partition.selected:
            behind = ends.lag(position)
            lag, unknown = lag + (behind or 0), unknown or behind is None
            lag_ms = max(lag_ms, ends.lag_ms(position, now_ms))
    return Standing(None if unknown else lag, lag_ms, version, blocked_version, blocked)


class LazyRows(Sequence[PartitionProgress], Generic[T]):
    """A row for each partition, made when it is read."""

    def __init__(self, partitions: Sequence[T], make: Callable[[T], PartitionProgress]) -> None:
        self._partitions, self._make = partitions, make

    def __len__(self) -> int:
        return len(self._partitions)

    @overload
    def __getitem__(self, index: int) -> PartitionProgress: ...
    @overload
    def __getitem__(self, index: slice) -> list[PartitionProgress]: ...
    def __getitem__(self, index: int | slice) -> PartitionProgress | list[PartitionProgress]:
        if isinstance(index, slice):
            return [self._make(partition) for partition in self._partitions[index]]
        return self._make(self._partitions[index])
