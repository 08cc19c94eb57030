"""Creating tasks: what is answered, stored, checked and told (api.md §4)."""

from __future__ import annotations

import asyncio

import pytest

from smartconnect.control.policy import ControlPolicy
from smartconnect.domain.errors import ClusterUnreachable
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.secret import Secret
from tests.unit.api.kit import (
    FOREIGN_INSTANCE,
    INSTANCE,
    NOW_MS,
    OTHER_PROJECT,
    SECOND_INSTANCE,
    Client,
    Service,
    dump,
    task_url,
    tasks_url,
)


async def test_a_created_task_is_answered_with_every_field_and_no_secret(client: Client) -> None:
    answer = await client.post(tasks_url(), dump(topics=..., topics_regex="orders-.*", sink={"obs_path": "/dump/"}))

    task = answer.json()
    assert answer.status == 200
    assert task.pop("id")
    assert task == {
        "task_name": "orders-dump",
        "topics_regex": "orders-.*",
        "source_type": "NONE",
        "source_task": {},
        "sink_type": "OBS_SINK",
        "sink_task": {
            "obs_bucket_name": "lake",
            "obs_path": "/dump/",
            "consumer_strategy": "latest",
            "destination_file_type": "TEXT",
            "deliver_time_interval": 300,
            "partition_format": "yyyy/MM/dd/HH/mm",
            "record_delimiter": "\n",
            "store_keys": False,
            "obs_part_size": 5242880,
            "flush_size": 1000000,
            "timezone": "Asia/Chongqing",
            "kv_delimiter": ":",
            "task_num": 2,
            "schema_generator_class": "io.confluent.connect.storage.hive.schema.DefaultSchemaGenerator",
            "partitioner_class": "io.confluent.connect.storage.partitioner.TimeBasedPartitioner",
            "value_converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
            "key_converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
        },
        "status": "CREATING",
        "create_time": NOW_MS,
    }


async def test_start_later_is_waiting_at_once_and_never_returned(client: Client) -> None:
    task = (await client.post(tasks_url(), dump(start_later=True))).json()
    assert task["status"] == "WAITING"
    assert "start_later" not in task
    progress = (await client.get(task_url(task["id"], "progress"))).json()
    assert (progress["run"], progress["run_started_at"], progress["health"], progress["units"]) == (0, None, "stopped", [])


async def test_strings_are_echoed_as_sent_and_whole_floats_become_integers(client: Client) -> None:
    sink = {
        "record_delimiter": "\\n",
        "partition_format": "N/A",
        "kv_delimiter": "",
        "deliver_time_interval": 60.0,
        "agency_name": "some_agency",
        "timezone": "Europe/Berlin",
    }
    answer = await client.post(tasks_url(), dump(topics=" orders , payments ", sink=sink, options={"jitter": 0, "on_gap": "stop"}))
    task = answer.json()
    assert {name: task["sink_task"][name] for name in sink} == {**sink, "deliver_time_interval": 60}
    assert b'"deliver_time_interval":60,' in answer.body
    assert task["topics"] == " orders , payments "
    assert task["options"] == {"jitter": 0, "on_gap": "stop"}


async def test_null_and_empty_mean_absent_except_where_a_table_gives_them_a_meaning(client: Client) -> None:
    absent = {
        "timezone": "",
        "flush_size": None,
        "store_keys": "",
        "obs_path": None,
        "record_delimiter": "",
        "partition_format": "",
    }
    task = (await client.post(tasks_url(), dump(topics_regex="", source_task=None, options="", sink=absent))).json()
    assert task["sink_task"]["timezone"] == "Asia/Chongqing"
    assert task["sink_task"]["flush_size"] == 1000000
    assert task["sink_task"]["store_keys"] is False
    assert task["sink_task"]["obs_path"] == ""
    assert task["sink_task"]["record_delimiter"] == ""
    assert task["sink_task"]["partition_format"] == ""
    assert "topics_regex" not in task
    assert "options" not in task


