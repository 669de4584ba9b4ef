"""Every real point of a query satisfies its program: checked in rational arithmetic, without any tolerance.

The columns of a point are computed exactly from the exact values of the network; each row then has to hold
within its `row_error`, each bound exactly.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.encoding.encode import Encoding, Objective, encode
from mipverify.encoding.squares import SquareBlock
from mipverify.encoding.variables import (
    Block,
    InputBlock,
    MarginBlock,
    PartBlock,
    PhaseBlock,
    RadiusBlock,
    TargetBlock,
    ValueBlock,
    WinnerBlock,
)
from mipverify.milp.program import MixedIntegerProgram
from mipverify.problem.norm import Norm
from mipverify.tightening.tangents import squares_of, with_rows
from tests.bounds.regions import exact_points
from tests.encoding.tiny_queries import TinyQuery, bounds_of, tiny_query
from tests.oracles.exact_values import exact_values

SEEDS = st.integers(0, 2**32 - 1)
Vector = list[Fraction]


def exact_columns(encoding: Encoding, a: Vector) -> Vector:
    """All columns of the program at the point a."""
    values = exact_values(encoding.graph, a)
    margins = exact_margins(encoding, values[encoding.graph.output])
    columns: Vector = []
    for block in encoding.variables.blocks:
        columns += _exact_block(encoding, block, a, values, margins)
    return columns


def exact_margins(encoding: Encoding, outputs: Vector) -> Vector:
    result = []
    for k in encoding.polytopes:
        polytope = encoding.query.unsafe[k]
        rows = zip(polytope.matrix.tolist(), polytope.offset.tolist(), strict=True)
        result.append(
            min(
                sum((Fraction(g) * y for g, y in zip(row, outputs, strict=True)), -Fraction(o))
                for row, o in rows
            )
        )
    return result


def _exact_block(
    encoding: Encoding, block: Block, a: Vector, values: list[Vector], margins: Vector
) -> Vector:
    center = [Fraction(v) for v in encoding.query.region.center.tolist()]
    match block:
        case InputBlock(features=features, unit=unit, sign=sign):
            steps = [(a[i] - center[i]) / Fraction(unit) for i in features.tolist()]
            return steps if sign == 0 else [max(sign * step, Fraction(0)) for step in steps]
        case RadiusBlock(unit=unit):
            return [max(abs(p - c) for p, c in zip(a, center, strict=True)) / Fraction(unit)]
        case SquareBlock(moves=moves):
            return [step**2 for step in _exact_block(encoding, moves, a, values, margins)]
        case ValueBlock(node=node, neurons=neurons, shift=shift, unit=unit):
            return [
                (values[node][i] - Fraction(s)) / Fraction(u)
                for i, s, u in zip(neurons.tolist(), shift.tolist(), unit.tolist(), strict=True)
            ]
        case PartBlock(argument=argument, neurons=neurons, unit=unit, sign=sign):
            return [
                max(sign * values[argument][i], Fraction(0)) / Fraction(u)
                for i, u in zip(neurons.tolist(), unit.tolist(), strict=True)
            ]
        case PhaseBlock(argument=argument, neurons=neurons):
            return [Fraction(int(values[argument][i] >= 0)) for i in neurons.tolist()]
        case WinnerBlock(argument=argument, windows=windows, candidates=candidates):
            return _exact_winners(values[argument], windows.tolist(), candidates.tolist())
        case TargetBlock(position=position):
            best = max(position.tolist(), key=lambda k: margins[k])
            return [Fraction(int(k == best)) for k in position.tolist()]
        case MarginBlock(shift=shift, unit=unit):
            return [(max(margins) - Fraction(shift)) / Fraction(unit)]
    raise TypeError(type(block).__name__)


def _exact_winners(values: Vector, windows: list[int], candidates: list[int]) -> Vector:
    result: Vector = []
    for k, window in enumerate(windows):
        members = [c for w, c in zip(windows, candidates, strict=True) if w == window]
        best = max(members, key=lambda c: values[c])
        result.append(Fraction(int(candidates[k] == best)))
    return result


def check_contains(encoding: Encoding, columns: Vector, program: MixedIntegerProgram | None = None) -> None:
    """The point satisfies the program of the encoding, or another one over the same columns."""
    program = encoding.program if program is None else program
    assert program.row_error is not None
    matrix = program.matrix
    for j, value in enumerate(columns):
        assert Fraction(float(program.lower[j])) <= value <= Fraction(float(program.upper[j]))
    for i in range(program.num_rows):
        part = slice(matrix.indptr[i], matrix.indptr[i + 1])
        entries = zip(matrix.indices[part].tolist(), matrix.data[part].tolist(), strict=True)
        activity = sum((Fraction(value) * columns[j] for j, value in entries), Fraction(0))
        error = Fraction(float(program.row_error[i]))
        if np.isfinite(program.row_lower[i]):
            assert activity >= Fraction(float(program.row_lower[i])) - error
        if np.isfinite(program.row_upper[i]):
            assert activity <= Fraction(float(program.row_upper[i])) + error


def exact_query(rng: np.random.Generator) -> TinyQuery:
    """A query whose radius is one of the awkward ones half of the time."""
    radius = float(rng.choice([1e-9, 1e-3, 0.1, 1 / 3])) if rng.random() < 0.5 else None
    norm = Norm(rng.choice([Norm.LINF, Norm.L1, Norm.L2]))
    return tiny_query(rng, norm=norm, weight_scale=bool(rng.integers(2)), radius=radius)


@given(seed=SEEDS)
@settings(max_examples=80, deadline=None)
def test_exact_points_satisfy_the_program(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tiny = exact_query(rng)
    objective = Objective(rng.choice(list(Objective)))
    encoding = encode(
        tiny.graph,
        tiny.query,
        tiny.bounds,
        objective=objective,
        substitute_up_to=float(rng.choice([0.0, np.inf])),
        tangents_at=(rng.random(tiny.graph.input_size),),
    )
    squares = squares_of(encoding)
    if squares is not None:  # whatever point a tangent is made at, it holds everywhere
        rows = squares.tangents(
            rng.normal(size=encoding.program.num_columns), share=0.0, width=encoding.program.num_columns
        )
        encoding = with_rows(encoding, rows)
    for a in exact_points(rng, tiny.query.region, 6):
        margins = exact_margins(encoding, exact_values(tiny.graph, a)[tiny.graph.output])
        if objective is Objective.WORST or max(margins) >= 0:
            columns = exact_columns(encoding, a)
            check_contains(encoding, columns)
            cost = sum(
                (Fraction(c) * v for c, v in zip(encoding.program.cost.tolist(), columns, strict=True)),
                Fraction(encoding.program.offset),
            )
            if objective is Objective.WORST:  # minus the margin, never less than the cost
                scale = max(1.0, *(float(abs(m)) for m in margins))
                assert cost <= -max(margins) + Fraction(1e-12) * Fraction(scale)


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_linear_programs_bound_the_margin_rigorously(seed: int) -> None:
    """A dual bound of the relaxation is below minus the margin of every exact point."""
    from mipverify.solvers.highs import HighsSolver
    from mipverify.solvers.solver import SolveOptions

    rng = np.random.default_rng(seed)
    tiny = exact_query(rng)
    encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST, relaxed=True)
    if encoding.program.num_columns == 0:
        return
    result = HighsSolver().solve_lp(encoding.program, SolveOptions())
    for a in exact_points(rng, tiny.query.region, 6):
        margins = exact_margins(encoding, exact_values(tiny.graph, a)[tiny.graph.output])
        assert Fraction(result.dual_bound) <= -max(margins)


def test_a_row_that_is_too_narrow_is_noticed() -> None:
    """The check itself can fail: without the rounding terms some point is lost."""
    rng = np.random.default_rng(0)
    lost = 0
    for _ in range(60):
        tiny = tiny_query(rng, norm=Norm.LINF, radius=0.1)
        tiny = replace(tiny, bounds=bounds_of(tiny.graph, tiny.query.region, 0))  # type: ignore[arg-type]
        encoding = encode(tiny.graph, tiny.query, tiny.bounds, objective=Objective.WORST)
        program = encoding.program
        narrow = replace(encoding, program=replace(program, row_error=np.zeros(program.num_rows)))
        for a in exact_points(rng, tiny.query.region, 3):
            try:
                check_contains(narrow, exact_columns(narrow, a))
            except AssertionError:
                lost += 1
    assert lost > 0
