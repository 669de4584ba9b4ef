"""The problem inside a radius of a bracket, and the witness at its upper end."""

from __future__ import annotations

from mipverify.bounds.network_bounds import Method
from mipverify.problem.witness import Witness
from mipverify.verify.bounding import bound
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.engine import Engine
from mipverify.verify.polish import closest_in_linear_region
from mipverify.verify.problem import OpenProblem, open_problem

NEAR = 0.02  # relative width from which on witnesses are polished in any network
SMALL = 1000  # ReLUs up to which they always are


def bounded_problem(engine: Engine, case: Case, strongest: Method, radius: float) -> OpenProblem:
    """The problem inside a radius, which is proven at once when bounds exclude every polytope."""
    with timed([case], Stage.BOUNDS):
        query = case.shrunk(radius)
        problem = open_problem(engine, query, tuple(range(len(query.unsafe))), strongest, case.deadline())
        if not problem.polytopes:
            case.exclude(query.region.radius, Evidence.BOUND_PROPAGATION)
    case.close(Stage.BOUNDS)
    if case.profiler is not None:
        case.note_bounds(bound(engine, [query], method=Method.INTERVAL, deadline=case.deadline()))
        case.note_bounds(problem.state)
    return problem


def worth_polishing(engine: Engine, case: Case) -> bool:
    """Whether the linear programs are small, or the last bit of distance is what is missing."""
    return is_small(engine) or case.lower >= case.upper * (1 - NEAR)


def is_small(engine: Engine) -> bool:
    """Whether a program over a linear region takes little time."""
    return engine.network.graph.num_relus <= SMALL


def polish(engine: Engine, case: Case, problem: OpenProblem, witness: Witness) -> Witness:
    """The closest witness in the linear regions around the known one, which the case keeps."""
    with timed([case], Stage.ATTACK):
        found = closest_in_linear_region(engine, problem.query, problem.bounds, witness, case.deadline())
        case.offer(found)
    case.close(Stage.ATTACK)
    return found
