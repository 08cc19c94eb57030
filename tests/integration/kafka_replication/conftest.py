"""What several stories of one unit use."""

from __future__ import annotations

import pytest

from smartconnect.jobs.kafka_replication import topic_keeper


@pytest.fixture
def looks_at_its_intervals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit in the test's own process does not look at its topics once more soon after its start. That look would find what the test does
    in the meantime: make a deleted target again, or keep what it saw until the next one."""
    monkeypatch.setattr(topic_keeper, "_SOON_TRIES", 0)
