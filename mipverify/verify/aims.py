"""Aims: what the programs about one unsafe polytope each may use, and nothing else may."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mipverify.bounds.network_bounds import NetworkBounds, Phase
from mipverify.errors import SoundnessError
from mipverify.problem.query import Query
from mipverify.verify.case import Case
from mipverify.verify.certificate import Evidence
from mipverify.verify.problem import OpenProblem

Phases = dict[int, NDArray[np.int8]]


@dataclass(eq=False)
class Aims:
    """Knowledge about one query that says nothing of the region as a whole.

    Attributes:
        query: the only query that it is about.
        aimed: for some polytopes, bounds that hold for those points of the region whose outputs lie in this
            polytope, perhaps on a solver's word.
        excluded: polytopes that the region misses according to a solver.
    """

    query: Query
    aimed: dict[int, NetworkBounds] = field(default_factory=dict)
    excluded: set[int] = field(default_factory=set)

    def bounds_for(self, problem: OpenProblem, polytope: int) -> NetworkBounds:
        """Bounds that hold for the unsafe points of one polytope.

        Raises:
            SoundnessError: the problem is about another query.
        """
        if problem.query is not self.query:
            raise SoundnessError("bounds for the unsafe points of one query were asked for another")
        return self.aimed.get(polytope, problem.bounds)

    def programs(self, problem: OpenProblem, polytope: int) -> Iterator[tuple[NetworkBounds, Phases]]:
        """Bounds for programs about one polytope, and phases to impose in them: each holds all unsafe points.

        A program takes a stable neuron for affine wherever it goes. Where that is true of the unsafe points
        alone, the first program may hold points that are none of the network's. The second, larger
        one leaves these out: it is told the phase as a constraint, h >= 0 or h <= 0.
        """
        aimed = self.bounds_for(problem, polytope)
        yield aimed, {}
        imposed, phases = self._imposed(problem, aimed)
        if phases:
            yield imposed, phases

    def _imposed(self, problem: OpenProblem, aimed: NetworkBounds) -> tuple[NetworkBounds, Phases]:
        region, graph = problem.bounds, problem.state.network.graph
        lower, upper = list(aimed.lower), list(aimed.upper)
        phases: Phases = {}
        for relu in graph.relus:
            now = aimed.phases(graph, relu)
            fixed = (region.phases(graph, relu) == Phase.UNSTABLE) & (now != Phase.UNSTABLE)
            if fixed.any():
                phases[relu] = np.where(fixed, now, Phase.UNSTABLE).astype(np.int8)
                for node in (graph.nodes[relu].inputs[0], relu):
                    lower[node] = np.where(fixed, region.lower[node], lower[node])
                    upper[node] = np.where(fixed, region.upper[node], upper[node])
        return replace(aimed, lower=tuple(lower), upper=tuple(upper)), phases

    def conclude(self, case: Case, problem: OpenProblem) -> None:
        """When a solver excluded all that is open, the radius is free of unsafe points, by its word."""
        if self.excluded.issuperset(problem.polytopes):
            evidence = Evidence.SOLVER_CLAIM if problem.polytopes else problem.evidence
            case.exclude(problem.query.region.radius, evidence)
