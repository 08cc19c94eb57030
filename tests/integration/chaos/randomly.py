"""Deaths and freezes of random processes at random moments, alone and amid lost answers: the part of the chaos run that nobody aimed.
A moment is a number of further protocol steps, drawn from the run's seeded source. Called by the long form.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.integration.chaos.crashes import ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT, Play, revive
from tests.integration.chaos.field import Field
from tests.integration.chaos.zombies import wake_late
from tests.support.s3_answers import COMPLETE_FAILED_WITH_200, SLOW_DOWN
from tests.support.s3_operations import Operation

_LATEST_STEP = 150


async def kill_random_processes(field: Field) -> None:
    """Whoever it hits, whatever they are doing."""
    await _at_a_random_moment(field)
    victim = field.random.choice(_VICTIMS)
    await victim(field)


async def kill_random_processes_in_trouble(field: Field) -> None:
    """The same while answers are being lost, so that whoever takes over inherits calls of unknown outcome."""
    for arm in field.random.sample(_TROUBLES, k=3):
        arm(field)
    field.done["kills amid trouble"] += 1
    await kill_random_processes(field)


async def freeze_at_random(field: Field) -> None:
    """Zombies that nobody aimed."""
    await _at_a_random_moment(field)
    field.freeze_workers()
    await wake_late(field, [])


async def freeze_until_replaced(field: Field) -> None:
    """Longer than the parent's patience: it kills them and starts others."""
    await _at_a_random_moment(field)
    frozen = field.tail.follow().begun()
    field.freeze_workers()
    await field.recovered(frozen)
    field.frozen.clear()
    field.done["frozen until replaced"] += 1


async def _at_a_random_moment(field: Field) -> None:
    await field.steps(field.random.randint(1, _LATEST_STEP))


async def _kill_all_workers(field: Field) -> None:
    field.kill_workers()
    field.done["kills of all workers"] += 1
    await revive(field)


async def _kill_one_worker(field: Field) -> None:
    field.kill([field.random.choice(field.service.pids("worker"))])
    field.done["kills of one worker"] += 1
    field.forget_faults()
    await field.moves_on()


async def _kill_the_api(field: Field) -> None:
    await field.started()
    field.kill(field.service.pids("api"))
    field.done["kills of the API"] += 1
    field.forget_faults()
    await field.moves_on()
    await field.service.ready()


async def _kill_the_parent(field: Field) -> None:
    before = field.tail.follow().begun()
    field.done["kills of the parent"] += 1
    await field.replace_parent()
    await field.recovered(before)


_VICTIMS: tuple[Play, ...] = (_kill_all_workers, _kill_one_worker, _kill_the_api, _kill_the_parent)

_TROUBLES: tuple[Callable[[Field], object], ...] = (
    lambda field: field.store.drop_answer(Operation.CREATE_MULTIPART_UPLOAD, 2),
    lambda field: field.store.drop_answer(Operation.UPLOAD_PART, 2),
    lambda field: field.store.drop_answer(Operation.COMPLETE_MULTIPART_UPLOAD, 2),
    lambda field: field.store.replace_answer(Operation.COMPLETE_MULTIPART_UPLOAD, COMPLETE_FAILED_WITH_200, 2),
    lambda field: field.store.refuse(Operation.ANY, SLOW_DOWN, 10),
    lambda field: field.kafka.drop_answer(ADD_OFFSETS),
    lambda field: field.kafka.drop_answer(TXN_OFFSET_COMMIT),
    lambda field: field.kafka.drop_answer(END_TXN),
    lambda field: field.kafka.close_before(END_TXN),
)

RANDOM: tuple[Callable[[Field], Awaitable[None]], ...] = (
    kill_random_processes,
    kill_random_processes_in_trouble,
    freeze_at_random,
    freeze_until_replaced,
)
