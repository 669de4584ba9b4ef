"""Batches over the machines of a Dask cluster; the only file that knows Dask."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import pickle
import platform
import re
import threading
import uuid
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from mipverify.errors import MipverifyError, QueryError
from mipverify.runs.crew import setup_of
from mipverify.runs.duty import Duty, Queries
from mipverify.runs.executor import Job
from mipverify.runs.ledger import Ledger
from mipverify.runs.limits import Limits
from mipverify.runs.messages import Done, Failed, Heard, Task, packed
from mipverify.runs.processes import available_cores
from mipverify.runs.property_outcome import Answered
from mipverify.runs.remote import Kit, answer_here, forget, stop
from mipverify.runs.sharing import Crew, shared_out
from mipverify.verify.news import Found, News
from mipverify.verify.options import VerifyOptions

if TYPE_CHECKING:
    from distributed import Client, Future

LOGGER = logging.getLogger(__name__)
POLL_SECONDS = 0.5
SECONDS_TO_CONNECT = 20.0
SECONDS_FOR_A_WORKER = 60.0
SECONDS_TO_END = 5.0
GPU = "GPU"
ADDRESS = re.compile(r"[a-z]+://\S+")
LOCAL = re.compile(r"local(?::([1-9][0-9]*))?")


@dataclass(frozen=True)
class Cluster:
    """Answers on the workers of a Dask scheduler.

    Each batch runs in a process of its own on the machine of a worker, so that limits hold there, too, and a
    crash costs the worker nothing. Batches of lost workers are answered by others.

    Attributes:
        scheduler: its address, as `tcp://host:port`; `local:N` for N workers on this machine, `local` for as
            many as it has cores.
        limits: what the process of a batch may take.
    """

    scheduler: str
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        if not (ADDRESS.fullmatch(self.scheduler) or LOCAL.fullmatch(self.scheduler)):
            raise QueryError(
                f"{self.scheduler!r} is no scheduler: give its address, as tcp://host:8786, or local:N"
            )

    def run(self, job: Job) -> Generator[News]:
        """What is found, as it is found (see `Executor.run`)."""
        self.limits.grace(job.options.time_limit)
        _require_dask()
        device = "cuda" if job.options.device == "cuda" else "cpu"
        return self._run(job, Ledger(job, device))

    @contextmanager
    def crew(self, duty: Duty, options: VerifyOptions, _tasks: int) -> Iterator[Crew]:
        """The workers of the scheduler, for tasks of a duty; what they run is ended with the block.

        Args:
            duty: what they are there for.
            options: how they do it.

        Raises:
            QueryError: there is no Dask, or no scheduler with workers that are of use.
        """
        _require_dask()
        gpu = options.device == "cuda"
        with _connected(self.scheduler, options.threads, gpu=gpu) as client:
            _check(client, self.scheduler, gpu=gpu)
            with closing(_ClusterCrew(client, duty, options, self.limits)) as crew:
                yield crew

    def _run(self, job: Job, ledger: Ledger) -> Generator[News]:
        duty = Queries(job.network, job.options, job.eps)
        with self.crew(duty, job.options, len(ledger.todo)) as crew:
            yield from shared_out(ledger, crew)


@dataclass(eq=False)
class _Ticket:
    """A task that the scheduler has.

    Attributes:
        number: what the run calls it.
        future: its result to be.
        begun: whether anything was heard of it.
        final: its queries that have their answer.
    """

    number: int
    future: Future
    begun: bool = False
    final: set[int] = field(default_factory=set)

    def knows(self, heard: Heard) -> bool:
        """Whether this says nothing new: a task may run twice, and at its end says all again."""
        if not isinstance(heard, Found):
            return False
        known = heard.position in self.final
        if heard.final:
            self.final.add(heard.position)
        return known


class _ClusterCrew:
    """The workers of a cluster, who take as many tasks as they are given.

    Args:
        client: connected to their scheduler.
        duty: what they are there for.
        options: how they do it.
        limits: what the process of a task may take.
    """

    def __init__(self, client: Client, duty: Duty, options: VerifyOptions, limits: Limits) -> None:
        self._client = client
        self._run = f"mipverify-{uuid.uuid4().hex}"
        self._resources = {GPU: 1} if options.device == "cuda" else None
        self._heard: SimpleQueue[tuple[str, Heard | Future]] = SimpleQueue()
        self._running: dict[str, _Ticket] = {}
        client.subscribe_topic(self._run, self._posted)
        kit = Kit(self._run, setup_of(duty, limits), options.threads, limits)
        # The result of a task, not scattered data: it can be made again when those who have it are lost. The
        # scheduler takes tasks whose keys begin alike for alike: named as the others, this one would have it
        # think that batches take milliseconds, and leave them all to the worker that has the kit.
        self._kit = client.submit(pickle.loads, pickle.dumps(kit), key=f"kit-of-{self._run}")

    @property
    def busy(self) -> bool:
        """Whether some task has not ended."""
        return bool(self._running)

    def give(self, number: int, task: Task) -> bool:
        """Hand a task to the scheduler, who knows best."""
        key = f"{self._run}-{number}-{uuid.uuid4().hex}"  # a number may come again, with fewer queries
        future = self._client.submit(
            _answer,
            self._kit,
            key,
            packed(task),
            task.count,
            task.time_limit,
            key=key,
            resources=self._resources,
            pure=False,
        )
        self._running[key] = _Ticket(number, future)
        future.add_done_callback(lambda done: self._heard.put((key, done)))
        return True

    def wait(self, seconds: float = float("inf")) -> tuple[int, Heard] | None:
        """The number of a task, and what is heard of it; None when time is up.

        Raises:
            QueryError: the workers refuse the options.
            MipverifyError: the scheduler is lost.
        """
        while seconds > 0:
            try:
                key, heard = self._heard.get(timeout=min(POLL_SECONDS, seconds))
            except Empty:
                seconds -= POLL_SECONDS
                if self._client.status not in ("running", "connecting"):
                    raise MipverifyError("the connection to the scheduler was lost: see its log") from None
                continue
            ticket = self._running.get(key)
            if ticket is None:
                continue
            if not isinstance(heard, News | Answered | Done | Failed):
                self._ended(key, heard)
            elif not ticket.knows(heard):
                if isinstance(heard, Done | Failed):
                    del self._running[key]
                return ticket.number, heard
        return None

    def interrupt(self) -> None:
        """Let tasks that run end with what they know, and forget those that have not begun."""
        waiting = [key for key, ticket in self._running.items() if not ticket.begun]
        self._client.cancel([self._running.pop(key).future for key in waiting], force=True)
        self._everywhere(stop)

    def close(self) -> None:
        """End whatever is running."""
        with suppress(Exception):
            self._client.cancel(
                [*(ticket.future for ticket in self._running.values()), self._kit], force=True
            )
            self._everywhere(forget)
            self._client.unsubscribe_topic(self._run)

    def _everywhere(self, action: object) -> None:
        """Do something on all workers; one that is lost is not waited for."""
        call = threading.Thread(
            target=self._client.run, args=(action, self._run), kwargs={"on_error": "ignore"}, daemon=True
        )
        call.start()
        call.join(SECONDS_TO_END)

    def _posted(self, event: tuple[float, tuple[str, bytes]]) -> None:
        key, content = event[1]
        if key in self._running:
            self._running[key].begun = True
        self._heard.put((key, pickle.loads(content)))

    def _ended(self, key: str, future: Future) -> None:
        """Take what a task returned, or why it did not."""
        error = future.exception() if future.status == "error" else None
        if isinstance(error, QueryError):
            raise error
        if future.status == "finished":
            for heard in future.result():
                self._heard.put((key, heard))
            return
        why = f"its task was {future.status}" if error is None else f"{type(error).__name__}: {error}"
        self._heard.put((key, Failed(why)))


def _answer(kit: Kit, key: str, task: bytes, count: int, time_limit: float) -> list[Heard]:
    """One task, on a worker."""
    from distributed import get_worker

    worker = get_worker()
    return answer_here(
        kit, task, count, time_limit, lambda content: worker.log_event(kit.run, (key, content))
    )


def _require_dask() -> None:
    try:
        importlib.metadata.version("distributed")
    except importlib.metadata.PackageNotFoundError:
        raise QueryError("a cluster needs Dask: pip install 'mipverify[cluster]'") from None


def _versions() -> tuple[str, str]:
    """What must be the same everywhere."""
    version: str = importlib.import_module("mipverify").__version__
    return version, ".".join(platform.python_version_tuple()[:2])


@contextmanager
def _connected(scheduler: str, threads: int, *, gpu: bool) -> Iterator[Client]:
    import dask
    from distributed import Client, LocalCluster

    # A network travels with its task, once; that tasks are small otherwise is our own care.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "4GB"}):
        if local := LOCAL.fullmatch(scheduler):
            cluster = LocalCluster(
                n_workers=int(local.group(1) or max(1, available_cores() // threads)),
                threads_per_worker=1,
                processes=False,  # what a task does, it does in a process of its own
                dashboard_address="127.0.0.1:0",  # a free one
                resources={GPU: 1} if gpu else None,
            )
            with cluster, Client(cluster) as client:
                yield client
            return
        try:
            client = Client(scheduler, timeout=SECONDS_TO_CONNECT)
        except (OSError, ValueError) as error:
            raise QueryError(
                f"no Dask scheduler answers at {scheduler}: start one with `dask scheduler` ({error})"
            ) from error
        with client:
            yield client


def _check(client: Client, scheduler: str, *, gpu: bool) -> None:
    """Whether somebody is there, with what we have.

    Raises:
        QueryError: nobody, or with something else.
    """
    try:
        client.wait_for_workers(1, timeout=SECONDS_FOR_A_WORKER)
    except TimeoutError:
        raise QueryError(
            f"no worker has joined {scheduler}: start some with `dask worker {scheduler}`"
        ) from None
    try:
        found = client.run(_versions)
    except Exception as error:
        raise QueryError(f"the workers of {scheduler} cannot run mipverify: {error}") from error
    here = _versions()
    for worker, there in found.items():
        if there != here:
            raise QueryError(
                f"worker {worker} has mipverify {there[0]} on Python {there[1]}, and here is {here[0]} on "
                f"{here[1]}: install the same on all machines"
            )
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if gpu and not any(worker.get("resources", {}).get(GPU, 0) >= 1 for worker in workers):
        raise QueryError(f"no worker offers a {GPU}: start them with `dask worker --resources {GPU}=1`")
