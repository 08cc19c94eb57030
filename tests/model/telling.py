"""Tells a path of the model as the log that real code would have written of it: so the replay can be tried on every path that
the search can find, right ones and those of mutants."""

from __future__ import annotations

from collections.abc import Iterable

from smartconnect.jobs.obs_dump.steps import NamedUpload, Outcome, Step, StepFields
from tests.model.lives import NAME, Life, Scene
from tests.model.moves import Bound, Move, Moves
from tests.model.state import Content, Inc, Pc, State, Upload

_PLAIN = frozenset({Step.INIT_PRODUCER, Step.CHECK_REGISTRY, Step.ADD_OFFSETS, Step.NEW_EPOCH})


class Teller:
    """Follows moves from the initial state and writes what each incarnation would log. The world's moves are not told."""

    def __init__(self, scene: Scene, bound: Bound) -> None:
        self._scene, self._moves = scene, Moves(bound)
        self._lives: list[Life] = []
        self.state = self._moves.initial()

    def choices(self) -> list[tuple[Move, State]]:
        """What may happen next."""
        return [(move, self._moves.clean(after)) for move, after in self._moves.after(self.state)]

    def follow(self, trace: Iterable[Move]) -> None:
        """Tells a whole trace."""
        for move in trace:
            self.tell(move, next(after for other, after in self.choices() if other == move))

    def tell(self, move: Move, after: State) -> None:
        """Tells one move."""
        before, self.state = self.state, after
        if move.who is None or move.what == "EndTxn arrives":
            return
        if move.what == Step.START:
            self._lives.append(self._scene.life(plan=after.incs[move.who].plan + 1))
        elif move.what != "dies":
            self._told(self._lives[move.who], move, before, after.incs[move.who])

    def _told(self, life: Life, move: Move, before: State, after: Inc) -> None:
        assert move.who is not None
        inc = before.incs[move.who]
        outcome = Outcome(move.outcome) if move.outcome else Outcome.DONE
        match move.what:
            case Step.INIT_OLDER_PLAN:
                life.call(Step.INIT_OLDER_PLAN, outcome, target="dump-1-0")
            case Step.READ_POSITIONS:
                life.read(before.position.end, *_entries(before.position))
            case Step.CREATE_UPLOAD:
                self._create(life, after.opened[-1])
            case Step.SEAL | "redelivery":
                self._seal(life, inc, after, replaced=move.what == "redelivery")
            case Step.TXN_OFFSET_COMMIT:
                self._offer(life, inc, outcome)
            case Step.END_COMMIT | Step.END_ABORT:
                self._end(life, Step(move.what), inc, outcome)
            case Step.JANITOR_LIST:
                life.pen.note(Step.JANITOR_LIST, Outcome.SENT)
                life.pen.note(Step.JANITOR_LIST, outcome, uploads=tuple(str(label) for label in after.listed))
            case Step.COMPLETE | Step.HEAD_OBJECT | Step.ABORT_UPLOAD | Step.JANITOR_ABORT | Step.SKIP_LOST:
                self._store(life, Step(move.what), outcome, _named_in(move.detail))
            case _ if move.what in _PLAIN:
                life.call(Step(move.what), outcome)
            case _:
                raise AssertionError(f"nobody knows how to tell {move}")
        if outcome is Outcome.FENCED and after.pc == Pc.ENDED:
            life.pen.note(Step.FENCED)

    def _create(self, life: Life, upload: Upload) -> None:
        life.pen.note(Step.CREATE_UPLOAD, Outcome.SENT, partition=NAME)
        life.pen.note(Step.CREATE_UPLOAD, Outcome.OK, partition=NAME, upload=str(upload.label))

    def _seal(self, life: Life, inc: Inc, after: Inc, *, replaced: bool) -> None:
        upload = after.sealed[-1]
        if upload not in inc.opened:
            self._create(life, upload)
        detail = StepFields(partition=NAME, upload=str(upload.label), start=upload.start, offset=upload.end)
        if replaced:
            detail["replaces"] = str(upload.key)
        life.pen.note(Step.SEAL, **detail)

    def _offer(self, life: Life, inc: Inc, outcome: Outcome) -> None:
        assert inc.content is not None
        entries = _entries(inc.content)
        life.pen.note(Step.TXN_OFFSET_COMMIT, Outcome.SENT, partition=NAME, offset=inc.content.end, entries=entries)
        life.pen.note(Step.TXN_OFFSET_COMMIT, outcome)

    def _end(self, life: Life, step: Step, inc: Inc, outcome: Outcome) -> None:
        if inc.lost and outcome is not Outcome.SENT:
            life.pen.note(step, Outcome.SENT)
        life.pen.note(step, outcome)

    def _store(self, life: Life, step: Step, outcome: Outcome, upload: str) -> None:
        if step is Step.SKIP_LOST:
            life.pen.note(step, partition=NAME, upload=upload)
            return
        if step is Step.HEAD_OBJECT:
            life.call(Step.COMPLETE, Outcome.GONE, partition=NAME, upload=upload)
        life.call(step, outcome, partition=NAME, upload=upload)


def _entries(content: Content) -> tuple[NamedUpload, ...]:
    return tuple(NamedUpload(str(up.label), up.start, up.end) for up in content.entries)


def _named_in(detail: str) -> str:
    return detail.removeprefix("upload ").split(" [")[0]
