"""The compiled kernels and their twins do the same on whatever bytes: the same rows, results and content, or the same error."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.kernels.conftest import TWIN, compiled_module
from tests.unit.kernels.reference import batches, content, plans, response

from smartconnect.kernels import START, BlockPool, BlockWriter, KernelError, Limits, MalformedBatch, Scratch, Section, sections

COMPILED = compiled_module()

aborted_lists = st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 30)), max_size=4)
limits = st.builds(Limits, st.integers(0, 20), st.integers(0, 40), st.integers(0, 2000))


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with a few bytes changed, cut out or put in, and perhaps cut off."""
    out = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        if not out:
            break
        at = draw(st.integers(0, len(out) - 1))
        match draw(st.integers(0, 3)):
            case 0 | 1:
                out[at] = draw(st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
            case 2:
                del out[at : at + draw(st.integers(1, 9))]
            case _:
                out[at:at] = draw(st.binary(min_size=1, max_size=6))
    return bytes(out[: draw(st.integers(0, len(out)))]) if draw(st.booleans()) else bytes(out)


def outcome(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except MalformedBatch as error:
        return type(error), error.position, error.reason, error.section


def joined(join: Any, parts: list[Section], plan: Any, limit: Limits) -> list[Any]:
    """All calls until the end, with what each wrote."""
    pool = BlockPool()
    writer = BlockWriter(pool)
    steps: list[Any] = []
    resume, position = START, limit.skip_before
    while True:
        result = outcome(join, parts, plan, writer, limit._replace(skip_before=position), resume)
        steps += [result, content(writer, pool)]
        assert pool.out_bytes == 0
        if not hasattr(result, "consumed_all") or result.consumed_all or not limit.max_records:
            return steps
        resume, position = result.resume, result.next_offset


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_walk_is_the_same_on_mutated_responses(data):
    blob = data.draw(batches().map(response).flatmap(mutated))
    aborted, offset = data.draw(aborted_lists), data.draw(st.integers(0, 40))
    assert outcome(COMPILED.walk, blob, offset, aborted) == outcome(TWIN.walk, blob, offset, aborted)


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_join_is_the_same_on_mutated_sections(data):
    made, plan, limit = data.draw(batches(max_batches=3)), data.draw(plans), data.draw(limits)
    blob = response(made)
    parts = [part for group in sections(blob, TWIN.walk(blob, 0, []), Scratch()) for part in group]
    broken = [part._replace(data=data.draw(mutated(bytes(part.data)))) for part in parts]
    assert joined(COMPILED.join, broken, plan, limit) == joined(TWIN.join, broken, plan, limit)


@settings(max_examples=250, deadline=None)
@given(st.binary(max_size=80), st.integers(-1, 6), plans, limits)
def test_join_is_the_same_on_random_bytes(blob, count, plan, limit):
    parts = [Section(blob, count, 3, 40)]
    assert joined(COMPILED.join, parts, plan, limit) == joined(TWIN.join, parts, plan, limit)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whole_path_raises_kernel_errors_only(data):
    blob = data.draw(batches().map(response).flatmap(mutated))
    try:
        rows = COMPILED.walk(blob, 0, [])
        for group in sections(blob, rows, Scratch(limit=1 << 20)):
            COMPILED.join(group, data.draw(plans), BlockWriter(BlockPool()))
    except KernelError:
        return
    assert all(row.end <= len(blob) for row in rows)
