"""What `/metrics` of a running service tells of one task."""

from __future__ import annotations

from collections import Counter

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.support.service import Service

Values = Counter[tuple[str, ...]]


async def metrics(service: Service, task: str) -> Values:
    """Sums over processes and units, of this task and of no task: name and the other labels → value."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{service.port}/metrics") as answer:
        text = await answer.text()
    found: Values = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            if labels.pop("task", task) == task:
                rest = [value for name, value in labels.items() if name not in ("process", "unit")]
                found[sample.name, *rest] += sample.value
    return found


async def gone(service: Service, task: str) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{service.port}/metrics") as answer:
        lines = [line for line in (await answer.text()).splitlines() if task in line]
    return all(line.startswith(("smartconnect_incarnations_total", "smartconnect_unit_errors_total")) for line in lines)
