"""Meters of one process, their way through JSON, and the Prometheus text of all of them."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from smartconnect.telemetry.loop_lag import WINDOW_S, LoopLag, measured_loop
from smartconnect.telemetry.meters import Meters, Sample
from smartconnect.telemetry.names import ALL_METRICS, DUMP_COMMIT, LOOP_LAG, UNIT_COUNTER, UNIT_LAG_RECORDS, UNITS, WORKER_UP
from smartconnect.telemetry.prometheus import render


def _through_json(meters: Meters) -> list[Sample]:
    return [(name, tuple(labels), value) for name, labels, value in json.loads(json.dumps(meters.snapshot()))]


def test_names_are_unique_and_follow_the_rules() -> None:
    names = [metric.name for metric in ALL_METRICS]
    assert len(set(names)) == len(names)
    for metric in ALL_METRICS:
        assert metric.name.startswith("smartconnect_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.help.endswith(".")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert sorted(metric.buckets) == list(metric.buckets)


def test_wrong_number_of_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="smartconnect_units"):
        Meters().set(UNITS, 1)


def test_forgotten_unit_leaves_no_sample_and_others_stay() -> None:
    meters = Meters()
    meters.set(UNIT_COUNTER, 5, ("t1", "dump-1-0", "records_out"))
    meters.set(UNIT_LAG_RECORDS, 5, ("t1", "dump-1-0"))
    meters.set(UNIT_LAG_RECORDS, 7, ("t1", "dump-1-1"))
    meters.forget(("t1", "dump-1-0"), [UNIT_COUNTER, UNIT_LAG_RECORDS])
    left = [sample for sample in meters.snapshot() if "unit" in sample[0]]
    assert left == [(UNIT_LAG_RECORDS.name, ("t1", "dump-1-1"), 7.0)]


def test_snapshot_has_memory_and_cpu_of_the_process() -> None:
    values = {name: value for name, _, value in Meters().snapshot()}
    assert values["smartconnect_resident_bytes"] > 1 << 20
    assert values["smartconnect_cpu_seconds_total"] > 0


def test_rendered_text_is_read_by_prometheus_with_a_label_for_each_process() -> None:
    first, second = Meters(), Meters()
    first.add(UNIT_COUNTER, 3, ('a"b\\c\nd', "dump-1-0", "records_out"))
    second.set(WORKER_UP, 1)
    text = render({"worker-0": _through_json(first), "worker-1": _through_json(second)})
    families = {family.name: family for family in text_string_to_metric_families(text)}
    sample = families["smartconnect_unit_counter"].samples[0]
    assert sample.labels == {"process": "worker-0", "task": 'a"b\\c\nd', "unit": "dump-1-0", "name": "records_out"}
    assert sample.value == 3
    assert families["smartconnect_worker_up"].samples[0].labels == {"process": "worker-1"}
    assert {s.labels["process"] for s in families["smartconnect_resident_bytes"].samples} == {"worker-0", "worker-1"}


def test_a_histogram_is_read_by_prometheus_and_goes_as_a_whole() -> None:
    meters = Meters()
    for seconds in (0.01, 0.05, 3.0, 100.0):
        meters.observe(DUMP_COMMIT, seconds, ("t1",))
    text = render({"worker-0": _through_json(meters)})
    family = next(each for each in text_string_to_metric_families(text) if each.name == DUMP_COMMIT.name)
    assert family.type == "histogram"
    found = {sample.labels.get("le", sample.name.rpartition("_")[2]): sample.value for sample in family.samples}
    assert found == {"0.01": 1, "0.1": 2, "1": 2, "10": 3, "+Inf": 4, "count": 4, "sum": pytest.approx(103.06)}
    assert {sample.labels["task"] for sample in family.samples} == {"t1"}
    meters.forget(("t1",), [DUMP_COMMIT])
    assert DUMP_COMMIT.name not in render({"worker-0": _through_json(meters)})


def test_unknown_or_malformed_samples_are_left_out() -> None:
    assert render({"worker-0": [("nobody_knows", (), 1.0), (UNITS.name, (), 1.0)]}).strip() == ""


def test_loop_lag_keeps_the_worst_of_the_window_and_forgets_it() -> None:
    meters, lag = Meters(), LoopLag()
    lag.note(100.0, 0.001)
    lag.note(100.5, 0.5)
    lag.note(104.0, 0.002)
    lag.measure(104.0, meters)
    assert meters.value(LOOP_LAG) == 0.5
    lag.measure(105.0 + WINDOW_S, meters)
    assert meters.value(LOOP_LAG) == 0
    lag.note(106.0 + WINDOW_S, 0.003)
    lag.measure(106.0 + WINDOW_S, meters)
    assert meters.value(LOOP_LAG) == 0.003


def test_single_hold_of_the_loop_is_measured_exactly() -> None:
    lag, meters = LoopLag(), Meters()
    ticking = [0.0]

    async def life() -> None:
        await asyncio.sleep(0)
        ticking[0] += 0.007  # what a call that holds the loop for 7 ms does to the clock
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=lambda: measured_loop(lag, lambda: ticking[0])) as runner:
        runner.run(life())
    lag.measure(ticking[0], meters)
    assert meters.value(LOOP_LAG) == 0.007


def test_waiting_is_no_lag() -> None:
    lag, meters = LoopLag(), Meters()
    with asyncio.Runner(loop_factory=lambda: measured_loop(lag)) as runner:
        runner.run(asyncio.sleep(0.3))
    lag.measure(time.monotonic(), meters)
    assert meters.value(LOOP_LAG) < 0.3
