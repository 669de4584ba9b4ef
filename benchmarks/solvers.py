"""Solvers side by side: the same exact programs of digits or MNIST samples, one thread each.

Decisions are asked alternately a little below and a little above the distance of the closest counterexample
known, so that both answers occur. Distances in l2 are asked within the distance of the attack's polished
witness: whole from solvers of quadratic programs, in rounds of tangents from the others. The script says
first whether the answers agree, and ends with status 1 where they do not.
"""

from __future__ import annotations

import argparse
import csv
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import mipverify
from mipverify.encoding.encode import Encoding, Objective
from mipverify.frontend.layout import flat_inputs
from mipverify.milp.result import SolveResult, Termination
from mipverify.problem.query import Query
from mipverify.solvers.registry import solver_named
from mipverify.solvers.solver import SolveOptions
from mipverify.verify.encoded import encode_query
from mipverify.verify.engine import Engine
from mipverify.verify.options import VerifyOptions
from mipverify.verify.questions import questions

SIDES = (0.99, 1.01)  # of the distance of the closest counterexample known
ROOM = 1 + 1e-6  # around a witness in l2
AGREEMENT = 1e-4  # relative, of distances
GAP = 2e-5  # relative, of squares of distances


@dataclass(frozen=True)
class Row:
    """One program and one solver.

    `gap` is what is left between bound and point, relative to the point (of distances, not their squares);
    seconds are those of the processor, child processes included.
    """

    question: str
    sample: int
    binaries: int
    solver: str
    answer: str
    value: float | None
    gap: float | None
    nodes: int
    cpu_seconds: float
    wall_seconds: float


def main() -> int:
    """Run the comparison and print it."""
    arguments = _arguments()
    network = mipverify.load(arguments.network)
    data = mipverify.load_dataset(None, input_size=network.graph.input_size)
    points, _ = flat_inputs(data, network.graph.input_shape)
    right = np.flatnonzero(network.run(points[:500]).argmax(axis=1) == data.labels[:500])
    rows = list(_rows(arguments, network, points, data.labels, right[: arguments.num].tolist()))
    agreed = _agreement(rows)
    for question in arguments.questions:
        _summary([row for row in rows if row.question == question], arguments.solvers)
    if arguments.csv is not None and rows:
        with Path(arguments.csv).open("w", newline="") as file:
            writer = csv.DictWriter(file, asdict(rows[0]).keys())
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
    return 0 if agreed else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("-n", "--num", type=int, default=10)
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds a program")
    parser.add_argument("--questions", nargs="+", default=["decide", "l2"], choices=["decide", "l2"])
    parser.add_argument("--solvers", nargs="+", default=["highs", "cbc", "pyomo:scip_direct"])
    parser.add_argument("--csv")
    return parser.parse_args()


def _rows(
    arguments: argparse.Namespace,
    network: mipverify.Network,
    points: np.ndarray,
    labels: np.ndarray,
    samples: list[int],
) -> Iterator[Row]:
    options = VerifyOptions(time_limit=arguments.time_limit)
    engine = Engine(network, options)
    for question in arguments.questions:
        norm = "l2" if question == "l2" else "linf"
        for k, sample in enumerate(samples):
            effort = replace(options, engine="none" if question == "l2" else "auto")
            x, label = points[sample], int(labels[sample])
            known = mipverify.minimal_distortion(network, x, label, norm=norm, options=effort).upper
            radius = known * (ROOM if question == "l2" else SIDES[k % 2])
            (query,) = questions(network.graph, x[None], [label], radius=radius, norm=norm, domain=(0.0, 1.0))
            for solver in arguments.solvers:
                row = _solve(engine, query, question, sample, solver, arguments.time_limit)
                print(f"{row.question} {row.sample} {row.solver}: {row.answer}", file=sys.stderr, flush=True)
                yield row


