"""The joint program of a universal perturbation: bounds for every sample, the solve, its point replayed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mipverify.bounds.network_bounds import Method
from mipverify.encoding.encode import phases_at
from mipverify.encoding.shared import SharedEncoding, SharedPart, encode_shared
from mipverify.graph.operators import Float64Array
from mipverify.milp.result import SolveResult
from mipverify.problem.shared import SharedQuery
from mipverify.solvers.solver import SolveOptions
from mipverify.verify.deadline import Deadline
from mipverify.verify.exact import RELATIVE_SLACK, pass_on_interrupt
from mipverify.verify.polish import MARGINS, SECONDS_PER_LP
from mipverify.verify.problem import OpenProblem, bound_outputs, open_problem, optimise_neurons
from mipverify.verify.universal_state import UniversalState

BOUNDS_SHARE = 0.2  # of the time left, for bounds of all samples
Problems = Mapping[int, OpenProblem]


def bounded_samples(
    state: UniversalState, query: SharedQuery, positions: Sequence[int]
) -> dict[int, OpenProblem]:
    """Bounds of the samples over the perturbations of `query`; those that are proven safe are left out."""
    engine = state.engine
    strongest = engine.strongest_bounds
    whole = Deadline(BOUNDS_SHARE * state.deadline.remaining())
    found = {}
    for number, position in enumerate(positions):
        sample = query.samples[position]
        part = Deadline(whole.remaining() / (len(positions) - number))
        problem = open_problem(engine, sample, tuple(range(len(sample.unsafe))), strongest, part)
        if problem.polytopes and strongest >= Method.OPTIMISED:
            problem = optimise_neurons(engine, problem, part)
        if problem.polytopes:
            found[position] = bound_outputs(engine, problem)
    return found


def joint_program(
    state: UniversalState,
    query: SharedQuery,
    problems: Problems,
    *,
    at_least: int | None,
    apart: Iterable[tuple[int, int]] = (),
) -> SharedEncoding:
    """The program of all samples that bounds leave open; rows are slack beyond the solver's tolerances.

    No two samples of a pair in `apart` are fooled together.
    """
    parts = [SharedPart(k, problem.bounds, problem.polytopes) for k, problem in problems.items()]
    output = state.engine.network.graph.output
    sizes = [np.abs([part.bounds.lower[output], part.bounds.upper[output]]).max() for part in parts]
    slack = RELATIVE_SLACK * float(max(sizes))
    encoding = encode_shared(
        state.engine.network.graph, query, parts, at_least=at_least, slack=slack, apart=apart
    )
    state.num_binaries = max(state.num_binaries or 0, encoding.program.num_binaries)
    return encoding


def solve(state: UniversalState, encoding: SharedEncoding, options: SolveOptions) -> SolveResult:
    """Solve the joint program within the time left, and offer the point that it ends with."""
    settings = state.engine.options
    limit = min(options.time_limit, state.deadline.remaining())
    options = replace(options, threads=settings.threads, seed=settings.seed, time_limit=limit)
    result = state.engine.solver.solve(encoding.program, options)
    state.nodes = (state.nodes or 0) + max(0, result.nodes)
    pass_on_interrupt(result)
    return result


def offer_point(
    state: UniversalState, encoding: SharedEncoding, problems: Problems, point: Float64Array
) -> None:
    """The perturbation of a point of the program; moved in its linear region where it fails the replay."""
    delta, claimed = encoding.decode(point), encoding.fooled(point)
    found = state.offer(delta)
    if found is None or not set(claimed) <= set(found.fooled) or state.at_least is not None:
        polish(state, encoding.query, problems, delta, claimed)


def polish(
    state: UniversalState,
    query: SharedQuery,
    problems: Problems,
    delta: Float64Array,
    reached: Mapping[int, int],
) -> None:
    """The smallest perturbation that fools the samples `reached` with the phases that they have at `delta`.

    A linear program, asked for a small margin, so that its point survives float32; the margin grows until
    the replay succeeds.
    """
    graph = state.engine.network.graph
    parts = [
        SharedPart(
            k,
            problems[k].bounds,
            (polytope,),
            phases_at(graph, query.samples[k].region.center + delta),
            must=True,
        )
        for k, polytope in reached.items()
    ]
    if not parts:
        return
    moved = np.stack([query.samples[k].region.center + delta for k in reached])
    reach = float(np.abs(state.engine.network(moved)).max())
    for margin in MARGINS:
        limit = min(SECONDS_PER_LP, state.deadline.remaining())
        if limit <= 0:
            return
        encoding = encode_shared(graph, query, parts, at_least=0, slack=-margin * reach)
        options = SolveOptions(time_limit=limit, threads=1, seed=state.engine.options.seed)
        result = state.engine.solver.solve(encoding.program, options)
        pass_on_interrupt(result)
        if result.point is None:
            return
        found = state.offer(encoding.decode(result.point))
        if found is not None and set(reached) <= set(found.fooled):
            return


def reached_by(state: UniversalState, count: int | None = None) -> dict[int, int]:
    """The samples that the witness fools, most deeply first, at most `count`, and the polytope of each."""
    witness = state.witness
    if witness is None:
        return {}
    order = sorted(witness.fooled, key=lambda k: -witness.margins[k])[:count]
    found = {}
    for k in order:
        sample = state.query.samples[k]
        outputs = state.engine.network((sample.region.center + witness.delta)[None])[0]
        found[k] = int(np.argmax([float(polytope.margin(outputs)) for polytope in sample.unsafe]))
    return found
