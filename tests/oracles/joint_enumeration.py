"""The smallest perturbation that fools a set of samples at once, by visiting all joint linear regions.

For every combination of one linear region a sample and one unsafe polytope a sample, the question is a linear
program in (d, t, rho) with t_i >= |d_i|. Nothing is shared with the encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import inf

import numpy as np
from scipy.optimize import linprog

from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box, Polytope
from tests.oracles.enumeration import linear_regions

Constraints = tuple[Float64Array, Float64Array]  # rows @ d <= limits


def joint_distances(
    graph: Graph,
    centers: Sequence[Float64Array],
    unsafe: Sequence[Sequence[Polytope]],
    norm: Norm,
    domain: Box,
) -> dict[tuple[int, ...], float]:
    """The smallest |d| with every x_k + d in the domain that fools all samples of a set, for every set."""
    pieces = [
        _pieces(graph, x, polytopes, norm, domain) for x, polytopes in zip(centers, unsafe, strict=True)
    ]
    low = np.max([domain.lower - x for x in centers], axis=0)
    up = np.min([domain.upper - x for x in centers], axis=0)
    found = {}
    for count in range(1, len(centers) + 1):
        for chosen in combinations(range(len(centers)), count):
            found[chosen] = _closest([pieces[k] for k in chosen], norm, low, up, [], inf)
    return found


def _pieces(
    graph: Graph, x: Float64Array, polytopes: Sequence[Polytope], norm: Norm, domain: Box
) -> list[Constraints]:
    """Where x + d is unsafe: one polyhedron of d a linear region and unsafe polytope."""
    made = []
    for cell in linear_regions(graph, Ball(x, inf, norm, domain)):
        weight, bias = cell.output
        for polytope in polytopes:
            rows = np.vstack([cell.rows, -polytope.matrix @ weight])
            limits = np.concatenate([cell.limits, polytope.matrix @ bias - polytope.offset])
            made.append((rows, limits - rows @ x))
    return made


def _closest(
    pieces: Sequence[list[Constraints]],
    norm: Norm,
    low: Float64Array,
    up: Float64Array,
    held: list[Constraints],
    best: float,
) -> float:
    if not pieces:
        return min(best, _smallest(held, norm, low, up))
    for piece in pieces[0]:
        now = [*held, piece]
        if len(pieces) == 1 or _smallest(now, norm, low, up) < best:
            best = _closest(pieces[1:], norm, low, up, now, best)
    return best


def _smallest(held: Sequence[Constraints], norm: Norm, low: Float64Array, up: Float64Array) -> float:
    """min |d| over rows @ d <= limits, low <= d <= up; inf if there is none."""
    n = low.size
    rows = np.vstack([part for part, _ in held])
    limits = np.concatenate([part for _, part in held])
    eye = np.eye(n)
    if norm is Norm.L1:
        size = [np.concatenate([np.zeros(n), np.ones(n), [-1.0]])[None]]
    else:
        size = [np.hstack([np.zeros((n, n)), eye, -np.ones((n, 1))])]
    system = np.vstack(
        [
            np.hstack([rows, np.zeros((len(rows), n + 1))]),
            np.hstack([eye, -eye, np.zeros((n, 1))]),
            np.hstack([-eye, -eye, np.zeros((n, 1))]),
            *size,
        ]
    )
    ends = np.concatenate([limits, np.zeros(2 * n + len(size[0]))])
    scale = np.maximum(np.abs(system).max(axis=1), 1e-300)
    cost = np.concatenate([np.zeros(2 * n), [1.0]])
    result = linprog(
        cost,
        A_ub=system / scale[:, None],
        b_ub=ends / scale,
        bounds=[*zip(low, up, strict=True), *[(0, None)] * (n + 1)],
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9},
    )
    if result.status not in (0, 2):
        raise RuntimeError(f"the oracle's linear program failed: {result.message}")
    return inf if result.status == 2 else float(result.fun)
