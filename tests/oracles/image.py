"""Closest unsafe parameters by their effect on the input, over all linear regions of a network of theta."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
from scipy.optimize import linprog, nnls

from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.region import Box, Polytope
from tests.oracles.enumeration import Cell


def closest_by_image(
    cells: Sequence[Cell],
    matrix: Float64Array,
    limits: Box,
    polytopes: Sequence[Polytope],
    *,
    norm: Norm | None = None,
    sides: tuple[Float64Array, Float64Array] | None = None,
) -> float:
    """min |P theta| (without a norm, |theta| in linf) over unsafe theta with l <= P theta <= u, or inf.

    In l2 P has independent columns. What is closest in linf tells the scale there.
    """
    n, q = matrix.shape
    forms = np.eye(q) if norm is None else matrix
    k = len(forms)
    sums = np.ones((1, k)) if norm is Norm.L1 else np.eye(k)
    # (theta, t, rho) with t_i >= |forms_i theta|, and rho at least their sum or each of them.
    shared = [
        np.hstack([forms, -np.eye(k), np.zeros((k, 1))]),
        np.hstack([-forms, -np.eye(k), np.zeros((k, 1))]),
        np.hstack([np.zeros((len(sums), q)), sums, -np.ones((len(sums), 1))]),
    ]
    ends = [np.zeros(2 * k + len(sums))]
    if sides is not None:
        free = np.zeros((n, k + 1))
        shared += [np.hstack([matrix, free]), np.hstack([-matrix, free])]
        ends += [sides[1], -sides[0]]
    best = inf
    for cell in cells:
        weight, bias = cell.output
        for polytope in polytopes:
            rows = np.vstack([cell.rows, -polytope.matrix @ weight])
            above = np.concatenate([cell.limits, polytope.matrix @ bias - polytope.offset])
            found = linprog(
                np.append(np.zeros(q + k), 1.0),
                A_ub=np.vstack([np.hstack([rows, np.zeros((len(rows), k + 1))]), *shared]),
                b_ub=np.concatenate([above, *ends]),
                bounds=[*zip(limits.lower, limits.upper, strict=True), *[(0, None)] * (k + 1)],
                options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
            )
            if found.status == 0 and norm is Norm.L2 and 0 < found.fun < best:
                between = np.vstack([rows, np.eye(q), -np.eye(q), *([matrix, -matrix] if sides else [])])
                ends2 = [above, limits.upper, -limits.lower, *([sides[1], -sides[0]] if sides else [])]
                best = min(best, _least_length(matrix, between, np.concatenate(ends2), float(found.fun)))
            elif found.status == 0:
                best = min(best, float(found.fun))
            elif found.status != 2:
                raise RuntimeError(f"the oracle's linear program failed: {found.message}")
    return best


def _least_length(matrix: Float64Array, rows: Float64Array, above: Float64Array, unit: float) -> float:
    """min |P theta|_2 over rows @ theta <= above, a set that is not empty, at about one unit.

    Least distance programming as non-negative least squares (Lawson and Hanson 1974, chapter 23).
    """
    kept = np.isfinite(above)
    triangle = np.linalg.qr(matrix, mode="r")
    forms, least = -np.linalg.solve(triangle.T, rows[kept].T), -above[kept] / unit
    size = np.maximum(np.linalg.norm(forms, axis=0), 1e-300)
    system = np.vstack([forms / size, least / size])
    target = np.append(np.zeros(len(triangle)), 1.0)
    weights, _ = nnls(system, target, maxiter=100 * system.shape[1])
    rest = system @ weights - target
    return unit * float(np.linalg.norm(rest[:-1] / rest[-1]))
