"""A cluster's id goes to Kafka's tools as an argument of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions


@pytest.mark.parametrize("drawn", [b"\xf8", b"\xfb", b"\xff", b"\x00"])
def test_one_start_in_sixty_four_failed_because_the_id_began_with_a_dash(
    drawn: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: drawn * size)
    cluster_id = KafkaCluster(KafkaOptions(), tmp_path).cluster_id
    assert not cluster_id.startswith("-")
    assert len(cluster_id) == 22
