"""OpenProblem: what bounds leave of one query, and how more effort narrows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from mipverify.bounds.network_bounds import Method, NetworkBounds
from mipverify.bounds.state import PropagationState
from mipverify.problem.query import Query
from mipverify.verify.bounding import bound, reachable
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine


@dataclass(frozen=True, eq=False)
class OpenProblem:
    """A query whose region was bounded.

    Attributes:
        query: the query, its radius possibly shrunk.
        state: bounds over its region, of one sample.
        polytopes: positions of the unsafe polytopes that are still reachable.
    """

    query: Query
    state: PropagationState
    polytopes: tuple[int, ...]

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
    return optimise_outputs(engine, OpenProblem(problem.query, state, problem.polytopes), deadline)


def bound_outputs(engine: Engine, problem: OpenProblem) -> None:
    """Bounds on all outputs, which a program needs, by linear relaxation."""
    engine.propagator.refine_output(problem.state)
