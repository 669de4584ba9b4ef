"""Branching: which neuron a node is split at, and the two nodes that this makes of it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mipverify.search.node_bounds import NodeBounds
from mipverify.search.nodes import Nodes, join


def children(bounds: NodeBounds, parents: Nodes) -> Nodes:
    """Two children a parent, split at the choice whose children have the best bounds by a quick look.

    Where neurons that are relaxed from above come first, a quick look says nothing: their children begin
    below what some steps bring them to. There it is the first choice.
    """
    tried = 1 if bounds.above_first else parents.choices.shape[1]
    valid = parents.choices >= 0
    coefficients = bounds.coefficients(parents)
    options = [
        _split(parents, torch.where(valid[:, k], parents.choices[:, k], parents.choices[:, 0]), coefficients)
        for k in range(tried)
    ]
    if bool(valid[:, 1:tried].any()):
        values = bounds.quick(join([child for pair in options for child in pair]))
        pairs = values.reshape(tried, 2, len(parents)).clamp(max=0.0)
        # The worse child counts most: both have to be closed in the end.
        score = pairs.amin(1) + 0.1 * pairs.amax(1)
        best = score.argmax(0)
    else:
        best = torch.zeros_like(parents.target)
    chosen = parents.choices.gather(1, best[:, None]).squeeze(1)
    chosen = torch.where(chosen >= 0, chosen, parents.choices[:, 0])
    return join(list(_split(parents, chosen, coefficients)))


def _split(parents: Nodes, neuron: Tensor, coefficients: Tensor) -> tuple[Nodes, Nodes]:
    """The children of the parents with h >= 0, then with h <= 0, imposed at their neuron.

    Where the parent's form goes over the line below, c s h, the multiplier turns what the phase makes of it,
    c h or 0, into the same: so the child begins at its parent's bound.
    """
    at = torch.arange(len(parents), device=neuron.device), neuron
    coefficient, slope = coefficients[at].clamp(min=0), parents.slopes[at]
    children = []
    for phase, multiplier in ((1, coefficient * (1 - slope)), (-1, coefficient * slope)):
        phases, multipliers = parents.phases.clone(), parents.multipliers.clone()
        phases[at], multipliers[at] = phase, multiplier
        children.append(replace(parents, phases=phases, multipliers=multipliers))
    return children[0], children[1]
