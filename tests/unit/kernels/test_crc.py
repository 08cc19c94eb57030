"""`crc32c`: one sum over many stretches, the same in both forms and with and without the processor's instruction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.kernels.conftest import compiled_module

from smartconnect.kernels import BytesLike, twin_crc

COMPILED = compiled_module()
Crc = Callable[[Sequence[BytesLike]], int]


@pytest.fixture(params=["instruction", "tables", "python"])
def crc32c(request: pytest.FixtureRequest) -> Iterator[Crc]:
    if request.param == "python":
        yield twin_crc.crc32c
        return
    before = COMPILED.use_crc_instruction(request.param == "instruction")
    yield COMPILED.crc32c
    COMPILED.use_crc_instruction(before)


def test_the_standard_vector_however_it_is_divided(crc32c: Crc) -> None:
    for at in range(10):
        assert crc32c([b"123456789"[:at], bytearray(b"123456789"[at:])]) == 0xE3069283
    assert crc32c([]) == crc32c([b"", memoryview(b"")]) == 0


@given(st.lists(st.binary(max_size=2000), max_size=6), st.integers(0, 40_000))
def test_both_forms_agree(stretches: list[bytes], zeros: int) -> None:
    stretches.append(bytes(zeros))
    assert COMPILED.crc32c(stretches) == twin_crc.crc32c(stretches) == COMPILED.crc32c([b"".join(stretches)])


def test_what_is_no_memory_is_refused_and_nothing_is_kept(crc32c: Crc) -> None:
    block = bytearray(8)
    with pytest.raises(TypeError):
        crc32c([block, "text"])  # type: ignore[list-item]
    block.append(1)  # a view that is still held would forbid it
