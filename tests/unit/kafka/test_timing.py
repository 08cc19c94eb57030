"""Asking again: how long, and what is said when it was in vain."""

from __future__ import annotations

import pytest

from smartconnect.domain.errors import AuthenticationFailed, ClusterUnreachable
from smartconnect.kafka import timing as timing_module
from smartconnect.kafka.codes import KafkaCode, failure
from smartconnect.kafka.errors import BrokerRefused, ConnectionLost
from smartconnect.kafka.timing import Pauses, Timing, TryAgain, persist


class Time:
    """A clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        monkeypatch.setattr(timing_module.asyncio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


async def tried(time: Time, failures: list[Exception], patience_s: float = 30.0) -> str:
    async def attempt() -> str:
        if failures:
            raise failures.pop(0)
        return "done"

    return await persist(attempt, timing=Timing(patience_s=patience_s), clock=lambda: time.now, random=lambda: 0.999)


async def test_lost_answers_and_passing_codes_are_asked_again(time: Time) -> None:
    failures = [ConnectionLost("x"), TryAgain("do it", KafkaCode.NOT_CONTROLLER), ClusterUnreachable("y")]
    assert await tried(time, failures) == "done"
    assert len(time.slept) == 3 and all(0.05 <= pause <= 5.0 for pause in time.slept)
    assert time.slept == sorted(time.slept)


async def test_last_reason_is_told_when_patience_ends(time: Time) -> None:
    with pytest.raises(BrokerRefused, match="cannot do it: NOT_CONTROLLER") as refused:
        await tried(time, [TryAgain("do it", KafkaCode.NOT_CONTROLLER)] * 1000)
    assert refused.value.kafka_code is KafkaCode.NOT_CONTROLLER
    assert 20 < sum(time.slept) <= 30


async def test_without_patience_the_first_failure_is_told(time: Time) -> None:
    with pytest.raises(ClusterUnreachable, match="nobody"):
        await tried(time, [ClusterUnreachable("nobody")], patience_s=0.0)
    assert time.slept == []


async def test_what_waiting_does_not_cure_is_told_at_once(time: Time) -> None:
    with pytest.raises(AuthenticationFailed):
        await tried(time, [AuthenticationFailed("wrong password")])


def test_pauses_begin_anew_after_a_success() -> None:
    pauses = Pauses(0.05, 5.0, lambda: 0.999)
    grown = [pauses.next() for _ in range(12)]
    assert grown[0] == 0.05 and grown[-1] > 4.9
    pauses.restart()
    assert pauses.next() == 0.05


def test_unknown_codes_have_a_name() -> None:
    assert failure(0) is None
    code = failure(4711)
    assert code is not None and (code.name, int(code)) == ("CODE_4711", 4711)
    assert failure(-1) is KafkaCode.UNKNOWN_SERVER_ERROR
