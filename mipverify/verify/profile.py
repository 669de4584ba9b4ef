"""Profile: what the stages of one query left open, and how often a solver was called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mipverify.bounds.network_bounds import Method

if TYPE_CHECKING:
    from mipverify.bounds.state import PropagationState
    from mipverify.graph.graph import Graph
    from mipverify.milp.program import MixedIntegerProgram
    from mipverify.milp.result import SolveResult
    from mipverify.solvers.capabilities import Capabilities
    from mipverify.solvers.solver import SolveOptions, Solver


@dataclass(frozen=True)
class LayerProfile:
    """The neurons of one ReLU node.

    Attributes:
        name: of the node.
        size: number of neurons.
        unstable: how many of them each rung (`interval`, `linear`, `optimised`, `lp`, `mip`) left open,
            for the rungs that ran. Tightening may aim at one target at a time: then it counts what it left to
            the program of a target, of the one that it left most to.
    """

    name: str
    size: int
    unstable: dict[str, int]


@dataclass(frozen=True)
class Profile:
    """Where the effort of one query went; its seconds stand in the certificate.

    A distance is measured over regions that shrink: what counts is the last one.

    Attributes:
        layers: one entry a ReLU node, in the order of the network.
        lps, lp_seconds: linear programs solved.
        mips, mip_seconds: mixed-integer programs solved.
        mip_nodes: branch-and-bound nodes of the solver.
    """

    layers: tuple[LayerProfile, ...]
    lps: int
    lp_seconds: float
    mips: int
    mip_seconds: float
    mip_nodes: int

    def unstable(self, rung: str) -> int | None:
        """Neurons of the whole network that a rung left open; None if it did not run."""
        counts = [layer.unstable.get(rung) for layer in self.layers]
        known = [count for count in counts if count is not None]
        return sum(known) if known or not counts else None


@dataclass
class Meter:
    """Calls of a solver so far.

    Attributes:
        lps, lp_seconds: linear programs.
        mips, mip_seconds, mip_nodes: mixed-integer programs.
    """

    lps: int = 0
    lp_seconds: float = 0.0
    mips: int = 0
    mip_seconds: float = 0.0
    mip_nodes: int = 0

    def count(self, result: SolveResult, *, integral: bool) -> None:
        """Add one call."""
        if integral:
            self.mips += 1
            self.mip_seconds += result.seconds
            self.mip_nodes += max(0, result.nodes)
        else:
            self.lps += 1
            self.lp_seconds += result.seconds

    def count_tightening(self, lps: int, mips: int, seconds: float) -> None:
        """Add the programs of one tightening, its time in proportion to their numbers."""
        self.lps += lps
        self.mips += mips
        self.lp_seconds += seconds * lps / max(1, lps + mips)
        self.mip_seconds += seconds * mips / max(1, lps + mips)


class MeteredSolver:
    """A solver whose calls are counted.

    Args:
        solver: does the work.
        meter: counts.
    """

    def __init__(self, solver: Solver, meter: Meter) -> None:
        self._solver = solver
        self._meter = meter

    @property
    def name(self) -> str:
        """Name and version."""
        return self._solver.name

    @property
    def capabilities(self) -> Capabilities:
        """Those of the solver itself."""
        return self._solver.capabilities

    def solve(self, program: MixedIntegerProgram, options: SolveOptions) -> SolveResult:
        """Minimise `program` under `options` (see `Solver.solve`)."""
        result = self._solver.solve(program, options)
        self._meter.count(result, integral=bool(program.integral.any()))
        return result


@dataclass(eq=False)
class Profiler:
    """Collects the profile of one query.

    Attributes:
        graph: the network.
        meter: counts the solver's calls for all queries; only one of them is at a solver at a time.
        unstable: for each rung, how many neurons of each ReLU node it left open.
        spent: what the meter counted for this query.
    """

    graph: Graph
    meter: Meter
    unstable: dict[str, list[int]] = field(default_factory=dict)
    spent: Meter = field(default_factory=Meter)

    def note(self, state: PropagationState, sample: int = 0, method: Method | None = None) -> None:
        """Keep what the bounds of one sample leave open; `method` is that of the state if not given."""
        rung = state.method if method is None else method
        self.unstable[rung.name.lower()] = state.unstable_by_layer(sample)

    def note_counts(self, rung: Method, counts: list[int]) -> None:
        """Keep how many neurons of each ReLU node a rung leaves open."""
        self.unstable[rung.name.lower()] = counts

    def since(self, before: Meter) -> None:
        """Charge this query with what the meter counted after it read `before`."""
        for name, value in vars(self.meter).items():
            setattr(self.spent, name, getattr(self.spent, name) + value - getattr(before, name))

    def profile(self) -> Profile:
        """What is known now."""
        layers = tuple(
            LayerProfile(
                self.graph.nodes[relu].name,
                self.graph.nodes[relu].size,
                {rung: counts[k] for rung, counts in self.unstable.items()},
            )
            for k, relu in enumerate(self.graph.relus)
        )
        return Profile(layers=layers, **vars(self.spent))
