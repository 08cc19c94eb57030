"""Partitions that Kafka refuses for now: a right is missing, or the broker answers what nothing of ours cures. Such a partition *rests*:
its reason is shown, after a while it is tried again by itself, and it goes on exactly where it stopped: what was read and not committed is
kept for that.

The reason is told once and shown until the partition works again, also while it is tried. What needs a person, or a decision, is no rest
but a stop (`Roster.stop`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from smartconnect.domain.backoff import Backoff
from smartconnect.domain.errors import PermissionMissing
from smartconnect.domain.progress import Level
from smartconnect.domain.task import Reason
from smartconnect.jobs.obs_dump.incarnation import Incarnation
from smartconnect.jobs.obs_dump.partition import Partition, Rest
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetcher import Fetcher

REFUSED: Final = "kafka_refused"
_PAUSES = Backoff(first_s=4.0, cap_s=60.0)


class Rests:
    """One incarnation's. `stop` fetches a partition no longer; `again` fetches it, and commits what waits for that."""

    def __init__(
        self, inc: Incarnation, fetcher: Fetcher, stop: Callable[[Partition], None], again: Callable[[Partition], None]
    ) -> None:
        self._inc, self._fetcher, self._stop, self._again = inc, fetcher, stop, again
        self._resting: set[Partition] = set()

    def denied(self, partition: Partition) -> None:
        """Who may not read a topic can neither fetch it nor commit positions in it."""
        self._begin(partition, PermissionMissing.code, f"Kafka refuses to read {partition.tp}: grant READ on the topic")

    def refused(self, partition: Partition, code: KafkaCode) -> None:
        """An answer to Fetch that no rule cures."""
        self._begin(partition, REFUSED, f"Kafka answers {code.name} for {partition.tp} at offset {partition.read}")

    def committed(self, partition: Partition) -> None:
        """Its position was committed: it may be read."""
        if partition.rest is not None and partition.rest.reason.code == PermissionMissing.code:
            partition.rest = None

    def look(self) -> None:
        """Try those whose time has come, and let those go on for which Kafka answers again. In the loop's own time."""
        now = self._inc.clock.monotonic()
        for partition in list(self._resting):
            rest = partition.rest
            if rest is not None and rest.trying and self._is_answered(partition):
                rest = partition.rest = None
            if rest is None:
                self._resting.discard(partition)
                self._again(partition)
            elif not rest.trying and rest.until <= now:
                rest.trying = True
                self._again(partition)

    def _begin(self, partition: Partition, code: str, message: str) -> None:
        self._stop(partition)
        rest = partition.rest
        if rest is None or rest.reason.message != message:
            self._inc.context.ledger.event(Level.ERROR, code, message)
            rest = partition.rest = Rest(Reason(code, message, since=self._inc.clock.now_ms()))
            self._resting.add(partition)
        elif not rest.trying:
            return
        rest.until = self._inc.clock.monotonic() + _PAUSES.ceiling(rest.tries)
        rest.tries, rest.trying = rest.tries + 1, False

    def _is_answered(self, partition: Partition) -> bool:
        """A new fetch knows nothing of the log before Kafka has answered, and quiet partitions bring nothing else."""
        if not partition.fetching:
            return False
        view = self._fetcher.view(partition.tp)
        return view.error is None and view.high_watermark >= 0
