"""Features on a grid: an integer column each, tied to the displacement.

With k' the step nearest to the centre c, a feature takes the values fl32(origin + k / levels). Its
displacement d is tied to the integer column k - k' by

    d - (k - k') / levels = (origin + k' / levels) - c,    or 0 where c is a value of the grid itself,

and the input is c + d up to the rounding of float32 numbers, which the form carries as its error.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from mipverify.encoding.affine import AffineForm, entry_rows, widen
from mipverify.encoding.program_draft import ProgramDraft
from mipverify.encoding.variables import GridBlock
from mipverify.graph.operators import Float64Array
from mipverify.problem.grid import Grid
from mipverify.problem.region import Ball, Box


def widened(below: Float64Array, above: Float64Array, region: Ball) -> tuple[Float64Array, Float64Array]:
    """Ranges of displacements [n], widened to those of whole steps, which rounding may put outside."""
    if region.grid is None:
        return below, above
    error = np.where(below < above, _error(region.grid, region.center + below, region.center + above), 0.0)
    return below - 2 * error, above + 2 * error


def encode_grid(
    draft: ProgramDraft, region: Ball, form: AffineForm, box: Box, *, relaxed: bool
) -> tuple[AffineForm, tuple[GridBlock, ...]]:
    """Integer columns for the features on the grid (docs/mathematics.md, "Features on a grid").

    Args:
        draft: the program.
        region: whose grid is encoded.
        form: the input over the columns so far.
        box: sides of the region.
        relaxed: whether the columns may be continuous, which leaves nothing to say.

    Returns:
        The form with the rounding of the grid as its error, and the block of columns.
    """
    grid = region.grid
    if grid is None:
        return form, ()
    features = np.flatnonzero(grid.on & (box.lower < box.upper))
    error = np.where(np.isin(np.arange(box.size), features), _error(grid, box.lower, box.upper), 0.0)
    form = replace(form, error=form.error + 2 * error)
    if relaxed or not features.size:
        return form, ()
    base = grid.steps(region.center)
    first, last = grid.within(box.lower, box.upper)
    low, up = np.minimum(first, last) - base, np.maximum(first, last) - base
    columns = draft.add_columns(low[features], up[features], integral=True)
    ideal = grid.origin + base / np.where(grid.on, grid.levels, 1.0) - region.center
    start = np.where(np.abs(ideal) <= error, 0.0, ideal)
    picked = widen(sparse.csr_array(form.matrix[features]), draft.num_columns)
    steps = entry_rows(
        np.arange(features.size), columns, -1.0 / grid.levels[features], (features.size, draft.num_columns)
    )
    rows = sparse.csr_array(picked + steps)
    draft.add_rows(rows, start[features], start[features], kind="grid", numbers=[features])
    return form, (GridBlock(columns, features, grid, base[features]),)


def _error(grid: Grid, lower: Float64Array, upper: Float64Array) -> Float64Array:
    return grid.error(np.maximum(np.abs(lower), np.abs(upper)))