async def test_unknown_fields_are_ignored_and_named_in_a_warning_event(client: Client) -> None:
    body = dump(foo=1, source_task={"direction": "pull"}, sink={"bar": 2, "redis_type": "cluster", "value_converter": "x"})
    task = (await client.post(tasks_url(), body)).json()
    events = (await client.get(task_url(task["id"], "progress"))).json()["events"]
    assert [(event["level"], event["code"]) for event in events] == [("warning", "unknown_fields")]
    assert events[0]["message"] == "ignored: foo, sink_task.bar, sink_task.redis_type, source_task.direction"


async def test_all_problems_are_reported_together(client: Client) -> None:
    body = dump("x", topics="a,a,__b,c d,", sink={"access_key": "", "obs_bucket_name": 5, "task_num": 65}, options={"memory_mb": 1})
    answer = await client.post(tasks_url(), body)
    assert answer.code == "DMS.00400062"
    assert set(answer.fields) == {
        "task_name",
        "topics",
        "sink_task.access_key",
        "sink_task.obs_bucket_name",
        "sink_task.task_num",
        "options.memory_mb",
    }


@pytest.mark.parametrize(
    ("source", "sink", "reason"),
    [
        ("KAFKA_REPLICATOR_SOURCE", "OBS_SINK", "is no kind of task"),
        ("REDIS_REPLICATOR_SOURCE", "REDIS_REPLICATOR_SINK", "redis replication is not available in this version"),
        ("NONE", "NONE", "is no kind of task"),
        ("NONE", "obs_sink", "is no kind of task"),
        ("REDIS_REPLICATOR_SOURCE", "OBS_SINK", "is no kind of task"),
    ],
)
async def test_a_pair_of_types_that_cannot_run_here_is_unsupported(
    client: Client, source: str | None, sink: str | None, reason: str
) -> None:
    answer = await client.post(tasks_url(), dump(source_type=source, sink_type=sink))
    assert (answer.status, answer.code) == (400, "DMS.00400007")
    assert reason in answer.json()["error_msg"]
    assert "NONE to OBS_SINK" in answer.json()["error_msg"]


async def test_types_of_the_wrong_type_are_invalid(client: Client) -> None:
    answer = await client.post(tasks_url(), dump(source_type=5, task_name="?"))
    assert answer.code == "DMS.00400062"
    assert set(answer.fields) == {"source_type", "task_name"}


async def test_a_name_is_unique_in_its_instance_only(client: Client) -> None:
    assert (await client.post(tasks_url(), dump())).status == 200
    again = await client.post(tasks_url(), dump(sink={"obs_path": "elsewhere"}))
    assert (again.code, list(again.fields)) == ("DMS.00400867", ["task_name"])
    elsewhere = await client.post(tasks_url(SECOND_INSTANCE), dump(sink={"obs_path": "third"}))
    assert elsewhere.status == 200


async def test_two_dumps_of_one_topic_cannot_share_a_path_whatever_the_instance(client: Client) -> None:
    await client.post(tasks_url(), dump("first", topics="orders,payments", sink={"obs_path": "dump/"}))

    same_topic = await client.post(
        tasks_url(SECOND_INSTANCE), dump("second", topics_regex="pay.*", topics=..., sink={"obs_path": "/dump"})
    )
    other_topic = await client.post(tasks_url(SECOND_INSTANCE), dump("third", topics="users", sink={"obs_path": "dump"}))
    foreign = await client.post(
        tasks_url(FOREIGN_INSTANCE, OTHER_PROJECT), dump("fourth", topics="orders", sink={"obs_path": "dump"})
    )

    assert same_topic.code == "DMS.00400867"
    assert 'task first of another instance writes topic "payments"' in same_topic.fields["sink_task.obs_path"]
    assert other_topic.status == 200
    assert "first" not in foreign.json()["error_msg"]
    assert "a task of another project" in foreign.json()["error_msg"]


async def test_a_name_and_a_prefix_are_free_again_when_the_task_is_deleted(client: Client, service: Service) -> None:
    old = (await client.post(tasks_url(), dump())).json()["id"]
    await client.delete(task_url(old))
    new = await client.post(tasks_url(), dump())
    assert new.status == 200
    assert new.json()["id"] != old
    assert await service.registry.predecessors(new.json()["id"]) == ["orders-dump"]


