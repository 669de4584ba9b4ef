"""The textbook method, for comparison: progressive bounds, then one joint big-M program (Tjeng et al. 2019).

Intervals first; linear programs for both sides of every neuron that they leave unstable, layer by layer (the
second is left out once the first decided the sign); then one mixed-integer program with a selector over all
targets. No linear relaxation, no attack, no search. The program asks for the largest margin and stops at the
first point with a margin >= 0: where that differs much, it is faster than asking for any point.
"""

from __future__ import annotations

import time
from dataclasses import replace

import mipverify
from mipverify.attack.replay import replay
from mipverify.bounds.network_bounds import Method, NetworkBounds, Phase
from mipverify.encoding.encode import Objective, encode
from mipverify.graph.operators import Float64Array
from mipverify.milp.result import Termination
from mipverify.problem.query import Query
from mipverify.solvers.solver import SolveOptions
from mipverify.tightening.tighten import TighteningOptions, tighten
from mipverify.verify.bounding import bound
from mipverify.verify.case import Case
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.exact import RELATIVE_DISTANCE_SLACK, RELATIVE_SLACK, pass_on_interrupt
from mipverify.verify.options import VerifyOptions
from mipverify.verify.profile import Profiler
from mipverify.verify.questions import questions

EVERY_SIDE = TighteningOptions(least_gain=0.0)


def answer_by_the_book(
    network: mipverify.Network,
    x: Float64Array,
    label: int,
    *,
    eps: float | None,
    radius: float,
    norm: str,
    options: VerifyOptions,
) -> mipverify.Certificate:
    """A verdict at radius eps, or (eps is None) the closest counterexample within radius."""
    engine = Engine(network, options)
    (query,) = questions(
        network.graph,
        x[None],
        [label],
        radius=radius if eps is None else eps,
        norm=norm,
        domain=(0.0, 1.0),
    )
    case = Case(
        query=query,
        label=label,
        prediction=int(network.run(query.region.center[None])[0].argmax()),
        eps=eps,
        gap=options.gap,
        limit=options.time_limit,
        num_relus=network.graph.num_relus,
        profiler=Profiler(network.graph, engine.meter),
    )
    if case.prediction != label:
        case.decided_by = Stage.ATTACK
    else:
        _answer(engine, case)
    return case.certificate()


def _answer(engine: Engine, case: Case) -> None:
    profiler = case.profiler
    assert profiler is not None
    before = replace(engine.meter)
    clock = Deadline(case.limit)
    began = time.perf_counter()
    state = bound(engine, [case.query], method=Method.INTERVAL, deadline=clock)
    profiler.note(state)
    tightened = tighten(
        engine.network.graph,
        case.query,
        state.bounds(0),
        options=EVERY_SIDE,
        deadline=clock.remaining,
        threads=engine.options.threads,
    )
    engine.meter.count_tightening(tightened.lps, tightened.mips, tightened.seconds)
    profiler.note_counts(Method.LP, _unstable(engine, tightened.bounds))
    case.seconds[Stage.TIGHTENING.value] = time.perf_counter() - began
    began = time.perf_counter()
    if not clock.expired():
        _solve(engine, case, case.query, tightened.bounds, clock)
    case.seconds[Stage.MIP.value] = time.perf_counter() - began
    case.close(Stage.MIP)
    profiler.since(before)


def _solve(engine: Engine, case: Case, query: Query, bounds: NetworkBounds, clock: Deadline) -> None:
    deciding = case.eps is not None
    wanted = Objective.WORST if deciding else Objective.CLOSEST
    encoding = encode(engine.network.graph, query, bounds, objective=wanted)
    output = engine.network.graph.output
    slack = RELATIVE_SLACK * max(abs(bounds.lower[output]).max(), abs(bounds.upper[output]).max())
    settings = SolveOptions(time_limit=clock.remaining(), threads=engine.options.threads)
    if deciding:
        settings = replace(settings, cutoff=slack, target=0.0)
    else:
        settings = replace(settings, relative_gap=case.gap / 4)
    result = engine.solver.solve(encoding.program, settings)
    pass_on_interrupt(result)
    case.num_binaries, case.nodes = encoding.program.num_binaries, result.nodes
    case.num_unstable = bounds.num_unstable(engine.network.graph)
    if result.termination in (Termination.CUTOFF, Termination.INFEASIBLE):
        case.exclude(query.region.radius, Evidence.SOLVER_CLAIM)
    elif not deciding and result.termination in (Termination.OPTIMAL, Termination.TIME_LIMIT):
        below = min(result.dual_bound, query.region.radius) - RELATIVE_DISTANCE_SLACK * query.region.reach()
        case.raise_lower(max(0.0, below), Evidence.SOLVER_CLAIM)
    if result.point is not None:
        case.offer(replay(engine.network, query, encoding.decode(result.point)))


def _unstable(engine: Engine, bounds: NetworkBounds) -> list[int]:
    graph = engine.network.graph
    return [int((bounds.phases(graph, relu) == Phase.UNSTABLE).sum()) for relu in graph.relus]
