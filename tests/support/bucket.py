"""What a user finds in a bucket, read by a client that is not ours (boto3): objects, the record ids in them, uploads left over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from smartconnect.sandbox.s3 import Account, S3Server
from tests.support.ids import Count, count_ids

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One visible object, whole."""

    key: str
    body: bytes
    metadata: Mapping[str, str]

    def values(self, delimiter: bytes = b"\n") -> list[bytes]:
        """The values between delimiters; an end without a delimiter counts as one more (torn) value."""
        pieces = self.body.split(delimiter)
        return pieces[:-1] if pieces[-1] == b"" else pieces


@dataclass(frozen=True, slots=True)
class LeftUpload:
    """A multipart upload that is neither completed nor aborted."""

    key: str
    upload_id: str


def s3_client(server: S3Server, account: Account | None = None, endpoint: str | None = None) -> S3Client:
    """A plain boto3 client with the root account's keys, or another's; through a proxy if its endpoint is given."""
    keys = account or server.root
    return boto3.client(
        "s3",
        endpoint_url=endpoint or server.endpoint,
        region_name=server.region,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        config=Config(retries={"total_max_attempts": 3}, s3={"addressing_style": "path"}),
    )


async def read_objects(server: S3Server, bucket: str, prefix: str = "") -> list[StoredObject]:
    """All visible objects under the prefix, in the order of their keys."""
    return await asyncio.to_thread(_read_objects, server, bucket, prefix)


def count_visible(server: S3Server, bucket: str) -> int:
    """How many objects there are, from the server's own folder; cheap enough to be asked all the time."""
    found = 0
    for _, folders, files in os.walk(server.buckets / bucket):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]  # parts of unfinished uploads
        found += len(files)
    return found


async def count_bucket(
    server: S3Server,
    bucket: str,
    expected: Mapping[tuple[str, int], int],
    *,
    prefix: str = "",
    delimiter: bytes = b"\n",
) -> Count:
    """Count the ids of all objects against `RecordWriter.expected`."""
    objects = await read_objects(server, bucket, prefix)
    return await asyncio.to_thread(count_ids, [stored.values(delimiter) for stored in objects], expected)


async def left_uploads(server: S3Server, bucket: str) -> list[LeftUpload]:
    """The multipart uploads in progress."""
    return await asyncio.to_thread(_left_uploads, server, bucket)


def _read_objects(server: S3Server, bucket: str, prefix: str) -> list[StoredObject]:
    client = s3_client(server)
    found: list[StoredObject] = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            answer = client.get_object(Bucket=bucket, Key=entry["Key"])
            found.append(StoredObject(entry["Key"], answer["Body"].read(), answer["Metadata"]))
    return found


def _left_uploads(server: S3Server, bucket: str) -> list[LeftUpload]:
    pages = s3_client(server).get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
    return [LeftUpload(upload["Key"], upload["UploadId"]) for page in pages for upload in page.get("Uploads", [])]