async def test_live_checks_get_the_configuration_and_their_warnings_become_events(client: Client, service: Service) -> None:
    service.job.findings = [Problem("sink_task.obs_bucket_name", "has a lifecycle rule", ProblemKind.LIVE, warning=True)]
    task = (await client.post(tasks_url(), dump())).json()
    ((instance, config, secrets),) = service.job.checked
    assert (instance, config.topics) == (INSTANCE, "orders")
    assert secrets["sink_task.secret_key"] == Secret("SK-CANARY")
    events = (await client.get(task_url(task["id"], "progress"))).json()["events"]
    assert [event["message"] for event in events] == ["sink_task.obs_bucket_name: has a lifecycle rule"]


async def test_checks_that_hang_are_a_problem_like_others_and_leave_nothing(client: Client, service: Service) -> None:
    service.job.hangs = True
    answer = await client.post(tasks_url(), dump())
    assert answer.code == "DMS.00400867"
    assert answer.fields == {"sink_task": "the live checks had no answer within 0.2 s"}
    service.job.hangs = False
    service.job.error = ClusterUnreachable("no broker of 10.0.0.1:9092 answers")
    assert (await client.post(tasks_url(), dump())).fields == {"sink_task": "no broker of 10.0.0.1:9092 answers"}
    assert (await client.get(tasks_url())).json()["total_number"] == 0


async def test_checks_can_be_switched_off(client: Client, service: Service) -> None:
    service.policy = ControlPolicy(check_connections=False)
    service.job.hangs = True
    assert (await client.post(tasks_url(), dump(start_later=True))).status == 200


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ((ProblemKind.LIVE, ProblemKind.KAFKA_CLUSTER, ProblemKind.STORE_CREDENTIALS, ProblemKind.TOPIC_MISSING), "DMS.00400876"),
        ((ProblemKind.STORE_CREDENTIALS, ProblemKind.KAFKA_CLUSTER), "DMS.00500960"),
        ((ProblemKind.LIVE, ProblemKind.KAFKA_CLUSTER), "DMS.40001016"),
        ((ProblemKind.LIVE,), "DMS.00400867"),
    ],
)
async def test_the_first_code_that_applies_answers_and_every_problem_is_listed(
    client: Client, service: Service, kinds: tuple[ProblemKind, ...], code: str
) -> None:
    service.job.findings = [Problem(f"field{number}", "is wrong", kind) for number, kind in enumerate(kinds)]
    answer = await client.post(tasks_url(), dump())
    assert answer.code == code
    assert len(answer.fields) == len(kinds)


async def test_twenty_parallel_creates_of_one_name_give_one_task(client: Client) -> None:
    answers = await asyncio.gather(*(client.post(tasks_url(), dump(sink={"obs_path": f"p{n}"})) for n in range(20)))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 19
    assert {answer.code for answer in answers if answer.status == 400} == {"DMS.00400867"}
    assert (await client.get(tasks_url())).json()["total_number"] == 1


async def test_the_quota_is_never_passed(client: Client, service: Service) -> None:
    service.policy = ControlPolicy(max_tasks=5)
    answers = await asyncio.gather(*(client.post(tasks_url(), dump(f"task{n}")) for n in range(20)))
    assert sorted(answer.status for answer in answers) == [200] * 5 + [404] * 15
    assert (await client.get(tasks_url())).json()["total_number"] == 5


async def test_parallel_creates_cannot_meet_under_one_prefix(client: Client) -> None:
    answers = await asyncio.gather(*(client.post(tasks_url(), dump(f"task{n}", sink={"obs_path": "shared"})) for n in range(6)))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 5


async def test_reconcilers_are_nudged_when_something_changed(client: Client, service: Service) -> None:
    task = (await client.post(tasks_url(), dump())).json()["id"]
    assert service.nudges == 1
    await client.put(task_url(task, "resume"))
    assert service.nudges == 1
    await client.put(task_url(task, "pause"))
    assert service.nudges == 2