def _solve(engine: Engine, query: Query, question: str, sample: int, name: str, limit: float) -> Row:
    solver = solver_named(name)
    whole = "MIQCP" in solver.capabilities.programs
    wanted = Objective.CLOSEST if question == "l2" else Objective.DECIDE
    encoding = encode_query(engine, query, wanted, quadratic=whole)
    begin, cpu = time.perf_counter(), _cpu_seconds()

    def ask(given: Encoding, settings: SolveOptions) -> SolveResult:
        return solver.solve(given.program, settings)

    settings = SolveOptions(time_limit=limit, relative_gap=GAP)
    if question == "l2" and not whole:
        from mipverify.tightening.tangents import TangentOptions, add_root_tangents
        from mipverify.verify.exact_l2 import solve_in_rounds

        rooted = add_root_tangents(encoding, options=TangentOptions(), time_limit=limit).encoding
        result = solve_in_rounds(ask, rooted, settings, offer=lambda *_: False)
    else:
        result = ask(encoding, settings)
    answer, value = _reading(result, question)
    radius = query.region.radius
    gap = None if question == "decide" else _gap(result, radius)
    return Row(
        question=question,
        sample=sample,
        binaries=encoding.program.num_binaries,
        solver=name,
        answer=answer,
        value=value,
        gap=gap,
        nodes=result.nodes,
        cpu_seconds=round(_cpu_seconds() - cpu, 2),
        wall_seconds=round(time.perf_counter() - begin, 2),
    )


def _reading(result: SolveResult, question: str) -> tuple[str, float | None]:
    found = result.objective
    if result.termination is Termination.INFEASIBLE:
        return "none", None
    if question == "decide":
        return ("some" if found is not None else "open"), None
    if found is None or result.termination is not Termination.OPTIMAL:
        return "open", None
    return "closed", float(np.sqrt(max(0.0, found)))


def _gap(result: SolveResult, radius: float) -> float:
    """Between bound and point of a distance; the radius is that of a known point."""
    upper = radius if result.objective is None else min(radius, float(np.sqrt(max(0.0, result.objective))))
    lower = float(np.sqrt(min(max(0.0, result.dual_bound), radius**2)))
    return max(0.0, 1 - lower / upper)


def _agreement(rows: list[Row]) -> bool:
    """Print whether all solvers that answered a question gave one answer."""
    wrong = []
    for question, sample in dict.fromkeys((row.question, row.sample) for row in rows):
        same = [row for row in rows if (row.question, row.sample) == (question, sample)]
        answered = [row for row in same if row.answer != "open"]
        values = [row.value for row in answered if row.value is not None]
        spread = max(values) / min(values) - 1 if values and min(values) > 0 else 0.0
        if len({row.answer for row in answered}) > 1 or spread > AGREEMENT:
            wrong += answered
    for row in wrong:
        print(f"DISAGREES: {row}")
    print("all answers agree" if not wrong else f"{len(wrong)} answers disagree")
    return not wrong


def _summary(rows: list[Row], solvers: list[str]) -> None:
    programs = len({row.sample for row in rows})
    binaries = [row.binaries for row in rows] or [0]
    title = rows[0].question if rows else "nothing"
    print(f"{title}: {programs} programs, {min(binaries)} to {max(binaries)} binaries")
    print(f"{'solver':<20} {'answered':>8} {'CPU s':>9} {'median':>8} {'largest':>8} {'nodes':>9} {'gap':>8}")
    for solver in solvers:
        own = [row for row in rows if row.solver == solver]
        answered = sum(row.answer != "open" for row in own)
        seconds = [row.cpu_seconds for row in own] or [0.0]
        gaps = [row.gap for row in own if row.gap is not None]
        gap = f"{100 * float(np.mean(gaps)):.2f} %" if gaps else ""
        print(
            f"{solver:<20} {answered:>8} {sum(seconds):>9.1f} {float(np.median(seconds)):>8.2f} "
            f"{max(seconds):>8.2f} {sum(row.nodes for row in own):>9} {gap:>8}"
        )


def _cpu_seconds() -> float:
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in used)


if __name__ == "__main__":
    sys.exit(main())
