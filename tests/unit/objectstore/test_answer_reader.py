"""Answers to parts are read right however they arrive, and whatever is none ends in an error, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.objectstore.answer_reader import MOST_BODY_BYTES, MOST_HEAD_BYTES, AnswerReader, NotHttp
from smartconnect.objectstore.answers import Answer

OK = b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 4\r\n\r\nbody'
CHUNKED = b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n<Erro\r\n2\r\nr>\r\n0\r\n\r\n"


def read(data: bytes, *, cuts: list[int] | None = None, ends: bool = False) -> tuple[Answer | None, bool]:
    """The answer of all pieces, and whether the connection may be used again."""
    reader, answer = AnswerReader(), None
    at = 0
    for cut in [*sorted(cuts or []), len(data)]:
        assert answer is None or not data[at:cut]
        answer = reader.feed(data[at:cut]) or answer
        at = max(at, cut)
    if ends and answer is None:
        answer = reader.ended()
    return answer, reader.reusable


@given(st.sampled_from([OK, CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + OK]), st.data())
def test_any_division_of_the_bytes_gives_the_same_answer(data: bytes, draw: st.DataObject) -> None:
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=5))
    assert read(data, cuts=cuts) == read(data)
    assert read(data)[0] is not None
    assert all(read(data[:end])[0] is None for end in range(len(data)))


def test_status_fields_and_body() -> None:
    answer, reusable = read(OK)
    assert answer == Answer(200, {"etag": '"x"', "content-length": "4"}, b"body")
    assert reusable
    answer, _ = read(CHUNKED)
    assert answer is not None
    assert (answer.status, answer.body) == (400, b"<Error>")


@pytest.mark.parametrize(
    ("data", "reusable"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200\r\ncontent-length:0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore", False),
    ],
)
def test_whether_the_connection_may_be_used_again(data: bytes, reusable: bool) -> None:
    answer, found = read(data)
    assert answer is not None
    assert answer.body == b""
    assert found is reusable


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    answer, reusable = read(b"HTTP/1.1 200 OK\r\n\r\nall of it", ends=True)
    assert answer is not None
    assert answer.body == b"all of it"
    assert not reusable


@pytest.mark.parametrize("cut", [b"", OK[:10], OK[:-1], CHUNKED[:-2]])
def test_what_is_cut_off_is_no_answer(cut: bytes) -> None:
    assert read(cut, ends=True)[0] is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no status line"),
        (b"HTTP/2 200 OK\r\n\r\n", "no status line"),
        (b"HTTP/1.1 99 Low\r\n\r\n", "no status line"),
        (b"HTTP/1.1 200 OK\r\nno field\r\n\r\n", "no field"),
        (b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", "no field"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "no number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "no number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", "longer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "cannot be told"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", "cannot be told"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "no length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", "longer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n", "another length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 5000, "too long"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MOST_BODY_BYTES + 1), "longer"),
        (b"x" * (MOST_HEAD_BYTES + 1), "longer"),
    ],
)
def test_what_is_no_answer_says_so(data: bytes, reason: str) -> None:
    with pytest.raises(NotHttp, match=reason):
        read(data)


@given(st.binary(max_size=300))
def test_any_bytes_end_in_an_answer_more_to_come_or_an_error(data: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", CHUNKED[:70]):
        try:
            read(prefix + data, ends=True)
        except NotHttp:
            continue
