from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiohttp
import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from smartconnect.sandbox.s3 import S3Options, S3Server, s3_server
from tests.support.bucket import left_uploads, read_objects, s3_client


async def test_account_works_on_its_bucket_until_it_is_revoked(s3: S3Server, bucket: str) -> None:
    account = await s3.add_account()
    client = s3_client(s3, account)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.put_object(Bucket=bucket, Key="a", Body=b"1")
    await s3.give_bucket(bucket, account)
    client.put_object(Bucket=bucket, Key="a", Body=b"1")
    await s3.revoke(account)
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        client.put_object(Bucket=bucket, Key="b", Body=b"1")
    assert [stored.key for stored in await read_objects(s3, bucket)] == ["a"]


async def test_upload_left_over_is_listed(s3: S3Server, bucket: str) -> None:
    upload = s3_client(s3).create_multipart_upload(Bucket=bucket, Key="folder/a")
    assert [(left.key, left.upload_id) for left in await left_uploads(s3, bucket)] == [("folder/a", upload["UploadId"])]


async def test_killed_server_has_its_objects_and_accounts_when_it_is_back() -> None:
    async with s3_server() as server:
        account = await server.add_account("userplus")
        client = s3_client(server, account)
        client.create_bucket(Bucket="lake")
        client.put_object(Bucket="lake", Key="a", Body=b"1", Metadata={"sc-task": "7"})
        await server.kill()
        with pytest.raises(EndpointConnectionError):
            client.list_buckets()
        await server.start()
        client.put_object(Bucket="lake", Key="b", Body=b"2")
        found = await read_objects(server, "lake")
    assert [(stored.key, stored.body, dict(stored.metadata)) for stored in found] == [
        ("a", b"1", {"sc-task": "7"}),
        ("b", b"2", {}),
    ]
    assert not server.folder.exists()


async def test_frozen_server_answers_nobody_until_it_is_thawed() -> None:
    async with s3_server() as server, aiohttp.ClientSession() as session:
        server.freeze()
        asking = asyncio.create_task(_status(session, server.endpoint + "/healthz"))
        done, _ = await asyncio.wait([asking], timeout=0.5)
        assert not done
        server.thaw()
        assert await asking == 200


async def test_https_server_shows_a_certificate_of_its_authority(tmp_path: Path) -> None:
    async with s3_server(S3Options(scheme="https", folder=tmp_path)) as server:
        context = ssl.create_default_context(cafile=str(server.ca_file))
        async with aiohttp.ClientSession() as session, session.get(server.endpoint + "/healthz", ssl=context) as answer:
            assert answer.status == 200
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            verify=str(server.ca_file),
            region_name=server.region,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
        )
        assert client.list_buckets()["Buckets"] == []
        account = await server.add_account()
        await server.revoke(account)


async def test_bucket_can_be_named_in_the_host() -> None:
    async with s3_server(S3Options(virtual_domain="s3.test")) as server, aiohttp.ClientSession() as session:
        s3_client(server).create_bucket(Bucket="lake")
        async with session.head(server.endpoint, headers={"Host": f"lake.s3.test:{server.port}"}) as answer:
            assert answer.status == 403  # unsigned, but it is the bucket that was asked for
            assert "x-amz-request-id" in {name.lower() for name in answer.headers}


async def _status(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as answer:
        return answer.status
