from __future__ import annotations

import pytest

from tests.support.s3_operations import Operation, recognise

CASES = [
    ("GET", "/", {}, Operation.LIST_BUCKETS),
    ("HEAD", "/lake", {}, Operation.HEAD_BUCKET),
    ("PUT", "/lake", {}, Operation.CREATE_BUCKET),
    ("GET", "/lake", {"location": ""}, Operation.GET_BUCKET_LOCATION),
    ("GET", "/lake", {"uploads": "", "prefix": "a"}, Operation.LIST_MULTIPART_UPLOADS),
    ("GET", "/lake", {"list-type": "2"}, Operation.LIST_OBJECTS_V2),
    ("GET", "/lake", {"prefix": "a"}, Operation.LIST_OBJECTS),
    ("POST", "/lake", {"delete": ""}, Operation.DELETE_OBJECTS),
    ("GET", "/lake", {"policy": ""}, Operation.OTHER),
    ("PUT", "/lake/a/b", {}, Operation.PUT_OBJECT),
    ("PUT", "/lake/a/b", {"tagging": ""}, Operation.OTHER),
    ("HEAD", "/lake/a/b", {}, Operation.HEAD_OBJECT),
    ("GET", "/lake/a/b", {}, Operation.GET_OBJECT),
    ("DELETE", "/lake/a/b", {}, Operation.DELETE_OBJECT),
    ("POST", "/lake/a/b", {"uploads": ""}, Operation.CREATE_MULTIPART_UPLOAD),
    ("PUT", "/lake/a/b", {"uploadId": "u", "partNumber": "1"}, Operation.UPLOAD_PART),
    ("GET", "/lake/a/b", {"uploadId": "u"}, Operation.LIST_PARTS),
    ("POST", "/lake/a/b", {"uploadId": "u"}, Operation.COMPLETE_MULTIPART_UPLOAD),
    ("DELETE", "/lake/a/b", {"uploadId": "u"}, Operation.ABORT_MULTIPART_UPLOAD),
]


@pytest.mark.parametrize(("method", "path", "query", "operation"), CASES)
def test_operation_is_recognised(method: str, path: str, query: dict[str, str], operation: Operation) -> None:
    assert recognise(method, "127.0.0.1:7070", path, query, {}).operation is operation


def test_bucket_and_key_are_found_in_path_and_in_host_name() -> None:
    by_path = recognise("PUT", "localhost:7070", "/lake/a/b", {}, {})
    by_host = recognise("PUT", "lake.s3.test:7070", "/a/b", {}, {})
    assert (by_path.bucket, by_path.key) == (by_host.bucket, by_host.key) == ("lake", "a/b")


def test_copies_are_told_from_uploads() -> None:
    copy = {"x-amz-copy-source": "/lake/other"}
    assert recognise("PUT", "localhost", "/lake/a", {}, copy).operation is Operation.COPY_OBJECT
    part = recognise("PUT", "localhost", "/lake/a", {"uploadId": "u", "partNumber": "1"}, copy)
    assert part.operation is Operation.UPLOAD_PART_COPY
