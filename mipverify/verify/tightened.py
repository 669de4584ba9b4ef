"""The tightening stage: linear programs for open neurons, over the region or for one target at a time."""

from __future__ import annotations

from dataclasses import replace

import torch

from mipverify.bounds.network_bounds import Method, NetworkBounds, Phase
from mipverify.bounds.state import PropagationState
from mipverify.tightening.tighten import (
    TighteningOptions,
    TighteningResult,
    tighten,
    tighten_for_unsafe_points,
)
from mipverify.verify.aims import Aims
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.problem import OpenProblem, optimise_outputs

SECONDS_PER_MIP = 1.0


def tighten_region(engine: Engine, case: Case, problem: OpenProblem, deadline: Deadline) -> OpenProblem:
    """Bounds of the open neurons by linear programs over the region, then the margins once more.

    They are recomputed from duals with all rounding covered: what they exclude rests on no solver's word.
    """
    with timed([case], Stage.TIGHTENING):
        result = tighten(
            engine.network.graph,
            problem.query,
            problem.bounds,
            options=TighteningOptions(),
            deadline=deadline.remaining,
            threads=engine.options.threads,
        )
        _account(engine, result)
        problem = replace(problem, state=_state_with(engine, problem.state, result.bounds))
        problem = optimise_outputs(engine, problem, deadline)
        if not problem.polytopes:
            case.exclude(problem.query.region.radius, problem.evidence)
    case.close(Stage.TIGHTENING)
    case.note_bounds(problem.state)
    return problem


def tighten_for_targets(
    engine: Engine, case: Case, problem: OpenProblem, aims: Aims, deadline: Deadline
) -> OpenProblem:
    """Bounds for the unsafe points of one target after the other; a target without any is excluded.

    The bounds go to `aims`, for the target's own program; the problem only loses polytopes. Targets that the
    bounds leave least are the likeliest to be excluded and come first; each has an equal share of
    the time left. With the bound method `mip` they may rest on a solver's word: then the exclusion does.
    """
    short = SECONDS_PER_MIP if engine.strongest_bounds >= Method.MIP else 0.0
    options = TighteningOptions(signs_only=True, seconds_per_mip=short)
    order = [k for k in reversed(problem.most_allowed_first()) if k not in aims.excluded]
    missed: set[int] = set()
    with timed([case], Stage.TIGHTENING):
        for place, polytope in enumerate(order):
            share = Deadline(deadline.remaining() / (len(order) - place))
            if share.expired():
                break
            result = tighten_for_unsafe_points(
                engine.network.graph,
                problem.query,
                aims.bounds_for(problem, polytope),
                polytope,
                options=options,
                deadline=share.remaining,
                threads=engine.options.threads,
            )
            _account(engine, result)
            if not result.empty:
                aims.aimed[polytope] = result.bounds
            elif result.claimed:
                aims.excluded.add(polytope)
            else:
                missed.add(polytope)
    problem = replace(problem, polytopes=tuple(k for k in problem.polytopes if k not in missed))
    aims.conclude(case, problem)
    case.close(Stage.TIGHTENING)
    _note_largest(engine, case, problem, aims)
    return problem


def _account(engine: Engine, result: TighteningResult) -> None:
    """Count the programs; pass Ctrl-C on, which the solver reports as a result."""
    engine.meter.count_tightening(result.lps, result.mips, result.seconds)
    if result.interrupted:
        raise KeyboardInterrupt


def _state_with(engine: Engine, state: PropagationState, bounds: NetworkBounds) -> PropagationState:
    """The lines and rounding errors that better bounds of the same region give."""
    network = engine.exact
    known = replace(
        state,
        lower=[network.tensor(low[None]) for low in bounds.lower],
        upper=[network.tensor(up[None]) for up in bounds.upper],
        methods=[torch.from_numpy(methods[None]).to(network.device) for methods in bounds.methods],
        method=Method.LP,
    )
    # Nothing is left to do for a method up to LP: the bounds are adopted and passed on by intervals.
    return engine.propagator.run(state.region, method=Method.LP, known=known)


def _note_largest(engine: Engine, case: Case, problem: OpenProblem, aims: Aims) -> None:
    """For the profile: what is left to the program of a target, of the one that is left most."""
    graph = engine.network.graph
    left = [aims.bounds_for(problem, k) for k in problem.polytopes if k in aims.aimed]
    if case.profiler is not None and left:
        most = max(left, key=lambda bounds: bounds.num_unstable(graph))
        counts = [int((most.phases(graph, relu) == Phase.UNSTABLE).sum()) for relu in graph.relus]
        case.profiler.note_counts(Method.LP, counts)
