"""The transactional calls of the Kafka client, told in the words of the protocol's step log."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from smartconnect.jobs.obs_dump.steps import IncarnationSteps, Outcome, Step, StepFields

_OUTCOMES = {"sent": Outcome.SENT, "ok": Outcome.OK, "again": Outcome.BUSY, "lost": Outcome.LOST, "refused": Outcome.REFUSED}
_FENCING = ("FENCED", "INVALID_PRODUCER", "INVALID_TXN_STATE")


def observer(steps: IncarnationSteps, older: str | None = None) -> Callable[[str, Mapping[str, object]], None]:
    """An `observe` for `TransactionalId`. `older`: the unit of an older plan whose id is being fenced.

    The SENT line of TxnOffsetCommit is the committer's, which knows what is committed."""

    def observe(name: str, details: Mapping[str, object]) -> None:
        if not steps.log.enabled:
            return
        call, _, outcome_name = name.partition(".")
        outcome = _OUTCOMES[outcome_name]
        if outcome is Outcome.REFUSED and str(details.get("code", "")).startswith(_FENCING):
            outcome = Outcome.FENCED
        step = _step(call, commit=bool(details.get("commit")), older=older)
        if step is Step.TXN_OFFSET_COMMIT and outcome is Outcome.SENT:
            return
        epoch = details.get("epoch")
        extra = StepFields(target=older) if older is not None else StepFields()
        if isinstance(epoch, int) and outcome is Outcome.OK:
            extra["producer_epoch"] = epoch
        steps.note(step, outcome, **extra)

    return observe


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
