"""The transactional calls of the Kafka client, told in the words of the protocol's step log."""

from __future__ import annotations

from collections.abc import Mapping

from smartconnect.jobs.obs_dump.steps import IncarnationSteps, Outcome, Step, StepFields
from smartconnect.kafka.codes import FENCED, KafkaCode

_OUTCOMES = {"sent": Outcome.SENT, "ok": Outcome.OK, "again": Outcome.BUSY, "lost": Outcome.LOST, "refused": Outcome.REFUSED}


class TransactionSteps:
    """An `observe` for `TransactionalId`. `older`: the unit of an older plan whose id is being fenced.

    The SENT line of TxnOffsetCommit is the committer's, which knows what is committed. An EndTxn says when it is sent if it commits."""

    def __init__(self, steps: IncarnationSteps, older: str | None = None) -> None:
        self._steps, self._older = steps, older
        self._commits = False

    def __call__(self, name: str, details: Mapping[str, object]) -> None:
        call, _, told = name.partition(".")
        if not self._steps.log.enabled or told not in _OUTCOMES:
            return
        if call == "end" and told == "sent":
            self._commits = bool(details["committed"])
        outcome, step = _OUTCOMES[told], _step(call, commit=self._commits, older=self._older)
        if outcome is Outcome.REFUSED and _is_fencing(step, str(details.get("code", ""))):
            outcome = Outcome.FENCED
        if step is Step.TXN_OFFSET_COMMIT and outcome is Outcome.SENT:
            return
        extra = StepFields() if self._older is None else StepFields(target=self._older)
        epoch = details.get("producer_epoch")
        if isinstance(epoch, int) and outcome is Outcome.OK:
            extra["producer_epoch"] = epoch
        self._steps.note(step, outcome, **extra)


def _is_fencing(step: Step, code: str) -> bool:
    return code in {fencing.name for fencing in FENCED} or (step is Step.END_COMMIT and code == KafkaCode.INVALID_TXN_STATE.name)


def _step(call: str, *, commit: bool, older: str | None) -> Step:
    match call:
        case "init":
            return Step.INIT_PRODUCER if older is None else Step.INIT_OLDER_PLAN
        case "renew":
            return Step.NEW_EPOCH
        case "add_offsets":
            return Step.ADD_OFFSETS
        case "commit_offsets":
            return Step.TXN_OFFSET_COMMIT
        case "end":
            return Step.END_COMMIT if commit else Step.END_ABORT
        case _:
            raise ValueError(f"the dump makes no transactional call named {call}")
