"""Verdicts and distances in l0: no false claim against all sets of pixels, exact on the digits."""

from __future__ import annotations

import numpy as np
import pytest

import mipverify
from mipverify.errors import QueryError
from mipverify.frontend.datasets import load_dataset
from mipverify.frontend.network import load_network
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Input
from mipverify.problem.norm import Norm
from mipverify.problem.pixels import pixels_of
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, Box, unit_box
from mipverify.runs.api import certify, minimal_distortion
from mipverify.verify.certificate import Certificate, Evidence, Status
from mipverify.verify.options import VerifyOptions
from mipverify.verify.record import record_of
from tests.oracles.subsets import fewest_pixels, largest_margins
from tests.random_networks import KINDS, random_graph, to_onnx


@pytest.mark.parametrize("block", range(4))
def test_no_false_claim(block: int) -> None:
    undecided = 0
    for seed in range(8 * block, 8 * block + 8):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, output_size=int(rng.integers(2, 5)), kinds=KINDS, max_relus=6)
        network = load_network(to_onnx(graph))
        size = network.graph.input_size
        domain = unit_box(size) if rng.random() < 0.7 else Box(np.full(size, -2.0), np.full(size, 3.0))
        x = rng.random(size).astype(np.float32).astype(np.float64)
        label = int(np.argmax(network.run(x[None])[0]))
        ball = Ball(x, np.inf, Norm.L0, domain)
        query = Query(ball, misclassification(network.graph.output_size, label), label)
        low, high = fewest_pixels(largest_margins(network.graph, query), 1e-6)
        options = VerifyOptions(
            time_limit=30,
            attack=bool(rng.random() < 0.6),
            bounds=str(rng.choice(["interval", "linear", "optimised", "lp"])),
            engine=str(rng.choice(["auto", "search", "mip"])),
        )
        answer = minimal_distortion(network, x, label, norm="l0", domain=domain, options=options)
        assert answer.lower < high or high == np.inf, seed
        assert answer.upper >= low, seed
        undecided += not answer.closed
        eps = float(rng.integers(0, size + 1))
        verdict = certify(network, x, label, eps=eps, norm="l0", domain=domain, options=options)
        if verdict.status is Status.VERIFIED:
            assert high > eps, seed
        if verdict.status is Status.FALSIFIED:
            assert low <= eps, seed
            assert verdict.witness is not None
            assert np.count_nonzero(verdict.witness.point != x) == verdict.upper
        undecided += verdict.status is Status.UNKNOWN
    assert undecided <= 1


def test_digits() -> None:
    network = mipverify.load("models/digits_mlp.onnx")
    data = load_dataset(None, input_size=64)
    xs = data.inputs.reshape(len(data.inputs), -1).astype(np.float64)
    assert data.labels is not None
    for sample in (0, 4):
        answer = minimal_distortion(network, xs[sample], int(data.labels[sample]), norm="l0")
        assert answer.status is Status.VERIFIED
        assert answer.lower + 1 == answer.upper
        assert answer.relative_gap == 0
        before, at = (
            certify(network, xs[sample], int(data.labels[sample]), norm="l0", eps=eps).status
            for eps in (answer.lower, answer.upper)
        )
        assert before is Status.VERIFIED
        assert at is Status.FALSIFIED


def sum_network(shape: tuple[int, ...]) -> Graph:
    """Class 1 from a sum of all features of 1.5 on."""
    size = int(np.prod(shape))
    weight = np.stack([np.zeros(size), np.ones(size)])
    nodes = (
        Node(Input(size), (), "input", shape),
        Node(Dense(weight, np.array([0.0, -1.5])), (0,), "dense", (2,)),
    )
    return Graph(nodes, 1)


@pytest.mark.parametrize(
    ("shape", "fewest"), [((3, 2, 2), 1.0), ((2, 2, 3), 1.0), ((12,), 2.0), ((1, 3, 4), 2.0)]
)
def test_channels_of_a_pixel_count_once(shape: tuple[int, ...], fewest: float) -> None:
    network = load_network(to_onnx(sum_network(shape)))
    answer = minimal_distortion(network, np.zeros(12), 0, norm="l0")
    assert answer.upper == fewest
    assert answer.closed
    assert answer.witness is not None
    distances = record_of(answer, 0, np.zeros(12)).counterexample
    assert distances is not None
    assert distances.distances["l0"] == fewest
    assert distances.distances["linf"] == np.abs(answer.witness.point).max()


def test_pixels_of_shapes() -> None:
    assert pixels_of((784,)) is None
    assert pixels_of((28, 28)) is None
    assert pixels_of((1, 28, 28)) is None
    first, last = pixels_of((3, 4, 5)), pixels_of((5, 4, 3))
    assert first is not None
    assert last is not None
    assert np.array_equal(first, np.tile(np.arange(20), 3))
    assert np.array_equal(last, np.repeat(np.arange(20), 3))


def test_no_class_change_in_the_whole_domain() -> None:
    network = load_network(to_onnx(sum_network((12,))))
    answer = minimal_distortion(network, np.zeros(12), 0, norm="l0", domain=(0.0, 0.1))
    assert answer.closed
    assert answer.upper == np.inf
    assert answer.lower == np.inf


def test_inputs_are_what_the_file_reads() -> None:
    """0.1 is no float32 number: what does not change is the float32 number nearest to it."""
    network = load_network(to_onnx(sum_network((12,))))
    answer = minimal_distortion(network, np.full(12, 0.1), 0, norm="l0")
    assert answer.upper == 1.0
    assert answer.closed
    clipped = minimal_distortion(network, np.full(12, 0.1), 0, norm="l0", domain=(0.1, 1.0))
    assert clipped.upper == np.inf or clipped.witness is not None


@pytest.mark.parametrize("eps", [0.5, 8 / 255])
def test_radii_are_whole_numbers(eps: float) -> None:
    network = load_network(to_onnx(sum_network((12,))))
    with pytest.raises(QueryError, match="give a whole number"):
        certify(network, np.zeros(12), 0, norm="l0", eps=eps)


def test_gap_counts_whole_numbers() -> None:
    def certificate(lower: float, evidence: Evidence) -> Certificate:
        return Certificate(0, 0, Norm.L0, None, lower, 4.0, evidence=evidence)

    assert certificate(3.0, Evidence.SOLVER_CLAIM).closed
    assert certificate(2.0, Evidence.SOLVER_CLAIM).relative_gap == 0.25
    assert certificate(0.0, Evidence.NONE).relative_gap == 1.0
    assert certificate(0.0, Evidence.BOUND_PROPAGATION).relative_gap == 0.75
