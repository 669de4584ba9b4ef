"""How close the attacks come, how often they decide, and what a step costs, on one core.

    python -m benchmarks.attack models/mnist_conv_robust.onnx -n 32
    python -m benchmarks.attack models/digits_mlp.onnx -n 40 --exact
    python -m benchmarks.attack models/mnist_mlp.onnx --norm l1 --csv attack.csv

Distances are compared with the exact ones (`--exact`: what the whole ladder closes), or with the
closest points of any variant. Decisions are asked for at radii a little beyond the reference.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch

import mipverify
from mipverify.attack.candidates import Candidates
from mipverify.attack.distance import attack_distance
from mipverify.attack.options import AttackOptions
from mipverify.attack.pgd import attack_radius
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.frontend.layout import flat_inputs
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.verify.questions import questions

DISTANCE_VARIANTS = {
    "default": AttackOptions(),
    "no settling": AttackOptions(settle_steps=0),
    "no restarts": AttackOptions(restarts=0),
    "no refinement": AttackOptions(refinement_steps=0),
    "long": AttackOptions(restarts=8, restart_targets=5, descent_steps=80, settle_steps=200),
}
RADIUS_VARIANTS = {
    "quick": AttackOptions(steps=0),
    "no pursuit": AttackOptions(pursue=False),
    "no pursuit, 100 steps": AttackOptions(pursue=False, steps=100),
    "default": AttackOptions(),
}
BEYOND = (1.002, 1.01, 1.03, 1.1)


@dataclass(frozen=True)
class Figure:
    """One row: what a variant of an attack reached on all samples, and its CPU time a sample."""

    network: str
    norm: str
    question: str
    variant: str
    mean_excess: float  # relative to the reference distance; distances only
    worst_excess: float
    share: float  # within 1e-4 of the reference, or falsified
    milliseconds: float


def arguments() -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", type=Path)
    parser.add_argument("--data", default=None, help="data source, as for the command line")
    parser.add_argument("--norm", default="linf")
    parser.add_argument("-n", "--num", type=int, default=16, help="correctly classified samples")
    parser.add_argument("--batch", type=int, default=16, help="samples attacked together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--exact", action="store_true", help="compare with certified distances")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds of a certified distance")
    parser.add_argument("--csv", type=Path, help="write the figures there, too")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    chosen = arguments()
    torch.set_num_threads(1)
    network = mipverify.load(chosen.network)
    figures = measure(network, chosen)
    print(f"{'question':<10}{'variant':<24}{'mean excess':>12}{'worst':>10}{'share':>8}{'ms/sample':>11}")
    for f in figures:
        print(
            f"{f.question:<10}{f.variant:<24}{_number(f.mean_excess):>12}{_number(f.worst_excess):>10}"
            f"{f.share:>8.2f}{f.milliseconds:>11.1f}"
        )
    if chosen.csv:
        with chosen.csv.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(field.name for field in fields(Figure))
            rows.writerows(map(astuple, figures))


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.5f}"


def measure(network: mipverify.Network, chosen: argparse.Namespace) -> list[Figure]:
    """The figures of one network: distances first, then decisions beyond the reference distances."""
    queries = ask(network, chosen)
    fast = TorchNetwork(network.graph, dtype=torch.float32)
    exact = TorchNetwork(network.graph)
    name, norm = network.name, str(Norm.parse(chosen.norm))

    def run(attack: Callable[..., list[Candidates]], asked: Sequence[Query], options: AttackOptions) -> Run:
        began, found = time.process_time(), []
        for first in range(0, len(asked), chosen.batch):
            part = asked[first : first + chosen.batch]
            found += attack(fast, part, options=options, seed=chosen.seed, exact=exact)
        return Run(found, 1e3 * (time.process_time() - began) / len(asked))

    run(attack_distance, queries[:1], AttackOptions())  # the first calls of torch are slow
    runs = {variant: run(attack_distance, queries, options) for variant, options in DISTANCE_VARIANTS.items()}
    reference = np.min([one.distances() for one in runs.values()], axis=0)
    if chosen.exact:
        reference = certified(network, queries, reference, chosen.time_limit)
    figures = []
    for variant, one in runs.items():
        excess = one.distances() / reference - 1
        worst, share = float(excess.max()), float(np.mean(excess <= 1e-4))
        figures.append(Figure(name, norm, "distance", variant, float(excess.mean()), worst, share, one.cost))
    for factor in BEYOND:
        near = [
            replace(query, region=replace(query.region, radius=float(factor * distance)))
            for query, distance in zip(queries, reference, strict=True)
        ]
        for variant, options in RADIUS_VARIANTS.items():
            one = run(attack_radius, near, options)
            share = float(np.mean([found.margins.max(initial=-np.inf) >= 0 for found in one.found]))
            figures.append(Figure(name, norm, f"x {factor}", variant, np.nan, np.nan, share, one.cost))
    return figures


@dataclass(frozen=True)
class Run:
    """Candidates of every query, and milliseconds of CPU time a query."""

    found: list[Candidates]
    cost: float

    def distances(self) -> Float64Array:
        """The smallest distance of a candidate that is adversarial in float64, [queries]."""
        return np.array([f.distances[f.margins >= 0].min(initial=np.inf) for f in self.found])


def ask(network: mipverify.Network, chosen: argparse.Namespace) -> list[Query]:
    """Distance queries of the first correctly classified samples, on [0, 1]."""
    dataset = mipverify.load_dataset(chosen.data, input_size=network.graph.input_size)
    points, _ = flat_inputs(dataset, network.graph.input_shape)
    points, labels = points[: 4 * chosen.num], dataset.labels[: 4 * chosen.num]
    right = np.flatnonzero(network.run(points).argmax(axis=1) == labels)[: chosen.num]
    return questions(
        network.graph,
        points[right],
        labels[right],
        radius=np.inf,
        norm=Norm.parse(chosen.norm),
        domain=(0.0, 1.0),
    )


def certified(
    network: mipverify.Network, queries: Sequence[Query], known: Float64Array, limit: float
) -> Float64Array:
    """Lower ends of certified distances, [queries], where they close; else the known distances."""
    reference = []
    for query, distance in zip(queries, known, strict=True):
        region = query.region
        assert query.label is not None
        answer = mipverify.minimal_distortion(
            network,
            region.center,
            query.label,
            norm=str(region.norm),
            options=mipverify.VerifyOptions(time_limit=limit),
        )
        closed = answer.status is mipverify.Status.VERIFIED
        reference.append(answer.lower if closed else min(distance, answer.upper))
    return np.array(reference)


if __name__ == "__main__":
    main()
