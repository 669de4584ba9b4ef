"""Depth-first search over the phases of a program, by propagation of bounds through its rows alone.

It suits programs whose rows say a lot once a few phases are known, as where the demands of the unsafe set
turn inequalities into equations: no linear program is solved, and what it excludes rests on no solver's word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipverify.encoding.encode import Encoding, Phases
from mipverify.encoding.variables import PhaseBlock
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.elimination import eliminate
from mipverify.milp.program import MixedIntegerProgram
from mipverify.milp.propagation import RowPropagation, one_sided

_BALANCE = 1e-3  # weight of the sum of both influences of a column beside their product


@dataclass(frozen=True)
class PropagationOptions:
    """Size of a search.

    Attributes:
        batch: nodes split at once.
        most_nodes: nodes after which it gives up.
    """

    batch: int = 128
    most_nodes: int = 1 << 20


@dataclass(frozen=True, eq=False)
class PropagationResult:
    """What a search found.

    Attributes:
        complete: the program has no point.
        found: a point was accepted as a counterexample.
        nodes: nodes propagated.
    """

    complete: bool
    found: bool
    nodes: int


def search_by_propagation(
    encoding: Encoding,
    program: MixedIntegerProgram,
    *,
    options: PropagationOptions,
    accept: Callable[[Float64Array], bool],
    leaf: Callable[[Phases], bool],
    out_of_time: Callable[[], bool],
) -> PropagationResult:
    """Exclude every point of a program, or find one.

    Args:
        encoding: a query about one polytope.
        program: that of the encoding, perhaps tightened, with finite bounds.
        options: size.
        accept: told promising inputs [k, n]; says whether one of them is a counterexample.
        leaf: told the phases of a node that has nothing left to split and is still open; says whether
            it is excluded.
        out_of_time: says when to stop.
    """
    return _Search(encoding, program, options, accept, leaf, out_of_time).run()


class _Search:
    def __init__(
        self,
        encoding: Encoding,
        program: MixedIntegerProgram,
        options: PropagationOptions,
        accept: Callable[[Float64Array], bool],
        leaf: Callable[[Phases], bool],
        out_of_time: Callable[[], bool],
    ) -> None:
        self.encoding, self.program, self.options = encoding, program, options
        self.accept, self.leaf, self.out_of_time = accept, leaf, out_of_time
        self.whole = RowPropagation(one_sided(program))

    def run(self) -> PropagationResult:
        lower, upper, empty = self.whole.run(self.program.lower[:, None], self.program.upper[:, None])
        if empty[0]:
            return PropagationResult(True, False, 1)
        self.root = lower[:, 0], upper[:, 0]
        reduced = eliminate(self.program, *self.root)
        self.columns, rows = reduced.columns, RowPropagation(reduced.rows)
        whole = np.flatnonzero(reduced.rows.integral)
        nodes, open_, stuck = 1, [(reduced.rows.lower[:, None], reduced.rows.upper[:, None])], False
        while open_:
            if self.out_of_time() or nodes > self.options.most_nodes:
                return PropagationResult(False, False, nodes)
            low, up = self._take(open_)
            low, up, empty = rows.run(low, up)
            nodes += low.shape[1]
            low, up = low[:, ~empty], up[:, ~empty]
            if not low.shape[1]:
                continue
            raised, lowered = (part[whole] for part in rows.influence(low, up))
            score = raised * lowered + _BALANCE * (raised + lowered)
            score[low[whole] == up[whole]] = 0.0
            settled = ~(score > 0).any(axis=0)
            for node in np.flatnonzero(settled):
                found, excluded = self._end(whole, low[whole, node], up[whole, node])
                stuck |= not excluded
                if found:
                    return PropagationResult(False, True, nodes)
            if not settled.all():
                chosen = score[:, ~settled].argmax(axis=0), (raised > lowered)[:, ~settled]
                open_.append(_children(low[:, ~settled], up[:, ~settled], whole, *chosen))
        return PropagationResult(not stuck, False, nodes)

    def _take(self, open_: list[tuple[Float64Array, Float64Array]]) -> tuple[Float64Array, Float64Array]:
        """The last nodes, a batch of them."""
        low, up = open_.pop()
        rest = low.shape[1] - self.options.batch
        if rest > 0:
            open_.append((low[:, :rest], up[:, :rest]))
            low, up = low[:, rest:], up[:, rest:]
        return low, up

    def _end(self, whole: IndexArray, least: Float64Array, most: Float64Array) -> tuple[bool, bool]:
        """Whether a node with nothing to split has a counterexample, and if not, whether it is excluded."""
        low, up = (end.copy() for end in self.root)
        fixed = self.columns[whole]
        low[fixed], up[fixed] = least, most
        lower, upper, empty = self.whole.run(low[:, None], up[:, None])
        if empty[0]:
            return False, True
        low, up = lower[:, 0], upper[:, 0]
        if self.accept(self.encoding.decode(self._point(low, up))[None]):
            return True, False
        return False, self.leaf(self._phases(low, up))

    def _point(self, low: Float64Array, up: Float64Array) -> Float64Array:
        """Columns at their root's bounds where these are still allowed, and in the middle elsewhere."""
        middle = np.where(low <= self.root[0], self.root[0], (low + up) / 2)
        return np.where(
            up >= self.root[1], np.where(low <= self.root[0], (low + up) / 2, self.root[1]), middle
        )

    def _phases(self, low: Float64Array, up: Float64Array) -> Phases:
        """The phases that the bounds settle, 0 for the others."""
        found: dict[int, NDArray[np.int8]] = {}
        graph = self.encoding.graph
        for block in self.encoding.variables.blocks:
            if isinstance(block, PhaseBlock):
                phases = np.zeros(graph.nodes[block.relu].size, dtype=np.int8)
                ends = low[block.columns], up[block.columns]
                phases[block.neurons] = np.where(ends[0] > 0.5, 1, np.where(ends[1] < 0.5, -1, 0))
                found[block.relu] = phases
        return found


def _children(
    low: Float64Array,
    up: Float64Array,
    whole: IndexArray,
    chosen: IndexArray,
    lower_better: NDArray[np.bool_],
) -> tuple[Float64Array, Float64Array]:
    """Each node split at its chosen integer column; the likelier children last, to be looked at first."""
    at = np.arange(low.shape[1])
    column, lower_better = whole[chosen], lower_better[chosen, at]
    middle = np.floor((low[column, at] + up[column, at]) / 2)
    above, below = low.copy(), up.copy()
    above[column, at], below[column, at] = middle + 1, middle
    halves = [
        (np.where(take, low, above), np.where(take, below, up)) for take in (~lower_better, lower_better)
    ]
    return np.concatenate([a for a, _ in halves], axis=1), np.concatenate([b for _, b in halves], axis=1)
