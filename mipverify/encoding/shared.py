r"""A universal perturbation as one mixed-integer program; see docs/mathematics.md, Universal perturbations.

The network stands in the program once a sample, all copies over the same columns of the perturbation d. With
the unsafe polytopes \(\{y : G_{kj} y \ge g_{kj}\}\) of sample k and binaries \(t_{kj}\),

\[ G_{kj} f(x_k + d) - g_{kj} + \text{slack} \ge -M_{kj} (1 - t_{kj}), \qquad \sum_j t_{kj} \le 1, \]

so that \(\sum_j t_{kj} = 1\) says that sample k is fooled. Either the number of fooled samples is maximised,
or the size of d is minimised while at least m are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from scipy import sparse

from mipverify.bounds.network_bounds import NetworkBounds
from mipverify.encoding.affine import AffineForm, widen
from mipverify.encoding.distance import encode_input
from mipverify.encoding.encode import NetworkEncoder, Phases
from mipverify.encoding.needed import needed_rows
from mipverify.encoding.program_draft import ProgramDraft, grouped_rows
from mipverify.encoding.unsafe import MarginRows, margin_rows
from mipverify.encoding.variables import VariableMap
from mipverify.errors import MissingBoundError, QueryError
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.program import MixedIntegerProgram
from mipverify.problem.shared import SharedQuery

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class SharedPart:
    """One sample in the program.

    Attributes:
        sample: its position in the query.
        bounds: bounds of every node over its region.
        polytopes: positions of the unsafe polytopes that it may reach, one or more.
        phases: imposed phases (see `encode`); None for none.
        must: it has to be fooled, and has one polytope: no binary says so.
    """

    sample: int
    bounds: NetworkBounds
    polytopes: tuple[int, ...]
    phases: Phases | None = None
    must: bool = False


@dataclass(frozen=True, eq=False)
class SharedEncoding:
    """A program, and how to read its points.

    Attributes:
        program: its cost is the size of d in input units, or minus the number of fooled samples.
        query: what was encoded.
        delta: the columns of d.
        selectors: of every part, the columns t of its polytopes; empty where it must be fooled.
        parts: the samples in the program.
    """

    program: MixedIntegerProgram
    query: SharedQuery
    delta: VariableMap
    selectors: tuple[IndexArray, ...]
    parts: tuple[SharedPart, ...]

    def decode(self, point: Float64Array) -> Float64Array:
        """The perturbation d of a point of the program, in input units, [n]."""
        return self.delta.input_of(point, self.query.region)

    def fooled(self, point: Float64Array) -> dict[int, int]:
        """Samples that are fooled at a point of the program, and the polytope that each reaches."""
        reached = {}
        for part, t in zip(self.parts, self.selectors, strict=True):
            if part.must:
                reached[part.sample] = part.polytopes[0]
            elif point[t].max(initial=0.0) > 0.5:
                reached[part.sample] = part.polytopes[int(np.argmax(point[t]))]
        return reached


def encode_shared(
    graph: Graph,
    query: SharedQuery,
    parts: Sequence[SharedPart],
    *,
    at_least: int | None,
    slack: float,
    apart: Iterable[tuple[int, int]] = (),
) -> SharedEncoding:
    """The program of a universal perturbation.

    Args:
        graph: the network.
        query: perturbations (linf or l1) and samples.
        parts: samples that may, or must, be fooled.
        at_least: how many of the parts with binaries have to be fooled by the smallest d; None to fool as
            many as possible.
        slack: how far each output row may be missed, in output units; below 0 a margin is demanded.
        apart: pairs of samples known not to be fooled together.

    Raises:
        QueryError: no part, or more to be fooled than there are.
        MissingBoundError: a neuron or a margin without finite bounds.
        SoundnessError: bounds that cross.
    """
    free = sum(not part.must for part in parts)
    if not parts or (at_least is not None and at_least > free):
        raise QueryError(f"{at_least} samples cannot be fooled: {free} of them are in the program")
    draft = ProgramDraft()
    source = encode_input(draft, query.region, with_distance=at_least is not None)
    selectors = []
    for part in parts:
        rows = _network_copy(draft, graph, query, part, source.form)
        selectors.append(_select(draft, rows, part, slack, graph.output))
    chosen = np.concatenate([np.empty(0, dtype=np.int64), *selectors])
    cost = np.zeros(draft.num_columns)
    if at_least is None:
        cost[chosen] = -1.0
    else:
        cost[: source.cost.size] = source.cost
        if at_least:
            count = sparse.csr_array(
                (np.ones(chosen.size), chosen, np.array([0, chosen.size])), shape=(1, draft.num_columns)
            )
            draft.add_rows(count, float(at_least), np.inf)
    columns = {part.sample: t for part, t in zip(parts, selectors, strict=True)}
    for one, other in apart:
        both = np.concatenate([columns[one], columns[other]])
        rows_apart = sparse.csr_array(
            (np.ones(both.size), both, np.array([0, both.size])), shape=(1, draft.num_columns)
        )
        draft.add_rows(rows_apart, -np.inf, 1.0)
    delta = VariableMap(tuple(source.blocks))
    return SharedEncoding(draft.finish(cost, 0.0), query, delta, tuple(selectors), tuple(parts))


def _network_copy(
    draft: ProgramDraft, graph: Graph, query: SharedQuery, part: SharedPart, delta: AffineForm
) -> MarginRows:
    """The network at x_k + d, and the margins of the part's polytopes."""
    sample = query.samples[part.sample]
    polytopes = [sample.unsafe[k] for k in part.polytopes]
    counted = np.any([np.any(polytope.matrix != 0, axis=0) for polytope in polytopes], axis=0)
    needed = needed_rows(graph, part.bounds, counted)
    # The constants of d are 0, so adding x_k rounds nothing.
    source = AffineForm(delta.matrix, delta.constant + sample.region.center, delta.error)
    network = NetworkEncoder(draft, graph, part.bounds, part.phases or {}, inf, False)
    forms, _ = network.run(source, needed)
    sides = (part.bounds.lower[graph.output], part.bounds.upper[graph.output])
    return margin_rows(draft, forms[graph.output], polytopes, sides)


def _select(draft: ProgramDraft, rows: MarginRows, part: SharedPart, slack: float, output: int) -> IndexArray:
    """Rows that hold where a selector is 1; the selectors, none for a part that must be fooled."""
    form = rows.form
    if part.must:
        error = form.error + _EPS * (np.abs(form.constant) + abs(slack))
        draft.add_rows(form.matrix, -form.constant - slack, np.inf, error)
        return np.empty(0, dtype=np.int64)
    count = len(part.polytopes)
    t = draft.add_columns(np.zeros(count), np.ones(count), integral=True)
    big = np.maximum(-np.nextafter(rows.lower + slack, -np.inf), 0.0)
    missing = np.flatnonzero(~np.isfinite(big))
    if missing.size:
        raise MissingBoundError(
            output, int(missing[0]), "a sample's margins need finite bounds (its row counts)"
        )
    selected = grouped_rows([t[rows.owner]], [-big], draft.num_columns)
    wide = sparse.csr_array(widen(form.matrix, draft.num_columns) + selected)
    error = form.error + 2 * _EPS * (np.abs(form.constant) + abs(slack) + big)
    draft.add_rows(wide, -form.constant - slack - big, np.inf, error)
    if count > 1:
        choice = sparse.csr_array((np.ones(count), t, np.array([0, count])), shape=(1, draft.num_columns))
        draft.add_rows(choice, -np.inf, 1.0)
    return t
