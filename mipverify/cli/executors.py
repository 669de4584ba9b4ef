"""Who answers: this process, worker processes, or a cluster, as the command line says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mipverify.cli import parsing
from mipverify.errors import QueryError
from mipverify.runs.limits import Limits

if TYPE_CHECKING:
    from mipverify.runs.cluster import Cluster
    from mipverify.runs.processes import Processes


def chosen_executor(
    workers: int, hard_limit: float | None, memory_limit: str | None, scheduler: str | None
) -> Processes | Cluster | None:
    """Who was chosen; None where nothing is asked for but a number of workers.

    Raises:
        QueryError: limits that make no sense, or two places at once.
    """
    memory = None if memory_limit is None else parsing.size(memory_limit, "--memory-limit")
    limits = Limits(hard_limit, memory)
    if scheduler is not None:
        from mipverify.runs.cluster import Cluster

        if workers != 1:
            raise QueryError(
                "--workers is for processes of this machine, without --scheduler: give one of them, "
                "or --scheduler local:N"
            )
        return Cluster(scheduler, limits)
    if limits == Limits():
        return None
    from mipverify.runs.processes import Processes

    return Processes(workers, limits)
