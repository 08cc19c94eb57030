"""The service with the toy job in place of the real ones: `python -m tests.support.toy_app <role> <options>`, as `smartconnect.app`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from smartconnect import app

if TYPE_CHECKING:
    from smartconnect.domain.clock import Clock
    from smartconnect.domain.task import Kind
    from smartconnect.engine.job import Job
    from smartconnect.settings import Settings

MODULE = "tests.support.toy_app"


def make_jobs(settings: Callable[[], Settings], clock: Clock) -> Mapping[Kind, Job]:
    """Imported late, as the real ones are."""
    from tests.support.toy_job import ToyJob

    return {job.kind: job for job in [ToyJob()]}


if __name__ == "__main__":
    sys.exit(app.main(sys.argv[1:], module=MODULE, jobs=make_jobs))
