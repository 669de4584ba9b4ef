"""Bounds of the checker: below the exact minimum for any choices, in both arithmetics and all norms."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mipverify.certificate.exact_arithmetic import ExactArithmetic
from mipverify.certificate.float_arithmetic import FloatArithmetic
from mipverify.certificate.network import CheckedNetwork
from mipverify.certificate.reading import read_network
from mipverify.certificate.region import CheckedPart, CheckedRegion
from mipverify.certificate.relaxation import Arithmetic, Choices, Relaxation, bound_layers
from mipverify.certificate.rounding import deployed_error
from mipverify.graph.evaluate import activations
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from tests.random_networks import random_graph, to_onnx

ARITHMETICS: tuple[Arithmetic, ...] = (FloatArithmetic(), ExactArithmetic())
KINDS = ("dense", "conv", "residual", "maxpool", "concat", "scale", "select")


def random_part(rng: np.random.Generator, size: int) -> CheckedPart:
    center = rng.normal(size=size)
    norm = Norm(rng.choice(list(Norm)))
    radius = float(rng.integers(0, size + 1)) if norm is Norm.L0 else float(rng.exponential())
    lower, upper = center - rng.exponential(size=size), center + rng.exponential(size=size)
    region = CheckedRegion(center, radius, norm, lower, upper, rng.integers(0, size, size=size))
    if rng.random() < 0.5:
        return region.whole()
    axis = int(rng.integers(size))
    halves = region.whole().halves(axis, float(rng.normal(center[axis], 0.5)))
    return halves[int(rng.integers(2))]


def points_in(rng: np.random.Generator, part: CheckedPart, count: int = 300) -> Float64Array:
    """Points of a part, many of them at its boundary; perhaps none."""
    region, size = part.region, part.lower.size
    if part.empty:
        return np.zeros((0, size))
    points = rng.uniform(part.lower, part.upper, size=(count, size))
    points[::2] = np.where(rng.random((len(points[::2]), size)) < 0.5, part.lower, part.upper)
    if region.norm is Norm.L0:
        order = rng.permuted(np.tile(np.arange(size), (count, 1)), axis=1)
        allowed = order[:, :, None] == region.groups[None, None, :]
        keep = allowed[:, : int(region.radius)].any(axis=1)
        points = np.where(keep, points, region.center)
    else:
        offset = points - region.center
        length = region.norm.distance(region.center, points)
        scale = np.where(length > region.radius, region.radius / np.maximum(length, 1e-300), 1.0)
        points = region.center + offset * scale[:, None] * (1 - 1e-12)
    inside = (points >= part.lower).all(axis=1) & (points <= part.upper).all(axis=1)
    return points[inside]


def random_choices(rng: np.random.Generator, network: CheckedNetwork, rows: int) -> Choices:
    slopes, phases, multipliers = {}, {}, {}
    for k in network.relus:
        size = network.layers[k].size
        if rng.random() < 0.7:
            slopes[k] = rng.uniform(size=(rows, size))
        if rng.random() < 0.7:
            phases[k] = rng.choice([-1, 0, 1], p=[0.2, 0.6, 0.2], size=(rows, size)).astype(np.int8)
            multipliers[k] = rng.exponential(size=(rows, size))
    return Choices(slopes, phases, multipliers)


def obeys(graph: Graph, network: CheckedNetwork, choices: Choices, point: Float64Array, row: int) -> bool:
    values = activations(graph, point[None])
    for here, there in zip(network.relus, graph.relus, strict=True):
        imposed = choices.phases.get(here)
        pre = values[graph.nodes[there].inputs[0]][0]
        if imposed is not None and (imposed[row] * pre < 0).any():
            return False
    return True


@given(st.integers(0, 2**32 - 1))
def test_never_above_a_value_at_a_point_of_the_region(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=KINDS, max_blocks=3)
    network = read_network(to_onnx(graph, batch=1))
    part = random_part(rng, graph.input_size)
    points = points_in(rng, part)
    outputs = activations(graph, points)[graph.output] if len(points) else np.zeros((0, graph.output_size))
    rows = rng.normal(size=(4, graph.output_size))
    choices = random_choices(rng, network, 4)
    refined = {
        network.layers[k].source: np.flatnonzero(rng.random(network.layers[k].size) < 0.7)  # type: ignore[union-attr]
        for k in network.relus
    }
    for arithmetic in ARITHMETICS:
        bounds = bound_layers(network, part, arithmetic, refined)
        assert (bounds.lower[-1] <= outputs + 1e-9).all()
        assert (bounds.upper[-1] >= outputs - 1e-9).all()
        low = Relaxation(network, part, arithmetic, bounds).minimum(len(network.layers) - 1, rows, choices)
        for row in range(4):
            for point, output in zip(points, outputs, strict=True):
                if rows[row] @ output < low[row] - 1e-9:
                    assert not obeys(graph, network, choices, point, row)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-30, 1e-8, 1.0, 1e8, 1e30]))
def test_float_and_exact_bounds_agree_up_to_rounding(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=("dense", "conv", "residual"))
    network = read_network(to_onnx(graph, batch=1))
    center = rng.normal(size=graph.input_size) * scale
    groups = np.arange(center.size)
    region = CheckedRegion(center, scale, Norm.LINF, center - 2 * scale, center + 2 * scale, groups)
    rows = rng.normal(size=(3, graph.output_size))
    found = []
    for arithmetic in ARITHMETICS:
        bounds = bound_layers(network, region.whole(), arithmetic, {})
        relaxation = Relaxation(network, region.whole(), arithmetic, bounds)
        found.append(relaxation.minimum(len(network.layers) - 1, rows, Choices()))
    # Rounding is charged by the sizes of the values on the way, which may be larger than those of outputs.
    size = max(float(bounds.magnitude(k).max()) for k in range(len(network.layers)))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-9 * (1 + size))


@given(st.integers(0, 2**32 - 1))
def test_one_region_in_exact_arithmetic_is_below_the_float_minimum(seed: int) -> None:
    """A linear network: the bound is the minimum over the region itself, found by sampling from above."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 6))
    part = random_part(rng, size)
    rows = rng.normal(size=(5, size)) * 10.0 ** rng.integers(-8, 8, size=(5, size))
    values = points_in(rng, part) @ rows.T
    for arithmetic in ARITHMETICS:
        numbers = arithmetic.exactly(rows)
        low = arithmetic.at_least(arithmetic.region(numbers, part))  # type: ignore[arg-type]
        assert (values >= low - 1e-9 * np.abs(values)).all()


@given(st.integers(0, 2**32 - 1))
def test_float32_runs_stay_within_the_derived_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=("dense", "conv", "residual", "maxpool"), max_blocks=3)
    model = to_onnx(graph, batch=1)
    network = read_network(model)
    center = rng.normal(size=graph.input_size)
    region = CheckedRegion(center, 1.0, Norm.LINF, center - 1, center + 1, np.arange(center.size))
    error = deployed_error(network, bound_layers(network, region.whole(), FloatArithmetic(), {}))
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for point in points_in(rng, region.whole(), 20).astype(np.float32):
        if not ((point >= center - 1) & (point <= center + 1)).all():
            continue
        given_ = {session.get_inputs()[0].name: point[None]}
        deployed = session.run(None, given_)[0].reshape(-1).astype(np.float64)
        real = activations(graph, point[None].astype(np.float64))[graph.output][0]
        assert (np.abs(deployed - real) <= error).all()
