"""Choices that more than one kind of task offers (api.md §4)."""

from __future__ import annotations

import enum


class ConsumerStrategy(enum.StrEnum):
    """Where a run begins with what is there when it begins."""

    LATEST = "latest"
    EARLIEST = "earliest"


class OnGap(enum.StrEnum):
    """What to do when records are gone before they were read: go on behind them, or stop the partition."""

    CONTINUE = "continue"
    STOP = "stop"
