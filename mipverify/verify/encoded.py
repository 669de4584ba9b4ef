"""The exact program of a question, with the bounds that verification would give it."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from mipverify.bounds.network_bounds import Method
from mipverify.encoding.encode import Encoding, Objective, encode
from mipverify.frontend.perturbed import PerturbedNetwork, Runnable, perturbed_network
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine, torch_threads
from mipverify.verify.problem import bound_outputs, open_problem, optimise_neurons


def in_parameters(network: Runnable, query: Query) -> tuple[PerturbedNetwork, Query]:
    """A parametrised query as a plain one, and the network that it is about."""
    if query.parametrised is None:
        raise ValueError("the query is not parametrised")
    made = perturbed_network(network, query.parametrised, query.region)
    return made, replace(query, parametrised=None)


def encode_query(
    engine: Engine, query: Query, objective: Objective, *, quadratic: bool, time_limit: float = inf
) -> Encoding:
    """Bound the region of a query as the engine's options say, and encode all of its targets.

    A parametrised query is one about its parameters, with the network as a function of them.

    Args:
        engine: the network and its options; of the bounds, `interval`, `linear` and `optimised` are used.
        query: the question.
        objective: decide, closest or worst.
        quadratic: whether an l2 region is a quadratic program.
        time_limit: seconds for optimised bounds.

    Raises:
        QueryError: a norm without an encoding.
        MissingBoundError: a neuron has no finite bound.
    """
    if query.parametrised is not None:
        network, query = in_parameters(engine.network, query)
        engine = Engine(network, engine.options)
    deadline = Deadline(time_limit)
    everything = tuple(range(len(query.unsafe)))
    with torch_threads(engine.options.threads):
        problem = open_problem(engine, query, everything, engine.strongest_bounds, deadline)
        if engine.strongest_bounds >= Method.OPTIMISED:
            problem = optimise_neurons(engine, problem, deadline)
        if engine.strongest_bounds > Method.INTERVAL:
            problem = bound_outputs(engine, problem)
    quadratic = quadratic and query.region.norm is Norm.L2
    return encode(engine.network.graph, query, problem.bounds, objective=objective, quadratic=quadratic)
