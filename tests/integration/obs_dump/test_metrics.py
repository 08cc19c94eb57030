"""What `/metrics` of a running service tells of a dump (obs-dump.md §10), and that it is told no longer when the dump is gone."""

from __future__ import annotations

from smartconnect.sandbox.kafka import KafkaCluster
from tests.conftest import MakeTopic
from tests.integration.obs_dump.stories import delivered
from tests.support.metrics import Values, gone, metrics
from tests.support.records import RecordWriter
from tests.support.service import Service
from tests.support.waiting import eventually


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
        assert values["smartconnect_dump_uploads_pending",] == 0
        assert values["smartconnect_dump_oldest_open_object_seconds",] > 0
        return values

    values = await eventually(shown, 30, what="the metrics of two objects and an open one")
    assert values["smartconnect_unit_counter_total", "bytes_in"] > 0
    assert values["smartconnect_unit_counter_total", "null_values"] == 0
    assert values["smartconnect_unit_counter_total", "delimiters_in_data"] == 0
    assert values["smartconnect_dump_commit_seconds_count",] >= 2
    assert values["smartconnect_dump_publish_seconds_count",] == 2
    assert 0 < values["smartconnect_dump_publish_seconds_sum",] < 60
    for operation in ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"):
        assert values["smartconnect_store_requests_total", operation, "ok"] >= 2
    assert 0 < values["smartconnect_memory_budget_used_bytes", "obs_dump"] < values["smartconnect_memory_budget_bytes", "obs_dump"]

    await dump.delete()
    await eventually(lambda: gone(service, dump.id), 60, what="nothing is told of the deleted dump")
