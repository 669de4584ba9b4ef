"""Minimal distortions in every norm by every free route: do those that finish agree?

A route is all that is there (`auto`), our own search alone (`search`), or programs alone with one solver
(HiGHS, CBC, SCIP through Pyomo where it is installed). Two intervals disagree if they do not overlap, up to
the tolerance; distances that are closed are compared, too. The script says so first, and ends with status
1 where anything disagrees.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np

import mipverify
from mipverify.frontend.layout import flat_inputs
from mipverify.verify.options import VerifyOptions

AGREEMENT = 1e-4  # relative
ROUTES = ("auto", "highs", "cbc", "pyomo:scip_direct")
ENGINES = ("auto", "search")  # the others are solvers, and solve programs alone
NORMS = ("linf", "l1", "l2", "l0")


@dataclass(frozen=True)
class Row:
    """One sample, norm and route: the interval, what stands behind it, and wall seconds.

    In l0 `lower` is the smallest number that is not excluded.
    """

    network: str
    norm: str
    sample: int
    route: str
    lower: float
    upper: float
    closed: bool
    evidence: str
    seconds: float


def main() -> int:
    """Run the comparison and print it."""
    arguments = _arguments()
    network = mipverify.load(arguments.network)
    data = mipverify.load_dataset(None, input_size=network.graph.input_size)
    points, _ = flat_inputs(data, network.graph.input_shape)
    assert data.labels is not None
    right = np.flatnonzero(network.run(points[:500]).argmax(axis=1) == data.labels[:500])
    samples = right[: arguments.num].tolist()
    rows = []
    for row in _rows(arguments, network, points, data.labels, samples):
        rows.append(row)
        print(f"{row.norm} {row.sample} {row.route}: [{row.lower:.6g}, {row.upper:.6g}]", file=sys.stderr)
    problems = list(disagreements(rows))
    print("\n".join(problems) if problems else f"all routes agree to {AGREEMENT:g}")
    _table(rows)
    if arguments.csv is not None and rows:
        with Path(arguments.csv).open("w", newline="") as file:
            writer = csv.DictWriter(file, asdict(rows[0]).keys())
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
    return 1 if problems else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("-n", "--num", type=int, default=20)
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds a sample")
    parser.add_argument("--gap", type=float, default=5e-5, help="relative gap at which a distance is closed")
    parser.add_argument("--norms", nargs="+", default=list(NORMS), choices=NORMS)
    parser.add_argument("--routes", nargs="+", default=list(ROUTES))
    parser.add_argument("--csv")
    return parser.parse_args()


def _rows(
    arguments: argparse.Namespace,
    network: mipverify.Network,
    points: np.ndarray,
    labels: np.ndarray,
    samples: Sequence[int],
) -> Iterator[Row]:
    for norm in arguments.norms:
        for sample in samples:
            for route in arguments.routes:
                engine, solver = (route, "highs") if route in ENGINES else ("mip", route)
                options = VerifyOptions(
                    time_limit=arguments.time_limit, engine=engine, solver=solver, gap=arguments.gap
                )
                begin = time.perf_counter()
                found = mipverify.minimal_distortion(
                    network, points[sample], int(labels[sample]), norm=norm, options=options
                )
                seconds = time.perf_counter() - begin
                lower = mipverify.record_of(found, sample, points[sample]).least_distance
                yield Row(
                    network.name,
                    norm,
                    sample,
                    route,
                    lower,
                    found.upper,
                    found.closed,
                    found.evidence.value,
                    seconds,
                )


def disagreements(rows: Sequence[Row]) -> Iterator[str]:
    """Pairs of routes whose intervals exclude each other, or whose closed distances differ."""
    for place, a in enumerate(rows):
        for b in rows[:place]:
            if (a.network, a.norm, a.sample) != (b.network, b.norm, b.sample):
                continue
            slack = AGREEMENT * max(abs(a.lower), abs(b.lower))
            apart = a.lower > b.upper + slack or b.lower > a.upper + slack
            differ = a.closed and b.closed and abs(a.upper - b.upper) > slack
            if apart or differ:
                yield (
                    f"DISAGREE {a.norm} sample {a.sample}: {a.route} [{a.lower:.8g}, {a.upper:.8g}], "
                    f"{b.route} [{b.lower:.8g}, {b.upper:.8g}]"
                )


def _table(rows: Sequence[Row]) -> None:
    print(f"{'norm':<6}{'route':<20}{'closed':>8}{'of':>5}{'claims':>8}{'median s':>10}{'mean s':>9}")
    for norm in NORMS:
        for route in dict.fromkeys(row.route for row in rows):
            some = [row for row in rows if (row.norm, row.route) == (norm, route)]
            if not some:
                continue
            claims = sum(row.evidence == "solver claim" for row in some if row.closed)
            seconds = [row.seconds for row in some]
            print(
                f"{norm:<6}{route:<20}{sum(row.closed for row in some):>8}{len(some):>5}{claims:>8}"
                f"{median(seconds):>10.2f}{fmean(seconds):>9.2f}"
            )


if __name__ == "__main__":
    sys.exit(main())
