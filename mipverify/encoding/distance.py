r"""The input region: box and ball around x, and the distance as a cost.

Inputs are displacements \(d = (a - x) / \sigma\), where the power of two \(\sigma\) is at least the largest
displacement in the region, so that \(|d| \le 1\) for any radius. Sides are rounded outward: the program
never holds less than the region.

- linf: \(d\) in its box; for a distance also \(-\rho \le d_i \le \rho\), and \(\sigma \rho\) is the cost.
- l2, where quadratic programs are wanted: \(\sum_i d_i^2 \le (\text{radius} / \sigma)^2\), and
  \(\sigma^2 \sum_i d_i^2\) is the cost of a distance: its square. Elsewhere tangents of the squares
  (`squares.py`).
- l1: \(d = p - n\) with \(p, n \ge 0\) and \(\sum_i p_i + n_i \le \text{radius} / \sigma\); the sum is the
  cost of a distance. (\(p_i n_i = 0\) is not needed: a larger sum only excludes the point,
  it never admits another.)
- l0: \(d_i\) in its range times a binary \(s_g\), one for each pixel \(g\) that can change;
  \(\sum_g s_g \le \text{radius}\), and the sum is the cost of a distance.

Where the region has an image, its conditions are rows besides, and its size the cost (`image_rows.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from mipverify.encoding.affine import AffineForm, entry_rows
from mipverify.encoding.grid_columns import encode_grid, widened
from mipverify.encoding.image_rows import encode_image
from mipverify.encoding.program_draft import ProgramDraft, grouped_rows
from mipverify.encoding.squares import encode_squares
from mipverify.encoding.variables import Block, InputBlock, RadiusBlock, SupportBlock
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.scaling import power_of_two
from mipverify.problem.image import Image
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box


@dataclass(frozen=True, eq=False)
class EncodedInput:
    """The input node over the columns.

    Attributes:
        form: the input a as an affine form, [n].
        blocks: its columns.
        cost: D(x, a), for l2 its square, over the columns so far; empty unless a distance was asked for.
        squares: for a quadratic program in l2, the coefficients of the squares of the columns in D(x, a)^2.
    """

    form: AffineForm
    blocks: tuple[Block, ...]
    cost: Float64Array
    squares: Float64Array | None = None


def encode_input(
    draft: ProgramDraft,
    region: Ball,
    *,
    with_distance: bool,
    quadratic: bool = False,
    relaxed: bool = False,
    tangents_at: Sequence[Float64Array] = (),
) -> EncodedInput:
    """Add the columns and rows of `region`; `with_distance` also those of D(x, a).

    The formulations are derived in docs/mathematics.md, "Regions and distances". With `quadratic` an l2 ball
    is a quadratic constraint, and the cost of a distance is its square. Without, squares are held up by
    tangents, the usual ones and those at the inputs `tangents_at`. With `relaxed`, binaries become
    continuous.
    """
    box = Box(region.center, region.center) if region.radius == 0 else region.box()
    source = _encode_ball(
        draft,
        region,
        box,
        with_distance=with_distance and not region.measured,
        quadratic=quadratic,
        relaxed=relaxed,
        tangents_at=tangents_at,
    )
    image = region.conditions
    if image is not None:
        source = _with_image(draft, image, source, with_distance=with_distance and region.measured)
    form, steps = encode_grid(draft, region, source.form, box, relaxed=relaxed)
    return replace(source, form=form, blocks=(*source.blocks, *steps))


def _with_image(
    draft: ProgramDraft, image: Image, source: EncodedInput, *, with_distance: bool
) -> EncodedInput:
    """The input under conditions on its forms; their size is the cost where a distance is asked for."""
    blocks, cost = encode_image(draft, image, source.form, with_distance=with_distance)
    return replace(source, blocks=(*source.blocks, *blocks), cost=cost if with_distance else source.cost)


def _encode_ball(
    draft: ProgramDraft,
    region: Ball,
    box: Box,
    *,
    with_distance: bool,
    quadratic: bool,
    relaxed: bool,
    tangents_at: Sequence[Float64Array],
) -> EncodedInput:
    below, above = widened(*_outward_difference(box, region.center), region)
    free = np.flatnonzero(below < above)  # x lies in the box, so a feature of no width is fixed at x
    unit = _unit(below, above)
    if region.norm is Norm.L1:
        return _encode_l1(draft, region, (below / unit, above / unit), free, unit)
    columns = draft.add_columns(below[free] / unit, above[free] / unit)
    matrix = entry_rows(free, columns, np.full(free.size, unit), (region.center.size, draft.num_columns))
    moves = InputBlock(columns, free, region.center[free], unit, 0)
    blocks: tuple[Block, ...] = (moves,)
    form = AffineForm(matrix, region.center.copy(), np.zeros(region.center.size))
    if region.norm is Norm.L2 and quadratic:
        return _encode_l2(draft, region, EncodedInput(form, blocks, np.empty(0)), unit, with_distance)
    if region.norm is Norm.L0:
        ranges = (below[free] / unit, above[free] / unit)
        support, cost = _encode_support(draft, region, moves, ranges, relaxed=relaxed)
        return EncodedInput(form, (*blocks, *support), cost)
    if region.norm is Norm.L2:
        squares, cost = encode_squares(draft, region, moves, tangents_at)
        return EncodedInput(form, (moves, squares), cost if with_distance else np.empty(0))
    if not with_distance:
        return EncodedInput(form, blocks, np.empty(0))
    radius = _encode_radius(draft, columns, free, below[free] / unit, above[free] / unit)
    cost = np.zeros(draft.num_columns)
    cost[radius] = unit
    blocks = (*blocks, RadiusBlock(radius, region.center, unit))
    return EncodedInput(form, blocks, cost)


def _unit(below: Float64Array, above: Float64Array) -> float:
    reach = np.maximum(np.abs(below), np.abs(above))
    reach = reach[np.isfinite(reach) & (reach > 0)]
    return float(power_of_two(reach.max())) if reach.size else 1.0


def _outward_difference(box: Box, center: Float64Array) -> tuple[Float64Array, Float64Array]:
    """(lower - x, upper - x), rounded outward where the subtraction is not exact."""
    below, above = box.lower - center, box.upper - center
    below = np.where(_subtraction_error(box.lower, center) < 0, np.nextafter(below, -np.inf), below)
    above = np.where(_subtraction_error(box.upper, center) > 0, np.nextafter(above, np.inf), above)
    return below, above


def _subtraction_error(a: Float64Array, b: Float64Array) -> Float64Array:
    """The exact value of (a - b) - fl(a - b) (Knuth's TwoSum); 0 where a is infinite."""
    with np.errstate(invalid="ignore"):
        rounded = a - b
        part = rounded - a
        error = (a - (rounded - part)) - (b + part)
    return np.where(np.isfinite(rounded), error, 0.0)


def _encode_radius(
    draft: ProgramDraft, columns: IndexArray, features: IndexArray, below: Float64Array, above: Float64Array
) -> IndexArray:
    """A column rho >= |d_i| for all i."""
    reach = float(np.maximum(-below, above).max(initial=0.0))
    radius = draft.add_columns(np.zeros(1), np.array([reach]))
    for sign, moves in ((1.0, above > 0), (-1.0, below < 0)):
        chosen = columns[moves]
        rho = np.full(chosen.size, radius[0])
        rows = grouped_rows([chosen, rho], [np.float64(sign), np.float64(-1.0)], draft.num_columns)
        kind = "radius_above" if sign > 0 else "radius_below"
        draft.add_rows(rows, -np.inf, 0.0, kind=kind, numbers=[features[moves]])
    return radius


def _encode_l2(
    draft: ProgramDraft, region: Ball, source: EncodedInput, unit: float, with_distance: bool
) -> EncodedInput:
    """The ball, if it has a radius, and unit^2 |d|^2 as a cost (see docs/mathematics.md, L2 as a square)."""
    columns = source.blocks[0].columns
    if np.isfinite(region.radius):
        draft.add_ball(columns, float(np.nextafter((region.radius / unit) ** 2 * (1 + 4e-16), np.inf)))
    squares = np.full(columns.size, unit * unit) if with_distance else None
    return EncodedInput(source.form, source.blocks, np.empty(0), squares)


def _encode_l1(
    draft: ProgramDraft,
    region: Ball,
    sides: tuple[Float64Array, Float64Array],
    free: IndexArray,
    unit: float,
) -> EncodedInput:
    below, above = sides
    size = region.center.size
    total = sparse.csr_array((size, draft.num_columns))
    blocks: list[Block] = []
    for sign, reach in ((1, above), (-1, -below)):
        moving = free[reach[free] > 0]
        columns = draft.add_columns(np.zeros(moving.size), reach[moving])
        entries = entry_rows(moving, columns, np.full(moving.size, sign * unit), (size, draft.num_columns))
        total = sparse.csr_array((total.data, total.indices, total.indptr), shape=entries.shape) + entries
        blocks.append(InputBlock(columns, moving, region.center[moving], unit, sign))
    if np.isfinite(region.radius) and draft.num_columns:
        ones = sparse.csr_array(np.ones((1, draft.num_columns)))
        draft.add_rows(ones, -np.inf, np.nextafter(region.real_radius() / unit, np.inf), kind="ball")
    form = AffineForm(total, region.center.copy(), np.zeros(size))
    return EncodedInput(form, tuple(blocks), np.full(draft.num_columns, unit))


def _encode_support(
    draft: ProgramDraft,
    region: Ball,
    moves: InputBlock,
    ranges: tuple[Float64Array, Float64Array],
    *,
    relaxed: bool,
) -> tuple[tuple[Block, ...], Float64Array]:
    """A binary for each pixel that can change: below s <= d <= above s, and at most `radius` of them are 1.

    Returns the block of binaries and their number as a cost (docs/mathematics.md, "Regions and distances").
    """
    pixels, pixel = np.unique(region.pixels[moves.features], return_inverse=True)
    count = pixels.size
    if not count:
        return (), np.zeros(draft.num_columns)
    chosen = draft.add_columns(np.zeros(count), np.ones(count), integral=not relaxed)
    for kind, sign, ends in (("rise", 1.0, ranges[1]), ("fall", -1.0, -ranges[0])):
        rows = grouped_rows([moves.columns, chosen[pixel]], [np.float64(sign), -ends], draft.num_columns)
        draft.add_rows(rows, -np.inf, 0.0, kind=kind, numbers=[moves.features])
    cost = np.zeros(draft.num_columns)
    cost[chosen] = 1.0
    if region.radius < count:
        draft.add_rows(sparse.csr_array(cost[None]), -np.inf, np.floor(region.radius), kind="ball")
    return (SupportBlock(chosen, pixels, region.pixels, region.center),), cost
