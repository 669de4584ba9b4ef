"""OpenProblem: what bounds leave of one query, and how more effort narrows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    engine: Engine,
    query: Query,
    polytopes: Sequence[int],
    method: Method,
    deadline: Deadline,
    *,
    note: Callable[[PropagationState], None],
) -> OpenProblem:
    """Bound the region of `query` from nothing, and exclude what bounds alone can.

    Each state is shown to `note` as soon as all its neurons are bounded.
    """
    first = min(method, Method.LINEAR)
    state = bound(engine, [query], method=first, deadline=deadline)
    (left,) = reachable(engine, state, [query], [polytopes], method=first)
    note(state)
    problem = strengthen(engine, OpenProblem(query, state, left), method, deadline)
    note(problem.state)
    return problem


def strengthen(engine: Engine, problem: OpenProblem, method: Method, deadline: Deadline) -> OpenProblem:
    """More effort on a problem that plain linear relaxation left open, cheapest first.

    Slopes are optimised for the output rows alone, then for every open neuron, then for the rows again;
    what is left after that gets bounds on all outputs, which a program needs.
    """
    query, state, left = problem.query, problem.state, problem.polytopes
    if method >= Method.OPTIMISED and left:
        (left,) = reachable(engine, state, [query], [left], method=method, deadline=deadline)
        if left and not deadline.expired():
            state = engine.propagator.run(
                state.region, method=method, known=state, out_of_time=deadline.expired
            )
            (left,) = reachable(engine, state, [query], [left], method=method, deadline=deadline)
    if left and method >= Method.LINEAR:
        engine.propagator.refine_output(state)
    return OpenProblem(query, state, left)
