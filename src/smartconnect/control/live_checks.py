"""Live checks of one call, all together within `check_timeout_s`: a check that does not answer in time is a problem like others
(api.md §4.5); and what a job decides once before a configuration is stored. Called at create, modify and validate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from smartconnect.control.call import CallContext, ControlParts
from smartconnect.domain.errors import RegistryUnreachable, SmartConnectError
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import TaskConfig
from smartconnect.engine.job import Job, Resolved


async def run_checks(
    parts: ControlParts, call: CallContext, job: Job, config: TaskConfig, secrets: Mapping[str, Secret]
) -> Sequence[Problem]:
    """Everything the job's live checks find, warnings included. Never raises for what a cluster or store does."""
    limit_s = parts.policy().check_timeout_s
    side = _side(config)
    try:
        async with asyncio.timeout(limit_s):
            return await job.check(call.instance.id, config, secrets)
    except TimeoutError:
        return [Problem(side, f"the live checks had no answer within {limit_s:g} s", ProblemKind.LIVE)]
    except RegistryUnreachable:
        raise
    except SmartConnectError as error:
        return [Problem(side, str(error), ProblemKind.LIVE)]


async def run_resolve(
    instance_id: str, job: Job, config: TaskConfig, secrets: Mapping[str, Secret], earlier: TaskConfig | None = None
) -> Resolved:
    """What `Job.resolve` makes of the configuration; an error of the settings or of a cluster is a problem like others."""
    try:
        return await job.resolve(instance_id, config, secrets, earlier)
    except RegistryUnreachable:
        raise
    except SmartConnectError as error:
        return Resolved(config, [Problem(_side(config), str(error), ProblemKind.LIVE)])


def _side(config: TaskConfig) -> str:
    return "source_task" if config.source_task else "sink_task"
