"""OpenProblem: what bounds leave of one query, and how more effort narrows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mipverify.bounds.network_bounds import Method, NetworkBounds
from mipverify.bounds.state import PropagationState
from mipverify.problem.query import Query
from mipverify.verify.bounding import bound, reachable
from mipverify.verify.certificate import Evidence
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine


@dataclass(frozen=True, eq=False)
class OpenProblem:
    """A query whose region was bounded.

    Attributes:
        query: the query, its radius possibly shrunk.
        state: bounds over its region, of one sample.
        polytopes: positions of the unsafe polytopes that are still reachable.
        claimed: the others were excluded with the help of a solver's word.
    """

    query: Query
    state: PropagationState
    polytopes: tuple[int, ...]
    claimed: bool = False

    @cached_property
    def bounds(self) -> NetworkBounds:
        """Per-neuron bounds for the encoder, checked.

        Raises:
            MissingBoundError: a bound is not finite.
            SoundnessError: bounds cross.
        """
        bounds = self.state.bounds(0)
        bounds.check()
        return bounds

    @property
    def evidence(self) -> Evidence:
        """What an exclusion of all polytopes left, by bounds with rounding covered, would rest on."""
        return Evidence.SOLVER_CLAIM if self.claimed else Evidence.BOUND_PROPAGATION

    def most_allowed_first(self) -> tuple[int, ...]:
        """The open polytopes by the margin that the bounds on the outputs still allow, largest first."""
        output = self.state.network.graph.output
        low, up = self.bounds.lower[output], self.bounds.upper[output]

        def allowed(polytope: int) -> float:
            rows = self.query.unsafe[polytope].matrix
            highest = np.maximum(rows, 0) @ up + np.minimum(rows, 0) @ low
            return float((highest - self.query.unsafe[polytope].offset).min())

        return tuple(sorted(self.polytopes, key=allowed, reverse=True))


def open_problem(
    engine: Engine, query: Query, polytopes: Sequence[int], method: Method, deadline: Deadline
) -> OpenProblem:
    """Bound the region of `query` by at most plain linear relaxation, and exclude what that can."""
    first = min(method, Method.LINEAR)
    state = bound(engine, [query], method=first, deadline=deadline)
    (left,) = reachable(engine, state, [query], [polytopes], method=first)
    return OpenProblem(query, state, left)


def optimise_outputs(engine: Engine, problem: OpenProblem, deadline: Deadline) -> OpenProblem:
    """The same bounds of neurons, with slopes optimised for the rows of each target."""
    (left,) = reachable(
        engine,
        problem.state,
        [problem.query],
        [problem.polytopes],
        method=Method.OPTIMISED,
        deadline=deadline,
    )
    return replace(problem, polytopes=left)


def optimise_neurons(engine: Engine, problem: OpenProblem, deadline: Deadline) -> OpenProblem:
    """Slopes optimised for every open neuron, layer by layer, then for the rows of each target."""
    state = engine.propagator.run(
        problem.state.region,
        method=Method.OPTIMISED,
        known=problem.state,
        out_of_time=deadline.expired,
    )
    return optimise_outputs(engine, replace(problem, state=state), deadline)


def optimise_planes(engine: Engine, problem: OpenProblem, deadline: Deadline) -> OpenProblem:
    """Planes for every open neuron of layers that have few, then for the rows of each target."""
    state = engine.propagator.run(
        problem.state.region,
        method=Method.OPTIMISED,
        known=problem.state,
        planes=True,
        out_of_time=deadline.expired,
    )
    return optimise_outputs(engine, replace(problem, state=state), deadline)


def bound_outputs(engine: Engine, problem: OpenProblem) -> OpenProblem:
    """Bounds on all outputs, which a program needs, by linear relaxation."""
    engine.propagator.refine_output(problem.state)
    return replace(problem)  # the bounds for the encoder are gathered anew
