"""Minimum distortion, worst margin and feasibility of a tiny network, by visiting all of its linear regions.

Every ReLU is tried in both phases and every max-pooling window with every winner; inside one pattern the
network is one affine map, so each question is a linear program in (a, t, rho) with t_i >= |a_i - x_i|, or for
distances in l2 one of least squares.
Written in raw input coordinates with dense matrices, sharing nothing with the encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from mipverify.graph.evaluate import apply
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array, MaxPool, Relu
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Polytope
from tests.oracles.nearest import nearest

Value = tuple[Float64Array, Float64Array]  # (W, b): the value W a + b
Phases = Mapping[int, NDArray[np.int8]]


@dataclass(frozen=True, eq=False)
class Cell:
    """One linear region: rows @ a <= limits, where the output is W a + b."""

    rows: Float64Array
    limits: Float64Array
    output: Value


def linear_regions(graph: Graph, ball: Ball, phases: Phases | None = None) -> list[Cell]:
    """All linear regions of the network that meet the ball (and obey the imposed `phases`).

    For l2 those that meet the box around the ball.
    """
    n = graph.input_size
    start = (np.eye(n), np.zeros(n))
    return list(_descend(graph, ball, phases or {}, 1, [start], np.zeros((0, n)), np.zeros(0)))


def _descend(
    graph: Graph,
    ball: Ball,
    phases: Phases,
    position: int,
    values: list[Value],
    rows: Float64Array,
    limits: Float64Array,
) -> Iterator[Cell]:
    if position == len(graph.nodes):
        yield Cell(rows, limits, values[graph.output])
        return
    node = graph.nodes[position]
    match node.op:
        case Relu():
            pieces = _relu_pieces(values[node.inputs[0]], phases.get(position))
        case MaxPool(windows=windows):
            pieces = _pool_pieces(values[node.inputs[0]], windows)
        case _:
            yield from _descend(
                graph,
                ball,
                phases,
                position + 1,
                [*values, _affine(node.op, node.inputs, values)],
                rows,
                limits,
            )
            return
    for value, more_rows, more_limits in _combinations(ball, pieces, rows, limits):
        yield from _descend(graph, ball, phases, position + 1, [*values, value], more_rows, more_limits)


def _affine(op: object, inputs: Sequence[int], values: list[Value]) -> Value:
    """The affine map of an operator, read off its values at 0 and at the unit vectors of its inputs."""
    n = values[0][0].shape[1]
    base = apply(op, [values[k][1][None] for k in inputs])[0]  # type: ignore[arg-type]
    columns = [
        apply(op, [(values[k][0][:, j] + values[k][1])[None] for k in inputs])[0] - base  # type: ignore[arg-type]
        for j in range(n)
    ]
    return np.stack(columns, axis=1) if n else np.zeros((base.size, 0)), base


# A piece of one neuron: its row and constant, and the conditions rows @ a <= limits under which they hold.
Piece = tuple[Float64Array, float, Float64Array, Float64Array]


def _relu_pieces(value: Value, imposed: NDArray[np.int8] | None) -> list[list[Piece]]:
    weight, bias = value
    result = []
    for i in range(len(bias)):
        active: Piece = (weight[i], float(bias[i]), -weight[i][None], bias[i][None])
        inactive: Piece = (0 * weight[i], 0.0, weight[i][None], -bias[i][None])
        phase = 0 if imposed is None else int(imposed[i])
        result.append([piece for piece, sign in ((active, 1), (inactive, -1)) if phase in (0, sign)])
    return result


def _pool_pieces(value: Value, windows: NDArray[np.int64]) -> list[list[Piece]]:
    weight, bias = value
    result = []
    for window in windows:
        entries = sorted(set(window.tolist()))
        result.append(
            [
                (weight[j], float(bias[j]), weight[entries] - weight[j], bias[j] - bias[entries])
                for j in entries
            ]
        )
    return result


def _combinations(
    ball: Ball, pieces: list[list[Piece]], rows: Float64Array, limits: Float64Array
) -> Iterator[tuple[Value, Float64Array, Float64Array]]:
    """One piece for every neuron, in all ways that leave something of the region."""
    n = ball.center.size
    open_nodes = [(np.zeros((0, n)), np.zeros(0), rows, limits)]
    for options in pieces:
        following = []
        for weight, bias, held, at_most in open_nodes:
            for row, constant, more_rows, more_limits in options:
                all_rows, all_limits = np.vstack([held, more_rows]), np.concatenate([at_most, more_limits])
                if len(options) == 1 or _solve(ball, all_rows, all_limits, np.zeros(2 * n + 1)) is not None:
                    following.append(
                        (np.vstack([weight, row]), np.append(bias, constant), all_rows, all_limits)
                    )
        open_nodes = following
    for weight, bias, held, at_most in open_nodes:
        yield (weight, bias), held, at_most


def _solve(
    ball: Ball, rows: Float64Array, limits: Float64Array, cost: Float64Array
) -> tuple[float, Float64Array] | None:
    """Minimise cost over (a, t, rho) with a in the ball and rows @ a <= limits; None if infeasible."""
    n = ball.center.size
    eye, zero = np.eye(n), np.zeros((n, 1))
    system = [
        np.hstack([rows, np.zeros((len(rows), n + 1))]),
        np.hstack([eye, -eye, zero]),
        np.hstack([-eye, -eye, zero]),
    ]
    if ball.norm is Norm.L1:
        system.append(np.concatenate([np.zeros(n), np.ones(n), [-1.0]])[None])
        ends = [0.0]
    else:
        system.append(np.hstack([np.zeros((n, n)), eye, -np.ones((n, 1))]))
        ends = [0.0] * n
    matrix = np.vstack(system)
    ends_all = np.concatenate([limits, ball.center, -ball.center, ends])
    size = np.abs(matrix).max(axis=1)
    size = np.where(size > 0, size, 1.0)  # rows of very different scale would upset the solver
    sides = [*zip(ball.domain.lower, ball.domain.upper, strict=True)]
    for tolerance, method in ((1e-10, "highs-ds"), (1e-8, "highs-ds"), (1e-7, "highs-ipm")):
        result = linprog(
            cost / max(np.abs(cost).max(), 1e-300),
            A_ub=matrix / size[:, None],
            b_ub=ends_all / size,
            bounds=[*sides, *[(0, None)] * n, (0, ball.radius if np.isfinite(ball.radius) else None)],
            method=method,
            options={"primal_feasibility_tolerance": tolerance, "dual_feasibility_tolerance": tolerance},
        )
        if result.status == 2:
            return None
        if result.status == 0:
            return float(cost @ result.x), np.asarray(result.x[:n])
    raise RuntimeError(f"the oracle's linear program failed: {result.message}")


def closest(cells: Sequence[Cell], ball: Ball, polytopes: Sequence[Polytope], *, slack: float = 0.0) -> float:
    """min D(x, a) over the unsafe points of the cells, inf if there are none."""
    n = ball.center.size
    cost = np.zeros(2 * n + 1)
    cost[-1] = 1.0
    best = inf
    for cell in cells:
        weight, bias = cell.output
        for polytope in polytopes:
            rows = np.vstack([cell.rows, -polytope.matrix @ weight])
            limits = np.concatenate([cell.limits, polytope.matrix @ bias - polytope.offset + slack])
            if ball.norm is Norm.L2:
                found = nearest(rows, limits, ball.center, ball.domain)
                found = None if found is not None and found[0] > ball.radius else found
            else:
                found = _solve(ball, rows, limits, cost)
            best = min(best, inf if found is None else found[0])
    return best


def worst(cells: Sequence[Cell], ball: Ball, polytopes: Sequence[Polytope]) -> float:
    """max over a of the margin of the union of polytopes, where max and min are again over linear pieces."""
    n = ball.center.size
    best = -inf
    for cell in cells:
        weight, bias = cell.output
        for polytope in polytopes:
            gains, constants = polytope.matrix @ weight, polytope.matrix @ bias - polytope.offset
            for r in range(len(constants)):  # the cells where row r is the smallest
                rows = np.vstack([cell.rows, gains[r] - gains])
                limits = np.concatenate([cell.limits, constants - constants[r]])
                cost = np.concatenate([-gains[r], np.zeros(n + 1)])
                found = _solve(ball, rows, limits, cost)
                if found is not None:
                    best = max(best, constants[r] - found[0])
    return best
