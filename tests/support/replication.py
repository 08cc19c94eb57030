"""Kafka replications of a running service: created over its API between its instance and its peer, followed until they have caught up."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.support.service import Service, ServiceTask
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True)
class Replication(ServiceTask):
    """One Kafka replication of a running service."""

    async def caught_up(self, within_s: float = 60, *, offsets: int = 0) -> dict[str, Any]:
        """Until nothing is missing on the target and the positions together are at least `offsets` (source offsets, starts of
        partitions that have no position yet included; a report of before a death may not know yet what was written since). Gives that
        progress."""
        last: dict[str, Any] = {}

        async def done() -> bool:
            nonlocal last
            last = await self.progress()
            reached = sum(partition["position"] or partition["start_offset"] or 0 for partition in last["partitions"])
            return bool(
                last["phase"] == "replicating" and last["lag_records"] == 0 and last["health"] == "ok" and reached >= offsets
            )

        try:
            await eventually(done, within_s, what="the replication catches up")
        except AssertionError as error:
            raise AssertionError(f"{error}; the last progress was {json.dumps(last)[:3000]}") from None
        return last

    async def moves_on(self, within_s: float = 60) -> None:
        """Until the position of every partition has grown, of a source to which somebody writes."""
        began = await self._positions()

        async def moved() -> bool:
            now = await self._positions()
            return bool(now) and all(offset > began.get(partition, -1) for partition, offset in now.items())

        await eventually(moved, within_s, what="every partition moves on")

    async def _positions(self) -> dict[int, int]:
        return {row["partition"]: row["position"] or 0 for row in (await self.progress())["partitions"]}


async def create_replication(
    service: Service, name: str, *, topics: str | None = None, direction: str = "pull", **source: object
) -> Replication:
    """Between the instance and the service's peer, from the earliest record unless told otherwise; `topics_regex`, `options`, `start_later`
    go to the body, all else to `source_task`."""
    body: dict[str, object] = {"task_name": name, "source_type": "KAFKA_REPLICATOR_SOURCE", "sink_type": "NONE"}
    body |= {key: source.pop(key) for key in ("topics_regex", "options", "start_later") if key in source}
    if topics is not None:
        body["topics"] = topics
    how = {} if "bootstrap_servers" in source else {"instance_id": service.options.peer_id}
    body["source_task"] = {**how, "direction": direction, "consumer_strategy": "earliest", **source}
    created = await service.api("POST", "/connector/tasks", body)
    return Replication(service, str(created["id"]))
