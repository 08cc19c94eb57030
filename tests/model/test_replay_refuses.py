"""Logs of code that breaks a rule are refused, and the message says which line and why. One log for each mutant, then more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smartconnect.jobs.obs_dump.steps import NamedUpload, Outcome, Step
from tests.model.lives import NAME, Scene
from tests.model.logs import Rejected, read_logs
from tests.model.replay import replay
from tests.model.unit import Mutant


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path / "steps.jsonl")
    yield scene
    scene.close()


def refused(scene: Scene, why: str) -> None:
    """The log is refused at its last line, for this reason."""
    log = scene.told()
    with pytest.raises(Rejected) as caught:
        replay(log)
    assert why in str(caught.value)
    last = log.lines[-1].event
    assert f"{last.incarnation} {last.step} {last.outcome}" in str(caught.value).split(":")[1]


def test_mutant_no_fencing(scene: Scene) -> None:
    """Two owners with an id each: what the coordinator answers to the old one is impossible."""
    old = scene.life().own()
    old.cut("u1", 10)
    scene.life().own(0)
    old.call(Step.ADD_OFFSETS)
    refused(scene, "no moment")


def test_mutant_positions_first(scene: Scene) -> None:
    scene.life().own()
    life = scene.life()
    life.pen.note(Step.READ_POSITIONS, Outcome.SENT)
    refused(scene, "§1.4")


def test_mutant_unstable_read(scene: Scene) -> None:
    """Without require_stable the position before a decided commit is read."""
    old = scene.life().own()
    old.cut("u1", 10)
    old.commit()
    scene.life().own(0)
    refused(scene, "no moment")


def test_mutant_complete_early(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.offer()
    life.pen.note(Step.END_COMMIT, Outcome.SENT)
    life.pen.note(Step.COMPLETE, Outcome.SENT, partition=NAME, upload="u1")
    refused(scene, "rule 1")


def test_mutant_abort_after_lost_end(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.offer()
    life.call(Step.END_COMMIT, Outcome.LOST)
    life.pen.note(Step.ABORT_UPLOAD, Outcome.SENT, partition=NAME, upload="u1")
    refused(scene, "rule 2")


def test_mutant_reinitialise(scene: Scene) -> None:
    old = scene.life().own()
    old.cut("u1", 10)
    scene.life().own(0)
    old.call(Step.ADD_OFFSETS, Outcome.FENCED)
    old.pen.note(Step.INIT_PRODUCER, Outcome.SENT)
    refused(scene, "rule 5")


def test_mutant_no_older_plan(scene: Scene) -> None:
    scene.life().own().cut("u1", 10)
    new = scene.life(plan=2)
    new.init()
    new.pen.note(Step.READ_POSITIONS, Outcome.SENT)
    new.pen.note(Step.READ_POSITIONS, Outcome.OK, partition=NAME, offset=0)
    log = scene.told()
    with pytest.raises(Rejected, match=r"§1\.4"):
        replay(log)


def test_mutant_no_older_plan_is_seen_at_the_registry_check(scene: Scene) -> None:
    scene.life().own().cut("u1", 10)
    new = scene.life(plan=2).own(0)
    new.cut("u2", 20)
    with pytest.raises(Rejected, match=r"§1\.3"):
        replay(scene.told())


def test_mutant_no_registry_check(scene: Scene) -> None:
    old = scene.life()
    scene.life(plan=2).own(0, older="dump-1-0").cut("u1", 10)
    old.init()
    old.read(0)
    old.cut("u2", 10)
    with pytest.raises(Rejected, match=r"§1\.4"):
        replay(scene.told())


def test_mutant_registry_check_ignored(scene: Scene) -> None:
    scene.life().own()
    old = scene.life()
    scene.life(plan=2).own(0, older="dump-1-0").cut("u1", 10)
    old.init()
    old.call(Step.CHECK_REGISTRY, Outcome.FENCED)
    old.pen.note(Step.READ_POSITIONS, Outcome.SENT)
    refused(scene, "§1.4")


def test_mutant_same_epoch(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.offer()
    life.call(Step.END_COMMIT, Outcome.LOST)
    life.call(Step.END_COMMIT)
    life.pen.note(Step.ADD_OFFSETS, Outcome.SENT)
    refused(scene, "rule 4")


def test_mutant_janitor_no_proof(scene: Scene) -> None:
    scene.life().own().cut("orphan", 10)
    life = scene.life().own(0)
    life.pen.note(Step.JANITOR_LIST, Outcome.SENT)
    life.pen.note(Step.JANITOR_LIST, Outcome.OK, uploads=("orphan",))
    life.pen.note(Step.JANITOR_ABORT, Outcome.SENT, upload="orphan")
    refused(scene, "§8")


def test_mutant_janitor_proof_first(scene: Scene) -> None:
    """A transaction that was begun before the listing proves nothing, though it ends after it."""
    scene.life().own().cut("orphan", 10)
    life = scene.life().own(0)
    life.offer()
    life.pen.note(Step.JANITOR_LIST, Outcome.SENT)
    life.pen.note(Step.JANITOR_LIST, Outcome.OK, uploads=("orphan",))
    life.call(Step.END_COMMIT)
    life.pen.note(Step.JANITOR_PROVE)
    refused(scene, "§8")


def test_each_mutant_has_its_bad_log() -> None:
    told = "\n".join(name for name in globals() if name.startswith("test_mutant_"))
    assert all(f"test_mutant_{mutant.name.lower()}" in told for mutant in Mutant)


def test_commit_while_another_is_unanswered(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.offer()
    life.call(Step.END_COMMIT, Outcome.LOST)
    life.pen.note(Step.ADD_OFFSETS, Outcome.SENT)
    refused(scene, "§2")


def test_end_that_is_answered_ok_though_its_successor_has_read_that_it_did_not_count(scene: Scene) -> None:
    zombie = scene.life().own()
    zombie.cut("u1", 10)
    zombie.offer()
    zombie.pen.note(Step.END_COMMIT, Outcome.SENT)
    scene.life().own(0)
    zombie.pen.note(Step.END_COMMIT, Outcome.OK)
    refused(scene, "no moment")


def test_abort_after_commit_was_sent(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.offer()
    life.call(Step.END_COMMIT, Outcome.LOST)
    life.pen.note(Step.END_ABORT, Outcome.SENT)
    refused(scene, "rules 2 and 3")


def test_next_transaction_after_a_lost_offset_commit(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.offer(Outcome.LOST)
    life.pen.note(Step.ADD_OFFSETS, Outcome.SENT)
    refused(scene, "§2")


def test_upload_that_is_offered_is_not_extended(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.offer()
    life.pen.note(Step.UPLOAD_PART, Outcome.SENT, partition=NAME, upload="u1")
    refused(scene, "rule 2")


def test_entry_left_out_before_it_is_finished(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.commit()
    life.call(Step.ADD_OFFSETS)
    life.pen.note(Step.TXN_OFFSET_COMMIT, Outcome.SENT, partition=NAME, offset=10, entries=())
    refused(scene, "names what is committed")


def test_offset_beyond_what_is_sealed(scene: Scene) -> None:
    life = scene.life().own()
    named = life.cut("u1", 10)
    life.call(Step.ADD_OFFSETS)
    life.pen.note(Step.TXN_OFFSET_COMMIT, Outcome.SENT, partition=NAME, offset=11, entries=(named,))
    refused(scene, "names what is committed")


def test_range_that_leaves_a_hole(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.end = 11
    life.pen.note(Step.CREATE_UPLOAD, Outcome.SENT, partition=NAME)
    life.pen.note(Step.CREATE_UPLOAD, Outcome.OK, partition=NAME, upload="u2")
    life.pen.note(Step.SEAL, partition=NAME, upload="u2", start=11, offset=20)
    entries = (*life.fresh, NamedUpload("u2", 11, 20))
    life.call(Step.ADD_OFFSETS)
    life.pen.note(Step.TXN_OFFSET_COMMIT, Outcome.SENT, partition=NAME, offset=20, entries=entries)
    refused(scene, "names what is committed")


def test_range_that_overlaps_another(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.pen.note(Step.CREATE_UPLOAD, Outcome.SENT, partition=NAME)
    life.pen.note(Step.CREATE_UPLOAD, Outcome.OK, partition=NAME, upload="u2")
    life.pen.note(Step.SEAL, partition=NAME, upload="u2", start=9, offset=20)
    refused(scene, "of no other object")


def test_objects_completed_out_of_order(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.cut("u2", 20)
    life.commit()
    life.pen.note(Step.COMPLETE, Outcome.SENT, partition=NAME, upload="u2")
    refused(scene, "rule 1")


def test_fetching_before_predecessors_entries_are_finished(scene: Scene) -> None:
    old = scene.life().own()
    named = old.cut("u1", 10)
    old.commit()
    life = scene.life().own(10, named)
    life.pen.note(Step.CREATE_UPLOAD, Outcome.SENT, partition=NAME)
    refused(scene, "§1.5")


def test_position_that_nobody_committed(scene: Scene) -> None:
    old = scene.life().own()
    old.cut("u1", 10)
    old.commit()
    old.complete()
    scene.life().own(10)
    refused(scene, "no moment")


def test_position_read_beside_the_work_that_is_long_gone(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.commit()
    life.read(0)
    refused(scene, "no moment")


def test_lost_commit_that_is_read_as_if_it_had_not_happened_and_then_as_if_it_had(scene: Scene) -> None:
    first = scene.life().own()
    named = first.cut("u1", 10)
    first.offer()
    first.pen.note(Step.END_COMMIT, Outcome.SENT)
    scene.life().own(0)
    scene.life().own(10, named)
    refused(scene, "no moment")


def test_object_that_vanished_without_anybody_completing_it(scene: Scene) -> None:
    old = scene.life().own()
    named = old.cut("u1", 10)
    old.commit()
    life = scene.life().own(10, named)
    life.complete(Outcome.GONE)
    refused(scene, "cannot have been answered gone")


def test_unit_that_is_fenced_though_nobody_came(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.call(Step.ADD_OFFSETS, Outcome.FENCED)
    refused(scene, "cannot have been answered fenced")


def test_step_after_the_end(scene: Scene) -> None:
    life = scene.life().own()
    life.pen.note(Step.STOPPED)
    life.pen.note(Step.CREATE_UPLOAD, Outcome.SENT, partition=NAME)
    refused(scene, "§1.5")


def test_old_owner_that_passes_the_check_after_it_was_replaced(scene: Scene) -> None:
    scene.life().own()
    old = scene.life()
    old.init()
    scene.life()
    old.call(Step.CHECK_REGISTRY)
    refused(scene, "no moment")


def test_two_units_of_one_plan(scene: Scene) -> None:
    scene.life().own()
    other = scene.life()
    object.__setattr__(other.pen, "unit", "dump-1-1")
    other.own(0)
    with pytest.raises(Rejected, match="both have it"):
        replay(scene.told())


def test_redelivery_of_another_range(scene: Scene) -> None:
    life = scene.life().own(10, NamedUpload("u1", 0, 10))
    life.pen.note(Step.CREATE_UPLOAD, Outcome.SENT, partition=NAME)
    refused(scene, "§1.5")


def test_torn_line_is_counted_and_the_next_one_read(scene: Scene) -> None:
    scene.life().own()
    with scene.path.open("ab") as file:
        file.write(b'\n{"t":5,"step":"se')
    scene.life().own(0)
    log = read_logs([scene.path])
    assert log.torn == 1
    assert replay(log).torn == 1
