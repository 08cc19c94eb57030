"""Compiled and Python forwarding kernels do the same on whatever bytes: the same batches and sums, or the same error at the same place."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.kernels.conftest import compiled_module
from tests.unit.kernels.forward_reference import HOP, NAME, THERE, batches, headers, hop_of, mostly, plans, provenance
from tests.unit.kernels.test_same import mutated, outcome

from smartconnect.kernels import (
    NO_RECORDS,
    START,
    DigestPlan,
    KernelError,
    MalformedBatch,
    RecodePlan,
    Scratch,
    encode,
    twin_digest,
    twin_forward,
    twin_rewrite,
)
from smartconnect.kernels.encode import Record
from smartconnect.kernels.forward import Part, Room
from smartconnect.kernels.twin_walk import walk

COMPILED: Any = compiled_module()

FOREIGN = [(2, 0, 0, -1), (1, 0, 1, -1), (1, 1, 0, -1), (0, 10_000, 0, -1), (0, 0, 2, -1), (-1, 0, 0, -1), (0, -1, 0, -1)]

rooms = st.builds(Room, st.integers(1, 5) | st.just(1 << 40), st.integers(1, 500) | st.just(1 << 40))
digest_plans = st.builds(DigestPlan, st.integers(0, 20), st.integers(0, 90), st.integers(1, 6), loop=st.none() | st.just(THERE))


def rewritten(rewrite: Any, parts: list[Part], plan: RecodePlan, room: Room) -> list[Any]:
    """All calls until the end, with what each wrote."""
    steps: list[Any] = []
    resume = START
    while True:
        out = bytearray()
        result = outcome(rewrite, parts, plan, room, resume, out)
        steps.append(result)
        if not hasattr(result, "finished"):
            return steps
        steps.append(bytes(out[61 : 61 + result.nbytes]))
        if result.finished:
            return steps
        resume = result.resume


@st.composite
def broken_parts(draw: st.DrawFn) -> list[Part]:
    parts = []
    for frame, records in draw(batches(max_batches=3)):
        base, last = frame.base_offset or 0, frame.last_offset or 0
        section = draw(mutated(encode.records_section(records, base, 1000)))
        time = draw(st.none() | st.integers(-1, 2**45))
        parts.append(Part(section, len(records) + draw(st.sampled_from([0, 0, 0, 1, -1])), base, last, 1000, time))
    return parts


@settings(max_examples=200, deadline=None)
@given(broken_parts(), plans, rooms)
def test_rewrite_is_the_same_on_mutated_sections(parts, plan, room):
    assert rewritten(COMPILED.rewrite, parts, plan, room) == rewritten(twin_rewrite.rewrite, parts, plan, room)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.integers(-1, 6), plans, rooms)
def test_rewrite_is_the_same_on_random_bytes(blob, count, plan, room):
    parts = [Part(blob, count, 3, 40, -5, None)]
    assert rewritten(COMPILED.rewrite, parts, plan, room) == rewritten(twin_rewrite.rewrite, parts, plan, room)


@settings(max_examples=150, deadline=None)
@given(broken_parts(), digest_plans)
def test_sums_are_the_same_on_mutated_sections(parts, plan):
    given_parts = (parts, plan, NO_RECORDS)
    assert outcome(COMPILED.sum_up, *given_parts) == outcome(twin_digest.sum_up, *given_parts)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_provenance_is_read_the_same_whatever_the_header_holds(data):
    whole = provenance(
        *[hop_of(data.draw(st.sampled_from([HOP.source, THERE])), 1, 2, 3) for _ in range(data.draw(st.integers(0, 9)))]
    )
    value = data.draw(mutated(whole))
    section = encode.records_section([Record(7, b"v", headers=(*data.draw(headers), (NAME, value)))], 7, 0)
    parts = [Part(section, 1, 7, 7, 0, None)]
    room = Room(1 << 40, 1 << 40)
    plan = RecodePlan(1 << 20, hop=HOP)
    assert rewritten(COMPILED.rewrite, parts, plan, room) == rewritten(twin_rewrite.rewrite, parts, plan, room)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whole_path_is_the_same_and_raises_kernel_errors_only(data):
    blob = data.draw(batches().map(mostly).flatmap(mutated))
    plan = data.draw(plans)
    try:
        rows = walk(blob, 0, [])
    except MalformedBatch:
        return
    results = []
    for module in (COMPILED, twin_rewrite):
        try:
            results.append(dataclasses.asdict(module.recode(blob, rows, plan, Scratch(limit=1 << 20))))
        except KernelError as error:
            results.append((type(error), str(error)))
    assert results[0] == results[1]


@pytest.mark.parametrize("kernel", ["compiled", "python"])
@pytest.mark.parametrize("resume", FOREIGN)
def test_foreign_resume_point_is_refused(kernel, resume):
    rewrite = COMPILED.rewrite if kernel == "compiled" else twin_rewrite.rewrite
    part = Part(encode.records_section([Record(0, b"v")], 0, 0), 1, 0, 0, 0, None)
    with pytest.raises(ValueError, match="does not belong"):
        rewrite([part], RecodePlan(1 << 20), Room(1, 1), resume, bytearray())


@pytest.mark.parametrize("kernel", ["compiled", "python"])
@pytest.mark.parametrize(("base", "last"), [(-1, 0), (5, 4), (0, 2**31), (2**63 - 1, 2**63 - 1)])
def test_impossible_offsets_are_refused(kernel, base, last):
    part = Part(b"", 0, base, last, 0, None)
    rewrite, sum_up = (COMPILED.rewrite, COMPILED.sum_up) if kernel == "compiled" else (twin_rewrite.rewrite, twin_digest.sum_up)
    with pytest.raises(ValueError, match="do not belong to a batch"):
        rewrite([part], RecodePlan(1 << 20), Room(1, 1), START, bytearray())
    with pytest.raises(ValueError, match="do not belong to a batch"):
        sum_up([part], DigestPlan(0, 9), NO_RECORDS)


def test_twin_reads_what_was_written():
    records = [Record(5, b"v", None, 70, ((b"h", None),)), Record(9, None, b"k", -1)]
    part = Part(encode.records_section(records, 4, 50), 2, 4, 9, 50, None)
    found = [Record(r.offset, r.value, r.key, r.timestamp, r.headers) for r in twin_forward.parsed(part, 0)]
    assert found == records
