"""Universal perturbations of tiny networks against visiting all joint linear regions."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from mipverify.errors import QueryError
from mipverify.frontend.network import Network, load_network
from mipverify.problem.norm import Norm
from mipverify.problem.query import misclassification
from mipverify.problem.region import Box
from mipverify.runs.universal import universal_perturbation
from mipverify.verify import universal, universal_pairs
from mipverify.verify.options import VerifyOptions
from mipverify.verify.universal_answer import UniversalAnswer
from tests.oracles.exact_values import exact_values
from tests.oracles.joint_enumeration import joint_distances
from tests.random_networks import random_graph, to_onnx

Case = tuple[np.random.Generator, Network, np.ndarray, np.ndarray, Norm, Box, dict[tuple[int, ...], float]]


def tiny(seed: int) -> Case:
    """Two or three samples of a network with at most 3 ReLUs, labelled with its predictions."""
    rng = np.random.default_rng(seed)
    kinds = ("dense", "residual") if seed % 3 else ("dense", "maxpool")
    graph = random_graph(rng, output_size=int(rng.integers(2, 4)), kinds=kinds, max_relus=3, max_blocks=1)
    network = load_network(to_onnx(graph))
    size = network.graph.input_size
    domain = Box(np.zeros(size), np.ones(size)) if seed % 2 else Box(np.full(size, -2.0), np.full(size, 3.0))
    norm = Norm.LINF if seed % 4 < 2 else Norm.L1
    xs = rng.random((2 + seed % 2, size)).astype(np.float32).astype(np.float64)
    labels = network.run(xs).argmax(axis=1)
    unsafe = [misclassification(network.graph.output_size, int(label)) for label in labels]
    return (
        rng,
        network,
        xs,
        labels,
        norm,
        domain,
        joint_distances(network.graph, list(xs), unsafe, norm, domain),
    )


def by_count(distances: dict[tuple[int, ...], float], count: int) -> float:
    return min(value for chosen, value in distances.items() if len(chosen) == count)


def check_witness(
    answer: UniversalAnswer, network: Network, xs: np.ndarray, labels: np.ndarray, domain: Box
) -> None:
    """In rational arithmetic: |d| and the domain hold, and each fooled sample is unsafe up to rounding."""
    if answer.witness is None:
        return
    delta = [Fraction(v) for v in answer.witness.delta.tolist()]
    assert np.array_equal(answer.witness.delta, answer.witness.delta.astype(np.float32))
    size = sum(map(abs, delta)) if answer.norm is Norm.L1 else max(map(abs, delta))
    assert size <= Fraction(answer.witness.size) * (1 + Fraction(1, 2**40))
    if answer.eps is not None:
        assert size <= Fraction(answer.eps) * (1 + Fraction(1, 2**40))
    for x in xs:
        moved = [Fraction(v) + d for v, d in zip(x.tolist(), delta, strict=True)]
        assert all(
            Fraction(lo) <= v <= Fraction(hi)
            for v, lo, hi in zip(moved, domain.lower, domain.upper, strict=True)
        )
    for k in answer.fooled:
        moved = [Fraction(v) + d for v, d in zip(xs[k].tolist(), delta, strict=True)]
        outputs = exact_values(network.graph, moved)[network.graph.output]
        label = int(labels[k])
        assert max(v for j, v in enumerate(outputs) if j != label) - outputs[label] >= Fraction(-1, 10**12)
        deployed = network.run((xs[k] + answer.witness.delta).astype(np.float32)[None].astype(np.float64))[0]
        assert max(v for j, v in enumerate(deployed) if j != label) >= deployed[label]


def options(rng: np.random.Generator) -> VerifyOptions:
    return VerifyOptions(
        time_limit=60,
        attack=bool(rng.random() < 0.6),
        bounds=str(rng.choice(["interval", "linear", "optimised"])),
        engine=str(rng.choice(["auto", "mip"])),
    )


@pytest.mark.parametrize("stack", [True, False])
def test_the_number_fooled(stack: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not stack:
        monkeypatch.setattr(universal, "MOST_COMBINATIONS", 0)
    undecided = 0
    for seed in range(16):
        rng, network, xs, labels, norm, domain, distances = tiny(seed)
        finite = sorted({value for value in distances.values() if 0 < value < np.inf}) or [0.5]
        eps = float(rng.choice(finite)) * float(rng.choice([0.95, 1.05]))
        true = max((len(chosen) for chosen, value in distances.items() if value <= eps), default=0)
        answer = universal_perturbation(
            network, xs, labels, eps=eps, norm=norm, domain=domain, options=options(rng)
        )
        assert answer.left_out == ()
        assert answer.lower <= true <= answer.upper, seed
        assert len(answer.fooled) == answer.lower
        singles = [k for k in range(len(xs)) if distances[(k,)] <= eps * (1 - 1e-6)]
        assert not set(answer.robust) & set(singles), seed
        check_witness(answer, network, xs, labels, domain)
        undecided += not answer.closed
    assert undecided <= 1


@pytest.mark.parametrize("stack", [True, False])
def test_the_smallest_that_fools_so_many(stack: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not stack:
        monkeypatch.setattr(universal, "MOST_COMBINATIONS", 0)
    undecided = 0
    for seed in range(100, 116):
        rng, network, xs, labels, norm, domain, distances = tiny(seed)
        count = int(rng.integers(1, len(xs) + 1))
        distance = by_count(distances, count)
        answer = universal_perturbation(
            network, xs, labels, at_least=count, norm=norm, domain=domain, options=options(rng)
        )
        tolerance = 1e-6 * max(1.0, distance if np.isfinite(distance) else 1.0)
        assert answer.lower <= distance + tolerance, seed
        assert answer.upper >= distance - tolerance, seed
        if answer.witness is not None:
            assert len(answer.fooled) >= count
        check_witness(answer, network, xs, labels, domain)
        undecided += not answer.closed
    assert undecided <= 1


def test_what_is_wrong_from_the_start_is_left_out() -> None:
    _, network, xs, labels, norm, domain, _ = tiny(1)
    wrong = np.where(np.arange(len(xs)) == 0, (labels + 1) % network.graph.output_size, labels)
    answer = universal_perturbation(network, xs, wrong, eps=0.01, norm=norm, domain=domain)
    assert answer.left_out == (0,)
    assert answer.considered == tuple(range(1, len(xs)))
    values = json.loads(answer.to_json(indices=(7, 8, 9)))
    assert values["left_out"] == [7]
    assert values["samples"] == [8, 9][: len(xs) - 1]


def test_pairs_that_exclude_each_other_bound_the_number() -> None:
    everyone = dict.fromkeys(range(5))
    assert universal_pairs.largest_set(everyone, frozenset()) == 5
    assert universal_pairs.largest_set(everyone, frozenset({(0, 1)})) == 4
    cycle = frozenset({(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)})
    assert universal_pairs.largest_set(everyone, cycle) == 2
    assert universal_pairs.largest_set(dict.fromkeys([2, 7]), frozenset({(2, 7)})) == 1


def test_conditions_on_outputs() -> None:
    _, network, xs, _, norm, domain, _ = tiny(2)
    top = float(network(xs)[:, 0].max())
    answer = universal_perturbation(network, xs, eps=0.0, norm=norm, domain=domain, output=f"y0 <= {top + 1}")
    assert (answer.lower, answer.upper) == (0, 0)
    assert json.loads(answer.to_json())["criterion"] == {"output": f"y0 <= {top + 1}"}


def test_questions_that_make_no_sense() -> None:
    _, network, xs, labels, norm, domain, _ = tiny(1)

    def ask(**how: Any) -> None:
        universal_perturbation(network, xs, labels, **({"norm": norm, "domain": domain} | how))

    for how, said in (
        ({}, "give eps"),
        ({"eps": 0.1, "at_least": 1}, "give eps"),
        ({"at_least": 0}, "cannot be fooled"),
        ({"at_least": 4}, "cannot be fooled"),
        ({"eps": -1.0}, "eps must be"),
        ({"eps": 0.1, "norm": "l0"}, "l0"),
        ({"at_least": 1, "radius": -1.0}, "radius"),
        ({"at_least": 1, "domain": None}, "unbounded"),
    ):
        with pytest.raises(QueryError, match=said):
            ask(**how)
    with pytest.raises(QueryError, match="at least one sample"):
        universal_perturbation(network, xs[:0], labels[:0], eps=0.1)
