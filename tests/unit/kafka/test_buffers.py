"""Memory of frames is used again, but never while somebody still looks at it."""

from __future__ import annotations

from smartconnect.kafka.buffers import STEP, BufferPool


def test_memory_of_a_released_frame_is_used_again() -> None:
    pool = BufferPool(8 * STEP)
    view = pool.take(2 * STEP)
    buffer = view.obj
    pool.give(view)
    del view
    assert pool.take(2 * STEP - 100).obj is buffer


def test_memory_in_view_is_not_used_again_until_the_view_is_gone() -> None:
    pool = BufferPool(8 * STEP)
    view = pool.take(2 * STEP)
    buffer, kept = view.obj, view[100:200]
    pool.give(view)
    del view
    other = pool.take(2 * STEP)
    assert other.obj is not buffer
    del kept
    assert pool.take(2 * STEP).obj is buffer


def test_views_have_exactly_the_size_asked_for() -> None:
    pool = BufferPool(8 * STEP)
    for size in (1, STEP - 1, STEP, STEP + 1, 3 * STEP - 7):
        view = pool.take(size)
        assert len(view) == size
        pool.give(view)


def test_an_answer_of_whole_mebibytes_and_its_head_fits_into_memory_of_that_size() -> None:
    pool = BufferPool(64 * STEP)
    for steps in (4, 8, 12, 16):
        view = pool.take(steps * STEP + 500)
        assert memoryview(view.obj).nbytes < (steps + 1) * STEP
        pool.give(view)


def test_pool_keeps_no_more_than_its_limit() -> None:
    pool = BufferPool(5 * STEP)
    views = [pool.take(2 * STEP) for _ in range(5)]
    buffers = {id(view.obj) for view in views}
    for view in views:
        pool.give(view)
    del view, views
    again = [pool.take(2 * STEP) for _ in range(5)]
    assert sum(id(view.obj) in buffers for view in again[:2]) == 2
    assert pool._waiting == []


def test_memory_serves_frames_of_half_its_size_and_the_smallest_that_fits_is_taken() -> None:
    pool = BufferPool(64 * STEP)
    views = [pool.take(steps * STEP + 500) for steps in (8, 16)]
    buffers = [view.obj for view in views]
    for view in views:
        pool.give(view)
    del view, views
    again = [pool.take(8 * STEP + 100) for _ in range(2)]
    assert [view.obj is buffer for view, buffer in zip(again, buffers, strict=True)] == [True, True]
