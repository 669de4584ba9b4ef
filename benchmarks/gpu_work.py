"""The pieces of work that `gpu.py` measures: functions that do it and say how much it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from mipverify.attack.ascent import ascend
from mipverify.attack.batch import build_batch
from mipverify.attack.options import AttackOptions
from mipverify.attack.restarts import restart_points
from mipverify.bounds.forms import Forms
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.state import PropagationState
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.search.node_bounds import NodeBounds
from mipverify.search.phase_search import PausedPhases, SearchOptions, search_phases
from mipverify.search.targets import targets_of

Work = Callable[[], int]


class TooSmallError(Exception):
    """A search is over before it has as many open nodes as are to be split at once."""


def gradient_steps(network: TorchNetwork, queries: Sequence[Query], *, restarts: int, steps: int) -> Work:
    """Steps of every sample towards every rival from every random start; counts points times steps."""
    pairs = [(q, k) for q, query in enumerate(queries) for k in range(len(query.unsafe))]
    batch = build_batch(network, queries, pairs, norm=Norm.LINF)
    options = AttackOptions(restarts=restarts)
    starts = restart_points(network, batch, queries, batch.radius, options=options, seed=0).flatten(0, 1)
    every = batch.take(torch.arange(len(batch), device=network.device).repeat(restarts))

    def work() -> int:
        ascend(network, every, starts, steps=steps, chunk_values=options.chunk_values)
        return len(every) * steps

    return work


def bounded_samples(network: TorchNetwork, queries: Sequence[Query]) -> Work:
    """Bounds on every neuron and every margin by intervals and linear relaxation; counts samples."""
    propagator = Propagator(network)
    forms = margin_forms(network, queries)

    def work() -> int:
        propagator.minimise(relaxed(propagator, queries), forms)
        return len(queries)

    return work


def optimised_samples(network: TorchNetwork, queries: Sequence[Query]) -> Work:
    """Slopes optimised for every open neuron and margin, after linear relaxation; counts samples.

    Each sample is alone on the device: its rows are the batch. Slopes are searched in the precision of the
    network, too, while a verification searches them in float32.
    """
    propagator = Propagator(network)
    propagator.single = network
    states = [(relaxed(propagator, [query]), margin_forms(network, [query])) for query in queries]

    def work() -> int:
        for state, forms in states:
            better = propagator.run(state.region, method=Method.OPTIMISED, known=state)
            propagator.minimise(better, forms, method=Method.OPTIMISED)
        return len(states)

    return work


def searched_nodes(
    exact: TorchNetwork, single: TorchNetwork, query: Query, *, batch: int, rounds: int
) -> Work:
    """Rounds of branch-and-bound over phases that split `batch` nodes each; counts nodes bounded.

    Nothing ends the search early: no point is taken for a counterexample, no leaf is left open. The
    search goes on where the last one stopped, which is first when there should be `batch` open nodes.

    Raises:
        TooSmallError: there are fewer, at once or when the work is done.
    """
    state = relaxed(Propagator(exact), [query])
    bounds = NodeBounds(state, single, targets_of(exact, query.unsafe))
    options = replace(SearchOptions(), batch=batch)
    paused: PausedPhases | None = None

    def search(rounds: int) -> int:
        nonlocal paused
        left = rounds

        def out_of_time() -> bool:
            nonlocal left
            left -= 1
            return left < 0

        result = search_phases(
            bounds,
            options=options,
            accept=lambda _: False,
            leaf=lambda *_: True,
            out_of_time=out_of_time,
            paused=paused,
        )
        paused = result.paused
        if paused is None or result.open < batch:
            raise TooSmallError
        return result.nodes

    search(1 + max(0, batch // len(query.unsafe)).bit_length())
    return lambda: search(rounds)


def relaxed(propagator: Propagator, queries: Sequence[Query]) -> PropagationState:
    """Bounds of every neuron by intervals and linear relaxation."""
    network = propagator.network
    regions = region_batch([query.region for query in queries], device=network.device, dtype=network.dtype)
    return propagator.run(regions, method=Method.LINEAR)


def margin_forms(network: TorchNetwork, queries: Sequence[Query]) -> Forms:
    """The margins of every query's unsafe polytopes, as forms to bound from below."""
    rows = [torch.tensor(-polytope.matrix) for query in queries for polytope in query.unsafe]
    counts = [sum(len(polytope.offset) for polytope in query.unsafe) for query in queries]
    sample = torch.repeat_interleave(torch.arange(len(queries)), torch.tensor(counts))
    return Forms(
        network.graph.output,
        sample.to(network.device),
        rows=torch.cat(rows).to(device=network.device, dtype=network.dtype),
    )
