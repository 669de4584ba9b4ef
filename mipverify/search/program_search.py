r"""Branch-and-bound over the phases of a program by linear programs, with bounds that need no solver's word.

A node is the linear relaxation of the program with some phases imposed: columns b of a binary fixed to 0 or
1. It is closed by a bound > 0 recomputed from whatever duals the solver returns, all rounding covered, so
what the search excludes rests on bound propagation. Where little is missing, as just below the distance
of a closest point, linear programs close in ten nodes what gradient steps on multipliers leave open in
thousands: only the optimal duals are good enough there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipverify.encoding.encode import Encoding, Phases
from mipverify.encoding.variables import PartBlock, PhaseBlock
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.milp.result import LpResult, Termination
from mipverify.solvers.highs import HighsLp
from mipverify.solvers.solver import SolveOptions

CLOSED = 2e-6  # share of the largest cost coefficient above 0 at which a linear program may stop
BETTER_SIDE = 0.2  # how much the child with the better bound counts when a neuron is chosen

OPEN = -1  # of a phase; 0 and 1 are imposed


@dataclass(frozen=True)
class ProgramSearchOptions:
    """Effort.

    Attributes:
        candidates: neurons whose children are bounded before one of them is split.
        most_programs: linear programs after which the search gives up; None for no limit.
        look_after: share of these after which it gives up if it has not got on.
        least_progress: share of the tree that has to be closed by then; each child is half of its parent.
        seed: of the solver.
    """

    candidates: int = 4
    most_programs: int | None = None
    look_after: float = 0.4
    least_progress: float = 0.01
    seed: int = 0


@dataclass(frozen=True, eq=False)
class ProgramSearchResult:
    """What a search found.

    Attributes:
        complete: the cost of every point of the program is above 0: proven, rounding covered.
        found: a point was accepted, and the search ended there.
        nodes: nodes split, and the root.
        programs: linear programs solved.
        open: nodes left.
        progress: share of the tree that is closed; each child is half of its parent.
        root: bound of the linear relaxation without imposed phases, rounding covered.
        seconds: wall time.
        interrupted: ended from outside (Ctrl-C): the caller passes that on.
    """

    complete: bool
    found: bool
    nodes: int
    programs: int
    open: int
    progress: float
    root: float
    seconds: float
    interrupted: bool


@dataclass(frozen=True, eq=False)
class _Node:
    """Imposed phases, int8 [phases], and what their linear program says; `part` of the tree is below it."""

    phases: NDArray[np.int8]
    part: float
    bound: float
    score: Float64Array
    point: Float64Array | None


def can_be_searched(encoding: Encoding) -> bool:
    """Whether every integral column of the program is a phase, and all else is linear."""
    program = encoding.program
    phases = sum(block.columns.size for block in _phase_blocks(encoding))
    linear = program.quadratic is None and not program.balls
    some = program.num_rows > 0 and program.num_columns > 0
    return linear and some and phases == int(program.integral.sum())


class ProgramSearch:
    """The search of one program, from any imposed phases, again and again from the last basis.

    Depth first, the child with the smaller bound before its sibling: next to nothing is kept, and linear
    programs start from bases close to theirs.

    Args:
        encoding: for which `can_be_searched`.
        options: effort of each search.
        accept: told inputs [1, n] at which relaxations of open nodes are smallest; says whether one of them
            is a point that ends the search.

    Raises:
        ValueError: the program has integral columns besides phases, or is not linear.
    """

    def __init__(
        self, encoding: Encoding, options: ProgramSearchOptions, accept: Callable[[Float64Array], bool]
    ) -> None:
        if not can_be_searched(encoding):
            raise ValueError("only programs whose integral columns are phases are searched")
        self.encoding, self.options, self.accept = encoding, options, accept
        self.columns = _PhaseColumns(encoding)
        self.lp = HighsLp(encoding.program)
        self.enough = CLOSED * float(np.abs(encoding.program.cost).max(initial=0.0))

    def run(self, *, time_limit: float, phases: Phases | None = None) -> ProgramSearchResult:
        """Prove that the cost of every point with some phases is above 0, or find one where it is not.

        Args:
            time_limit: seconds.
            phases: imposed phases, as in `encode`; None for none.
        """
        return _Run(self, time_limit).run(self.columns.imposed(phases or {}))


class _Run:
    """One search, and its books."""

    def __init__(self, search: ProgramSearch, time_limit: float) -> None:
        self.search, self.options = search, search.options
        self.begin = time.monotonic()
        self.end = self.begin + time_limit
        self.programs = 0
        self.progress = 0.0
        self.interrupted = self.stuck = False

    def run(self, phases: NDArray[np.int8]) -> ProgramSearchResult:
        """From these phases, int8 [phases]."""
        root = self._bound(phases, 1.0, -np.inf)
        stack = [root] if not root.bound > 0 else []
        nodes, found = 1, False
        while stack and not found and not self._out_of_effort():
            node = stack.pop()
            if node.point is not None:
                found = self.search.accept(self.search.encoding.decode(node.point)[None])
            if not found:
                nodes += 1
                stack += self._split(node)
        return ProgramSearchResult(
            complete=not (stack or found or self.stuck or self.interrupted),
            found=found,
            nodes=nodes,
            programs=self.programs,
            open=len(stack) + self.stuck,
            progress=self.progress if root.bound <= 0 else 1.0,
            root=root.bound,
            seconds=time.monotonic() - self.begin,
            interrupted=self.interrupted,
        )

    def _out_of_effort(self) -> bool:
        most = self.options.most_programs
        late = time.monotonic() >= self.end
        if most is not None:
            slow = self.progress < self.options.least_progress
            late = late or self.programs >= most * (self.options.look_after if slow else 1.0)
        return late or self.stuck or self.interrupted

    def _split(self, node: _Node) -> list[_Node]:
        """The open children of a node, the one with the smaller bound last."""
        best: tuple[float, list[_Node]] | None = None
        for neuron in self._candidates(node):
            pair = [self._child(node, neuron, phase) for phase in (0, 1)]
            bounds = sorted(min(0.0, child.bound) for child in pair)
            value = bounds[0] + BETTER_SIDE * bounds[1]
            if best is None or value > best[0]:
                best = value, pair
            # With one side closed the other one is the node itself, tightened for nothing.
            if bounds[1] >= 0 or self._out_of_effort():
                best = value, pair
                break
        if best is None:
            self.stuck = True  # all phases are imposed, and the bound is not above 0
            return []
        children = [child for child in best[1] if not child.bound > 0]
        self.progress += (2 - len(children)) * node.part / 2
        return sorted(children, key=lambda child: -child.bound)

    def _candidates(self, node: _Node) -> list[int]:
        """Open neurons by their scores, those without any only where there is no other."""
        open_ = np.flatnonzero(node.phases == OPEN)
        order = open_[np.argsort(-node.score[open_], kind="stable")]
        telling = order[node.score[order] > 0]
        return [int(k) for k in (telling[: self.options.candidates] if telling.size else order[:1])]

    def _child(self, node: _Node, neuron: int, phase: int) -> _Node:
        phases = node.phases.copy()
        phases[neuron] = phase
        return self._bound(phases, node.part / 2, node.bound)

    def _bound(self, phases: NDArray[np.int8], part: float, known: float) -> _Node:
        """The linear program of some phases; `known` bounds it, too."""
        low = np.where(phases == OPEN, 0.0, phases.astype(np.float64))
        up = np.where(phases == OPEN, 1.0, phases.astype(np.float64))
        self.search.lp.set_bounds(self.search.columns.phase, low, up)
        left = max(0.0, self.end - time.monotonic())
        result = self.search.lp.solve(
            SolveOptions(time_limit=left, cutoff=self.search.enough, seed=self.options.seed)
        )
        self.programs += 1
        self.interrupted |= result.termination is Termination.INTERRUPTED
        bound = max(known, result.dual_bound)
        return _Node(phases, part, bound, self.search.columns.scores(result), result.point)


class _PhaseColumns:
    """The phases of a program in the order of their columns, with what belongs to each."""

    def __init__(self, encoding: Encoding) -> None:
        blocks = _phase_blocks(encoding)
        phase, rows, positive, negative = (
            np.concatenate([np.empty(0, dtype=np.int64), *(getattr(block, name) for block in blocks)])
            for name in ("columns", "rows", "positive", "negative")
        )
        order = np.argsort(phase)
        self.phase: IndexArray = phase[order]
        self.rows, self.positive, self.negative = rows[order], positive[order], negative[order]
        units = np.ones(encoding.program.num_columns)
        for block in encoding.variables.blocks:
            if isinstance(block, PartBlock):
                units[block.columns] = block.unit
        self.units = units[self.positive], units[self.negative]

        self._places = [
            (block.relu, block.neurons, np.searchsorted(self.phase, block.columns)) for block in blocks
        ]

    @property
    def count(self) -> int:
        """Number of phases."""
        return int(self.phase.size)

    def imposed(self, phases: Phases) -> NDArray[np.int8]:
        """The phases of a query (1, -1 or 0 for open) as those of the columns, int8 [phases].

        Those of neurons without a column are left out, which can only make room for more points.
        """
        found = np.full(self.count, OPEN, dtype=np.int8)
        for relu, neurons, places in self._places:
            if relu in phases:
                given = phases[relu][neurons]
                found[places] = np.where(given > 0, 1, np.where(given < 0, 0, OPEN))
        return found

    def scores(self, result: LpResult) -> Float64Array:
        """What the relaxation of each neuron costs at the point of a linear program, nearly, [phases].

        Where both parts of h are positive, z exceeds relu(h) by the smaller one; the dual of the row of h
        says what that is worth. Without a point all neurons are the same.
        """
        if result.point is None or result.duals is None:
            return np.zeros(self.count)
        parts = [
            result.point[k] * unit for k, unit in zip((self.positive, self.negative), self.units, strict=True)
        ]
        excess = np.maximum(np.minimum(*parts), 0.0)
        worth = np.abs(result.duals[self.rows])
        return np.asarray(excess * (worth + 1e-9 * worth.max(initial=0.0)))


def _phase_blocks(encoding: Encoding) -> list[PhaseBlock]:
    return [block for block in encoding.variables.blocks if isinstance(block, PhaseBlock)]
