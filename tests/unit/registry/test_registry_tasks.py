"""Tasks as control sees them: what it inserts, finds, lists and changes, and which races it cannot lose."""

from __future__ import annotations

import asyncio

import pytest

from smartconnect.control.ports import AuditEvent, NameTaken, NotEnabled, QuotaReached, StaleTask
from smartconnect.domain.progress import Event, Level
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Desired, Status, TaskConfig
from smartconnect.registry import Registry
from tests.unit.registry.givens import BROKEN, CONFIG, INSTANCE, NOW, a_task, change, delete, insert, the_task, the_wanted


async def test_a_task_is_found_as_it_was_inserted(registry: Registry) -> None:
    task = await insert(registry, a_task(failure=BROKEN, pending_status=Status.WAITING))
    assert await registry.find_task(INSTANCE, task.id) == (task, True)
    assert await registry.find_task("another instance", task.id) is None
    assert await registry.find_task(INSTANCE, "another id") is None


async def test_the_connector_is_made_at_the_first_call_and_then_stays(registry: Registry, another: Registry) -> None:
    first, same = await asyncio.gather(registry.connector("i", True), another.connector("i", True))
    assert first == same
    assert first.enabled
    assert first.connector_id
    assert await another.connector("i", False) == first
    assert not (await registry.connector("j", False)).enabled


async def test_enabling_and_disabling_are_decided_once(registry: Registry, another: Registry) -> None:
    assert not (await registry.connector("i", False)).enabled
    answers = await asyncio.gather(*(one.set_connector("i", True, 3) for one in (registry, another, registry, another)))
    made = [answer for answer in answers if answer is not None]
    assert len(made) == 1
    assert await registry.connector("i", False) == made[0]
    assert made[0].node_count == 3
    disabled = await registry.set_connector("i", False, 0)
    assert disabled is not None
    assert (disabled.enabled, disabled.connector_id) == (False, "")
    assert await registry.set_connector("i", False, 0) == disabled
    again = await registry.set_connector("i", True, 2)
    assert again is not None
    assert again.connector_id != made[0].connector_id


async def test_disabling_waits_for_live_tasks_only(registry: Registry) -> None:
    task = await insert(registry, a_task())
    assert await registry.set_connector(INSTANCE, False, 0) is None
    await delete(registry, task)
    assert await registry.set_connector(INSTANCE, False, 0) is not None
    with pytest.raises(NotEnabled):
        await insert(registry, a_task("task-2"))


async def test_an_unknown_instance_takes_no_task(registry: Registry) -> None:
    with pytest.raises(NotEnabled):
        await registry.insert_task(a_task(), {}, max_tasks=1, waits_for=(), events=())


async def test_twenty_parallel_inserts_of_one_name_give_one_task(registry: Registry, another: Registry) -> None:
    await registry.connector(INSTANCE, True)
    inserts = [insert((registry, another)[n % 2], a_task(f"task-{n}", name="orders-dump")) for n in range(20)]
    outcomes = await asyncio.gather(*inserts, return_exceptions=True)
    assert sum(isinstance(outcome, NameTaken) for outcome in outcomes) == 19
    assert (await registry.list_tasks(INSTANCE, 0, 50))[1] == 1


async def test_parallel_inserts_never_pass_the_quota(registry: Registry, another: Registry) -> None:
    await registry.connector(INSTANCE, True)
    inserts = [insert((registry, another)[n % 2], a_task(f"task-{n}"), max_tasks=5) for n in range(20)]
    outcomes = await asyncio.gather(*inserts, return_exceptions=True)
    assert sum(isinstance(outcome, QuotaReached) for outcome in outcomes) == 15
    assert (await another.list_tasks(INSTANCE, 0, 50))[1] == 5


async def test_the_same_name_may_be_used_in_another_instance(registry: Registry) -> None:
    await insert(registry, a_task("task-1", name="n"))
    await insert(registry, a_task("task-2", name="n", instance_id="instance-2"))
    assert [task.id for task in await registry.all_tasks(deleted=False)] == ["task-1", "task-2"]


