"""The benchmark's longest wait of a reader, from the times at which records arrived."""

from __future__ import annotations

import time

from bench.kafka_replication.pause import longest_wait_ms

SEEN = [1.0, 1.01, 1.5, 1.51, 3.51, 3.52, time.time()]


def test_longest_wait_is_between_two_arrivals() -> None:
    assert longest_wait_ms(SEEN, 1.0, 1.505) == 490.0


def test_wait_that_began_before_the_time_counts_whole() -> None:
    assert longest_wait_ms(SEEN, 2.0, 3.0) == 2000.0


def test_reader_that_still_waits_has_waited_until_now() -> None:
    begun = time.time() - 5
    assert longest_wait_ms([begun - 1, begun], begun, time.time()) >= 5000
