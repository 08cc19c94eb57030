"""What batches on their way take beside their bytes counts in the worker's budget: with one record in each it is the most of it."""

from __future__ import annotations

from smartconnect.jobs.kafka_replication.partition import FLIGHT_BYTES, Hold
from smartconnect.jobs.memory_budget import MemoryBudget
from smartconnect.kafka.fetch_types import Frame


async def test_it_is_given_back_with_the_frame_when_the_last_has_landed() -> None:
    memory = MemoryBudget(1 << 20).join()
    await memory.acquire(1000)
    frame = Frame([], 1000, memory)
    hold = Hold(frame.release)
    hold.keep(3)
    hold.drop()  # one has landed before the rest was taken in
    frame.add(FLIGHT_BYTES * hold.flights)
    hold.drop()
    assert memory.used == 1000 + 2 * FLIGHT_BYTES
    hold.drop()
    assert memory.used == 1000 + 2 * FLIGHT_BYTES
    hold.drop()
    assert memory.used == 0
    frame.add(5000)
    assert memory.used == 0