async def test_a_refused_insert_leaves_nothing(registry: Registry) -> None:
    await insert(registry, a_task("task-1", name="n"))
    with pytest.raises(NameTaken):
        await insert(registry, a_task("task-2", name="n"), secrets={"sink_task.secret_key": Secret("s")})
    assert await registry.secrets("task-2") == {}
    assert [wanted.task.id for wanted in await registry.wanted()] == ["task-1"]


async def test_pages_come_in_order_of_create_time_and_id(registry: Registry) -> None:
    for task_id, create_time in (("c", 2), ("b", 1), ("d", 1), ("a", 3), ("e", 2)):
        await insert(registry, a_task(task_id, create_time=create_time))
    page, total = await registry.list_tasks(INSTANCE, 1, 3)
    assert ([task.id for task, _ in page], total) == (["d", "c", "e"], 5)
    assert await registry.list_tasks(INSTANCE, 5, 10) == ([], 5)
    assert await registry.list_tasks("instance-2", 0, 10) == ([], 0)


async def test_a_change_grows_what_it_should(registry: Registry) -> None:
    task = await insert(registry, a_task(failure=BROKEN))
    same = await change(registry, task, name=task.name, config=TaskConfig(**{f: getattr(CONFIG, f) for f in CONFIG.__slots__}))
    assert (same.revision, same.run, same.failure) == (1, 1, None)
    renamed = await change(registry, task, name="new name")
    assert (renamed.revision, renamed.name) == (2, "new name")
    configured = await change(registry, renamed, config=TaskConfig(topics_regex=".*"))
    assert configured.revision == 3
    resealed = await change(registry, configured, secrets={"sink_task.secret_key": Secret("new")})
    assert resealed.revision == 4
    restarted = await change(registry, resealed, new_run=True, pending_status=Status.RESTARTING)
    assert (restarted.revision, restarted.run, restarted.run_started_at) == (4, 2, NOW)
    assert restarted.pending_status is Status.RESTARTING
    assert await the_task(registry) == (restarted, True)


async def test_of_two_changes_from_one_reading_the_second_is_stale(registry: Registry, another: Registry) -> None:
    task = await insert(registry, a_task())
    changes = [change(one, task, new_run=True) for one in (registry, another)]
    outcomes = await asyncio.gather(*changes, return_exceptions=True)
    assert sum(isinstance(outcome, StaleTask) for outcome in outcomes) == 1
    assert (await the_task(registry))[0].run == 2
    with pytest.raises(StaleTask):
        await change(registry, a_task("unknown"), new_run=True)


async def test_renaming_to_a_taken_name_is_refused_and_to_its_own_is_not(registry: Registry) -> None:
    task = await insert(registry, a_task("task-1", name="a"))
    other = await insert(registry, a_task("task-2", name="b"))
    with pytest.raises(NameTaken):
        await change(registry, task, name="b")
    assert (await change(registry, other, name="b")).revision == 1
    await delete(registry, other)
    assert (await change(registry, task, name="b")).name == "b"


async def test_a_pause_keeps_the_failure_and_a_resume_clears_it(registry: Registry) -> None:
    task = await insert(registry, a_task())
    await registry.fail_task(task.id, run=1, revision=1, reason=BROKEN)
    failed, _ = await the_task(registry)
    assert (failed.failure, failed.pending_status) == (BROKEN, None)
    paused = await change(registry, failed, desired=Desired.PAUSED)
    assert paused.failure == BROKEN
    resumed = await change(registry, paused, desired=Desired.RUNNING)
    assert resumed.failure is None


async def test_a_resume_can_say_that_nothing_is_pending(registry: Registry) -> None:
    task = await insert(registry, a_task(desired=Desired.PAUSED, pending_status=Status.RESTARTING))
    resumed = await change(registry, task, desired=Desired.RUNNING, pending_status=Status.RUNNING)
    assert resumed.pending_status is None
    assert (await the_task(registry))[0] == resumed


