"""The point of a polyhedron and a box that is closest to a centre in l2: a convex program of its own.

    min |d|^2 / 2   over   matrix d >= least,   lower <= d <= upper,   with lower <= 0 <= upper.

Solved by the primal-dual interior-point method of Mehrotra (1992). The box is eliminated from its linear
systems, which are as large as the polyhedron has rows. Nothing is claimed of what it returns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from mipverify.graph.operators import Float64Array

_ITERATIONS = 60
_SLOW, _PLAIN = 0.7, 0.5  # shares of the complementarity gap: what a slow step leaves, a plain one aims at
_START = 0.1  # slack times multiplier at first
_BACK = 0.995  # share of the way to the border that a step may go


@dataclass(frozen=True, eq=False)
class NearestPoint:
    """A solution, or where the iterations ended without one.

    Attributes:
        offset: d, [n].
        multipliers: of the rows, >= 0, [rows]: d = clip(matrix' multipliers, lower, upper) at a solution.
            Where the program has no point they grow along a ray that proves it.
        converged: whether it is a solution.
    """

    offset: Float64Array
    multipliers: Float64Array
    converged: bool


@dataclass
class _State:
    """d, the slacks of rows, lower and upper sides, and their multipliers; all but d are positive."""

    offset: Float64Array
    slacks: list[Float64Array]
    multipliers: list[Float64Array]
    slow: bool = False

    def advance(
        self, step: float, moves: tuple[Float64Array, list[Float64Array], list[Float64Array]]
    ) -> None:
        offset, slacks, multipliers = moves
        self.offset = self.offset + step * offset
        self.slacks = [s + step * ds for s, ds in zip(self.slacks, slacks, strict=True)]
        self.multipliers = [m + step * dm for m, dm in zip(self.multipliers, multipliers, strict=True)]

    @property
    def mu(self) -> float:
        total = sum(float(s @ m) for s, m in zip(self.slacks, self.multipliers, strict=True))
        return total / max(1, sum(s.size for s in self.slacks))


def nearest_point(
    matrix: Float64Array,
    least: Float64Array,
    lower: Float64Array,
    upper: Float64Array,
    *,
    tolerance: float = 1e-9,
) -> NearestPoint | None:
    """Solve the program above; None where some row is missed by every d at once.

    Args:
        matrix: [rows, n].
        least: [rows].
        lower: [n], <= 0.
        upper: [n], >= 0.
        tolerance: of rows and gap, relative to the size of a solution without box.
    """
    free = np.flatnonzero(upper - lower > 0)
    size = np.linalg.norm(matrix[:, free], axis=1)
    rows = size > 0
    if (least[~rows] > 0).any() or not np.isfinite(least).all():
        return None
    offset, multipliers = np.zeros(lower.size), np.zeros(least.size)
    unit = float((least[rows] / size[rows]).max(initial=0.0))
    if unit <= 0:
        return NearestPoint(offset, multipliers, converged=True)
    # Rows of length 1, and d in units of how far the most distant of them is.
    scaled, wanted = matrix[np.ix_(rows, free)] / size[rows, None], least[rows] / (size[rows] * unit)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        state, converged = _solve(scaled, wanted, lower[free] / unit, upper[free] / unit, tolerance)
    multipliers[rows] = np.maximum(state.multipliers[0], 0.0) * unit / size[rows]
    offset[free] = np.clip(state.offset * unit, lower[free], upper[free])
    return NearestPoint(offset, multipliers, converged)


def _solve(
    matrix: Float64Array, least: Float64Array, lower: Float64Array, upper: Float64Array, tolerance: float
) -> tuple[_State, bool]:
    """Where the iterations end, and whether that is a solution."""
    far = np.minimum(1.0, 0.5 * (upper - lower))
    start = np.clip(np.zeros_like(lower), lower + 0.1 * far, upper - 0.1 * far)
    slacks = [np.maximum(matrix @ start - least, 1.0), start - lower, upper - start]
    state = _State(start, slacks, [_START / s for s in slacks])
    for _ in range(_ITERATIONS):
        wrong = _residuals(state, matrix, least, lower, upper)
        worst = max(float(np.abs(part).max(initial=0.0)) for part in wrong)
        if worst <= tolerance and state.mu * sum(s.size for s in state.slacks) <= tolerance:
            return state, True
        pull = matrix.T @ state.multipliers[0]
        empty = float(np.where(pull > 0, pull * upper, pull * lower).sum()) < state.multipliers[0] @ least
        if empty or not _improve(state, matrix, wrong):
            break
    return state, False


def _residuals(
    state: _State, matrix: Float64Array, least: Float64Array, lower: Float64Array, upper: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """What is missing to stationarity, and to the definition of each slack."""
    rows, low, up = state.multipliers
    return (
        matrix.T @ rows + low - up - state.offset,
        matrix @ state.offset - least - state.slacks[0],
        state.offset - lower - state.slacks[1],
        upper - state.offset - state.slacks[2],
    )


def _improve(state: _State, matrix: Float64Array, wrong: tuple[Float64Array, ...]) -> bool:
    """One step, predictor and corrector; False, and nothing done, where numbers get too large for it."""
    ratios = [m / s for m, s in zip(state.multipliers, state.slacks, strict=True)]
    diagonal = 1 + ratios[1] + ratios[2]
    system = (matrix / diagonal) @ matrix.T
    system[np.diag_indices_from(system)] += 1 / ratios[0]
    try:
        factor = cho_factor(system, check_finite=False)
    except LinAlgError:
        return False

    def moves(aims: list[Float64Array]) -> tuple[Float64Array, list[Float64Array], list[Float64Array]]:
        """Steps that solve the linearised conditions with slack * multiplier = aim."""
        # dm = (aim - m ds) / s - m, where ds follows from the step of d.
        constant = [
            (aim - m * w) / s - m
            for aim, m, s, w in zip(aims, state.multipliers, state.slacks, wrong[1:], strict=True)
        ]
        right = wrong[0] + constant[1] - constant[2]
        rows = cho_solve(factor, constant[0] / ratios[0] - matrix @ (right / diagonal), check_finite=False)
        offset = (right + matrix.T @ rows) / diagonal
        slacks = [matrix @ offset + wrong[1], offset + wrong[2], -offset + wrong[3]]
        multipliers = [
            rows,
            constant[1] - ratios[1] * offset,
            constant[2] + ratios[2] * offset,
        ]
        return offset, slacks, multipliers

    mu = state.mu
    affine = moves([np.zeros_like(s) for s in state.slacks])
    step = _longest(state, affine)
    ahead = sum(
        float((s + step * ds) @ (m + step * dm))
        for s, ds, m, dm in zip(state.slacks, affine[1], state.multipliers, affine[2], strict=True)
    ) / max(1, sum(s.size for s in state.slacks))
    centre = (ahead / mu) ** 3 * mu if mu > 0 else 0.0
    # The correction may lead in circles: after a step that gained little comes a plain one.
    second = [
        np.zeros_like(ds) if state.slow else ds * dm for ds, dm in zip(affine[1], affine[2], strict=True)
    ]
    corrected = moves([(max(centre, _PLAIN * mu) if state.slow else centre) - part for part in second])
    if not all(np.isfinite(part).all() for part in (corrected[0], *corrected[1], *corrected[2])):
        return False
    state.advance(min(1.0, _BACK * _longest(state, corrected, limit=1 / _BACK)), corrected)
    state.slow = state.mu > _SLOW * mu
    return True


def _longest(
    state: _State,
    moves: tuple[Float64Array, list[Float64Array], list[Float64Array]],
    limit: float = 1.0,
) -> float:
    """The longest step, at most `limit`, that keeps slacks and multipliers non-negative."""
    longest = limit
    for held, move in (
        *zip(state.slacks, moves[1], strict=True),
        *zip(state.multipliers, moves[2], strict=True),
    ):
        falling = move < 0
        if falling.any():
            longest = min(longest, float((held[falling] / -move[falling]).min()))
    return longest
