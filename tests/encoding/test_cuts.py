"""Inequalities of open neurons: they cut off points of the relaxation, and no point of the network."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.bounds.network_bounds import Method
from mipverify.encoding.cuts import OpenNeurons, open_neurons, violated_cuts
from mipverify.encoding.encode import Encoding, Objective, encode
from mipverify.milp.rows import UpperRows
from mipverify.solvers.highs import HighsLp
from mipverify.solvers.solver import SolveOptions
from tests.bounds.regions import exact_points
from tests.encoding.test_containment import Vector, exact_columns
from tests.encoding.tiny_queries import TinyQuery, tiny_query

SEEDS = st.integers(0, 2**32 - 1)


def open_query(rng: np.random.Generator) -> TinyQuery:
    """A query with wide bounds in a wide ball, so that many neurons are open."""
    radius = float(rng.choice([1 / 3, 1.0]))
    return tiny_query(rng, weight_scale=bool(rng.integers(2)), radius=radius, method=Method.INTERVAL)


def relaxed_points(rng: np.random.Generator, encoding: Encoding, count: int) -> list[np.ndarray]:
    """Vertices of the relaxation for random costs, and random vectors within the columns' bounds."""
    program = encoding.program
    lp = HighsLp(program)
    points = []
    for _ in range(count):
        lp.set_cost(rng.normal(size=program.num_columns))
        found = lp.solve(SolveOptions()).point
        points += [] if found is None else [found]
        points.append(rng.uniform(program.lower, program.upper))
    return points


def holds(rows: UpperRows, columns: Vector) -> list[bool]:
    """Which of the inequalities a point satisfies, in rational arithmetic without any tolerance."""
    result = []
    for i in range(rows.count):
        part = slice(rows.matrix.indptr[i], rows.matrix.indptr[i + 1])
        entries = zip(rows.matrix.indices[part].tolist(), rows.matrix.data[part].tolist(), strict=True)
        activity = sum((Fraction(value) * columns[j] for j, value in entries), Fraction(0))
        result.append(activity <= Fraction(float(rows.upper[i])))
    return result


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_cuts_hold_at_every_exact_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tiny = open_query(rng)
    encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST)
    neurons = open_neurons(encoding)
    if neurons.phase.size == 0:
        return
    cuts = [
        violated_cuts(neurons, point, least_violation=-2.0, at_most=100)
        for point in relaxed_points(rng, encoding, 3)
    ]
    for a in exact_points(rng, tiny.query.region, 8):
        columns = exact_columns(encoding, a)
        for found in cuts:
            assert all(holds(found, columns))


def test_cuts_are_tight_and_a_stricter_side_loses_points() -> None:
    """The property above can fail: inequalities that are tighter by a little exclude exact points."""
    rng = np.random.default_rng(1)
    lost = found = 0
    for _ in range(30):
        tiny = open_query(rng)
        encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST)
        neurons = open_neurons(encoding)
        for point in relaxed_points(rng, encoding, 2):
            cuts = violated_cuts(neurons, point, least_violation=-2.0, at_most=100)
            tighter = replace(cuts, upper=cuts.upper - 1e-9 * np.maximum(np.abs(cuts.upper), 1))
            for a in exact_points(rng, tiny.query.region, 8):
                held = holds(tighter, exact_columns(encoding, a))
                found, lost = found + len(held), lost + held.count(False)
    assert lost > 0
    assert found > 100


def test_every_cut_excludes_the_point_it_was_made_for() -> None:
    rng = np.random.default_rng(2)
    count = 0
    for _ in range(40):
        tiny = open_query(rng)
        encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST)
        neurons = open_neurons(encoding)
        for point in relaxed_points(rng, encoding, 3):
            cuts = violated_cuts(neurons, point, least_violation=1e-3, at_most=100)
            assert (cuts.matrix @ point > cuts.upper).all()
            fewer = violated_cuts(neurons, point, least_violation=1e-3, at_most=1)
            assert fewer.count == min(1, cuts.count)
            count += cuts.count
    assert count > 20


def test_most_violated_among_all_subsets() -> None:
    """For one neuron, the inequality found is the most violated of all 2^n."""
    rng = np.random.default_rng(3)
    checked = 0
    while checked < 20:
        tiny = open_query(rng)
        encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST)
        neurons = open_neurons(encoding)
        if neurons.phase.size == 0:
            continue
        for point in relaxed_points(rng, encoding, 1)[:1]:
            cuts = violated_cuts(neurons, point, least_violation=1e-3, at_most=100)
            for row in range(cuts.count):
                part = slice(cuts.matrix.indptr[row], cuts.matrix.indptr[row + 1])
                neuron = np.flatnonzero(np.isin(neurons.positive, cuts.matrix.indices[part]))
                neuron = neuron[np.isin(neurons.phase[neuron], cuts.matrix.indices[part])]
                assert neuron.size == 1
                i = int(neuron[0])
                amount = float((cuts.matrix[[row]] @ point)[0] - cuts.upper[row])
                assert amount >= best_by_enumeration(neurons, i, point) - 1e-9 * max(1.0, amount)
                checked += 1


def best_by_enumeration(neurons: OpenNeurons, i: int, point: np.ndarray) -> float:
    """max over subsets I of alpha z - w_I v_I + A (1 - b) - (B + R) b."""
    part = slice(neurons.weight.indptr[i], neurons.weight.indptr[i + 1])
    columns, weight = neurons.weight.indices[part], neurons.weight.data[part]
    b, z = point[neurons.phase[i]], point[neurons.positive[i]]
    sides = np.sort(
        [weight * neurons.program.lower[columns], weight * neurons.program.upper[columns]], axis=0
    )
    best = -np.inf
    for subset in np.ndindex(*[2] * weight.size):
        inside = np.array(subset, dtype=bool)
        right = (weight * point[columns])[inside].sum() - sides[0][inside].sum() * (1 - b)
        right += (sides[1][~inside].sum() + neurons.limit[i]) * b
        best = max(best, float(neurons.alpha[i] * z - right))
    return best


def test_a_program_without_phases_has_no_open_neurons() -> None:
    tiny = open_query(np.random.default_rng(4))
    relaxed = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST, relaxed=True)
    neurons = open_neurons(relaxed)
    assert neurons.phase.size == 0
    point = np.zeros(relaxed.program.num_columns)
    assert violated_cuts(neurons, point, least_violation=1e-3, at_most=5).count == 0
