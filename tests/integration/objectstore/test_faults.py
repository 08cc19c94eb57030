"""Single steps broken by a proxy before a real versitygw: what the caller is told, and that the same call again puts it right."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import pytest

from smartconnect.domain.clock import Clock
from smartconnect.objectstore import (
    BadDigest,
    BusyKind,
    KeyRefused,
    NoSuchUpload,
    ObjectStore,
    StoreBusy,
    StoreCredentials,
    StoreLocation,
    StoreRefused,
    Timeouts,
)
from smartconnect.sandbox.s3 import S3Server
from tests.support.rules import Fate
from tests.support.s3_answers import (
    ACCESS_DENIED,
    COMPLETE_FAILED_WITH_200,
    NO_SUCH_UPLOAD,
    SERVICE_UNAVAILABLE,
    SLOW_DOWN,
    Answer,
    error,
    redirect,
)
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import S3Proxy

KEY = "dump/orders/2026/01/02/03/04/orders+0+0000000004"
BODY = [memoryview(os.urandom(65536))] * 16
IMPATIENT = Timeouts(connect=2.0, stall=0.5, answer=0.5, complete=0.5)


def client(
    s3: S3Server, endpoint: str, bucket: str, *, timeouts: Timeouts | None = None, clock: Clock | None = None
) -> ObjectStore:
    return ObjectStore(
        StoreLocation(endpoint, s3.region, timeouts=timeouts or Timeouts()),
        StoreCredentials(s3.access_key, s3.secret_key),
        bucket,
        integrity="crc32c",
        clock=clock or Clock(),
        random=Random(1).random,
    )


@pytest.fixture
async def store(s3: S3Server, proxy: S3Proxy, bucket: str) -> AsyncIterator[ObjectStore]:
    """A client that reaches versitygw through the proxy only."""
    async with client(s3, proxy.endpoint, bucket) as through:
        yield through


@pytest.fixture
async def impatient(s3: S3Server, proxy: S3Proxy, bucket: str) -> AsyncIterator[ObjectStore]:
    async with client(s3, proxy.endpoint, bucket, timeouts=IMPATIENT) as through:
        yield through


async def busy(call: Awaitable[object]) -> StoreBusy:
    with pytest.raises(StoreBusy) as raised:
        await call
    assert "X-Amz" not in repr(raised.value)
    assert raised.value.__cause__ is None
    return raised.value


async def visible(store: ObjectStore) -> int | None:
    found = await store.head(KEY)
    return None if found is None else found.size


async def test_create_whose_answer_is_lost_leaves_an_upload_without_parts(store: ObjectStore, proxy: S3Proxy) -> None:
    proxy.drop_answer(Operation.CREATE_MULTIPART_UPLOAD)
    assert (await busy(store.create_upload(KEY, {}))).kind is BusyKind.DISCONNECTED
    left = [upload async for upload in store.list_uploads("dump/")]
    assert [upload.key for upload in left] == [KEY]
    assert await store.list_parts(KEY, left[0].upload_id) == []


async def test_part_whose_answer_is_lost_is_replaced_by_the_same_part(store: ObjectStore, proxy: S3Proxy) -> None:
    upload_id = await store.create_upload(KEY, {})
    proxy.drop_answer(Operation.UPLOAD_PART)
    await busy(store.upload_part(KEY, upload_id, 1, BODY))
    part = await store.upload_part(KEY, upload_id, 1, BODY)
    assert await store.list_parts(KEY, upload_id) == [part]


async def test_complete_whose_answer_is_lost_has_happened_and_may_be_repeated(store: ObjectStore, proxy: S3Proxy) -> None:
    upload_id = await store.create_upload(KEY, {"sc-start": "4"})
    parts = [await store.upload_part(KEY, upload_id, 1, BODY)]
    proxy.drop_answer(Operation.COMPLETE_MULTIPART_UPLOAD)
    await busy(store.complete_upload(KEY, upload_id, parts))
    assert await visible(store) == 1 << 20
    await store.complete_upload(KEY, upload_id, parts)
    assert await visible(store) == 1 << 20


async def test_complete_that_answers_200_with_an_error_inside_is_not_done(store: ObjectStore, proxy: S3Proxy) -> None:
    upload_id = await store.create_upload(KEY, {})
    parts = [await store.upload_part(KEY, upload_id, 1, BODY)]
    proxy.refuse(Operation.COMPLETE_MULTIPART_UPLOAD, COMPLETE_FAILED_WITH_200)
    assert (await busy(store.complete_upload(KEY, upload_id, parts))).kind is BusyKind.ERROR_IN_200
    assert await visible(store) is None
    await store.complete_upload(KEY, upload_id, parts)
    assert await visible(store) == 1 << 20


@pytest.mark.parametrize("nonsense", [b"", b"<html>welcome to the hotel</html>", b"<Comp", b"\x00\xff"])
async def test_complete_that_answers_nonsense_is_not_believed(store: ObjectStore, proxy: S3Proxy, nonsense: bytes) -> None:
    upload_id = await store.create_upload(KEY, {})
    parts = [await store.upload_part(KEY, upload_id, 1, BODY)]
    proxy.refuse(Operation.COMPLETE_MULTIPART_UPLOAD, Answer(200, nonsense))
    assert (await busy(store.complete_upload(KEY, upload_id, parts))).kind is BusyKind.UNREADABLE
    assert await visible(store) is None


@pytest.mark.parametrize(("answer", "kind"), [(SLOW_DOWN, BusyKind.THROTTLED), (SERVICE_UNAVAILABLE, BusyKind.SERVER_ERROR)])
async def test_a_storm_of_503_is_one_error_for_each_try(store: ObjectStore, proxy: S3Proxy, answer: Answer, kind: BusyKind) -> None:
    upload_id = await store.create_upload(KEY, {})
    storm = proxy.refuse(Operation.ANY, answer, count=3)
    assert (await busy(store.create_upload(KEY, {}))).kind is kind
    assert (await busy(store.upload_part(KEY, upload_id, 1, BODY))).kind is kind
    assert (await busy(store.list_parts(KEY, upload_id))).kind is kind
    assert storm.hits == 3
    assert (await store.upload_part(KEY, upload_id, 1, BODY)).size == 1 << 20


async def test_a_reset_in_the_middle_of_a_body_leaves_no_part(store: ObjectStore, proxy: S3Proxy) -> None:
    upload_id = await store.create_upload(KEY, {})
    rule = proxy.reset_request(Operation.UPLOAD_PART, 500_000)
    assert (await busy(store.upload_part(KEY, upload_id, 1, BODY))).kind is BusyKind.DISCONNECTED
    assert rule.hits == 1
    assert await store.list_parts(KEY, upload_id) == []
    assert (await store.upload_part(KEY, upload_id, 1, BODY)).size == 1 << 20


async def test_a_reset_body_of_a_refused_part_tells_the_refusal(store: ObjectStore, proxy: S3Proxy) -> None:
    upload_id = await store.create_upload(KEY, {})
    proxy.reset_request(Operation.UPLOAD_PART, 500_000)
    proxy.refuse(Operation.LIST_PARTS, ACCESS_DENIED)
    with pytest.raises(StoreRefused, match="AccessDenied"):
        await store.upload_part(KEY, upload_id, 1, BODY)


async def test_a_download_that_breaks_off_is_not_taken_for_the_end(store: ObjectStore, proxy: S3Proxy) -> None:
    await store.put(KEY, bytes(300_000))
    proxy.reset_answer(Operation.GET_OBJECT, 100_000)

    async def read() -> int:
        return sum([len(chunk) async for chunk in store.read(KEY)])

    assert (await busy(read())).kind is BusyKind.DISCONNECTED
    assert await read() == 300_000


async def test_a_store_that_stops_answering_is_given_up_in_time(impatient: ObjectStore, proxy: S3Proxy) -> None:
    upload_id = await impatient.create_upload(KEY, {})
    proxy.drop_answer(Operation.UPLOAD_PART, then=Fate.HOLD)
    assert (await busy(impatient.upload_part(KEY, upload_id, 1, BODY))).kind is BusyKind.TIMEOUT
    proxy.close_before(Operation.HEAD_OBJECT, then=Fate.HOLD)
    assert (await busy(impatient.head(KEY))).kind is BusyKind.TIMEOUT


async def test_a_body_that_makes_no_progress_is_given_up(impatient: ObjectStore, proxy: S3Proxy) -> None:
    upload_id = await impatient.create_upload(KEY, {})
    gate = proxy.hold_request(Operation.UPLOAD_PART)
    assert (await busy(impatient.upload_part(KEY, upload_id, 1, BODY * 20))).kind is BusyKind.TIMEOUT
    gate.release()


async def test_a_slow_body_that_makes_progress_is_waited_for(s3: S3Server, proxy: S3Proxy, bucket: str) -> None:
    patience = Timeouts(connect=2.0, stall=1.0, answer=20.0)
    async with client(s3, proxy.endpoint, bucket, timeouts=patience) as store:
        upload_id = await store.create_upload(KEY, {})
        drip = proxy.drip_request(Operation.UPLOAD_PART, 16e6)
        part = await store.upload_part(KEY, upload_id, 1, BODY * 32)  # 32 MiB in some 2 s
    assert drip.hits == 1
    assert part.size == 32 << 20


async def test_a_redirect_is_followed_with_a_new_signature_and_remembered(store: ObjectStore, proxy: S3Proxy, s3: S3Server) -> None:
    proxy.refuse(Operation.CREATE_MULTIPART_UPLOAD, redirect(f"{s3.endpoint}/{store.bucket}/{KEY}?uploads"))
    upload_id = await store.create_upload(KEY, {})
    parts = [await store.upload_part(KEY, upload_id, 1, BODY)]
    await store.complete_upload(KEY, upload_id, parts)
    assert await visible(store) == 1 << 20
    assert sum(proxy.requests.values()) == 1


async def test_a_part_is_redirected_too(store: ObjectStore, proxy: S3Proxy, s3: S3Server) -> None:
    upload_id = await store.create_upload(KEY, {})
    proxy.refuse(Operation.UPLOAD_PART, redirect(f"{s3.endpoint}/{store.bucket}/{KEY}", status=301, code="PermanentRedirect"))
    assert (await store.upload_part(KEY, upload_id, 1, BODY)).size == 1 << 20


async def test_redirects_in_a_circle_end_after_three_hops(store: ObjectStore, proxy: S3Proxy) -> None:
    other = proxy.endpoint.replace("127.0.0.1", "localhost")
    circle = []
    for there in (other, proxy.endpoint, other, proxy.endpoint):
        circle.append(proxy.refuse(Operation.CREATE_MULTIPART_UPLOAD, redirect(f"{there}/{store.bucket}/{KEY}")))
    with pytest.raises(StoreRefused, match="check endpoint and region"):
        await store.create_upload(KEY, {})
    assert [rule.hits for rule in circle] == [1, 1, 1, 1]


async def test_where_a_redirect_led_is_forgotten_when_nobody_answers_there(store: ObjectStore, proxy: S3Proxy) -> None:
    proxy.refuse(Operation.HEAD_OBJECT, redirect(f"http://127.0.0.1:1/{store.bucket}/{KEY}"))
    await busy(store.head(KEY))
    assert await store.head(KEY) is None


@pytest.mark.parametrize("code", ["AuthorizationHeaderMalformed", "AuthorizationQueryParametersError"])
async def test_the_region_that_an_answer_names_is_signed_for(store: ObjectStore, proxy: S3Proxy, code: str) -> None:
    scopes: list[str] = []
    upload_id = await store.create_upload(KEY, {})
    proxy.on_request(Operation.UPLOAD_PART, lambda request: scopes.append(request.query["X-Amz-Credential"]), count=None)
    proxy.refuse(Operation.UPLOAD_PART, error(400, code, headers={"x-amz-bucket-region": "eu-west-7"}))
    proxy.refuse(Operation.UPLOAD_PART, SERVICE_UNAVAILABLE)
    await busy(store.upload_part(KEY, upload_id, 1, BODY))
    assert [scope.split("/")[2] for scope in scopes] == ["cn-north-4", "eu-west-7"]


@pytest.mark.parametrize("off_s", [-7200.0, 7200.0])
async def test_a_clock_that_is_two_hours_off_is_corrected_by_the_stores(s3: S3Server, bucket: str, off_s: float) -> None:
    honest = Clock()
    wrong = Clock(wall=lambda: honest.wall() + off_s)
    async with client(s3, s3.endpoint, bucket, clock=wrong) as store:
        upload_id = await store.create_upload(KEY, {})
    async with client(s3, s3.endpoint, bucket, clock=wrong) as another:
        await another.upload_part(KEY, upload_id, 1, [memoryview(b"presigned URLs too")])
        assert [part.size for part in await another.list_parts(KEY, upload_id)] == [18]


async def test_damaged_bytes_are_refused_and_leave_no_part(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = await store.create_upload(KEY, {})
    monkeypatch.setattr("smartconnect.objectstore.integrity.crc32c", lambda _blocks: "AAAAAA==")
    with pytest.raises(BadDigest):
        await store.upload_part(KEY, upload_id, 1, BODY)
    monkeypatch.undo()
    assert await store.list_parts(KEY, upload_id) == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ACCESS_DENIED, StoreRefused),
        (error(403, "InvalidAccessKeyId"), StoreRefused),
        (error(403, "QuotaExceeded"), StoreRefused),
        (NO_SUCH_UPLOAD, NoSuchUpload),
        (error(400, "KeyTooLongError"), KeyRefused),
        (error(501, "NotImplemented"), KeyRefused),
    ],
)
async def test_refusals_keep_their_kind_for_parts_and_for_all_else(
    store: ObjectStore, proxy: S3Proxy, answer: Answer, kind: type[Exception]
) -> None:
    upload_id = await store.create_upload(KEY, {})
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.upload_part(KEY, upload_id, 1, BODY),
        lambda: store.list_parts(KEY, upload_id),
        lambda: store.complete_upload(KEY, upload_id, []),
    ]
    for call in calls:
        proxy.refuse(Operation.ANY, answer)
        with pytest.raises(kind):
            await call()


async def test_new_keys_count_at_once(s3: S3Server, bucket: str) -> None:
    async with ObjectStore(
        StoreLocation(s3.endpoint, s3.region),
        StoreCredentials(s3.access_key, "revoked"),
        bucket,
        integrity="none",
        clock=Clock(),
        random=Random(1).random,
    ) as store:
        with pytest.raises(StoreRefused) as refused:
            await store.create_upload(KEY, {})
        assert refused.value.store_code == "SignatureDoesNotMatch"
        assert s3.access_key not in str(refused.value)
        store.use_credentials(StoreCredentials(s3.access_key, s3.secret_key))
        upload_id = await store.create_upload(KEY, {})
        assert (await store.upload_part(KEY, upload_id, 1, BODY)).size == 1 << 20


async def test_a_cancelled_part_leaves_its_blocks_alone(store: ObjectStore, proxy: S3Proxy) -> None:
    upload_id = await store.create_upload(KEY, {})
    gate = proxy.hold_request(Operation.UPLOAD_PART)
    block = bytearray(8 << 20)
    view = memoryview(block)
    sending = asyncio.create_task(store.upload_part(KEY, upload_id, 1, [view]))
    await gate.reached()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await asyncio.sleep(0)
    view.release()  # what still exported the buffer would forbid its resizing
    block.append(1)
    gate.release()
