"""What a GPU gains: rates of attack, bounds and search by batch size, in both precisions; and whole runs.

    python -m benchmarks.gpu --csv gpu.csv
    python -m benchmarks.gpu models/mnist_mlp_robust.onnx --eps 0.05 --batches 1 16 256 --certify
    python -m benchmarks.gpu --device cpu --small

Rates, on CPU and GPU, in float32 and float64, the best of some repeats:

    steps       gradient steps: a forward and backward pass with its projection, for one point, one target
                and one random start (batch: samples, each with all its targets and restarts)
    bounded     samples with bounds on every neuron and margin, by intervals and linear relaxation
    optimised   samples with slopes optimised for every open neuron and margin, one sample at a time
    nodes       nodes of branch-and-bound over phases (batch: nodes split at once), in a ball twice as large

Then the whole ladder on the first test samples of the first network (certify, batch: samples), with counts of
verdicts; it takes float64 for what carries a claim and float32 for the rest.

Seconds are wall time; on a CPU with one thread they are processor time, to which other work adds little.
`peak MiB` is the most memory that torch held on the GPU; on a CPU it is not known. A sweep over batches ends
where the next one would take longer than `--budget`, or memory ends. Without a CUDA device the comparison is
skipped. Ends with status 1 if CPU and GPU contradict each other on a verdict.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):  # run as a script
    sys.path.insert(0, str(ROOT))

import mipverify  # noqa: E402
from benchmarks import gpu_work  # noqa: E402
from benchmarks.gpu_figures import HEADER, MIB, Figure, Sweep, clock_of, synchronise, write_csv  # noqa: E402
from mipverify.bounds.torch_network import TorchNetwork  # noqa: E402
from mipverify.frontend.layout import flat_inputs  # noqa: E402
from mipverify.graph.operators import Float64Array  # noqa: E402
from mipverify.problem.norm import Norm  # noqa: E402
from mipverify.problem.query import Query  # noqa: E402
from mipverify.verify.engine import torch_threads  # noqa: E402
from mipverify.verify.questions import questions  # noqa: E402

NETWORKS = tuple(
    ROOT / "models" / f"{name}.onnx" for name in ("mnist_conv_robust", "mnist_conv_plain", "mnist_mlp_robust")
)
DTYPES = {"float32": torch.float32, "float64": torch.float64}
HARMLESS = 1e-4  # a radius at which no attack succeeds, so that every step is taken
RATES = ("steps", "bounded", "optimised", "nodes")
SMALL = {"batches": [1, 16], "restarts": [1], "steps": 5, "repeats": 1, "certify": [100]}
ROUNDS = 2  # of search that are timed at once
OPPOSITE = {"verified", "falsified"}


def arguments() -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", type=Path, nargs="*", default=NETWORKS)
    parser.add_argument("--data", default=None, help="data source, as for the command line")
    parser.add_argument("--eps", type=float, default=0.1, help="Linf radius of the regions")
    parser.add_argument("--what", nargs="*", choices=RATES, default=RATES, help="rates to measure")
    parser.add_argument("--steps", type=int, default=20, help="gradient steps of one measurement")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64, 256, 1024])
    parser.add_argument("--restarts", type=int, nargs="+", default=[1, 4])
    parser.add_argument(
        "--certify", type=int, nargs="*", default=[1000, 10000], help="numbers of samples; none: no verdicts"
    )
    parser.add_argument("--device", nargs="+", choices=("cpu", "cuda"), default=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1, help="torch threads on the CPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of one measurement, about")
    parser.add_argument("--small", action="store_true", help=f"sizes for a quick look: {SMALL}")
    parser.add_argument("--csv", type=Path, help="write the figures there, too")
    chosen = parser.parse_args()
    if chosen.small:
        vars(chosen).update(SMALL)
    return chosen


def main() -> int:
    """Measure, print, write; returns the exit status."""
    chosen = arguments()
    if "cuda" in chosen.device and not torch.cuda.is_available():
        print("skipped: no CUDA device is at hand (--device cpu measures the CPU alone)")
        return 0
    print(environment(chosen), file=sys.stderr)
    print(HEADER)
    figures, agreed = [], True
    with torch_threads(chosen.threads):
        for path in chosen.networks if chosen.what else ():
            for figure in rates(mipverify.load(path), chosen):
                print(figure.row(), flush=True)
                figures.append(figure)
        first = mipverify.load(chosen.networks[0])
        for count in chosen.certify:
            found, same = certified(first, count, chosen)
            figures += found
            agreed = agreed and same
    if chosen.csv:
        write_csv(chosen.csv, figures)
    return 0 if agreed else 1


def environment(chosen: argparse.Namespace) -> str:
    """The machine and the versions that the figures are of."""
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    text = f"mipverify {mipverify.__version__}, torch {torch.__version__}, {os.cpu_count()} cores{load}"
    if "cuda" in chosen.device:
        text += f"; {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return text


def samples(
    network: mipverify.Network, count: int, chosen: argparse.Namespace
) -> tuple[Float64Array, list[int]]:
    """The first test samples, [count, n], and their classes: what the network says where there are none."""
    dataset = mipverify.load_dataset(chosen.data, input_size=network.graph.input_size)
    points, _ = flat_inputs(dataset, network.graph.input_shape)
    labels = network.run(points[:count]).argmax(axis=1) if dataset.labels is None else dataset.labels[:count]
    return points[:count], [int(label) for label in labels]


def rates(network: mipverify.Network, chosen: argparse.Namespace) -> Iterator[Figure]:
    """The rates of one network, on every device and in both precisions."""
    points, _ = samples(network, max(chosen.batches), chosen)
    labels = network.run(points).argmax(axis=1)

    def ask(radius: float) -> list[Query]:
        return questions(network.graph, points, labels, radius=radius, norm=Norm.LINF, domain=(0.0, 1.0))

    harmless, queries, wide = ask(HARMLESS), ask(chosen.eps), ask(2 * chosen.eps)[0]
    for device in chosen.device:
        exact = TorchNetwork(network.graph, device=device)
        for name, dtype in DTYPES.items():
            net = TorchNetwork(network.graph, device=device, dtype=dtype)
            for sweep in sweeps(net, exact, (harmless, queries, wide), chosen):
                yield from sweep.figures(
                    network.name, net.device, name, repeats=chosen.repeats, budget=chosen.budget
                )


def sweeps(
    net: TorchNetwork,
    exact: TorchNetwork,
    asked: tuple[list[Query], list[Query], Query],
    chosen: argparse.Namespace,
) -> Iterator[Sweep]:
    """What is measured on one device in one precision.

    Args:
        net: the network there.
        exact: the same in float64, for bounds that a search starts from.
        asked: queries that no attack answers, those at the radius asked about, and one of a larger ball.
        chosen: sizes.
    """
    harmless, queries, wide = asked
    sizes = [size for size in chosen.batches if size <= len(queries)]

    def steps(restarts: int) -> Sweep:
        return Sweep(
            "steps",
            sizes,
            lambda size: gpu_work.gradient_steps(net, harmless[:size], restarts=restarts, steps=chosen.steps),
            restarts,
        )

    if "steps" in chosen.what:
        yield from map(steps, chosen.restarts)
    if "bounded" in chosen.what:
        yield Sweep("bounded", sizes, lambda size: gpu_work.bounded_samples(net, queries[:size]))
    if "optimised" in chosen.what:
        yield Sweep("optimised", [1], lambda size: gpu_work.optimised_samples(net, queries[:size]))
    if "nodes" in chosen.what:
        yield Sweep(
            "nodes",
            chosen.batches,
            lambda size: gpu_work.searched_nodes(exact, net, wide, batch=size, rounds=ROUNDS),
        )


def certified(
    network: mipverify.Network, count: int, chosen: argparse.Namespace
) -> tuple[list[Figure], bool]:
    """The time to decide the first samples on every device, and whether the verdicts agree."""
    points, labels = samples(network, count, chosen)
    figures, verdicts = [], []
    for name in chosen.device:
        device = torch.device(name)
        options = mipverify.VerifyOptions(device=name, threads=chosen.threads)

        def decide(size: int, options: mipverify.VerifyOptions = options) -> list[str]:
            answers = mipverify.certify_batch(
                network, points[:size], labels[:size], eps=chosen.eps, options=options
            )
            return [certificate.status.value for certificate in answers]

        decide(1)  # kernels are loaded on first use
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        clock = clock_of(device)
        begin = clock()
        verdicts.append(decide(len(points)))
        synchronise(device)
        seconds = clock() - begin
        peak = torch.cuda.max_memory_allocated(device) / MIB if device.type == "cuda" else None
        counts = ", ".join(f"{number} {status}" for status, number in Counter(verdicts[-1]).most_common())
        rate = len(points) / seconds
        figures.append(
            Figure(network.name, "certify", name, "mixed", len(points), None, rate, seconds, peak, counts)
        )
        print(figures[-1].row(), flush=True)
    against = [k for k, given in enumerate(zip(*verdicts, strict=True)) if set(given) >= OPPOSITE]
    for sample in against:
        print(f"contradiction: sample {sample} is {' and '.join(v[sample] for v in verdicts)}")
    return figures, not against


if __name__ == "__main__":
    sys.exit(main())
