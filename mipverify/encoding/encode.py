r"""A query about a network as a mixed-integer program, and back.

What the program says depends on the objective:

- `decide`: any point with \(a\) in the region and \(f(a)\) in the unsafe set; no cost.
- `closest`: minimise \(D(x, a)\) over the same points.
- `worst`: minimise \(-\max_k \min_r (G_k f(a) - g_k)_r\) over the region.

The program holds every point of the real query: boxes and big-M constants are rounded outward, and rows
are widened by the rounding errors of their coefficients where these could matter to a solver. Below 2^-34 of
the scale of a row they are left to the solver's own tolerance, and `slack` gives both a margin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mipverify.bounds.network_bounds import NetworkBounds
from mipverify.encoding.affine import AffineForm, combine, spread_rows
from mipverify.encoding.distance import encode_input
from mipverify.encoding.maxpool import PoolLayer, encode_maxpool
from mipverify.encoding.needed import NeededRows, needed_rows
from mipverify.encoding.program_draft import ProgramDraft
from mipverify.encoding.relu import ReluLayer, encode_relu
from mipverify.encoding.unsafe import encode_margin, encode_unsafe, margin_rows
from mipverify.encoding.variables import Block, Trace, VariableMap
from mipverify.errors import QueryError
from mipverify.graph.evaluate import activations
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array, MaxPool, Relu
from mipverify.milp.program import MixedIntegerProgram
from mipverify.problem.query import Query, check_fits

if TYPE_CHECKING:
    from mipverify.milp.pyomo_model import Model

Phases = Mapping[int, NDArray[np.int8]]


class Objective(StrEnum):
    """What the program asks for."""

    DECIDE = "decide"
    CLOSEST = "closest"
    WORST = "worst"


@dataclass(frozen=True, eq=False)
class Encoding:
    """A program and the meaning of its columns.

    Attributes:
        program: the program; its cost is 0 (decide), the distance D(x, a) in input units, for l2 its square
            (closest), or minus the margin in output units (worst).
        variables: what its columns stand for.
        graph: the network.
        query: the question.
        objective: what the program asks for.
        polytopes: positions in `query.unsafe` of the encoded polytopes.
    """

    program: MixedIntegerProgram
    variables: VariableMap
    graph: Graph
    query: Query
    objective: Objective
    polytopes: tuple[int, ...]

    @property
    def num_open(self) -> int:
        """Number of ReLU neurons with a binary."""
        return self.variables.num_open

    def decode(self, point: Float64Array) -> Float64Array:
        """The input a of a point of the program, in input units, clipped into the box of the region, [n]."""
        return self.variables.input_of(point, self.query.region)

    def start(self, a: Float64Array) -> Float64Array:
        """All columns from a forward pass at a, clipped into their bounds: a full MIP start, [columns].

        It is feasible, up to rounding, if a lies in the region and (unless the objective is `worst`)
        f(a) in the unsafe set.
        """
        values = [value[0] for value in activations(self.graph, np.asarray(a, dtype=np.float64)[None])]
        outputs = values[self.graph.output]
        margins = np.array([float(self.query.unsafe[k].margin(outputs)) for k in self.polytopes])
        columns = self.variables.values_at(Trace(np.asarray(a, dtype=np.float64), values, margins))
        return np.asarray(np.clip(columns, self.program.lower, self.program.upper))

    def to_pyomo(self) -> Model:
        """A live Pyomo model of the program, to be extended and solved with Pyomo (see docs/pyomo.md).

        Its parts:

        - `a[i]`: the input features in input units, as expressions;
        - `z[node, i]`: the values of ReLU neurons that may be active and are not, likewise, and
          `phase[node, i]`: 1 where the neuron is active, a binary variable;
        - `v[name]`: the columns, which everything else is made of, `rows[name]`, `balls[name]` and `cost`.

        After a solve, `decode_pyomo` reads the input off the model.
        """
        from mipverify.encoding.pyomo_parts import extended_model

        return extended_model(self)

    def decode_pyomo(self, model: Model) -> Float64Array:
        """The input a that a solver left in a model of `to_pyomo`, clipped into the box of the region, [n].

        Raises:
            QueryError: the model holds no solution.
        """
        from mipverify.milp.pyomo_model import column_values

        point = column_values(model)
        if point is None:
            raise QueryError("the Pyomo model holds no solution: solve it first, and load the solution")
        return self.decode(point)

    def named_program(self) -> MixedIntegerProgram:
        """The program with readable names of its columns."""
        return replace(self.program, names=self.variables.names())


def encode(
    graph: Graph,
    query: Query,
    bounds: NetworkBounds,
    *,
    objective: Objective,
    polytopes: Sequence[int] | None = None,
    phases: Phases | None = None,
    slack: float = 0.0,
    relaxed: bool = False,
    substitute_up_to: float = inf,
    quadratic: bool = False,
    tangents_at: Sequence[Float64Array] = (),
) -> Encoding:
    """The mixed-integer program of a query.

    Args:
        graph: the network.
        query: region and unsafe set.
        bounds: bounds of every node over the region.
        objective: decide, closest or worst.
        polytopes: positions in `query.unsafe` of the polytopes that count; None for all of them, jointly.
        phases: imposed phases, see `phases_at`: for a ReLU node 1 (h >= 0, z = h), -1 (h <= 0, z = 0) or
            0 (open) for every neuron; for a MaxPool node 1 + the place of the winner in its window, or 0.
            Stable neurons, and neurons that the output does not depend on, are not constrained by them.
        slack: how far each output row may be missed, in output units. A program that stays infeasible
            with a slack > 0 is so by a margin above the solver's tolerances; a slack < 0 demands a margin
            of the points instead. Unused by `worst`.
        relaxed: the linear relaxation: triangles instead of phases, continuous selectors.
        substitute_up_to: stable active neurons whose affine form has at most this many entries are
            substituted; longer ones get a column of their own.
        quadratic: an l2 ball becomes a quadratic constraint, an l2 distance a quadratic cost (its square):
            for solvers of MIQP and MIQCP.
        tangents_at: for l2, inputs [n] at whose displacements squares get a tangent. A program in l2 holds
            points beyond the ball, too (`SquareBlock.tangents` cuts them off).

    Raises:
        QueryError: sizes that do not fit, no polytope.
        MissingBoundError: an unstable neuron without finite bounds.
        SoundnessError: bounds that cross.
    """
    check_fits(graph, query)
    chosen = tuple(range(len(query.unsafe))) if polytopes is None else tuple(polytopes)
    if not chosen or not all(0 <= k < len(query.unsafe) for k in chosen):
        raise QueryError(f"polytopes {chosen} are not in the unsafe set of {len(query.unsafe)}")
    if not np.isfinite(slack):
        raise QueryError(f"the slack must be a finite number, got {slack}")
    counted = np.any([np.any(query.unsafe[k].matrix != 0, axis=0) for k in chosen], axis=0)
    needed = needed_rows(graph, bounds, counted)
    draft = ProgramDraft()
    source = encode_input(
        draft,
        query.region,
        with_distance=objective is Objective.CLOSEST,
        quadratic=quadratic,
        relaxed=relaxed,
        tangents_at=tangents_at,
    )
    blocks: list[Block] = list(source.blocks)
    network = NetworkEncoder(draft, graph, bounds, phases or {}, substitute_up_to, relaxed)
    forms, network_blocks = network.run(source.form, needed)
    output = forms[graph.output]
    blocks.extend(network_blocks)
    sides = (bounds.lower[graph.output], bounds.upper[graph.output])
    rows = margin_rows(draft, output, [query.unsafe[k] for k in chosen], sides)
    cost, offset = source.cost if objective is Objective.CLOSEST else np.empty(0), 0.0
    if objective is Objective.WORST:
        cost, offset, margin = encode_margin(draft, rows, chosen, graph.output, relaxed=relaxed)
        blocks.extend(margin)
    else:
        blocks.extend(encode_unsafe(draft, rows, chosen, slack, graph.output, relaxed=relaxed))
    program = draft.finish(cost, offset, source.squares)
    return Encoding(program, VariableMap(tuple(blocks)), graph, query, objective, chosen)


class NetworkEncoder:
    """Forward pass over the nodes: the affine form of every value, and the columns it needs."""

    def __init__(
        self,
        draft: ProgramDraft,
        graph: Graph,
        bounds: NetworkBounds,
        phases: Phases,
        substitute: float,
        relaxed: bool,
    ) -> None:
        self.draft = draft
        self.graph = graph
        self.bounds = bounds
        self.phases = phases
        self.substitute = substitute
        self.relaxed = relaxed

    def run(self, source: AffineForm, needed: list[NeededRows]) -> tuple[list[AffineForm], list[Block]]:
        """The affine form of every node's value (rows that are not needed are empty), and all blocks."""
        forms = [source]
        blocks: list[Block] = []
        for position, node in self.graph:
            if position == 0:
                continue
            found = needed[position]
            argument = forms[node.inputs[0]]
            match node.op:
                case Relu():
                    form, added = encode_relu(self.draft, argument, self._relu(position, found))
                case MaxPool():
                    form, added = encode_maxpool(self.draft, argument, self._pool(position, node.op, found))
                case _:
                    form, added = self._affine(found, [forms[k] for k in node.inputs], node.size), []
            forms.append(form)
            blocks.extend(added)
        return forms, blocks

    def _affine(self, found: NeededRows, arguments: list[AffineForm], size: int) -> AffineForm:
        assert found.operator is not None
        form = combine(found.operator, arguments, self.draft.magnitudes())
        constant, error = np.zeros((2, size))
        constant[found.rows], error[found.rows] = form.constant, form.error
        return AffineForm(spread_rows(form.matrix, found.rows, size), constant, error)

    def _relu(self, position: int, found: NeededRows) -> ReluLayer:
        source = self.graph.nodes[position].inputs[0]
        return ReluLayer(
            relu=position,
            argument=source,
            lower=self.bounds.lower[source],
            upper=self.bounds.upper[source],
            needed=found.rows,
            phases=self.phases.get(position),
            substitute=self.substitute,
            relaxed=self.relaxed,
        )

    def _pool(self, position: int, op: MaxPool, found: NeededRows) -> PoolLayer:
        source = self.graph.nodes[position].inputs[0]
        assert found.alive is not None
        winners = np.full(found.rows.size, -1)
        if position in self.phases:
            imposed = self.phases[position][found.rows].astype(np.int64) - 1
            # A winner that the bounds rule out can only tie with another candidate: it is left open.
            alive = found.alive[np.arange(found.rows.size), np.maximum(imposed, 0)]
            winners = np.where((imposed >= 0) & alive, imposed, -1)
        return PoolLayer(
            pool=position,
            argument=source,
            lower=self.bounds.lower[source],
            upper=self.bounds.upper[source],
            windows=op.windows[found.rows],
            alive=found.alive,
            needed=found.rows,
            size=op.size,
            winners=winners,
            relaxed=self.relaxed,
        )


def phases_at(graph: Graph, a: Float64Array) -> dict[int, NDArray[np.int8]]:
    """Phases of all ReLU neurons and winners of all max-pooling windows in a forward pass at a, [n].

    For a ReLU node 1 where h >= 0, else -1; for a MaxPool node 1 + the place of the (first) largest
    candidate in its window. Imposing all of them leaves a linear program.
    """
    values = activations(graph, np.asarray(a, dtype=np.float64)[None])
    found: dict[int, NDArray[np.int8]] = {}
    for position, node in graph:
        match node.op:
            case Relu():
                found[position] = np.where(values[node.inputs[0]][0] >= 0, 1, -1).astype(np.int8)
            case MaxPool(windows=windows):
                if windows.shape[1] > np.iinfo(np.int8).max:
                    raise QueryError(f"node {node.name!r} pools over {windows.shape[1]} inputs: at most 127")
                found[position] = (1 + values[node.inputs[0]][0][windows].argmax(axis=1)).astype(np.int8)
            case _:
                pass
    return found
