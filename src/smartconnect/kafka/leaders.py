"""Asking many partitions' leaders the same question, each leader once, in parallel. Used by `offsets` and `admin`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from smartconnect.domain.errors import ClusterUnreachable
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import LEADER_MOVED, KafkaCode
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.errors import ConnectionLost
from smartconnect.kafka.types import TopicPartition

Q = TypeVar("Q")
R = TypeVar("R")
_ANSWERS_WITHIN_S: Final = 5.0
_FOLLOWED_S: Final = 1.0

Ask = Callable[[Connection, Mapping[TopicPartition, tuple[Q, int]]], Awaitable[dict[TopicPartition, R | KafkaCode]]]
"""Ask one leader about its partitions: question and leader epoch of each; the answer, or the partition's code."""


async def ask_leaders(
    cluster: Cluster, questions: Mapping[TopicPartition, Q], ask: Ask[Q, R], *, patience_s: float | None = None
) -> dict[TopicPartition, R | KafkaCode]:
    """An answer or the last code for every partition. Leaders that move are followed for `patience_s` (default: the cluster's); a
    partition that the cluster does not have is answered UNKNOWN_TOPIC_OR_PARTITION at once. ClusterUnreachable where
    brokers do not answer for that long."""
    answers: dict[TopicPartition, R | KafkaCode] = {}
    patience_s = cluster.timing.patience_s if patience_s is None else patience_s
    open_questions = dict(questions)
    started, pauses = cluster.clock(), cluster.pauses(cluster.timing.shortest_pause_s, cluster.timing.longest_pause_s)
    while open_questions:
        lost = await _one_round(cluster, open_questions, ask, answers)
        for tp in [tp for tp in open_questions if not _again(answers[tp])]:
            del open_questions[tp]
        if not open_questions:
            break
        cluster.leaders.invalidate({tp.topic for tp in open_questions})
        pause = pauses.next()
        if cluster.clock() - started + pause > patience_s:
            if lost is not None:
                raise ClusterUnreachable(f"leaders of Kafka cluster {cluster.bootstrap_servers} do not answer: {lost}")
            break
        await asyncio.sleep(pause)
    return answers


async def ask_leaders_now(
    cluster: Cluster, questions: Mapping[TopicPartition, Q], ask: Ask[Q, R]
) -> dict[TopicPartition, R | KafkaCode]:
    """As `ask_leaders`, for who has other partitions to see to: a leader that is away, or does not answer within 5 s, costs the answers
    about its own partitions (a code of RETRIABLE), and a partition without a leader is not waited for."""
    answers: dict[TopicPartition, R | KafkaCode] = dict.fromkeys(questions, KafkaCode.REQUEST_TIMED_OUT)
    started, pauses = cluster.clock(), cluster.pauses(cluster.timing.shortest_pause_s, cluster.timing.longest_pause_s)
    open_questions = dict(questions)
    with contextlib.suppress(TimeoutError, ConnectionLost, ClusterUnreachable):
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            while True:
                await _one_round(cluster, open_questions, ask, answers)
                open_questions = {tp: question for tp, question in open_questions.items() if _moves(answers[tp])}
                pause = pauses.next()
                if not open_questions or cluster.clock() - started + pause > _FOLLOWED_S:
                    break
                cluster.leaders.invalidate({tp.topic for tp in open_questions})
                await asyncio.sleep(pause)
    return answers


async def _one_round(
    cluster: Cluster,
    questions: Mapping[TopicPartition, Q],
    ask: Ask[Q, R],
    answers: dict[TopicPartition, R | KafkaCode],
) -> Exception | None:
    """Ask each leader once and note the answers; the reason why one did not answer, if so."""
    leaders = await cluster.leaders_of(questions)
    by_node: dict[int, dict[TopicPartition, tuple[Q, int]]] = {}
    for tp, question in questions.items():
        if tp in leaders:
            node, epoch = leaders[tp]
            by_node.setdefault(node, {})[tp] = (question, epoch)
        else:
            answers[tp] = _without_leader(cluster, tp)

    async def of_node(node: int, part: dict[TopicPartition, tuple[Q, int]]) -> Exception | None:
        try:
            answered = await ask(await cluster.connection(node), part)
        except (ConnectionLost, ClusterUnreachable) as error:
            answers.update(dict.fromkeys(part, KafkaCode.NETWORK_EXCEPTION))
            return error
        answers.update({tp: answered.get(tp, KafkaCode.UNKNOWN_SERVER_ERROR) for tp in part})
        return None

    lost = await asyncio.gather(*(of_node(node, part) for node, part in by_node.items()))
    return next((error for error in lost if error is not None), None)


def _again(answer: object) -> bool:
    if not isinstance(answer, KafkaCode):
        return False
    return answer in LEADER_MOVED or answer in (KafkaCode.NETWORK_EXCEPTION, KafkaCode.REQUEST_TIMED_OUT)


def _moves(answer: object) -> bool:
    return isinstance(answer, KafkaCode) and answer in LEADER_MOVED and answer is not KafkaCode.LEADER_NOT_AVAILABLE


def _without_leader(cluster: Cluster, tp: TopicPartition) -> KafkaCode:
    known = cluster.leaders.topic(tp.topic)
    if known is None:
        return KafkaCode.LEADER_NOT_AVAILABLE
    if known.error is not None and known.error not in LEADER_MOVED:
        return known.error
    return KafkaCode.LEADER_NOT_AVAILABLE if tp.partition in known.partitions else KafkaCode.UNKNOWN_TOPIC_OR_PARTITION
