"""Bounds of neurons by small searches, before the search for the targets goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mipverify.bounds.forms import Forms
from mipverify.bounds.neighbours import neighbours_first
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.optimise_planes import PlaneOptions
from mipverify.bounds.state import PropagationState
from mipverify.search.neuron_search import NeuronSearchOptions, neuron_targets, raise_bounds
from mipverify.search.node_bounds import NodeBounds
from mipverify.search.target_planes import shared_planes
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.problem import OpenProblem, optimise_outputs

MOST = 500  # unstable neurons below the last ReLUs up to which there are trees for those above
NEIGHBOURS = 32  # sides of neurons that are bounded with planes at once
NEURON_PLANES = PlaneOptions(steps=(20, 20), decay=0.95, patience=20, negligible=0.0)


def few_below(problem: OpenProblem) -> bool:
    """Whether rows of neurons lead through few unstable ones: those of the last ReLUs are in no row's way."""
    return sum(problem.state.unstable_by_layer(0)[:-1]) <= MOST


def worth_refining(problem: OpenProblem) -> bool:
    """Whether there are neurons whose bounds small searches may tighten."""
    return any(problem.state.unstable_by_layer(0)[1:])


def refine_neurons(engine: Engine, problem: OpenProblem, deadline: Deadline) -> OpenProblem:
    """Better bounds for the open neurons, then the rows of each target.

    Where few are unstable, branch-and-bound for every open neuron of layers that have few; else planes for
    every open neuron. Each layer gets an equal share of the time left, and profits from what the layers below
    it gained.
    """
    left = sum(count > 0 for count in problem.state.unstable_by_layer(0)[1:])
    effort = _search_bounds if few_below(problem) else _bounds_by_planes

    def deeper(state: PropagationState, forms: Forms, known: Tensor) -> Tensor:
        nonlocal left
        share = Deadline(deadline.remaining() / max(1, left))
        left -= 1
        return effort(engine, state, forms, known, share.expired)

    state = engine.propagator.run(
        problem.state.region,
        method=Method.OPTIMISED,
        known=problem.state,
        deeper=deeper,
        out_of_time=deadline.expired,
    )
    return optimise_outputs(engine, replace(problem, state=state), deadline)


def _bounds_by_planes(
    engine: Engine,
    state: PropagationState,
    forms: Forms,
    known: Tensor,
    out_of_time: Callable[[], bool],
) -> Tensor:
    """Lower bounds of the neurons' forms, [rows], never below `known`: planes, a few neighbours at a time."""
    if forms.neurons is None:
        raise ValueError("forms are not those of neurons")
    order = neighbours_first(state.network.graph.nodes[forms.start].op, forms.neurons)
    values = known.clone()
    for part in torch.split(order, NEIGHBOURS):
        if out_of_time():
            break
        some, before = forms.take(part), known[part]
        found = engine.propagator.minimise_with_planes(
            state, some, before, out_of_time, options=NEURON_PLANES
        )
        values[part] = found.values
    return values


def _search_bounds(
    engine: Engine,
    state: PropagationState,
    forms: Forms,
    known: Tensor,
    out_of_time: Callable[[], bool],
) -> Tensor:
    """Lower bounds of the neurons' forms, [rows], never below `known`: planes first, then trees."""
    if len(forms) > engine.propagator.plane_options.most_rows:
        return known
    found = engine.propagator.minimise_with_planes(state, forms, known, out_of_time)
    rows = found.rows
    if not len(rows) or out_of_time():
        return found.values
    planes = shared_planes(found, torch.arange(len(rows), device=rows.device))
    targets = neuron_targets(state, forms.take(rows))
    bounds = NodeBounds(state, engine.single, targets, planes, position=forms.start)
    both = known.reshape(2, -1)
    widths = (-both.sum(0)).repeat(2)[rows]
    raised = raise_bounds(bounds, widths, options=NeuronSearchOptions(), out_of_time=out_of_time)
    values = found.values.clone()
    values[rows] = torch.maximum(values[rows], raised)
    return values
