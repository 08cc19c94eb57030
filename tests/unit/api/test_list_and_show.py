"""Lists and their paging (api.md §6), and what Terraform reads (§9)."""

from __future__ import annotations

import pytest

from tests.unit.api.kit import SECOND_INSTANCE, Client, Service, dump, task_url, tasks_url


async def test_an_empty_list(client: Client) -> None:
    answer = await client.get(tasks_url())
    assert answer.json() == {"tasks": [], "total_number": 0, "max_tasks": 18, "quota_tasks": 18}


async def test_pages_in_order_of_creation(client: Client, service: Service) -> None:
    for number in range(12):
        service.clock.now_ms += 1
        await client.post(tasks_url(), dump(f"task{number:02}"))
    await client.post(tasks_url(SECOND_INSTANCE), dump("elsewhere"))

    async def page(query: str) -> list[str]:
        answer = await client.get(tasks_url() + query)
        assert answer.json()["total_number"] == 12
        return [task["task_name"][-2:] for task in answer.json()["tasks"]]

    assert await page("") == [f"{n:02}" for n in range(10)]
    assert await page("?limit=50") == [f"{n:02}" for n in range(12)]
    assert await page("?offset=2&limit=3") == ["02", "03", "04"]
    assert await page("?offset=12") == []
    assert await page("?offset=2147483647&limit=1") == []


async def test_listed_and_shown_tasks_are_the_created_ones(client: Client) -> None:
    created = (await client.post(tasks_url(), dump())).json()
    assert (await client.get(task_url(created["id"]))).json() == created
    assert (await client.get(tasks_url())).json()["tasks"] == [created]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "DMS.00400062"),
        ("limit=-1", "DMS.00400062"),
        ("limit=x", "DMS.00400062"),
        ("limit=", "DMS.00400062"),
        ("limit=1.0", "DMS.00400062"),
        ("limit=%2B1", "DMS.00400062"),
        ("limit=%EF%BC%91", "DMS.00400062"),
        ("limit=true", "DMS.00400062"),
        ("limit=51", "DMS.10240042"),
        ("limit=99999999999999999999", "DMS.10240042"),
        ("offset=-1", "DMS.00400062"),
        ("offset=x&limit=51", "DMS.00400062"),
        ("offset=2147483648", "DMS.10240043"),
        ("offset=" + "9" * 5000, "DMS.00400062"),
    ],
)
async def test_bad_paging_is_400(client: Client, query: str, code: str) -> None:
    answer = await client.get(f"{tasks_url()}?{query}")
    assert (answer.status, answer.code) == (400, code)


async def test_terraforms_dump_without_types_and_path_is_created_and_reads_back(client: Client) -> None:
    """Its acceptance configuration; it drops "" and 0, sends false, and omits one of the types."""
    body = {
        "task_name": "tf-acc-test",
        "topics": "topic-a,topic-b",
        "start_later": False,
        "sink_type": "OBS_SINK",
        "sink_task": {
            "access_key": "AK",
            "secret_key": "SK",
            "obs_bucket_name": "tf-bucket",
            "consumer_strategy": "latest",
            "destination_file_type": "TEXT",
            "partition_format": "yyyy/MM/dd/HH/mm",
            "record_delimiter": ";",
            "deliver_time_interval": 300,
            "store_keys": False,
        },
    }
    task = (await client.post(tasks_url(), body)).json()
    assert task["status"] == "CREATING"
    assert task["source_type"] == "NONE"
    assert task["source_task"] == {}
    assert isinstance(task["create_time"], int)
    for name in ("obs_bucket_name", "consumer_strategy", "destination_file_type", "partition_format", "record_delimiter"):
        assert task["sink_task"][name] == body["sink_task"][name]  # type: ignore[index]
    assert task["sink_task"]["deliver_time_interval"] == 300
    assert task["sink_task"]["store_keys"] is False


async def test_the_published_dump_example_is_created(client: Client) -> None:
    body = {
        "task_name": "smart-connect-1",
        "start_later": False,
        "source_type": "NONE",
        "topics_regex": "topic-obs*",
        "sink_type": "OBS_SINK",
        "sink_task": {
            "consumer_strategy": "earliest",
            "destination_file_type": "TEXT",
            "deliver_time_interval": 300,
            "access_key": "********",
            "secret_key": "********",
            "obs_bucket_name": "obs_bucket",
            "obs_path": "obsTransfer-1810125534",
            "partition_format": "yyyy/MM/dd/HH/mm",
            "record_delimiter": "\\n",
            "store_keys": False,
        },
    }
    created = await client.post(tasks_url(), body)
    assert created.status == 200
    sent_back = await client.put(task_url(created.json()["id"]), created.json())
    assert sent_back.json() == created.json()
