"""The MIP stage: encode what bounds left open, solve it, and read the answer with care."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import ceil

import numpy as np

from mipverify.attack.replay import replay
from mipverify.bounds.network_bounds import NetworkBounds
from mipverify.encoding.encode import Encoding, Objective, Phases, encode
from mipverify.milp.result import SolveResult, Termination
from mipverify.problem.norm import Norm
from mipverify.problem.witness import Witness
from mipverify.solvers.solver import SolveOptions
from mipverify.tightening.root_cuts import CutOptions, RootCuts, add_root_cuts
from mipverify.tightening.tangents import TangentOptions, add_root_tangents
from mipverify.verify.aims import Aims
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.exact_l2 import solve_in_rounds, takes_squares
from mipverify.verify.polish import closest_in_linear_region, deepest_in_linear_region
from mipverify.verify.problem import OpenProblem

# A target counts as excluded only when the solver says that its margin stays below minus this share of the
# output range: beyond its feasibility tolerance.
RELATIVE_SLACK = 1e-6
# Distances claimed by the solver are lowered by this share of the radius, for the same reason.
RELATIVE_DISTANCE_SLACK = 2e-6
COUNT_SLACK = (
    1e-4  # a dual bound of a number of pixels is one larger only if it exceeds the last by this share
)
CUT_SHARE = 0.2  # of the time for one program, for inequalities at its root


def decide_by_mip(engine: Engine, case: Case, problem: OpenProblem, aims: Aims, deadline: Deadline) -> None:
    """Maximise the margin of one target after the other, until one is reached or all are excluded.

    One program a target, each with the others' constraints left out and with the bounds that hold for
    its own unsafe points, proved two to five times faster than one joint program or plain feasibility
    (`benchmarks/PERFORMANCE.md`).

    Targets that the solver excludes are noted in `aims`; once these are all, the radius of the problem is
    free of unsafe points (the solver's claim). A point that reaches a target becomes the case's witness.
    """
    case.num_unstable = problem.bounds.num_unstable(engine.network.graph)
    for polytope in problem.most_allowed_first():
        if polytope in aims.excluded:
            continue
        if deadline.expired():
            return
        if not _exclude_target(engine, case, problem, aims, polytope, deadline):
            return
        aims.excluded.add(polytope)
    aims.conclude(case, problem)


def _exclude_target(
    engine: Engine, case: Case, problem: OpenProblem, aims: Aims, polytope: int, deadline: Deadline
) -> bool:
    """Whether the solver excludes one target; a point that reaches it goes to the case.

    Where the point of the smaller program is none of the network's, the one that keeps to it is solved.
    """
    for bounds, phases in aims.programs(problem, polytope):
        with timed([case], Stage.MIP):
            excluded, result = examine(
                engine,
                case,
                problem,
                polytope,
                time_limit=deadline.remaining(),
                phases=phases,
                bounds=bounds,
            )
        pass_on_interrupt(result)
        if excluded or case.reached(problem.query.region.radius) or deadline.expired():
            return excluded
    return False


def examine(
    engine: Engine,
    case: Case,
    problem: OpenProblem,
    polytope: int,
    *,
    time_limit: float,
    phases: Phases | None = None,
    bounds: NetworkBounds | None = None,
    cut_share: float = CUT_SHARE,
) -> tuple[bool, SolveResult]:
    """Is one target excluded? The solver looks for a margin >= 0, and stops as soon as it has one.

    `bounds` need to hold for the unsafe points of this target alone; by default those of the problem. Of the
    time, `cut_share` at most is for inequalities at the root.
    """
    encoding = encode(
        engine.network.graph,
        problem.query,
        problem.bounds if bounds is None else bounds,
        objective=Objective.WORST,
        polytopes=(polytope,),
        phases=phases,
        quadratic=problem.query.region.norm is Norm.L2 and takes_squares(engine),
    )
    deadline, seed = Deadline(time_limit), engine.options.seed
    root = add_root_tangents(encoding, options=TangentOptions(), time_limit=CUT_SHARE * time_limit, seed=seed)
    cut = add_root_cuts(
        root.encoding,
        enough=0.0,
        options=CutOptions(),
        time_limit=cut_share * time_limit,
        seed=seed,
    )
    if cut.interrupted or cut.bound > 0:  # the cost is minus the margin: nothing reaches 0
        return cut.bound > 0, _result_of(cut, engine)
    encoding = replace(root.encoding, program=cut.program)
    slack = _slack(engine, problem)
    # The cost is minus the margin: a cost >= slack for every point of the program, which holds every unsafe
    # one, means a margin <= -slack for all of them: there are none.
    options = SolveOptions(time_limit=deadline.remaining(), cutoff=slack, target=0.0)

    def offer(encoding: Encoding, result: SolveResult) -> bool:
        if result.objective is not None and result.objective <= slack:
            case.offer(_witness_from(engine, case, problem, encoding, result))
        return case.reached(problem.query.region.radius)

    result = solve_in_rounds(partial(_solve, engine, case), encoding, options, offer=offer)
    if result.termination in (Termination.CUTOFF, Termination.INFEASIBLE):
        return True, result
    return result.termination is Termination.OPTIMAL and result.dual_bound >= slack / 2, result


def _result_of(cut: RootCuts, engine: Engine) -> SolveResult:
    """What the linear relaxation with cuts says: an exclusion that rests on no solver's word, or nothing."""
    ended = Termination.INTERRUPTED if cut.interrupted else Termination.CUTOFF
    return SolveResult(
        ended, None, None, cut.bound, 0, cut.seconds, engine.solver.name, "root cuts", certified=cut.bound > 0
    )


def close_by_mip(engine: Engine, case: Case, problem: OpenProblem) -> None:
    """The closest unsafe point inside the region of `problem`, by one program over all its targets.

    The solver is told that only points closer than the known witness are wanted; when there is none,
    the witness is the closest one up to the gap.
    """
    case.num_unstable = problem.bounds.num_unstable(engine.network.graph)
    region = problem.query.region
    # The cost of a distance in l2 is its square.
    power = 2 if region.norm is Norm.L2 else 1
    with timed([case], Stage.MIP):
        # A share of the gap is left for the solver's tolerances and the rounding of the witness.
        cutoff = None
        if case.witness is not None:
            below = case.upper - 0.5 if region.norm.counts else case.upper * (1 - case.gap / 4)
            cutoff = below**power
        options = SolveOptions(time_limit=case.remaining(), cutoff=cutoff, relative_gap=power * case.gap / 4)
        result = _solve_closest(engine, case, problem, options)
        if region.norm.counts:
            claimed = _claimed_count(result, radius=region.radius)
        else:
            reach, limit = region.reach() ** power, region.radius**power
            claimed = _claimed_distance(result, radius=limit, reach=reach, cutoff=cutoff)
            # The square of a tiny radius is 0: then nothing was claimed.
            claimed = region.radius if claimed >= limit > 0 else claimed ** (1 / power)
        case.raise_lower(claimed, Evidence.SOLVER_CLAIM)
    case.close(Stage.MIP)
    pass_on_interrupt(result)


def _solve_closest(engine: Engine, case: Case, problem: OpenProblem, options: SolveOptions) -> SolveResult:
    """Minimise the distance; points go to the case."""
    in_l2 = problem.query.region.norm is Norm.L2
    deadline = Deadline(options.time_limit)
    encoding = encode(
        engine.network.graph,
        problem.query,
        problem.bounds,
        objective=Objective.CLOSEST,
        polytopes=problem.polytopes,
        quadratic=in_l2 and takes_squares(engine),
        tangents_at=() if case.witness is None else (case.witness.point,),
    )
    encoding = add_root_tangents(
        encoding,
        options=TangentOptions(),
        time_limit=CUT_SHARE * deadline.remaining(),
        seed=engine.options.seed,
    ).encoding

    def offer(encoding: Encoding, result: SolveResult) -> bool:
        case.offer(_witness_from(engine, case, problem, encoding, result))
        # Closer points than the new witness are of no interest any more.
        good = options.relative_gap * case.upper**2
        return in_l2 and case.upper**2 - result.dual_bound <= good

    options = replace(options, time_limit=deadline.remaining())
    return solve_in_rounds(partial(_solve, engine, case), encoding, options, offer=offer)


def pass_on_interrupt(result: SolveResult) -> None:
    """A solver reports Ctrl-C as a result; once that is recorded, the interrupt goes on."""
    if result.termination is Termination.INTERRUPTED:
        raise KeyboardInterrupt


def _claimed_distance(result: SolveResult, *, radius: float, reach: float, cutoff: float | None) -> float:
    """The distance up to which the solver excludes every unsafe point, lowered for its tolerances."""
    if result.termination in (Termination.ERROR, Termination.UNBOUNDED):
        return 0.0
    excluded = result.termination in (Termination.INFEASIBLE, Termination.CUTOFF)
    if excluded and cutoff is None:
        return radius
    limit = radius if cutoff is None else min(cutoff, radius)
    claimed = limit if excluded else min(result.dual_bound, limit)
    if not np.isfinite(claimed):
        return 0.0
    return max(0.0, claimed - RELATIVE_DISTANCE_SLACK * min(limit, reach))


def _claimed_count(result: SolveResult, *, radius: float) -> float:
    """The whole distance up to which the solver excludes every unsafe point; 0 where it says nothing.

    Nothing below the dual bound means nothing at the largest whole number below it.
    """
    if result.termination in (Termination.INFEASIBLE, Termination.CUTOFF):
        return radius  # a cutoff lies above the radius
    if result.termination in (Termination.ERROR, Termination.UNBOUNDED) or not np.isfinite(result.dual_bound):
        return 0.0
    least = ceil(result.dual_bound - COUNT_SLACK * max(1.0, result.dual_bound))
    return max(0.0, min(least - 1.0, radius))


def _slack(engine: Engine, problem: OpenProblem) -> float:
    output = engine.network.graph.output
    low, up = problem.bounds.lower[output], problem.bounds.upper[output]
    return float(RELATIVE_SLACK * max(np.abs(low).max(), np.abs(up).max()))


def _solve(engine: Engine, case: Case, encoding: Encoding, options: SolveOptions) -> SolveResult:
    # The leaves and subtrees of the search have fewer binaries than the query, and do not hide its own.
    case.num_binaries = max(case.num_binaries or 0, encoding.program.num_binaries)
    settings = replace(options, threads=engine.options.threads, seed=engine.options.seed)
    result = engine.solver.solve(encoding.program, settings)
    case.nodes = (case.nodes or 0) + max(0, result.nodes)
    return result


def _witness_from(
    engine: Engine, case: Case, problem: OpenProblem, encoding: Encoding, result: SolveResult
) -> Witness | None:
    """Decode the solver's point; move it within its linear region if it does not replay as it is."""
    if result.point is None:
        return None
    point = encoding.decode(result.point)
    found = replay(engine.network, problem.query, point)
    if found is None:
        found = deepest_in_linear_region(engine, problem.query, problem.bounds, point, case.deadline())
    if found is not None and case.eps is None:
        return closest_in_linear_region(engine, problem.query, problem.bounds, found, case.deadline())
    return found
