"""What each rung of the ladder decides, and what it costs: cut short after each, and without the middle.

    python benchmarks/ladder.py models/mnist_conv_robust.onnx --eps 0.1 -n 20 --csv ladder.csv
    python benchmarks/ladder.py models/mnist_conv_plain.onnx --eps 0.02 -n 20 --ladders linear whole textbook

Ladders of bounds alone, each with everything of the one before it, and of bounds and programs:

    interval    interval arithmetic, margins included (above it, margins are bounded by linear relaxation)
    linear      linear relaxation of what intervals leave open
    optimised   slopes optimised for margins and open neurons
    lp          linear programs for open neurons, over the region and for each target
    mip         one mixed-integer program a target

Ladders with attack and search, each with everything of the one before it:

    attack      `optimised`, and gradient attack, replayed
    search      branch-and-bound over phases
    whole       linear and mixed-integer programs for what the search leaves: the default

For comparison, without relaxation, attack and search:

    intervals+mip   interval arithmetic, and one mixed-integer program a target that it leaves open
    textbook        intervals, linear programs for every unstable neuron, one joint program for all targets

One row a ladder on stdout, with the number of samples that each of its rungs decided; one row a ladder and
sample in the CSV file. Ends with status 1 if two ladders contradict each other.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from textbook import certify_by_the_book

import mipverify
from mipverify.bounds.network_bounds import Method
from mipverify.frontend.layout import flat_inputs
from mipverify.graph.operators import Float64Array
from mipverify.verify.certificate import Stage
from mipverify.verify.options import VerifyOptions

LADDERS = {
    "interval": {"bounds": "interval", "attack": False, "engine": "none"},
    "linear": {"bounds": "linear", "attack": False, "engine": "none"},
    "optimised": {"bounds": "optimised", "attack": False, "engine": "none"},
    "lp": {"bounds": "lp", "attack": False, "engine": "none"},
    "mip": {"bounds": "lp", "attack": False, "engine": "mip"},
    "attack": {"bounds": "optimised", "attack": True, "engine": "none"},
    "search": {"bounds": "optimised", "attack": True, "engine": "search"},
    "whole": {"bounds": "optimised", "attack": True, "engine": "auto"},
    "intervals+mip": {"bounds": "interval", "attack": False, "engine": "mip"},
    "textbook": {},
}
RUNGS = ("interval", "linear", "optimised", "lp", "attack", "search", "mip")
DECIDED = ("verified", "falsified")
COLUMNS = (
    "ladder",
    "index",
    "label",
    "status",
    "rung",
    "lower",
    "upper",
    "num_unstable",
    "lps",
    "mips",
    "nodes",
    "seconds",
)


def arguments() -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", type=Path)
    parser.add_argument("--eps", type=float, required=True)
    parser.add_argument("--norm", default="linf")
    parser.add_argument("--data", default=None, help="data source, as for the command line")
    parser.add_argument("-n", "--num", type=int, default=20)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds a sample")
    parser.add_argument("--ladders", nargs="+", choices=tuple(LADDERS), default=tuple(LADDERS))
    parser.add_argument("--solver", default="highs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--csv", type=Path, help="one row a ladder and sample")
    return parser.parse_args()


def main() -> None:
    """Climb each ladder with the same samples; print a row for each."""
    chosen = arguments()
    network = mipverify.load(chosen.network)
    dataset = mipverify.load_dataset(chosen.data, input_size=network.graph.input_size)
    if dataset.labels is None:
        sys.exit(f"{dataset.source} has no labels")
    points, _ = flat_inputs(dataset, network.graph.input_shape)
    part = slice(chosen.start, chosen.start + chosen.num)
    points, labels = points[part], [int(label) for label in dataset.labels[part]]
    print(f"{network.name}, {chosen.norm} eps {chosen.eps:g}, {len(points)} samples of {dataset.name}")
    print(table_row("ladder", ("verified", "falsified", "unknown", "wrong", "seconds", "median", *RUNGS)))
    rows: list[list[object]] = []
    verdicts: dict[str, list[str]] = {}
    warm_up(network, points, labels, chosen)
    for name in chosen.ladders:
        found, wall = climb(network, points, labels, name, chosen)
        verdicts[name] = [certificate.status.value for certificate in found]
        print(table_row(name, summary(found, wall)), flush=True)
        rows += [sample_row(name, chosen.start + k, certificate) for k, certificate in enumerate(found)]
        if chosen.csv:
            with chosen.csv.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([COLUMNS, *rows])
    against = contradictions(verdicts, chosen.start)
    sys.exit("\n".join(against) if against else None)


def warm_up(
    network: mipverify.Network, points: Float64Array, labels: Sequence[int], chosen: argparse.Namespace
) -> None:
    """Load what the first sample would load: no ladder is charged with it."""
    options = VerifyOptions(time_limit=5.0, device=chosen.device, solver=chosen.solver, engine="none")
    list(
        mipverify.certify_batch(
            network, points[:1], labels[:1], eps=chosen.eps, norm=chosen.norm, options=options
        )
    )


def contradictions(verdicts: dict[str, list[str]], start: int) -> list[str]:
    """A line for each sample that one ladder verifies and another falsifies."""
    lines = []
    for position, statuses in enumerate(zip(*verdicts.values(), strict=True)):
        if len(set(statuses).intersection(DECIDED)) > 1:
            told = ", ".join(f"{name} {status}" for name, status in zip(verdicts, statuses, strict=True))
            lines.append(f"sample {start + position}: {told}")
    return lines


def climb(
    network: mipverify.Network,
    points: Float64Array,
    labels: Sequence[int],
    ladder: str,
    chosen: argparse.Namespace,
) -> tuple[list[mipverify.Certificate], float]:
    """The certificates of one ladder, and its wall time in seconds."""
    base = VerifyOptions(
        time_limit=chosen.time_limit, solver=chosen.solver, device=chosen.device, profile=True
    )
    options = replace(base, **LADDERS[ladder])  # type: ignore[arg-type]
    certify = certify_by_the_book if ladder == "textbook" else mipverify.certify_batch
    began = time.perf_counter()
    found = []
    for certificate in certify(network, points, labels, eps=chosen.eps, norm=chosen.norm, options=options):
        found.append(certificate)
        print(f"{ladder} {len(found)}/{len(points)} {certificate.status}", file=sys.stderr)
    return found, time.perf_counter() - began


def rung_of(certificate: mipverify.Certificate) -> str | None:
    """The rung that decided: for bounds the last one that ran; None where nothing did."""
    if certificate.decided_by == Stage.TIGHTENING:
        return "lp"
    if certificate.decided_by != Stage.BOUNDS or certificate.profile is None:
        return certificate.decided_by.value if certificate.decided_by else None
    ran = [m.name.lower() for m in Method if certificate.profile.unstable(m.name.lower()) is not None]
    return ran[-1] if ran else Stage.BOUNDS.value


def summary(found: Sequence[mipverify.Certificate], wall: float) -> list[object]:
    """Counts and times of one ladder, in the order of the table."""
    statuses = Counter(certificate.status.value for certificate in found)
    rungs = Counter(
        rung_of(certificate) for certificate in found if certificate.label == certificate.prediction
    )
    seconds = [sum(certificate.seconds.values()) for certificate in found]
    wrong = statuses["misclassified"] + statuses["error"]
    counts = [statuses["verified"], statuses["falsified"], statuses["unknown"], wrong]
    return [*counts, f"{wall:.2f}", f"{median(seconds):.3f}", *(rungs[rung] for rung in RUNGS)]


def sample_row(ladder: str, index: int, certificate: mipverify.Certificate) -> list[object]:
    """One sample on one ladder."""
    profile = certificate.profile
    return [
        ladder,
        index,
        certificate.label,
        certificate.status.value,
        rung_of(certificate),
        certificate.lower,
        certificate.upper,
        certificate.num_unstable,
        profile.lps if profile else None,
        profile.mips if profile else None,
        certificate.nodes,
        sum(certificate.seconds.values()),
    ]


def table_row(name: str, cells: Sequence[object]) -> str:
    """A line of fixed width."""
    return f"{name:<14}" + "".join(f"{cell!s:>10}" for cell in cells)


if __name__ == "__main__":
    main()
