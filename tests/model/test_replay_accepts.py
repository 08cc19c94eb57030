"""Logs of runs that obey the protocol are accepted, whatever died, was lost or came late: the rows of obs-dump.md §4."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smartconnect.jobs.obs_dump.steps import NamedUpload, Outcome, Step
from tests.model.lives import NAME, Scene
from tests.model.replay import replay

OLD = "dump-1-0"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path / "steps.jsonl")
    yield scene
    scene.close()


def test_one_life_dumps_and_drains(scene: Scene) -> None:
    life = scene.life().own()
    for number in range(1, 6):
        life.cut(f"u{number}", number * 10)
        life.commit()
        life.complete()
    life.commit()
    life.pen.note(Step.STOPPED)
    report = replay(scene.told())
    assert report.partitions == 1
    assert report.steps["complete ok"] == 5


def test_two_objects_of_one_transaction_appear_in_order(scene: Scene) -> None:
    life = scene.life().own(7)
    life.cut("u1", 10)
    life.cut("u2", 20)
    life.commit()
    life.complete()
    life.cut("u3", 30)
    life.commit()
    life.complete()
    life.complete()
    assert replay(scene.told()).lines > 0


def test_partition_without_a_position_commits_its_start(scene: Scene) -> None:
    first = scene.life()
    first.init()
    first.call(Step.CHECK_REGISTRY)
    first.read(None)
    first.end = 95  # `latest`; it dies before the commit
    first.offer()
    second = scene.life()
    second.init()
    second.call(Step.CHECK_REGISTRY)
    second.read(None)
    second.end = 100
    second.commit()
    second.cut("u1", 110)
    second.commit()
    assert replay(scene.told()).partitions == 1


def test_partition_without_a_position_has_no_line_of_step_4(scene: Scene) -> None:
    """The unit asks for all partitions; of one without a position nothing more is said. Objects are prepared side by side."""
    life = scene.life()
    life.init()
    life.call(Step.CHECK_REGISTRY)
    life.pen.note(Step.READ_POSITIONS, Outcome.SENT)
    life.pen.note(Step.READ_POSITIONS, Outcome.UNSTABLE, partition="another-0")
    life.pen.note(Step.READ_POSITIONS, Outcome.SENT)
    life.end = 100
    life.commit()
    for upload in ("u1", "u2"):
        life.pen.note(Step.CREATE_UPLOAD, Outcome.SENT, partition=NAME, upload="")
        life.pen.note(Step.CREATE_UPLOAD, Outcome.OK, partition=NAME, upload=upload)
    life.pen.note(Step.SEAL, partition=NAME, upload="u2", start=110, offset=120)
    life.pen.note(Step.SEAL, partition=NAME, upload="u1", start=100, offset=110)
    life.fresh, life.end = (NamedUpload("u1", 100, 110), NamedUpload("u2", 110, 120)), 120
    life.commit()
    life.complete()
    life.complete()
    assert replay(scene.told()).partitions == 2


def test_offset_commit_that_is_asked_again_is_logged_once(scene: Scene) -> None:
    life = scene.life().own()
    named = life.cut("u1", 10)
    life.call(Step.ADD_OFFSETS)
    life.pen.note(Step.TXN_OFFSET_COMMIT, Outcome.SENT, partition=NAME, offset=10, entries=(named,))
    life.pen.note(Step.TXN_OFFSET_COMMIT, Outcome.BUSY)
    life.pen.note(Step.TXN_OFFSET_COMMIT, Outcome.OK)
    life.call(Step.END_COMMIT)
    scene.life().own(10, named).complete()
    assert replay(scene.told()).partitions == 1


def test_janitor_reads_positions_beside_the_work(scene: Scene) -> None:
    life = scene.life().own()
    named = life.cut("u1", 10)
    life.pen.note(Step.READ_POSITIONS, Outcome.SENT)
    life.commit()
    life.pen.note(Step.READ_POSITIONS, Outcome.OK, partition=NAME, offset=0, entries=())
    life.read(10, named)
    life.entries = (named,)
    life.complete()
    assert replay(scene.told()).partitions == 1


def test_row_0_buffering_is_read_again(scene: Scene) -> None:
    scene.life().own().cut("u1", 10)
    second = scene.life().own(0)
    second.cut("u2", 12)
    second.commit()
    second.complete()
    assert replay(scene.told()).widest < 10


def test_row_1_answer_to_create_is_lost(scene: Scene) -> None:
    life = scene.life().own()
    life.call(Step.CREATE_UPLOAD, Outcome.LOST, partition=NAME)
    life.cut("u1", 10)
    life.commit()
    assert replay(scene.told()).partitions == 1


def test_row_3_open_transaction_of_the_dead_is_aborted(scene: Scene) -> None:
    first = scene.life().own()
    first.cut("u1", 10)
    first.offer()
    second = scene.life()
    second.call(Step.INIT_PRODUCER, Outcome.BUSY)
    second.own(0).cut("u2", 5)
    second.commit()
    assert replay(scene.told()).partitions == 1


@pytest.mark.parametrize("arrived", [True, False])
def test_row_4_end_sent_by_the_dead_counts_or_not(scene: Scene, arrived: bool) -> None:
    first = scene.life().own()
    named = first.cut("u1", 10)
    first.offer()
    first.pen.note(Step.END_COMMIT, Outcome.SENT)
    second = scene.life()
    if arrived:
        second.own(10, named).complete()
    else:
        second.own(0).cut("u2", 12)
    second.commit()
    assert replay(scene.told()).partitions == 1


def test_row_4_alive_repeats_end_and_changes_its_epoch(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.offer()
    life.call(Step.END_COMMIT, Outcome.LOST)
    life.call(Step.END_COMMIT, Outcome.BUSY)
    life.call(Step.END_COMMIT)
    life.entries, life.fresh = life.fresh, ()
    life.complete()
    life.call(Step.NEW_EPOCH)
    life.cut("u2", 20)
    life.commit()
    assert replay(scene.told()).partitions == 1


def test_rows_5_to_7_successor_finishes_what_was_promised(scene: Scene) -> None:
    first = scene.life().own()
    named = (first.cut("u1", 10), first.cut("u2", 20))
    first.commit()
    first.complete()
    first.complete(Outcome.LOST)
    second = scene.life().own(20, *named)
    second.complete(Outcome.GONE)
    second.found()
    second.complete(Outcome.GONE)
    second.found()
    second.cut("u3", 30)
    second.commit()
    assert replay(scene.told()).partitions == 1


def test_store_that_answers_200_to_a_repeated_complete(scene: Scene) -> None:
    first = scene.life().own()
    named = first.cut("u1", 10)
    first.commit()
    first.complete()
    second = scene.life().own(10, named)
    second.complete()
    second.commit()
    assert replay(scene.told()).partitions == 1


def test_z1_zombie_is_fenced_before_end(scene: Scene) -> None:
    zombie = scene.life().own()
    zombie.cut("u1", 10)
    zombie.offer()
    successor = scene.life().own(0)
    zombie.call(Step.END_COMMIT, Outcome.FENCED)
    zombie.pen.note(Step.FENCED)
    successor.cut("u2", 12)
    successor.commit()
    successor.complete()
    assert replay(scene.told()).partitions == 1


def test_zombie_reads_the_answer_to_its_end_when_its_successor_is_at_work(scene: Scene) -> None:
    """It was frozen between the two: the answer lay in its socket while the successor began, and committed."""
    zombie = scene.life().own()
    named = zombie.cut("u1", 10)
    zombie.offer()
    zombie.pen.note(Step.END_COMMIT, Outcome.SENT)
    successor = scene.life().own(10, named)
    successor.complete()
    successor.commit()
    zombie.pen.note(Step.END_COMMIT, Outcome.OK)
    assert replay(scene.told()).partitions == 1


def test_z2_zombie_completes_after_its_successor(scene: Scene) -> None:
    zombie = scene.life().own()
    named = zombie.cut("u1", 10)
    zombie.commit()
    zombie.pen.note(Step.COMPLETE, Outcome.SENT, partition=NAME, upload="u1")
    successor = scene.life().own(10, named)
    successor.complete()
    successor.commit()
    zombie.pen.note(Step.COMPLETE, Outcome.GONE, partition=NAME, upload="u1")
    zombie.call(Step.HEAD_OBJECT, Outcome.GONE, partition=NAME, upload="u1")
    zombie.pen.note(Step.SKIP_LOST, partition=NAME, upload="u1")
    zombie.call(Step.ADD_OFFSETS, Outcome.FENCED)
    zombie.pen.note(Step.FENCED)
    assert replay(scene.told()).partitions == 1


def test_requests_of_two_lives_may_overlap(scene: Scene) -> None:
    """The zombie's AddOffsetsToTxn was done before the successor's InitProducerId, its answer is logged long after."""
    zombie = scene.life().own()
    zombie.cut("u1", 10)
    successor = scene.life()
    zombie.pen.note(Step.ADD_OFFSETS, Outcome.SENT)
    successor.pen.note(Step.INIT_PRODUCER, Outcome.SENT)
    successor.pen.note(Step.INIT_PRODUCER, Outcome.OK)
    zombie.pen.note(Step.ADD_OFFSETS, Outcome.OK)
    zombie.pen.note(Step.TXN_OFFSET_COMMIT, Outcome.SENT, partition=NAME, offset=10, entries=zombie.fresh)
    zombie.pen.note(Step.TXN_OFFSET_COMMIT, Outcome.FENCED)
    successor.call(Step.CHECK_REGISTRY)
    successor.read(0)
    assert replay(scene.told()).partitions == 1


def test_position_read_before_a_commit_that_is_logged_first(scene: Scene) -> None:
    old = scene.life().own()
    old.cut("u1", 10)
    late = scene.life()
    late.init()
    late.call(Step.CHECK_REGISTRY)
    late.pen.note(Step.READ_POSITIONS, Outcome.SENT)
    newest = scene.life().own(0)
    named = newest.cut("u2", 5)
    newest.commit()
    late.pen.note(Step.READ_POSITIONS, Outcome.OK, partition=NAME, offset=0, entries=())
    newest.complete()
    assert named.end == 5
    assert replay(scene.told()).partitions == 1


def test_transaction_times_out_and_the_supervisor_begins_again(scene: Scene) -> None:
    first = scene.life().own()
    first.cut("u1", 10)
    first.offer()
    first.call(Step.END_COMMIT, Outcome.FENCED)
    first.pen.note(Step.FENCED)
    second = scene.life().own(0)
    second.cut("u2", 10)
    second.commit()
    assert replay(scene.told()).partitions == 1


def test_lost_offset_commit_while_the_transaction_is_open_ends_fenced(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.offer(Outcome.LOST)
    life.call(Step.NEW_EPOCH, Outcome.BUSY)
    life.call(Step.NEW_EPOCH, Outcome.FENCED)
    life.pen.note(Step.FENCED)
    scene.life().own(0).cut("u2", 10)
    assert replay(scene.told()).partitions == 1


def test_refused_offset_commit_is_aborted_and_cut_again(scene: Scene) -> None:
    life = scene.life().own()
    life.cut("u1", 10)
    life.offer(Outcome.REFUSED)
    life.call(Step.END_ABORT)
    life.call(Step.ABORT_UPLOAD, partition=NAME, upload="u1")
    life.end, life.fresh = 0, ()
    life.cut("u2", 8)
    life.commit()
    assert replay(scene.told()).partitions == 1


def test_plan_change_fences_the_old_unit(scene: Scene) -> None:
    old = scene.life().own()
    old.cut("u1", 10)
    old.offer()
    new = scene.life(plan=2).own(0, older=OLD)
    stale = scene.life()
    stale.init()
    stale.call(Step.CHECK_REGISTRY, Outcome.FENCED)
    stale.pen.note(Step.FENCED)
    new.cut("u2", 20)
    new.commit()
    new.complete()
    old.call(Step.END_COMMIT, Outcome.FENCED)
    scene.life(plan=2).own(20, NamedUpload("u2", 0, 20)).complete()
    assert replay(scene.told()).partitions == 1


def test_janitor_proves_by_a_transaction(scene: Scene) -> None:
    scene.life().own().cut("orphan", 10)
    life = scene.life().own(0)
    life.pen.note(Step.JANITOR_LIST, Outcome.SENT)
    life.pen.note(Step.JANITOR_LIST, Outcome.OK, uploads=("orphan", "another partition's"))
    life.cut("u2", 20)
    life.commit()
    life.pen.note(Step.JANITOR_PROVE)
    life.call(Step.JANITOR_ABORT, upload="orphan")
    life.complete()
    assert replay(scene.told()).partitions == 1


def test_redelivery_takes_the_place_of_a_lost_upload(scene: Scene) -> None:
    """Of a zombie: its successor has completed, a reader has taken the object, so HEAD says 404."""
    zombie = scene.life().own()
    named = zombie.cut("u1", 10)
    zombie.commit()
    successor = scene.life().own(10, named)
    successor.complete()
    successor.commit()
    zombie.complete(Outcome.GONE)
    zombie.call(Step.HEAD_OBJECT, Outcome.GONE, partition=NAME, upload="u1")
    zombie.pen.note(Step.CREATE_UPLOAD, Outcome.SENT, partition=NAME)
    zombie.pen.note(Step.CREATE_UPLOAD, Outcome.OK, partition=NAME, upload="u1 again")
    zombie.pen.note(Step.SEAL, partition=NAME, upload="u1 again", replaces="u1", start=0, offset=10)
    zombie.call(Step.ADD_OFFSETS, Outcome.FENCED)
    zombie.pen.note(Step.FENCED)
    assert replay(scene.told()).partitions == 1


def test_restart_finishes_the_entries_of_the_earlier_run(scene: Scene) -> None:
    first = scene.life(run=1).own()
    named = first.cut("u1", 10)
    first.commit()
    second = scene.life(run=2)
    second.init()
    second.call(Step.CHECK_REGISTRY)
    pen = second.pen
    pen.note_run(1, Step.READ_POSITIONS, Outcome.SENT)
    pen.note_run(1, Step.READ_POSITIONS, Outcome.OK, partition=NAME, offset=10, entries=(named,))
    pen.note_run(1, Step.COMPLETE, Outcome.SENT, partition=NAME, upload="u1")
    pen.note_run(1, Step.COMPLETE, Outcome.OK, partition=NAME, upload="u1")
    second.read(0)
    second.call(Step.ADD_OFFSETS)
    pen.note_run(1, Step.TXN_OFFSET_COMMIT, Outcome.SENT, partition=NAME, offset=10, entries=())
    pen.note(Step.TXN_OFFSET_COMMIT, Outcome.OK)
    second.call(Step.END_COMMIT)
    second.cut("u2", 10)
    second.commit()
    assert replay(scene.told()).partitions == 2


def test_long_log_with_many_deaths_needs_few_states(scene: Scene) -> None:
    position = 0
    promised: tuple[NamedUpload, ...] = ()
    for death in range(60):
        life = scene.life().own(position, *promised)
        for _ in promised:
            life.complete()
        for number in range(5):
            life.cut(f"u{death}-{number}", life.end + 10)
            life.commit()
            life.complete()
        named = life.cut(f"u{death}-last", life.end + 10)
        life.commit()
        life.pen.note(Step.COMPLETE, Outcome.SENT, partition=NAME, upload=named.upload)
        position, promised = life.end, (named,)
    report = replay(scene.told())
    assert report.lines > 3000
    assert report.widest < 40
