"""Figures of `gpu.py`: how a piece of work is timed, and sweeps over batch sizes."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import torch

from benchmarks.gpu_work import TooSmallError, Work

MIB = 1 << 20


@dataclass(frozen=True)
class Figure:
    """One measurement.

    Attributes:
        what: kind of work.
        batch: samples, or nodes split at once.
        restarts: random starts of each sample and target, for gradient steps.
        rate: count per second, the best of the repeats.
        seconds: of that repeat, by `clock_of`.
        peak_mib: most memory that torch held on the GPU, in MiB; None on a CPU.
        verdicts: how many samples got which.
    """

    network: str
    what: str
    device: str
    dtype: str
    batch: int
    restarts: int | None
    rate: float
    seconds: float
    peak_mib: float | None
    verdicts: str = ""

    def row(self) -> str:
        """A row of the table."""
        restarts = "" if self.restarts is None else str(self.restarts)
        peak = "" if self.peak_mib is None else f"{self.peak_mib:.0f}"
        numbers = f"{self.batch:>6}{restarts:>9}{self.rate:>13.1f}{self.seconds:>10.3f}{peak:>10}"
        names = f"{self.network:<20}{self.what:<11}{self.device:<7}{self.dtype:<9}"
        return f"{names}{numbers}  {self.verdicts}".rstrip()


HEADER = (
    f"{'network':<20}{'what':<11}{'device':<7}{'dtype':<9}{'batch':>6}{'restarts':>9}"
    f"{'per second':>13}{'seconds':>10}{'peak MiB':>10}"
)


@dataclass(frozen=True)
class Sweep:
    """One kind of work in growing sizes.

    Attributes:
        what, restarts: see `Figure`.
        sizes: batch sizes, growing.
        make: the work of a size.
    """

    what: str
    sizes: Sequence[int]
    make: Callable[[int], Work]
    restarts: int | None = None

    def figures(
        self, network: str, device: torch.device, dtype: str, *, repeats: int, budget: float
    ) -> Iterator[Figure]:
        """The figures of the sizes that fit in memory and are expected to take `budget` seconds at most."""
        known: tuple[int, float] | None = None
        for size in self.sizes:
            # At worst the time grows as the size does.
            if known is not None and known[1] * size / known[0] * (repeats + 1) > budget:
                return
            try:
                rate, seconds, peak = timed(self.make(size), device, repeats)
            except TooSmallError:
                return
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                return
            known = size, seconds
            yield Figure(network, self.what, device.type, dtype, size, self.restarts, rate, seconds, peak)


def timed(work: Work, device: torch.device, repeats: int) -> tuple[float, float, float | None]:
    """The highest count per second of some repeats after one to warm up, its seconds, and the peak memory."""
    on_gpu, clock = device.type == "cuda", clock_of(device)

    def once() -> tuple[float, float]:
        synchronise(device)
        begin = clock()
        count = work()
        synchronise(device)
        seconds = clock() - begin
        return count / seconds, seconds

    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    once()
    rate, seconds = max(once() for _ in range(repeats))
    return rate, seconds, torch.cuda.max_memory_allocated(device) / MIB if on_gpu else None


def clock_of(device: torch.device) -> Callable[[], float]:
    """Processor time on one thread of a CPU, to which other work adds little; else wall time."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def write_csv(path: Path, figures: Sequence[Figure]) -> None:
    """One row a figure, with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(field.name for field in fields(Figure))
        rows.writerows(map(astuple, figures))
