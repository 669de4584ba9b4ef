r"""Conditions on linear forms of the input, and their norm as a distance.

See docs/mathematics.md, Parametrised regions. With forms \(v = M a\) over the columns of the input:
\(\text{lower} \le v \le \text{upper}\) as rows; for linf \(-\rho \le v_i \le \rho\) with a column \(\rho\),
or the limit in its place; for l1 \(v = p - n\) with \(p, n \ge 0\) and \(\sum_i w_i (p_i + n_i)\) at most the
limit. \(\rho\), or the sum, is the cost of a distance.
Columns are in units of a power of two, and rows are widened by what their coefficients lost to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from mipverify.encoding.affine import AffineForm, OperatorRows, combine
from mipverify.encoding.program_draft import ProgramDraft
from mipverify.encoding.variables import Block, Trace
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.scaling import power_of_two
from mipverify.problem.image import Image
from mipverify.problem.norm import Norm


@dataclass(frozen=True, eq=False)
class ImageBlock:
    """v_i = max(sign * (M a)_i, 0) / unit (sign 1 or -1), or one column |M a| / unit (sign 0)."""

    columns: IndexArray
    image: Image
    unit: float
    sign: int

    def values_at(self, trace: Trace) -> Float64Array:
        """Parts of the forms, or their size."""
        if self.sign == 0:
            return np.atleast_1d(self.image.size(trace.a)) / self.unit
        return np.asarray(np.maximum(self.sign * (self.image.matrix @ trace.a), 0.0) / self.unit)

    def labels(self) -> list[str]:
        """radius, or mp_i and mn_i for positive and negative parts."""
        if self.sign == 0:
            return ["radius"]
        return [f"{'mp' if self.sign > 0 else 'mn'}_{i}" for i in range(self.columns.size)]


def encode_image(
    draft: ProgramDraft, image: Image, source: AffineForm, *, with_distance: bool
) -> tuple[tuple[Block, ...], Float64Array]:
    """The rows of an image, its limit among them, and |M a| as a cost over the columns so far.

    Args:
        draft: gets the rows and columns.
        image: the conditions.
        source: the input a.
        with_distance: whether a cost is wanted; else it is empty.
    """
    zeros = np.zeros(len(image.matrix))
    rows = OperatorRows((sparse.csr_array(image.matrix),), zeros, 0.0, zeros)
    forms = combine(rows, [source], draft.magnitudes())
    if image.has_sides:
        draft.add_rows(
            forms.matrix,
            image.lower - forms.constant,
            image.upper - forms.constant,
            _charged(forms, image),
            kind="side",
            numbers=[np.arange(len(zeros))],
        )
    reach = forms.reach(draft.magnitudes()) + forms.error
    if image.norm is Norm.L1:
        return _encode_sum(draft, image, forms, reach, with_distance=with_distance)
    if not with_distance:
        if np.isfinite(image.limit):
            limit, numbers = np.nextafter(image.limit, np.inf), [np.arange(len(zeros))]
            error = forms.error + 4 * np.finfo(np.float64).eps * (np.abs(forms.constant) + limit)
            low, up = -limit - forms.constant, limit - forms.constant
            draft.add_rows(forms.matrix, low, up, error, kind="ball", numbers=numbers)
        return (), np.empty(0)
    return _encode_largest(draft, image, forms, reach)


def _charged(forms: AffineForm, image: Image) -> Float64Array:
    """By how much rows may be wrong: the forms, and the subtraction of their constants from the sides."""
    ends = np.stack([image.lower, image.upper])
    ends = np.where(np.isfinite(ends), np.abs(ends), 0.0).max(axis=0)
    return np.asarray(forms.error + 4 * np.finfo(np.float64).eps * (np.abs(forms.constant) + ends))


def _unit(image: Image, reach: Float64Array) -> float:
    most = min(float(image.limit), float(reach.max(initial=0.0)))
    return float(power_of_two(most)) if 0 < most < np.inf else 1.0


def _encode_largest(
    draft: ProgramDraft, image: Image, forms: AffineForm, reach: Float64Array
) -> tuple[tuple[Block, ...], Float64Array]:
    """A column rho >= |v_i| for all i, at most the limit."""
    unit = _unit(image, reach)
    most = min(float(image.limit), float(reach.max(initial=0.0))) / unit
    rho = draft.add_columns(np.zeros(1), np.array([np.nextafter(most, np.inf)]))
    error = forms.error + 4 * np.finfo(np.float64).eps * np.abs(forms.constant)
    count = len(image.matrix)
    column = sparse.csr_array(np.full((count, 1), -unit))
    wide = sparse.csr_array(
        (forms.matrix.data, forms.matrix.indices, forms.matrix.indptr), (count, int(rho[0]))
    )
    for sign, kind in ((1.0, "radius_above"), (-1.0, "radius_below")):
        rows = sparse.csr_array(sparse.hstack([sign * wide, column], format="csr"))
        draft.add_rows(rows, -np.inf, -sign * forms.constant, error, kind=kind, numbers=[np.arange(count)])
    cost = np.zeros(draft.num_columns)
    cost[rho] = unit
    return (ImageBlock(rho, image, unit, 0),), cost


def _encode_sum(
    draft: ProgramDraft, image: Image, forms: AffineForm, reach: Float64Array, *, with_distance: bool
) -> tuple[tuple[Block, ...], Float64Array]:
    """Columns p and n with v = p - n, and sum_i weight_i (p_i + n_i) at most the limit."""
    if not with_distance and np.isinf(image.limit):
        return (), np.empty(0)
    unit, count = _unit(image, reach), len(image.matrix)
    most = np.nextafter(reach / unit, np.inf)
    blocks = tuple(
        ImageBlock(draft.add_columns(np.zeros(count), most), image, unit, sign) for sign in (1, -1)
    )
    first = int(blocks[0].columns[0])
    wide = sparse.csr_array((forms.matrix.data, forms.matrix.indices, forms.matrix.indptr), (count, first))
    parts = unit * sparse.eye_array(count, format="csr")
    rows = sparse.csr_array(sparse.hstack([wide, -parts, parts], format="csr"))
    error = forms.error + 4 * np.finfo(np.float64).eps * np.abs(forms.constant)
    draft.add_rows(rows, -forms.constant, -forms.constant, error, kind="form", numbers=[np.arange(count)])
    total = np.zeros(draft.num_columns)
    for block in blocks:
        total[block.columns] = image.weight
    if np.isfinite(image.limit):
        limit = np.nextafter(image.limit / unit, np.inf)
        draft.add_rows(sparse.csr_array(total[None]), -np.inf, limit, kind="ball")
    return blocks, unit * total if with_distance else np.empty(0)
