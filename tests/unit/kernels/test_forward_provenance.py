"""The provenance header: added, lengthened, replaced where it is not ours; records that went in a circle or too far are left out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.kernels.conftest import compiled_module
from tests.unit.kernels.forward_reference import HERE, HOP, NAME, THERE, hop_of, hops_in, provenance, written

from smartconnect.kernels import Codec, Hop, Place, RecodePlan, Scratch, encode, twin_rewrite
from smartconnect.kernels.encode import Frame, Record
from smartconnect.kernels.twin_forward import hops
from smartconnect.kernels.twin_walk import walk

PLAN = RecodePlan(1 << 20, hop=HOP)
EARLIER = hop_of(Place("elsewhere", "raw"), 0, 4, 1_600_000_000_000)


@pytest.fixture(params=["compiled", "python"])
def forwarded(request):
    """What becomes of records with the given headers (offsets from 123 on): headers of each record that is written, and the result."""
    implementation = twin_rewrite if request.param == "python" else compiled_module()

    def call(*headers, plan=PLAN, codec=Codec.NONE):
        data = encode.batch([Record(123 + i, b"v", headers=each) for i, each in enumerate(headers)], Frame(codec=codec))
        result = implementation.recode(data, walk(data, 0, []), plan, Scratch())
        return [record.headers for record in written(result)], result

    return call


@pytest.mark.parametrize("codec", Codec)
def test_header_is_added_behind_the_others(forwarded, codec):
    (headers,), _result = forwarded(((b"a", b"1"), (b"", None)), codec=codec)
    value = b'{"v":1,"hops":[{"c":"source-cluster","t":"orders","p":3,"o":123,"ts":1708427753133}]}'
    assert headers == ((b"a", b"1"), (b"", None), (NAME, value))


def test_every_record_names_its_own_offset(forwarded):
    headers, _result = forwarded((), (), ())
    assert [json.loads(value)["hops"][0]["o"] for ((_name, value),) in headers] == [123, 124, 125]


def test_header_that_is_there_gets_one_more_hop_in_its_place(forwarded):
    (headers,), _result = forwarded(((b"a", b"1"), (NAME, provenance(EARLIER)), (b"z", b"2")))
    mine = hop_of(HERE, 3, 123, HOP.timestamp)
    assert headers == ((b"a", b"1"), (NAME, provenance(EARLIER, mine)), (b"z", b"2"))


def test_number_of_headers_may_need_a_longer_number(forwarded):
    many = tuple((b"%d" % i, b"") for i in range(63))
    (headers,), _result = forwarded(many)
    assert headers[:63] == many and headers[63][0] == NAME


def test_record_that_was_at_the_target_is_left_out(forwarded):
    there = hop_of(THERE, 1, 9, 5)
    headers, result = forwarded((), ((NAME, provenance(there)),), ((NAME, provenance(EARLIER, there, EARLIER)),), ())
    assert len(headers) == 2 and (result.looped, result.records_in, result.next_offset) == (2, 4, 127)
    assert result.batches[0].stretches == ((123, 1, 0), (126, 1, 1))


@pytest.mark.parametrize(
    "place",
    [
        Place(THERE.cluster_id, HERE.topic),
        Place(HERE.cluster_id, THERE.topic),
        Place(THERE.cluster_id, THERE.topic + "s"),
        Place(THERE.cluster_id, THERE.topic[:-1]),
        Place("x" + THERE.cluster_id, THERE.topic),
    ],
)
def test_other_place_is_no_loop(forwarded, place):
    headers, result = forwarded(((NAME, provenance(hop_of(place, 1, 2, 3))),))
    assert len(headers) == 1 and result.looped == 0


def test_loop_is_seen_in_a_second_header_too(forwarded):
    headers, result = forwarded(((NAME, provenance(EARLIER)), (NAME, provenance(hop_of(THERE, 0, 0, 0)))))
    assert headers == [] and result.looped == 1


def test_second_header_is_never_made_and_one_that_is_there_stays(forwarded):
    (headers,), _result = forwarded(((NAME, provenance(EARLIER)), (NAME, b"theirs")))
    assert [name for name, _value in headers] == [NAME, NAME] and headers[1] == (NAME, b"theirs")
    assert len(hops_in(headers[0][1])) == 2


@pytest.mark.parametrize(("before", "kept"), [(7, 1), (8, 0), (9, 0)])
def test_more_than_eight_hops_are_too_far(forwarded, before, kept):
    headers, result = forwarded(((NAME, provenance(*[EARLIER] * before)),))
    assert (len(headers), result.far) == (kept, 1 - kept)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{}",
        b'{"v":1,"hops":[]}',
        b'{"v":2,"hops":[{"c":"a","t":"b","p":1,"o":2,"ts":3}]}',
        b'{"v":1,"hops":[{"c":"a","t":"b","p":1,"o":2,"ts":3}]',
        b'{"v":1,"hops":[{"c":"a","t":"b","p":1,"o":2,"ts":3}]} ',
        b'{"v":1,"hops":[{"c":"a","t":"b","p":1,"o":2,"ts":3},]}',
        b'{"v":1,"hops":[{"c":"a","t":"b","p":,"o":2,"ts":3}]}',
        b'{"v":1,"hops":[{"c":"a","t":"b\\","p":1,"o":2,"ts":3}]}',
        b'{"v":1,"hops":[{"t":"b","c":"a","p":1,"o":2,"ts":3}]}',
        b'{"v":1, "hops":[{"c":"a","t":"b","p":1,"o":2,"ts":3}]}',
        b'{"v":1,"hops":[{"c":"target-cluster","t":"A.orders","p":1',
    ],
)
def test_value_that_is_not_ours_is_replaced(forwarded, value):
    (headers,), result = forwarded(((b"a", b"1"), (NAME, value), (b"z", b"2")))
    assert headers == ((b"a", b"1"), (NAME, provenance(hop_of(HERE, 3, 123, HOP.timestamp))), (b"z", b"2"))
    assert result.looped == 0


def test_names_that_json_escapes_are_found_again(forwarded):
    odd = Place('quo"te\\', "tö.pic")
    plan = RecodePlan(1 << 20, hop=Hop(odd, 0, 1, loop=THERE))
    (headers,), _result = forwarded((), plan=plan)
    assert hops_in(headers[0][1]) == [hop_of(odd, 0, 123, 1)]
    back = RecodePlan(1 << 20, hop=Hop(THERE, 0, 1, loop=odd))
    assert forwarded(headers, plan=back)[1].looped == 1


def test_without_a_hop_headers_stay_whatever_they_are(forwarded):
    given_headers = ((NAME, provenance(hop_of(THERE, 0, 0, 0))), (NAME, None))
    (headers,), result = forwarded(given_headers, plan=RecodePlan(1 << 20))
    assert headers == given_headers and result.looped == 0


@given(st.lists(st.builds(hop_of, st.builds(Place, st.text(), st.text()), st.integers(), st.integers(), st.integers()), min_size=1))
def test_whatever_names_a_hop_has_it_is_read_back(made):
    assert [json.loads(hop) for hop in hops(provenance(*made))] == made
