"""Listings go to the last page: the same calls with pages of two entries, on every store."""

from __future__ import annotations

from typing import Any

import pytest

from smartconnect.objectstore import BusyKind, ObjectStore, StoreBusy

PAGE_OF = {"list_parts": "MaxParts", "list_multipart_uploads": "MaxUploads", "list_objects": "MaxKeys"}
KEYS = [f"dump/orders/orders+{partition}+0000000000" for partition in range(5)]


@pytest.fixture(autouse=True)
def pages(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every listing asks for two entries at a time; the operations of the pages that were fetched."""
    fetched: list[str] = []
    call = store._wire.call

    async def small(operation: str, **params: Any) -> dict[str, Any]:
        if operation in PAGE_OF:
            fetched.append(operation)
            params[PAGE_OF[operation]] = 2
        return await call(operation, **params)

    monkeypatch.setattr(store._wire, "call", small)
    return fetched


async def test_all_objects_are_listed(store: ObjectStore, pages: list[str]) -> None:
    for key in KEYS:
        await store.put(key, b"x")
    pages.clear()
    assert [found.key async for found in store.list_objects("dump/")] == KEYS
    assert pages == ["list_objects"] * 3


async def test_all_uploads_are_listed_two_of_one_key_included(store: ObjectStore, pages: list[str]) -> None:
    begun = sorted([(key, await store.create_upload(key, {})) for key in [*KEYS, KEYS[2]]])
    pages.clear()
    assert sorted([(found.key, found.upload_id) async for found in store.list_uploads("dump/")]) == begun
    assert pages[0] == "list_multipart_uploads"


async def test_all_parts_are_listed(store: ObjectStore, pages: list[str]) -> None:
    upload_id = await store.create_upload(KEYS[0], {})
    parts = [await store.upload_part(KEYS[0], upload_id, number, [memoryview(b"x" * number)]) for number in range(1, 6)]
    pages.clear()
    assert await store.list_parts(KEYS[0], upload_id) == parts
    assert pages == ["list_parts"] * 3


async def test_a_store_whose_pages_go_in_a_circle_is_not_followed_for_ever(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def same(operation: str, **_: Any) -> dict[str, Any]:
        return {"IsTruncated": True, "NextMarker": "a", "Contents": [{"Key": "a", "Size": 1}]}

    with monkeypatch.context() as patched:
        patched.setattr(store._wire, "call", same)
        with pytest.raises(StoreBusy) as busy:
            async for _ in store.list_objects(""):
                pass
    assert busy.value.kind is BusyKind.UNREADABLE
