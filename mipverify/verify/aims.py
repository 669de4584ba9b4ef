"""Aims: what the programs about one unsafe polytope each may use, and nothing else may."""

from __future__ import annotations

from dataclasses import dataclass, field

from mipverify.bounds.network_bounds import NetworkBounds
from mipverify.errors import SoundnessError
from mipverify.problem.query import Query
from mipverify.verify.case import Case
from mipverify.verify.certificate import Evidence
from mipverify.verify.problem import OpenProblem


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
        """Bounds for a program about one polytope.

        Raises:
            SoundnessError: the problem is about another query.
        """
        if problem.query is not self.query:
            raise SoundnessError("bounds for the unsafe points of one query were asked for another")
        return self.aimed.get(polytope, problem.bounds)

    def conclude(self, case: Case, problem: OpenProblem) -> None:
        """When a solver excluded all that is open, the radius is free of unsafe points, by its word."""
        if self.excluded.issuperset(problem.polytopes):
            evidence = Evidence.SOLVER_CLAIM if problem.polytopes else problem.evidence
            case.exclude(problem.query.region.radius, evidence)
