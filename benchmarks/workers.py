"""How much sooner a set is answered by two workers, and by a Dask cluster of two, than by one worker.

    python -m benchmarks.workers models/mnist_conv_pgd.onnx --eps 0.1 -n 40 --time-limit 20
    python -m benchmarks.workers models/digits_mlp.onnx -n 40                  # distances, without --eps

Runs alternate (one, many, many, one), each with the start of its workers and all else that a run needs but
the loading of network and data; ratios of their mean wall seconds are printed, with the load of the machine.
`--through EXECUTOR` names what to measure: `serial`, `processes:N`, `local:N`, or the address of a scheduler.
Answers are compared.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from dataclasses import dataclass
from statistics import mean

import numpy as np

import mipverify
from mipverify.runs.executor import Executor
from mipverify.runs.processes import Processes
from mipverify.runs.serial import Serial


@dataclass(frozen=True)
class Run:
    """One pass over the set.

    Attributes:
        wall: seconds from the question to the last answer.
        cpu: processor seconds of this process and its children that have ended.
        answers: status and interval of each sample.
    """

    wall: float
    cpu: float
    answers: list[tuple[str, float, float]]


def executor_named(text: str) -> Executor:
    """`serial`, `processes:N`, `local:N` or an address."""
    if text == "serial":
        return Serial()
    if text.startswith("processes:"):
        return Processes(int(text.removeprefix("processes:")))
    return mipverify.Cluster(text)


def run(network: mipverify.Network, arguments: argparse.Namespace, executor: Executor) -> Run:
    """Ask once, of all samples."""
    data = mipverify.load_dataset(None, input_size=network.graph.input_size)
    points = data.inputs[arguments.start : arguments.start + arguments.n]
    labels = None if data.labels is None else data.labels[arguments.start : arguments.start + arguments.n]
    options = mipverify.VerifyOptions(time_limit=arguments.time_limit)
    before, began = _cpu(), time.perf_counter()
    if arguments.eps is None:
        found = mipverify.distance_batch(network, points, labels, options=options, workers=executor)
    else:
        found = mipverify.certify_batch(
            network, points, labels, eps=arguments.eps, options=options, workers=executor
        )
    answers = [(c.status.value, c.lower, c.upper) for c in found]
    return Run(time.perf_counter() - began, _cpu() - before, answers)


def _cpu() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def differing(one: Run, other: Run) -> int:
    """Samples whose answers are not the same to the last bit."""
    return sum(a != b for a, b in zip(one.answers, other.answers, strict=True))


def main() -> None:
    """Measure, and print a line a run and a ratio an executor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("--eps", type=float)
    parser.add_argument("-n", type=int, default=40)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--time-limit", type=float, default=120.0)
    parser.add_argument("--base", default="processes:1")
    parser.add_argument("--through", action="append", metavar="EXECUTOR")
    arguments = parser.parse_args()
    network = mipverify.load(arguments.network)
    for name in arguments.through or ["processes:2", "local:2"]:
        runs: dict[str, list[Run]] = {arguments.base: [], name: []}
        for executor in (arguments.base, name, name, arguments.base):
            load = os.getloadavg()[0]
            found = run(network, arguments, executor_named(executor))
            runs[executor].append(found)
            print(
                f"{executor:14} {found.wall:7.1f} s, {found.cpu:7.1f} CPU s, load before {load:.1f}",
                flush=True,
            )
        one, many = runs[arguments.base], runs[name]
        ratio = mean(r.wall for r in one) / mean(r.wall for r in many)
        overhead = mean(r.cpu for r in many) / mean(r.cpu for r in one) - 1
        counts = dict(zip(*np.unique([a[0] for a in one[0].answers], return_counts=True), strict=True))
        print(
            f"{name} against {arguments.base}: {ratio:.2f} times as fast, CPU seconds {overhead:+.1%}; "
            f"answers that differ: {max(differing(one[0], r) for r in many)}; "
            + ", ".join(f"{count} {status}" for status, count in counts.items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
