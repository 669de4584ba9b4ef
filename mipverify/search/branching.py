"""Branching: which neuron a node is split at, and the two nodes that this makes of it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mipverify.search.node_bounds import NodeBounds
from mipverify.search.nodes import Nodes, join


def children(bounds: NodeBounds, parents: Nodes) -> Nodes:
    """Two children a parent, split at the choice whose children have the best bounds by a quick look."""
    tried = parents.choices.shape[1]
    valid = parents.choices >= 0
    options = [
        _split(parents, torch.where(valid[:, k], parents.choices[:, k], parents.choices[:, 0]))
        for k in range(tried)
    ]
    if bool(valid[:, 1:].any()):
        values = bounds.quick(join([child for pair in options for child in pair]))
        pairs = values.reshape(tried, 2, len(parents)).clamp(max=0.0)
        # The worse child counts most: both have to be closed in the end.
        score = pairs.amin(1) + 0.1 * pairs.amax(1)
        best = score.argmax(0)
    else:
        best = torch.zeros_like(parents.target)
    chosen = parents.choices.gather(1, best[:, None]).squeeze(1)
    chosen = torch.where(chosen >= 0, chosen, parents.choices[:, 0])
    return join(list(_split(parents, chosen)))


def _split(parents: Nodes, neuron: Tensor) -> tuple[Nodes, Nodes]:
    """The children of the parents with h >= 0, then with h <= 0, imposed at their neuron."""
    children = []
    for phase in (1, -1):
        phases = parents.phases.clone()
        phases[torch.arange(len(parents), device=neuron.device), neuron] = phase
        children.append(replace(parents, phases=phases))
    return children[0], children[1]
