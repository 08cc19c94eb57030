from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from smartconnect.sandbox.s3 import S3Server
from tests.support.bucket import left_uploads, read_objects
from tests.support.rules import Fate
from tests.support.s3_answers import ACCESS_DENIED, COMPLETE_FAILED_WITH_200, SLOW_DOWN, redirect
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import S3Proxy

PART = b"x" * (5 * 1024 * 1024)
BROKEN = (BotoConnectionError, HTTPClientError)


@pytest.fixture
async def client(s3: S3Server, proxied_s3: S3Proxy) -> AsyncIterator[Any]:
    """A client through the proxy that never repeats a request by itself."""
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=5, connect_timeout=5)
    async with get_session().create_client(
        "s3",
        endpoint_url=proxied_s3.endpoint,
        region_name=s3.region,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        config=config,
    ) as client:
        yield client


async def keys(s3: S3Server, bucket: str) -> list[str]:
    return [stored.key for stored in await read_objects(s3, bucket)]


async def prepared(client: Any, bucket: str, key: str) -> dict[str, Any]:
    """A multipart upload with one part, ready for Complete."""
    upload = await client.create_multipart_upload(Bucket=bucket, Key=key)
    part = await client.upload_part(Bucket=bucket, Key=key, UploadId=upload["UploadId"], PartNumber=1, Body=PART)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    return {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"], "MultipartUpload": parts}


async def test_whole_upload_passes_unchanged(s3: S3Server, proxied_s3: S3Proxy, client: Any, bucket: str) -> None:
    key = "dump/orders/2026/01/a b+c=d%25.txt"
    await client.complete_multipart_upload(**await prepared(client, bucket, key))
    await client.head_object(Bucket=bucket, Key=key)
    await client.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert {stored.key: stored.body for stored in await read_objects(s3, bucket)} == {key: PART, "empty": b""}
    assert proxied_s3.answers == {
        (Operation.CREATE_MULTIPART_UPLOAD, 200): 1,
        (Operation.UPLOAD_PART, 200): 1,
        (Operation.COMPLETE_MULTIPART_UPLOAD, 200): 1,
        (Operation.HEAD_OBJECT, 200): 1,
        (Operation.PUT_OBJECT, 200): 1,
    }


@pytest.mark.parametrize("then", Fate)
async def test_complete_whose_answer_is_dropped_has_made_the_object(
    s3: S3Server, proxied_s3: S3Proxy, client: Any, bucket: str, then: Fate
) -> None:
    rule = proxied_s3.drop_answer(Operation.COMPLETE_MULTIPART_UPLOAD, then=then)
    with pytest.raises(BROKEN):
        await client.complete_multipart_upload(**await prepared(client, bucket, "a"))
    assert rule.hits == 1
    assert await keys(s3, bucket) == ["a"]


async def test_complete_can_answer_200_with_an_error_done_or_not(
    s3: S3Server, proxied_s3: S3Proxy, client: Any, bucket: str
) -> None:
    proxied_s3.refuse(Operation.COMPLETE_MULTIPART_UPLOAD, COMPLETE_FAILED_WITH_200)
    with pytest.raises(ClientError, match="InternalError"):
        await client.complete_multipart_upload(**await prepared(client, bucket, "undone"))
    proxied_s3.replace_answer(Operation.COMPLETE_MULTIPART_UPLOAD, COMPLETE_FAILED_WITH_200)
    with pytest.raises(ClientError, match="InternalError"):
        await client.complete_multipart_upload(**await prepared(client, bucket, "done"))
    assert await keys(s3, bucket) == ["done"]
    assert [left.key for left in await left_uploads(s3, bucket)] == ["undone"]


async def test_storm_ends_after_its_count(proxied_s3: S3Proxy, client: Any, bucket: str) -> None:
    storm = proxied_s3.refuse(Operation.ANY, SLOW_DOWN, count=3)
    for _ in range(3):
        with pytest.raises(ClientError, match="SlowDown"):
            await client.put_object(Bucket=bucket, Key="a", Body=PART)
    await client.put_object(Bucket=bucket, Key="a", Body=PART)
    assert storm.hits == 3


async def test_refusals_and_redirects_reach_the_client(proxied_s3: S3Proxy, client: Any, bucket: str) -> None:
    proxied_s3.refuse(Operation.HEAD_OBJECT, ACCESS_DENIED)
    with pytest.raises(ClientError, match="403"):
        await client.head_object(Bucket=bucket, Key="a")
    proxied_s3.refuse(Operation.PUT_OBJECT, redirect("http://127.0.0.1:1/elsewhere"))
    url = f"{proxied_s3.endpoint}/{bucket}/a"
    async with aiohttp.ClientSession() as session, session.put(url, data=PART, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (307, "http://127.0.0.1:1/elsewhere")
        assert b"TemporaryRedirect" in await answer.read()


async def test_request_reset_in_the_middle_of_its_body_leaves_no_part(proxied_s3: S3Proxy, client: Any, bucket: str) -> None:
    upload = await client.create_multipart_upload(Bucket=bucket, Key="a")
    whole = {"Bucket": bucket, "Key": "a", "UploadId": upload["UploadId"]}
    rule = proxied_s3.reset_request(Operation.UPLOAD_PART, after_bytes=len(PART) // 2, count=None)
    with pytest.raises(BROKEN):
        await client.upload_part(**whole, PartNumber=1, Body=PART)
    assert rule.hits == 2, "aiohttp repeats a PUT once by itself after a disconnect"
    assert "Parts" not in await client.list_parts(**whole)


async def test_answer_reset_in_the_middle_of_its_body_is_noticed(proxied_s3: S3Proxy, client: Any, bucket: str) -> None:
    await client.put_object(Bucket=bucket, Key="a", Body=PART)
    proxied_s3.reset_answer(Operation.GET_OBJECT, after_bytes=len(PART) // 2)
    answer = await client.get_object(Bucket=bucket, Key="a")
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError, *BROKEN)):
        await answer["Body"].read()


async def test_dripping_body_takes_its_time(proxied_s3: S3Proxy, client: Any, bucket: str) -> None:
    proxied_s3.drip_request(Operation.PUT_OBJECT, bytes_per_s=10 * len(PART), count=1)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await client.put_object(Bucket=bucket, Key="a", Body=PART)
    assert loop.time() - started >= 0.1


async def test_gate_holds_the_request_and_hooks_see_both_sides(s3: S3Server, proxied_s3: S3Proxy, client: Any, bucket: str) -> None:
    steps: list[str] = []
    proxied_s3.on_request(Operation.PUT_OBJECT, lambda request: steps.append(f"request {request.key}"))
    proxied_s3.on_answer(Operation.PUT_OBJECT, lambda exchange: steps.append(f"answer {exchange.status}"))
    gate = proxied_s3.hold_request(Operation.PUT_OBJECT)
    putting = asyncio.create_task(client.put_object(Bucket=bucket, Key="a", Body=b"1"))
    await gate.reached()
    assert await keys(s3, bucket) == []
    gate.release()
    await putting
    assert steps == ["request a", "answer 200"]
    assert await keys(s3, bucket) == ["a"]


async def test_cut_and_black_hole_stop_everything_until_healed(proxied_s3: S3Proxy, client: Any, bucket: str) -> None:
    proxied_s3.cut()
    with pytest.raises(BROKEN):
        await client.head_bucket(Bucket=bucket)
    proxied_s3.blackhole()
    asking = asyncio.create_task(client.head_bucket(Bucket=bucket))
    done, _ = await asyncio.wait([asking], timeout=0.5)
    assert not done
    proxied_s3.heal()
    await asking