async def test_a_task_fails_only_if_it_is_still_what_failed(registry: Registry) -> None:
    task = await insert(registry, a_task())
    restarted = await change(registry, task, new_run=True)
    await registry.fail_task(task.id, run=1, revision=1, reason=BROKEN)
    modified = await change(registry, restarted, name="other")
    await registry.fail_task(task.id, run=2, revision=1, reason=BROKEN)
    paused = await change(registry, modified, desired=Desired.PAUSED)
    await registry.fail_task(task.id, run=2, revision=2, reason=BROKEN)
    assert (await the_task(registry))[0].failure is None
    deleted = await delete(registry, paused)
    await registry.fail_task(task.id, run=2, revision=2, reason=BROKEN)
    assert deleted.failure is None
    assert (await the_wanted(registry)).task.failure is None


async def test_a_deleted_task_is_gone_for_control_and_there_for_the_engine(registry: Registry) -> None:
    task = await insert(registry, a_task(), secrets={"sink_task.secret_key": Secret("s")})
    deleted = await delete(registry, task)
    assert await registry.find_task(INSTANCE, task.id) is None
    assert await registry.list_tasks(INSTANCE, 0, 10) == ([], 0)
    assert await registry.progress(task.id, offset=0, limit=10, topic=None) is None
    assert await registry.all_tasks(deleted=False) == []
    assert await registry.all_tasks(deleted=True) == [deleted]
    for action in ({"desired": Desired.PAUSED}, {"new_run": True}, {"desired": Desired.DELETED}):
        with pytest.raises(StaleTask):
            await change(registry, deleted, **action)
    await registry.add_events(task.id, [Event(NOW, Level.INFO, "late", "too late")])
    wanted = await the_wanted(registry)
    assert (wanted.task, wanted.deleted_at) == (deleted, NOW)
    assert (await registry.secrets(task.id))["sink_task.secret_key"].reveal() == "s"


async def test_the_name_of_a_deleted_task_is_free_at_once_and_it_does_not_count(registry: Registry) -> None:
    task = await insert(registry, a_task("task-1", name="n"), max_tasks=1)
    await delete(registry, task)
    await insert(registry, a_task("task-2", name="n"), max_tasks=1)
    assert await registry.list_tasks(INSTANCE, 0, 10) == ([((await the_task(registry, "task-2"))[0], True)], 1)


async def test_a_task_waits_for_deleted_ones_until_they_are_removed(registry: Registry) -> None:
    first = await insert(registry, a_task("task-1", name="old"))
    await delete(registry, first)
    await insert(registry, a_task("task-2"), waits_for=["task-1", "never there", "task-1"])
    assert await registry.predecessors("task-2") == ["old"]
    await registry.remove_task("task-1", "one unfinished upload stays")
    assert await registry.predecessors("task-2") == []


async def test_a_removed_task_leaves_one_audit_event(registry: Registry, another: Registry) -> None:
    task = await insert(registry, a_task())
    await registry.remove_task(task.id, "not deleted yet")
    assert await the_task(registry) == (task, True)
    await delete(registry, task)
    await asyncio.gather(registry.remove_task(task.id, "group r1 stays"), another.remove_task(task.id, "group r1 stays"))
    assert await registry.wanted() == []
    left = AuditEvent(NOW, "deleteConnectorTask", "Success", "", "", INSTANCE, task.id, None, "group r1 stays")
    assert await registry.audit_events() == [left]


async def test_audit_keeps_what_it_is_told(registry: Registry) -> None:
    told = AuditEvent(NOW, "createConnectorTask", "Failure", "AK", "request-1", INSTANCE, None, "DMS.00400062", "sink_task.x: no")
    await registry.add_audit(told)
    await registry.add_audit(told)
    assert await registry.audit_events(limit=1) == [told]
    assert await registry.audit_events() == [told, told]


async def test_the_newest_fifty_events_stay_newest_first(registry: Registry) -> None:
    task = await insert(registry, a_task(), events=[Event(NOW, Level.INFO, "created", "made")])
    told = [Event(NOW + n, Level.WARNING, "gap", f"gap {n}", "dump-1-0") for n in range(120)]
    await registry.add_events(task.id, told[60:])
    await registry.add_events(task.id, told[:60])
    rows = await registry.progress(task.id, offset=0, limit=0, topic=None)
    assert rows is not None
    assert rows.events == told[:69:-1]
    await registry.add_events("unknown", told)
