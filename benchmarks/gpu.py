"""Gradient steps and bounded samples per second, CPU against GPU, in both precisions, by batch size.

    python benchmarks/gpu.py
    python benchmarks/gpu.py models/mnist_conv_robust.onnx --eps 0.1 --batches 1 16 256 --csv gpu.csv
    python benchmarks/gpu.py --devices cpu

A step is one forward and backward pass with its projection, for one point and one target. A bounded sample
has bounds on every neuron and on every rival class, by intervals and linear relaxation. Without a CUDA device
the comparison is skipped.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import torch

import mipverify
from mipverify.attack.ascent import ascend
from mipverify.attack.batch import build_batch
from mipverify.attack.options import AttackOptions
from mipverify.bounds.forms import Forms
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.frontend.layout import flat_inputs
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.verify.engine import torch_threads
from mipverify.verify.questions import questions

MODELS = Path(__file__).resolve().parents[1] / "models"
NETWORKS = tuple(
    MODELS / f"{name}.onnx" for name in ("mnist_conv_robust", "mnist_conv_plain", "mnist_mlp_robust")
)
DTYPES = {"float32": torch.float32, "float64": torch.float64}
HARMLESS = 1e-4  # a radius at which no attack succeeds, so that every step is taken


@dataclass(frozen=True)
class Figure:
    """One measurement; `rate` is a count per second, the best of the repeats."""

    network: str
    what: str
    device: str
    dtype: str
    batch: int
    rate: float


def arguments() -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", type=Path, nargs="*", default=NETWORKS)
    parser.add_argument("--data", default=None, help="data source, as for the command line")
    parser.add_argument("--eps", type=float, default=0.05, help="radius of the bounded regions")
    parser.add_argument("--steps", type=int, default=20, help="gradient steps of one measurement")
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 4, 16, 64, 256))
    parser.add_argument("--devices", nargs="+", choices=("cpu", "cuda"), default=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1, help="torch threads on the CPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--csv", type=Path, help="write the figures there, too")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    chosen = arguments()
    if "cuda" in chosen.devices and not torch.cuda.is_available():
        print("skipped: no CUDA device is at hand (--devices cpu measures the CPU alone)")
        return
    if "cuda" in chosen.devices:
        print(torch.cuda.get_device_name(), file=sys.stderr)
    figures = []
    print(f"{'network':<20}{'what':<10}{'device':<7}{'dtype':<9}{'batch':>6}{'per second':>14}")
    with torch_threads(chosen.threads):
        for path in chosen.networks:
            for figure in measure(mipverify.load(path), chosen):
                figures.append(figure)
                print(
                    f"{figure.network:<20}{figure.what:<10}{figure.device:<7}{figure.dtype:<9}"
                    f"{figure.batch:>6}{figure.rate:>14.1f}",
                    flush=True,
                )
    if chosen.csv:
        with chosen.csv.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(field.name for field in fields(Figure))
            rows.writerows(map(astuple, figures))


def measure(network: mipverify.Network, chosen: argparse.Namespace) -> Iterator[Figure]:
    """The figures of one network."""
    dataset = mipverify.load_dataset(chosen.data, input_size=network.graph.input_size)
    points, _ = flat_inputs(dataset, network.graph.input_shape)
    for device in chosen.devices:
        for dtype, precision in DTYPES.items():
            torch_network = TorchNetwork(network.graph, device=device, dtype=precision)
            propagator = Propagator(torch_network)
            for batch in chosen.batches:
                some = points[:batch]
                if len(some) < batch:
                    continue
                labels = network.run(some).argmax(axis=1)

                def ask(radius: float, some: object = some, labels: object = labels) -> list[Query]:
                    return questions(
                        network.graph,
                        some,  # type: ignore[arg-type]
                        labels,  # type: ignore[arg-type]
                        radius=radius,
                        norm=Norm.LINF,
                        domain=(0.0, 1.0),
                    )

                for what, work in (
                    ("steps", gradient_steps(torch_network, ask(HARMLESS), chosen.steps)),
                    ("bounded", bounded_samples(propagator, ask(chosen.eps))),
                ):
                    rate = best_rate(work, torch_network.device, chosen.repeats)
                    yield Figure(network.name, what, device, dtype, batch, rate)


def gradient_steps(network: TorchNetwork, queries: Sequence[Query], steps: int) -> Callable[[], int]:
    """Work that takes `steps` steps from every centre towards every rival; returns their number."""
    pairs = [(q, k) for q, query in enumerate(queries) for k in range(len(query.unsafe))]
    batch = build_batch(network, queries, pairs, norm=Norm.LINF)
    chunk = AttackOptions().chunk_values

    def work() -> int:
        ascend(network, batch, batch.center, steps=steps, chunk_values=chunk)
        return len(pairs) * steps

    return work


def bounded_samples(propagator: Propagator, queries: Sequence[Query]) -> Callable[[], int]:
    """Work that bounds every neuron and every margin over the regions; returns their number."""
    network = propagator.network
    rows = [torch.tensor(-polytope.matrix) for query in queries for polytope in query.unsafe]
    counts = [sum(len(polytope.offset) for polytope in query.unsafe) for query in queries]
    sample = torch.repeat_interleave(torch.arange(len(queries)), torch.tensor(counts))
    forms = Forms(
        network.graph.output,
        sample.to(network.device),
        rows=torch.cat(rows).to(device=network.device, dtype=network.dtype),
    )

    def work() -> int:
        regions = region_batch(
            [query.region for query in queries], device=network.device, dtype=network.dtype
        )
        state = propagator.run(regions, method=Method.LINEAR)
        propagator.minimise(state, forms)
        return len(queries)

    return work


def best_rate(work: Callable[[], int], device: torch.device, repeats: int) -> float:
    """The highest count per second of some repeats, after one run to warm up."""

    def seconds_and_count() -> tuple[float, int]:
        synchronise(device)
        begin = time.perf_counter()
        count = work()
        synchronise(device)
        return time.perf_counter() - begin, count

    seconds_and_count()
    measured = [seconds_and_count() for _ in range(repeats)]
    return max(count / seconds for seconds, count in measured)


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
