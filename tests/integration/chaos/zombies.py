"""Zombies (obs-dump.md §4, rows z1–z3): workers frozen at a step of the protocol, which wake when their successors have long been at work.
Called by the chaos run; every play ends with the woken processes gone and the successors moving on.
"""

from __future__ import annotations

from tests.integration.chaos.crashes import TXN_OFFSET_COMMIT, Aim, Play
from tests.integration.chaos.field import AIM_S, Field
from tests.support.rules import Gate
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import Exchange as StoreExchange
from tests.support.waiting import eventually

_TRIES = 3
_ENDS_WITHIN_S = 30.0


async def zombie_at_every_step(field: Field) -> None:
    """Frozen with a part and a Complete on the wire and a transaction open: rows z1, z2, z3 at once."""
    await _until_hit(field, ("z1", "z2", "z3"), (Operation.UPLOAD_PART, Operation.COMPLETE_MULTIPART_UPLOAD), in_transaction=True)


async def zombie_before_end(field: Field) -> None:
    """Frozen with a transaction open; it finds itself fenced."""
    await _until_hit(field, ("z1",), (), in_transaction=True)


async def zombie_at_complete(field: Field) -> None:
    """Frozen while its Complete is on the wire; that arrives after the successor has completed the same upload."""
    await _until_hit(field, ("z2",), (Operation.COMPLETE_MULTIPART_UPLOAD,), in_transaction=False)


async def zombie_at_part(field: Field) -> None:
    """Frozen while a part is on the wire; it arrives after the take-over."""
    await _until_hit(field, ("z3",), (Operation.UPLOAD_PART,), in_transaction=False)


async def _until_hit(field: Field, rows: tuple[str, ...], held: tuple[Operation, ...], *, in_transaction: bool) -> None:
    """A woken zombie also sees that its parent is gone, and may end before it does anything: then once more."""
    before = field.tail.follow().zombies.copy()
    for _ in range(_TRIES):
        await _zombie(field, held, in_transaction=in_transaction)
        if all(field.tail.follow().zombies[row] > before[row] for row in rows):
            return
        field.done["zombies that ended too early"] += 1


async def _zombie(field: Field, held: tuple[Operation, ...], *, in_transaction: bool) -> None:
    gates = [field.store.hold_request(operation) for operation in held]
    for gate in gates:
        await gate.reached(1, AIM_S)
    if in_transaction:
        aim = Aim(field.freeze_workers)
        field.kafka.on_answer(TXN_OFFSET_COMMIT, aim)
        await aim.struck()
    else:
        field.freeze_workers()
    await wake_late(field, gates)


async def wake_late(field: Field, gates: list[Gate[StoreExchange]]) -> None:
    """Others take over and make objects appear; what is held arrives; then the frozen wake, with its answers before them."""
    field.done["zombies"] += 1
    frozen = field.tail.follow().begun()
    await field.replace_everything()
    await field.recovered(frozen)
    for gate in gates:
        for exchange in gate.held:
            await _finished_by_the_successor(field, exchange)
        gate.release()
        await _answered(gate)
    woken = field.thaw()
    await field.gone(woken, _ENDS_WITHIN_S)
    await field.moves_on()


async def _answered(gate: Gate[StoreExchange]) -> None:
    await eventually(lambda: all(exchange.status for exchange in gate.held), AIM_S, what="the store answers what was held")


async def _finished_by_the_successor(field: Field, exchange: StoreExchange) -> None:
    """A Complete on the wire means that the position names the upload: its next owner completes it."""
    if exchange.request.operation is Operation.COMPLETE_MULTIPART_UPLOAD:
        upload = exchange.request.query["uploadId"]
        await eventually(lambda: field.tail.follow().is_visible(upload), AIM_S, what=f"the successor completes upload {upload}")


ZOMBIES: tuple[Play, ...] = (zombie_before_end, zombie_at_complete, zombie_at_part)
