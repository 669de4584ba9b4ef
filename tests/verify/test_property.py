"""Verdicts on properties against visiting all linear regions, and witnesses against the text."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import mipverify
from mipverify.errors import PropertyError, QueryError
from mipverify.frontend.network import Network, load_network
from mipverify.frontend.vnnlib.property import Property, read_property
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Dense, Input
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball
from mipverify.runs.properties import verify_property
from mipverify.verify.certificate import Evidence
from mipverify.verify.options import VerifyOptions
from mipverify.verify.property_answer import PropertyAnswer, Verdict
from tests.frontend.vnnlib_texts import asserting
from tests.oracles.enumeration import linear_regions, worst
from tests.random_networks import random_graph, to_onnx

SURE = 1e-4  # margins closer to 0 than this may be decided either way
OPTIONS = VerifyOptions(time_limit=60)


def identity(size: int = 2) -> Network:
    """f(x) = x."""
    nodes = (
        Node(Input(size), (), "input", (size,)),
        Node(Dense(np.eye(size), np.zeros(size)), (0,), "d", (size,)),
    )
    return load_network(to_onnx(Graph(nodes, 1)))


def random_property(rng: np.random.Generator, network: Network) -> Property:
    """One to four boxes, each with one to three conjunctions of up to three rows."""
    n, m = network.graph.input_size, network.graph.output_size
    center = network(rng.random((1, n)))[0]
    scale = float(rng.choice([0.3, 3.0]))

    def conjunction() -> str:
        rows = []
        for _ in range(int(rng.integers(1, 4))):
            first, second = (int(k) for k in rng.integers(0, m, 2))
            shift = round(float(center[first] + abs(rng.normal()) * scale), 3)
            gap = round(shift - float(center[second]), 3)
            rows.append(f"(>= Y_{first} {shift if first == second else f'(+ Y_{second} {gap})'})")
        return f"(and {' '.join(rows)})"

    def box() -> str:
        sides = np.sort(rng.random((n, 2)), axis=1).round(3)
        limits = " ".join(f"(>= X_{k} {low}) (<= X_{k} {up})" for k, (low, up) in enumerate(sides))
        choices = " ".join(conjunction() for _ in range(int(rng.integers(1, 4))))
        return f"(and {limits} (or {choices}))"

    names = [f"(declare-const X_{k} Real)" for k in range(n)] + [
        f"(declare-const Y_{k} Real)" for k in range(m)
    ]
    boxes = " ".join(box() for _ in range(int(rng.integers(1, 5))))
    return read_property("\n".join(names) + f"\n(assert (or {boxes}))")


def largest_margin(network: Network, wanted: Property) -> float:
    margins = []
    for region in wanted.regions:
        box = region.box()
        ball = Ball(box.lower, 10.0, Norm.LINF, box)
        margins.append(worst(linear_regions(network.graph, ball), ball, region.unsafe))
    return max(margins)


def assert_witness(network: Network, wanted: Property, answer: PropertyAnswer) -> None:
    """The point satisfies the text with the outputs of onnxruntime at its float32 numbers."""
    witness = answer.witness
    assert witness is not None
    as_float32 = np.array([np.float32(float(x)) for x in witness.inputs], dtype=np.float64)
    np.testing.assert_array_equal(as_float32, witness.point)
    np.testing.assert_array_equal(network.run(witness.point[None])[0], witness.outputs)
    assert wanted.holds(witness.inputs, [Fraction(y) for y in witness.outputs.tolist()])


@pytest.mark.parametrize("block", range(4))
def test_no_false_verdict(block: int) -> None:
    found = {Verdict.SAT: 0, Verdict.UNSAT: 0}
    for seed in range(block * 15, block * 15 + 15):
        rng = np.random.default_rng(seed)
        network = load_network(to_onnx(random_graph(rng, max_relus=6)))
        wanted = random_property(rng, network)
        engine = str(rng.choice(["auto", "search", "mip"]))
        options = VerifyOptions(
            time_limit=60, engine=engine, attack=bool(rng.random() < 0.7), batch_size=int(rng.integers(1, 4))
        )
        answer = verify_property(network, wanted, options=options)
        margin = largest_margin(network, wanted)
        if answer.verdict is Verdict.SAT:
            assert_witness(network, wanted, answer)
            assert margin >= -1e-6
        elif answer.verdict is Verdict.UNSAT:
            assert margin <= 1e-6
            assert answer.num_open == 0
            assert answer.evidence in (Evidence.BOUND_PROPAGATION, Evidence.SOLVER_CLAIM)
        else:
            assert engine == "search" or abs(margin) < SURE, (seed, margin, answer.reason)
            continue
        found[answer.verdict] += 1
    assert min(found.values()) >= 1, found


def test_sides_without_a_float32_number() -> None:
    """The witness lies on the side itself, though onnxruntime can only be given a neighbour."""
    low = "0.1234567890123456789"
    text = asserting(f"(= X_0 {low})", "(>= Y_1 0.5)")
    answer = verify_property(identity(), read_property(text), options=OPTIONS)
    assert answer.verdict is Verdict.SAT
    assert answer.witness is not None
    assert answer.witness.inputs[0] == Fraction(low)
    assert answer.witness.point[0] == float(np.float32(low))
    unsafe = read_property(asserting(f"(= X_0 {low})", "(>= Y_0 0.124)"))
    assert verify_property(identity(), unsafe, options=OPTIONS).verdict is Verdict.UNSAT


def test_a_point_that_only_rounding_makes_unsafe_is_no_witness() -> None:
    """X_0 is 0.1 exactly; its float32 neighbour is larger, and so is the output there."""
    text = asserting("(= X_0 0.1)", "(>= Y_0 0.100000001)")
    answer = verify_property(identity(), read_property(text), options=OPTIONS)
    assert answer.verdict in (Verdict.UNKNOWN, Verdict.UNSAT)
    assert answer.witness is None


def test_equality_counts_and_strict_inequality_does_not() -> None:
    touching = asserting("(>= X_0 0.5)", "(<= Y_0 0.5)")
    answer = verify_property(identity(), read_property(touching), options=OPTIONS)
    assert answer.verdict is Verdict.SAT
    assert answer.witness is not None
    assert answer.witness.inputs[0] == Fraction(1, 2)
    strict = read_property(touching.replace("(<= Y_0", "(< Y_0"))
    refused = verify_property(identity(), strict, options=OPTIONS)
    assert refused.verdict is Verdict.UNKNOWN
    assert refused.reason is not None
    assert refused.num_open == 1


@pytest.mark.parametrize("bound", ["0.25", "0.75"])
def test_points_inside_are_found_where_those_on_the_boundary_do_not_count(bound: str) -> None:
    """The centre (0.5, 0.5) has y_0 = y_1, and attacks end in corners: both are excluded."""
    text = asserting("(> Y_0 Y_1)", "(not (>= X_0 1))", f"(< {bound} X_0)", "(> X_1 0)")
    wanted = read_property(text)
    answer = verify_property(identity(), wanted, options=OPTIONS)
    assert answer.verdict is Verdict.SAT
    assert_witness(identity(), wanted, answer)


def test_inputs_related_to_each_other_and_to_outputs() -> None:
    """f(x) = x on the unit box: x_0 + x_1 <= 1 and y_1 >= x_0 + 0.5 leave a triangle."""
    triangle = ("(<= (+ X_0 X_1) 1)", "(>= Y_1 (+ X_0 0.5))")
    answer = verify_property(identity(), read_property(asserting(*triangle)), options=OPTIONS)
    assert answer.verdict is Verdict.SAT
    assert answer.witness is not None
    first, second = answer.witness.inputs
    assert first + second <= 1
    assert second >= first + Fraction(1, 2)
    assert answer.witness.outputs.shape == (2,)
    outside = read_property(asserting(*triangle, "(>= Y_0 0.26)"))
    assert outside.relates_inputs
    assert verify_property(identity(), outside, options=OPTIONS).verdict is Verdict.UNSAT


def test_no_box_is_unsat() -> None:
    answer = verify_property(identity(), read_property(asserting("(>= X_0 2)")), options=OPTIONS)
    assert (answer.verdict, answer.num_regions) == (Verdict.UNSAT, 0)


def test_without_output_constraints_any_point_will_do() -> None:
    answer = verify_property(identity(), read_property(asserting()), options=OPTIONS)
    assert answer.verdict is Verdict.SAT


def test_many_boxes() -> None:
    parts = [f"(and (>= X_0 {k / 64}) (<= X_0 {(k + 1) / 64}) (>= Y_1 1.5))" for k in range(64)]
    unsat = read_property(asserting(f"(or {' '.join(parts)})"))
    answer = verify_property(identity(), unsat, options=OPTIONS)
    assert (answer.verdict, answer.num_regions, answer.num_open) == (Verdict.UNSAT, 64, 0)
    parts[40] = parts[40].replace("1.5", "1.0")
    wanted = read_property(asserting(f"(or {' '.join(parts)})"))
    answer = verify_property(identity(), wanted, options=OPTIONS)
    assert answer.verdict is Verdict.SAT
    assert answer.witness is not None
    assert Fraction(40, 64) <= answer.witness.inputs[0] <= Fraction(41, 64)


def test_time_is_short() -> None:
    rng = np.random.default_rng(7)
    network = load_network(to_onnx(random_graph(rng, input_size=3, kinds=("dense",))))
    names = [f"(declare-const X_{k} Real)" for k in range(3)]
    names += [f"(declare-const Y_{k} Real)" for k in range(network.graph.output_size)]
    highest = float(network(rng.random((500, 3))).max()) + 0.01
    boxes = [f"(assert (<= 0 X_{k} 1))" for k in range(3)]
    text = "\n".join([*names, *boxes, f"(assert (>= Y_0 {highest}))"])
    answer = verify_property(network, read_property(text), options=VerifyOptions(time_limit=1e-6))
    assert answer.verdict in (Verdict.TIMEOUT, Verdict.SAT)
    answer = verify_property(
        network, read_property(text), options=VerifyOptions(time_limit=30, engine="none")
    )
    assert answer.verdict in (Verdict.UNKNOWN, Verdict.UNSAT, Verdict.SAT)


def test_a_property_of_another_network_is_refused() -> None:
    with pytest.raises(QueryError, match="declares 2 inputs, the network has 3"):
        verify_property(identity(3), read_property(asserting()), options=OPTIONS)


def test_public_names(tmp_path: Path) -> None:
    path = tmp_path / "p.vnnlib"
    path.write_text(asserting("(>= Y_0 2)"))
    answer = mipverify.verify_property(identity(), path)
    assert answer.verdict == "unsat"
    assert mipverify.load_property(path).name == "p.vnnlib"
    path.write_text("(assert")
    with pytest.raises(PropertyError):
        mipverify.verify_property(identity(), path)
