"""The point of a polyhedron that is closest to a centre in l2, by non-negative least squares.

Lawson and Hanson (1974, chapter 23): min |d| over G d >= h is solved by the residual r of
min |E u - f| over u >= 0, with E = [G'; h'] and f = (0, ..., 0, 1): d = -r[:n] / r[n]; no d if r = 0.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from mipverify.graph.operators import Float64Array
from mipverify.problem.region import Box


def nearest(
    rows: Float64Array, limits: Float64Array, center: Float64Array, domain: Box
) -> tuple[float, Float64Array] | None:
    """Distance and point a of the domain with rows @ a <= limits; None if there is none."""
    n = center.size
    eye = np.eye(n)
    system = np.vstack([-rows, eye, -eye])
    least = np.concatenate([rows @ center - limits, domain.lower - center, center - domain.upper])
    size = np.linalg.norm(system, axis=1)
    if (least[size == 0] > 0).any():
        return None
    kept = (size > 0) & np.isfinite(least)
    system, least = system[kept] / size[kept, None], least[kept] / size[kept]
    unit = float(np.abs(least).max(initial=0.0)) or 1.0
    stacked = np.vstack([system.T, least[None] / unit])
    aim = np.append(np.zeros(n), 1.0)
    found, _ = nnls(stacked, aim, maxiter=50 * stacked.shape[1])
    residual = stacked @ found - aim
    # The last entry is -|r|^2, and |r| = 1 / sqrt(1 + |d|^2): distances far beyond the unit are none.
    if np.linalg.norm(residual) < 1e-7:
        return None
    offset = -residual[:n] / residual[n] * unit
    return float(np.linalg.norm(offset)), center + offset
