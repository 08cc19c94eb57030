"""What `/metrics` of a running service tells of a dump (obs-dump.md §10), and that it is told no longer when the dump is gone."""

from __future__ import annotations

from collections import Counter

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from smartconnect.sandbox.kafka import KafkaCluster
from tests.conftest import MakeTopic
from tests.integration.obs_dump.stories import delivered
from tests.support.records import RecordWriter
from tests.support.service import Service
from tests.support.waiting import eventually

Values = Counter[tuple[str, ...]]


async def test_every_metric_of_the_dump_is_shown_and_goes_with_the_task(
    service: Service, kafka: KafkaCluster, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    writer = RecordWriter(kafka.bootstrap_servers, topic)
    await writer.write(250)
    dump = await service.create_dump("measured-dump", bucket, topics=topic, flush_size=100)
    await delivered(dump, 200)

    async def shown() -> Values:
        values = await metrics(service, dump.id)
        assert values["smartconnect_unit_counter_total", "records_in"] == 250
        assert values["smartconnect_unit_counter_total", "objects"] == 2
        assert values["smartconnect_dump_objects_total", "count"] == 2
        assert values["smartconnect_dump_oldest_open_object_seconds",] > 0
        return values

    values = await eventually(shown, 30, what="the metrics of two objects and an open one")
    assert values["smartconnect_unit_counter_total", "bytes_in"] > 0
    assert values["smartconnect_unit_counter_total", "null_values"] == 0
    assert values["smartconnect_unit_counter_total", "delimiters_in_data"] == 0
    assert values["smartconnect_dump_uploads_pending",] == 0
    assert values["smartconnect_dump_commit_seconds_count",] >= 2
    assert values["smartconnect_dump_publish_seconds_count",] == 2
    assert 0 < values["smartconnect_dump_publish_seconds_sum",] < 60
    for operation in ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"):
        assert values["smartconnect_store_requests_total", operation, "ok"] >= 2
    assert 0 < values["smartconnect_memory_budget_used_bytes", "obs_dump"] < values["smartconnect_memory_budget_bytes", "obs_dump"]

    await dump.delete()
    await eventually(lambda: gone(service, dump.id), 60, what="nothing is told of the deleted dump")


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
