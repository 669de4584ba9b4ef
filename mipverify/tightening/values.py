r"""Programs that hold every run of a network over a region, with node values over their columns.

No question is encoded: minimising or maximising a value is a matter of the cost alone. With a polytope of
the unsafe set as a constraint the program holds the runs that end in it, and no other need be held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mipverify.bounds.network_bounds import NetworkBounds
from mipverify.encoding.affine import AffineForm
from mipverify.encoding.distance import encode_input
from mipverify.encoding.encode import NetworkEncoder
from mipverify.encoding.needed import needed_rows
from mipverify.encoding.program_draft import ProgramDraft
from mipverify.encoding.unsafe import encode_unsafe, margin_rows
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.program import MixedIntegerProgram
from mipverify.problem.query import Query
from mipverify.problem.region import Ball


@dataclass(frozen=True, eq=False)
class NeuronValues:
    """Values of some neurons of one node over the columns of a program without a cost.

    Attributes:
        program: it holds every run it is about; rounding errors as in `encode`.
        form: the values, one row a neuron.
    """

    program: MixedIntegerProgram
    form: AffineForm

    def cost(self, row: int, sign: int) -> tuple[Float64Array, float]:
        """Coefficients [columns] and constant of sign * value, which is up to `form.error[row]` off."""
        matrix = self.form.matrix
        part = slice(matrix.indptr[row], matrix.indptr[row + 1])
        cost = np.zeros(self.program.num_columns)
        cost[matrix.indices[part]] = sign * matrix.data[part]
        return cost, sign * float(self.form.constant[row])


def values_over_region(
    graph: Graph, region: Ball, bounds: NetworkBounds, node: int, neurons: IndexArray, *, relaxed: bool
) -> NeuronValues:
    """The values of `neurons` (ascending) of `node`, over the network up to there.

    Raises:
        MissingBoundError: an unstable neuron without finite bounds.
        SoundnessError: bounds that cross.
    """
    part = Graph(graph.nodes[: node + 1], node)
    wanted = np.zeros(part.output_size, dtype=np.bool_)
    wanted[neurons] = True
    draft = ProgramDraft()
    network = NetworkEncoder(draft, part, bounds, {}, np.inf, relaxed)
    source = encode_input(draft, region, with_distance=False).form
    forms, _ = network.run(source, needed_rows(part, bounds, wanted))
    return NeuronValues(draft.finish(np.empty(0), 0.0), _rows(forms[node], neurons))


def values_over_unsafe_points(
    graph: Graph,
    query: Query,
    bounds: NetworkBounds,
    polytope: int,
    node: int,
    neurons: IndexArray,
    *,
    relaxed: bool,
) -> NeuronValues:
    """The same over the whole network, for the points of the region with outputs in one unsafe polytope.

    The neurons must be needed for the polytope. Errors as for `values_over_region`.
    """
    chosen = query.unsafe[polytope]
    draft = ProgramDraft()
    network = NetworkEncoder(draft, graph, bounds, {}, np.inf, relaxed)
    source = encode_input(draft, query.region, with_distance=False).form
    needed = needed_rows(graph, bounds, np.any(chosen.matrix != 0, axis=0))
    forms, _ = network.run(source, needed)
    sides = (bounds.lower[graph.output], bounds.upper[graph.output])
    rows = margin_rows(draft, forms[graph.output], [chosen], sides)
    encode_unsafe(draft, rows, (polytope,), 0.0, graph.output, relaxed=relaxed)
    program = draft.finish(np.empty(0), 0.0)
    return NeuronValues(program, _rows(forms[node], neurons))


def with_cost(program: MixedIntegerProgram, cost: Float64Array, constant: float) -> MixedIntegerProgram:
    """The program with another cost, [columns], and constant."""
    return replace(program, cost=cost, offset=constant)


def _rows(form: AffineForm, neurons: IndexArray) -> AffineForm:
    return AffineForm(form.matrix[neurons], form.constant[neurons], form.error[neurons])
