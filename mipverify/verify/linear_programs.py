"""The programs of single targets that a search by linear programs takes, and where it is worth it."""

from __future__ import annotations

from collections.abc import Callable

from mipverify.encoding.encode import Objective, encode
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.search.program_search import ProgramSearch, ProgramSearchOptions, can_be_searched
from mipverify.verify.engine import Engine
from mipverify.verify.problem import OpenProblem

FEW = 300  # unstable neurons up to which a linear program takes milliseconds
NORMS = (Norm.LINF, Norm.L1)  # whose balls are linear


def suits_linear_programs(problem: OpenProblem) -> bool:
    """Whether the region is linear, no open target has several rows, and the programs are small."""
    region = problem.query.region
    rows = max((len(problem.query.unsafe[k].offset) for k in problem.polytopes), default=0)
    few = problem.state.count_unstable(0) <= FEW
    return region.norm in NORMS and region.grid is None and rows == 1 and few


def linear_search(
    engine: Engine,
    problem: OpenProblem,
    polytope: int,
    accept: Callable[[Float64Array], bool],
    *,
    most_programs: int | None,
) -> ProgramSearch | None:
    """The search for the unsafe points of one target; None if its program is none that can be searched.

    The problem needs bounds on all outputs.
    """
    encoding = encode(
        engine.network.graph,
        problem.query,
        problem.bounds,
        objective=Objective.WORST,
        polytopes=(polytope,),
    )
    if not can_be_searched(encoding):
        return None
    options = ProgramSearchOptions(most_programs=most_programs, seed=engine.options.seed)
    return ProgramSearch(encoding, options, accept)
