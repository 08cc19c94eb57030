"""The live check against accounts that lack something, on a real versitygw: each missing right is named, and nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from random import Random

import pytest

from smartconnect.domain.clock import Clock
from smartconnect.objectstore import ObjectStore, ProblemCategory, StoreCredentials, StoreLocation
from smartconnect.sandbox.s3 import Account, S3Server
from tests.support.bucket import left_uploads, read_objects, s3_client
from tests.support.rules import Fate
from tests.support.s3_answers import ACCESS_DENIED, error
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import S3Proxy

ON_OBJECTS = ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
ON_BUCKET = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]


def client(s3: S3Server, bucket: str, account: Account, endpoint: str | None = None) -> ObjectStore:
    location = StoreLocation(endpoint or s3.endpoint, s3.region)
    keys = StoreCredentials(account.access_key, account.secret_key)
    return ObjectStore(location, keys, bucket, clock=Clock(), random=Random(7).random)


async def allow(s3: S3Server, bucket: str, account: Account, rights: list[str]) -> None:
    """A bucket policy that gives the account these rights and no other."""
    who = {"Effect": "Allow", "Principal": {"AWS": [account.access_key]}}
    statements = [
        {**who, "Action": [right for right in rights if right in ON_OBJECTS], "Resource": f"arn:aws:s3:::{bucket}/*"},
        {**who, "Action": [right for right in rights if right in ON_BUCKET], "Resource": f"arn:aws:s3:::{bucket}"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [entry for entry in statements if entry["Action"]]})
    await asyncio.to_thread(s3_client(s3).put_bucket_policy, Bucket=bucket, Policy=policy)


@pytest.fixture
async def account(s3: S3Server) -> AsyncIterator[Account]:
    """Somebody who owns nothing."""
    somebody = await s3.add_account("user")
    yield somebody
    await s3.revoke(somebody)


async def nothing_left(s3: S3Server, bucket: str) -> bool:
    return not await read_objects(s3, bucket) and not await left_uploads(s3, bucket)


async def test_the_rights_of_the_specification_are_enough(s3: S3Server, bucket: str, account: Account) -> None:
    await allow(s3, bucket, account, ON_OBJECTS + ON_BUCKET)
    async with client(s3, bucket, account) as store:
        assert await store.check("dump") == []
    assert await nothing_left(s3, bucket)


@pytest.mark.parametrize("missing", ["AbortMultipartUpload", "ListMultipartUploadParts", "ListBucketMultipartUploads"])
async def test_a_missing_right_is_named(s3: S3Server, bucket: str, account: Account, missing: str) -> None:
    await allow(s3, bucket, account, [right for right in ON_OBJECTS + ON_BUCKET if right != f"s3:{missing}"])
    async with client(s3, bucket, account) as store:
        problems = await store.check("dump")
    assert [(problem.category, problem.right) for problem in problems] == [(ProblemCategory.RIGHT_MISSING, missing)]
    assert f"s3:{missing}" in problems[0].reason
    assert not problems[0].warning
    assert account.access_key not in problems[0].reason


async def test_without_the_right_to_delete_there_is_a_warning(s3: S3Server, bucket: str, account: Account) -> None:
    await allow(s3, bucket, account, [right for right in ON_OBJECTS + ON_BUCKET if right != "s3:DeleteObject"])
    async with client(s3, bucket, account) as store:
        problems = await store.check("dump")
    assert [(problem.right, problem.warning) for problem in problems] == [("DeleteObject", True)]


async def test_an_account_without_any_right_is_told_all_it_lacks(s3: S3Server, bucket: str, account: Account) -> None:
    async with client(s3, bucket, account) as store:
        problems = await store.check("dump")
    assert {problem.right for problem in problems} == {"PutObject", "ListBucket"}
    assert {problem.category for problem in problems} == {ProblemCategory.RIGHT_MISSING}
    assert await nothing_left(s3, bucket)


@pytest.mark.parametrize("wrong", ["access_key", "secret_key"])
async def test_wrong_keys_are_one_problem(s3: S3Server, bucket: str, wrong: str) -> None:
    keys = {"access_key": s3.access_key, "secret_key": s3.secret_key, wrong: "WRONGWRONGWRONG"}
    async with client(s3, bucket, Account(**keys)) as store:
        problems = await store.check("dump")
    assert [problem.category for problem in problems] == [ProblemCategory.CREDENTIALS]
    assert s3.access_key not in problems[0].reason
    assert "WRONG" not in problems[0].reason


async def test_nobody_at_the_endpoint_is_one_problem(s3: S3Server, bucket: str) -> None:
    async with client(s3, bucket, s3.root, "http://127.0.0.1:1") as store:
        problems = await store.check("dump")
    assert [problem.category for problem in problems] == [ProblemCategory.UNREACHABLE]
    assert "Connection refused" in problems[0].reason


async def test_a_silent_store_is_a_problem_within_the_deadline(s3: S3Server, proxy: S3Proxy, bucket: str) -> None:
    proxy.close_before(Operation.ANY, count=None, then=Fate.HOLD)
    started = time.monotonic()
    async with client(s3, bucket, s3.root, proxy.endpoint) as store:
        problems = await store.check("dump", deadline_s=1.0)
    assert time.monotonic() - started < 5.0
    assert [problem.category for problem in problems] == [ProblemCategory.UNREACHABLE]


async def test_what_a_check_had_begun_is_cleared_when_the_deadline_cuts_it_off(s3: S3Server, proxy: S3Proxy, bucket: str) -> None:
    held = proxy.close_before(Operation.LIST_PARTS, then=Fate.HOLD)
    async with client(s3, bucket, s3.root, proxy.endpoint) as store:
        problems = await store.check("dump", deadline_s=2.0)
    assert held.hits == 1
    assert [problem.category for problem in problems] == [ProblemCategory.UNREACHABLE]
    assert await nothing_left(s3, bucket)


async def test_a_probe_that_was_written_although_the_store_said_busy_is_removed(s3: S3Server, proxy: S3Proxy, bucket: str) -> None:
    written = proxy.replace_answer(Operation.PUT_OBJECT, error(503, "SlowDown"))
    async with client(s3, bucket, s3.root, proxy.endpoint) as store:
        problems = await store.check("dump")
    assert written.hits == 1
    assert [problem.category for problem in problems] == [ProblemCategory.UNREACHABLE]
    assert await nothing_left(s3, bucket)


async def test_a_path_that_the_store_does_not_accept_is_a_problem_of_the_path(s3: S3Server, proxy: S3Proxy, bucket: str) -> None:
    proxy.refuse(Operation.PUT_OBJECT, error(400, "KeyTooLongError"))
    async with client(s3, bucket, s3.root, proxy.endpoint) as store:
        problems = await store.check("dump")
    assert [problem.category for problem in problems] == [ProblemCategory.PATH]


async def test_head_that_says_403_for_a_missing_name_is_the_right_to_list(s3: S3Server, proxy: S3Proxy, bucket: str) -> None:
    proxy.refuse(Operation.HEAD_OBJECT, ACCESS_DENIED)
    async with client(s3, bucket, s3.root, proxy.endpoint) as store:
        problems = await store.check("dump")
    assert [problem.right for problem in problems] == ["ListBucket"]
