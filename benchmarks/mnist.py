"""MNIST samples through one network: a CSV row a sample, and a summary.

    python benchmarks/mnist.py models/mnist_conv_robust.onnx --eps 0.1 -n 100 --csv robust.csv
    python benchmarks/mnist.py models/mnist_mlp.onnx --distance -n 20 --time-limit 60 --csv distances.csv

The test set comes from MIPVERIFY_DATA, the cache or a mirror. Rows are written as samples finish: an
interrupted run keeps them and prints the summary of what is there.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mipverify
from mipverify.frontend.clean_accuracy import check_clean_accuracy
from mipverify.frontend.layout import flat_inputs
from mipverify.verify.certificate import Certificate
from mipverify.verify.record import Record, record_of
from mipverify.verify.summary import Summary, summarise

STAGES = ("bounds", "attack", "tightening", "mip", "search")
COLUMNS = (
    "index",
    "label",
    "prediction",
    "status",
    "norm",
    "eps",
    "lower_bound",
    "upper_bound",
    "gap",
    "target",
    "decided_by",
    "evidence",
    "num_relus",
    "num_unstable",
    "num_binaries",
    "nodes",
    "error",
)


def arguments() -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", type=Path)
    question = parser.add_mutually_exclusive_group(required=True)
    question.add_argument("--eps", type=float, help="verdict at this radius")
    question.add_argument("--distance", action="store_true", help="minimal distortion")
    parser.add_argument("--norm", default="linf")
    parser.add_argument("--data", default="mnist", help="data source, as for the command line")
    parser.add_argument("-n", "--num", type=int, default=100)
    parser.add_argument("--start", type=int, default=0)
    usual = mipverify.VerifyOptions()
    parser.add_argument("--time-limit", type=float, default=usual.time_limit, help="seconds a sample")
    parser.add_argument("--engine", default=usual.engine)
    parser.add_argument("--solver", default=usual.solver)
    parser.add_argument("--bounds", default=usual.bounds)
    parser.add_argument("--device", default=usual.device)
    parser.add_argument("--threads", type=int, default=usual.threads)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--batch-size", type=int, default=usual.batch_size)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--csv", type=Path, required=True, help="rows; the summary goes beside it as .json")
    return parser.parse_args()


def main() -> None:
    """Load, run, write, sum up."""
    chosen = arguments()
    network = mipverify.load(chosen.network)
    dataset = mipverify.load_dataset(chosen.data, input_size=network.graph.input_size)
    if dataset.labels is None:
        sys.exit(f"{dataset.source} has no labels")
    points, _ = flat_inputs(dataset, network.graph.input_shape)
    check_clean_accuracy(network, points, dataset.labels, normalised=False)
    part = slice(chosen.start, chosen.start + chosen.num)
    points, labels = points[part], dataset.labels[part]
    if not len(points):
        sys.exit(f"no samples from {chosen.start} on: {dataset.source} has {len(dataset)}")
    records: list[Record] = []
    began = time.perf_counter()
    try:
        with chosen.csv.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow([*COLUMNS, "seconds", *(f"seconds_{stage}" for stage in STAGES)])
            for offset, certificate in enumerate(answers(network, points, labels, chosen)):
                record = record_of(certificate, chosen.start + offset, points[offset])
                records.append(record)
                rows.writerow(row(record))
                file.flush()
                print(f"{offset + 1}/{len(points)} {record.status} {record.decided_by}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    report(chosen, network, records, time.perf_counter() - began)


def answers(
    network: mipverify.Network, points: object, labels: object, chosen: argparse.Namespace
) -> Iterator[Certificate]:
    """Certificates of the samples, in order."""
    options = mipverify.VerifyOptions(
        time_limit=chosen.time_limit,
        engine=chosen.engine,
        solver=chosen.solver,
        bounds=chosen.bounds,
        device=chosen.device,
        threads=chosen.threads,
        batch_size=chosen.batch_size,
        seed=chosen.seed,
    )
    if chosen.distance:
        return mipverify.distance_batch(
            network, points, labels, norm=chosen.norm, options=options, workers=chosen.workers
        )
    return mipverify.certify_batch(
        network, points, labels, eps=chosen.eps, norm=chosen.norm, options=options, workers=chosen.workers
    )


def row(record: Record) -> list[object]:
    """One line of the table: the record's numbers, total seconds, seconds of each stage."""
    values = record.as_dict()
    stages = [record.seconds.get(stage, 0.0) for stage in STAGES]
    return [*(values[column] for column in COLUMNS), record.seconds["total"], *stages]


def report(
    chosen: argparse.Namespace, network: mipverify.Network, records: list[Record], wall: float
) -> None:
    """Print the summary and write it as JSON beside the rows."""
    summary = summarise(records)
    content = {
        "network": network.name,
        "digest": network.digest,
        "question": {name: str(value) for name, value in vars(chosen).items()},
        "machine": {"processor": processor(), "python": platform.python_version()},
        "wall_seconds": wall,
        "without_solver": without_solver(records),
        "clean_accuracy": summary.clean_accuracy,
        "certified_accuracy": None if chosen.distance else summary.certified_accuracy,
    } | counts(summary)
    chosen.csv.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in content.items() if key != "question"}, indent=2))


def counts(summary: Summary) -> dict[str, object]:
    """The counts and times of a summary."""
    return {
        "total": summary.total,
        "verified": summary.verified,
        "falsified": summary.falsified,
        "unknown": summary.unknown,
        "misclassified": summary.misclassified,
        "errors": summary.errors,
        "decided_by": summary.decided_by,
        "mean_seconds": summary.mean_seconds,
        "median_seconds": summary.median_seconds,
        "mean_lower_bound": summary.mean_lower_bound,
        "mean_upper_bound": summary.mean_upper_bound,
    }


def without_solver(records: list[Record]) -> int:
    """How many samples were settled by bounds, attack, search or a wrong prediction alone."""
    own = ("bounds", "attack", "search")
    return sum(r.status == "misclassified" or r.decided_by in own for r in records)


def processor() -> str:
    """Name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({len(names)} logical)" if names else platform.processor()


if __name__ == "__main__":
    main()
