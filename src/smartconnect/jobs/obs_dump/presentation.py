"""An OBS dump's configuration as the API returns it (api.md §4.1, §4.4): every field of the table, defaults filled in, strings exactly
as sent, and never a secret. Called by the job object for create, show, modify and list.
"""

from __future__ import annotations

from collections.abc import Mapping

from smartconnect.domain.task import TaskConfig
from smartconnect.jobs.obs_dump.request import DEFAULTS, RESPONSE_CONSTANTS


def shown(config: TaskConfig) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """(source_task, sink_task): the unused side is {}. `agency_name` is echoed when it was sent."""
    return {}, {"obs_bucket_name": "", **DEFAULTS, **config.sink_task, **RESPONSE_CONSTANTS}
