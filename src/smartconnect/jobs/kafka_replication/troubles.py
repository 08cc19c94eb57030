"""Lanes whose batches fail: whether to send the same bytes again, to give the lane up for now, to abort the transaction, or to end the
incarnation (kafka-replication.md §6.2, §6.4). Decides only; outbox and committer do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from smartconnect.domain.errors import Fenced, Retryable
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.partition import Lane
from smartconnect.kafka.codes import FENCED, LEADER_MOVED, TRANSIENT, KafkaCode
from smartconnect.kafka.produce_channel import NeverSent, Outcome
from smartconnect.kafka.timing import Pauses

MENDS_FOR_S: Final = 5.0
"""A lane whose retriable error has lasted so long is given up for now: the rest commits without it."""

_STUCK_WITH_IT_S: Final = 2.5
"""When the transaction has to be aborted for one lane, those that have not flowed for so long are left behind with it: each would be the
reason for the next abort."""

_NOT_STORED: Final = frozenset({KafkaCode.NOT_ENOUGH_REPLICAS, KafkaCode.UNKNOWN_TOPIC_OR_PARTITION})
"""Of the errors that waiting cures, those that say for sure that nothing was stored. A leader that steps down while a batch waits for its
replicas answers NOT_LEADER_OR_FOLLOWER, and the next leader may have the batch."""

_AGAIN: Final = LEADER_MOVED | TRANSIENT | {KafkaCode.UNKNOWN_TOPIC_OR_PARTITION}
_STATE_LOST: Final = frozenset(
    {KafkaCode.OUT_OF_ORDER_SEQUENCE_NUMBER, KafkaCode.INVALID_TXN_STATE, KafkaCode.TRANSACTION_ABORTABLE}
)


class LaneStuck(Retryable):
    """Some batch of the lane may be stored or not, and time is up; or one is stored without those before it: the open transaction cannot
    be committed any more."""


@dataclass(slots=True)
class _Trouble:
    """A lane that does not flow: since when, how long to wait before the next try, and why. `maybe_stored`: some batch that was answered
    with an error may be stored all the same; repeating it is harmless, giving it up is a guess. `behind`: the sequence number behind the
    last batch that was stored out of its turn."""

    since: float
    pauses: Pauses
    failure: Outcome | None = None
    maybe_stored: bool = False
    behind: int | None = None


class Troubles:
    """One incarnation's lanes in trouble."""

    def __init__(self, inc: Incarnation) -> None:
        self._cluster, self._clock = inc.target, inc.clock
        self._transactional = inc.guard.transactional_id is not None
        self._lanes: dict[Lane, _Trouble] = {}

    def over(self, lane: Lane) -> None:
        """It flows again, or is given up."""
        if self._lanes:
            self._lanes.pop(lane, None)

    def all_over(self) -> None:
        """All of them are given up."""
        self._lanes.clear()

    def overtaken(self, lane: Lane, *, behind: int) -> None:
        """A batch is stored, and one before it is not: the partition was made again in between, and took the first number that it got.
        Those left out would be refused now. `behind`: the sequence number that comes next there."""
        self._of(lane).behind = behind

    def behind(self, lane: Lane) -> int | None:
        """The sequence number that comes next where the lane was overtaken, else None."""
        trouble = self._lanes.get(lane)
        return None if trouble is None else trouble.behind

    def stuck(self) -> dict[Lane, Outcome | None]:
        """Those that have not flowed for a while, and what was heard last of each."""
        since = self._clock.monotonic() - _STUCK_WITH_IT_S
        return {lane: trouble.failure for lane, trouble in self._lanes.items() if trouble.since <= since}

    def next_try(self, lane: Lane, failure: Outcome | None) -> float | None:
        """Seconds until the same bytes should go out again; None: the lane is to be given up. `failure` None: it has no leader. Raises
        Fenced, Retryable where the incarnation is over, LaneStuck where the transaction is."""
        if failure is not None:
            self._raise_if_over(failure)
        trouble = self._of(lane)
        trouble.failure = failure
        trouble.maybe_stored |= _maybe_stored(failure)
        if trouble.behind is not None:
            if self._transactional:
                raise LaneStuck(f"{lane.tp} on the target took a batch without the one before it", code="target_partition_stuck")
            return None
        if failure is not None and not _repeatable(failure):
            return None
        if self._clock.monotonic() - trouble.since <= MENDS_FOR_S:
            return trouble.pauses.next()
        if trouble.maybe_stored and self._transactional:
            raise LaneStuck(f"{lane.tp} on the target: {why(failure)} for {MENDS_FOR_S:g} s", code="target_partition_stuck")
        return None

    def _of(self, lane: Lane) -> _Trouble:
        return self._lanes.setdefault(lane, _Trouble(self._clock.monotonic(), self._cluster.pauses(0.02, 1.0)))

    def _raise_if_over(self, failure: Outcome) -> None:
        """What ends the incarnation: somebody newer, a state that the broker has lost, in a transaction a lost answer."""
        code = failure.refused.error if failure.refused is not None else None
        if self._transactional:
            if code in FENCED:
                raise Fenced(f"the target refuses our producer ({code.name}): somebody newer, or our transaction timed out")
            if failure.lost is not None and not isinstance(failure.lost, NeverSent):
                raise Retryable(f"an answer of the target was lost: {failure.lost}", code="connection_lost")
        if code in _STATE_LOST or code in FENCED:
            raise Retryable(f"the target answers {code.name} for {failure.tp}", code="transaction_aborted")


def why(failure: Outcome | None) -> str:
    """In a word."""
    if failure is None:
        return "no leader"
    return failure.refused.error.name if failure.refused is not None else str(failure.lost)


def _repeatable(failure: Outcome) -> bool:
    return failure.refused is None or failure.refused.error in _AGAIN


def _maybe_stored(failure: Outcome | None) -> bool:
    if failure is None or not _repeatable(failure):
        return False
    if failure.refused is None:
        return not isinstance(failure.lost, NeverSent)
    return failure.refused.error not in _NOT_STORED
