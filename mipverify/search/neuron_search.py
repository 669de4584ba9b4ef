"""Bounds of many neurons by branch-and-bound over the phases of the ReLUs below them.

Every side of every neuron has a tree of its own; the trees grow together, by a few of each one's worst nodes
at a time. The closed and the open nodes of a tree cover the region, so the smallest of their certified bounds
holds for the neuron, however early the search ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from mipverify.bounds.forms import Forms
from mipverify.bounds.state import PropagationState
from mipverify.search.branching import children
from mipverify.search.node_bounds import NodeBounds, NodeOptions
from mipverify.search.nodes import Nodes, join
from mipverify.search.targets import Targets

AT_ONCE = 512  # nodes certified in one pass


@dataclass(frozen=True)
class NeuronSearchOptions:
    """Size and effort of such a search.

    Attributes:
        rounds: times that nodes of every tree are split.
        batch: nodes split at once, over all trees.
        fewest: nodes of one tree split at once, however many trees there are.
        enough: gap between a bound and a value that the neuron takes, relative to the width of its interval,
            at which its tree stops growing.
        node: effort at a node.
        root: effort at the roots.
    """

    rounds: int = 20
    batch: int = 256
    fewest: int = 2
    enough: float = 0.02
    node: NodeOptions = field(default_factory=NodeOptions)
    root: NodeOptions = field(default_factory=lambda: NodeOptions(steps=30, rate=0.25, decay=0.95))


def raise_bounds(
    bounds: NodeBounds,
    widths: Tensor,
    *,
    options: NeuronSearchOptions,
    out_of_time: Callable[[], bool],
) -> Tensor:
    """Certified lower bounds of all targets, [targets]; above 0 a tree does not grow.

    Args:
        bounds: bounds the nodes; its targets have one row each.
        widths: of each target's interval as known, [targets].
        options: size and effort.
        out_of_time: says when to stop.
    """
    trees = _Trees(bounds, widths, options)
    for _ in range(options.rounds):
        if out_of_time() or not trees.grow():
            break
    return trees.certified()


def neuron_targets(state: PropagationState, forms: Forms) -> Targets:
    """Sides of neurons as targets of one row each.

    Raises:
        ValueError: the forms are not those of neurons.
    """
    if forms.neurons is None or forms.signs is None:
        raise ValueError("forms are not those of neurons")
    count, size = len(forms), state.network.graph.nodes[forms.start].size
    rows = forms.signs.new_zeros(count, 1, size)
    rows[torch.arange(count, device=rows.device), 0, forms.neurons] = forms.signs
    return Targets(rows, rows.new_zeros(count, 1), torch.ones_like(forms.neurons))


class _Trees:
    """One tree a target: its open nodes, the smallest bound of its closed ones, the smallest value seen."""

    def __init__(self, bounds: NodeBounds, widths: Tensor, options: NeuronSearchOptions) -> None:
        self.bounds, self.options = bounds, options
        count = len(bounds.targets)
        roots = bounds.roots(torch.arange(count, device=widths.device))
        self.open, attained = bounds.improve(roots, options.root)
        self.closed = bounds.targets.constants.new_full((count,), inf)
        self.seen = attained.values
        self.slack = (options.enough * widths).to(self.seen.dtype)

    def grow(self) -> bool:
        """Split the worst nodes of every tree that may still gain; whether there was one."""
        chosen = self._chosen()
        if not bool(chosen.any()):
            return False
        parents = self.open.take(chosen).in_range(self.seen.dtype)
        new, attained = self.bounds.improve(children(self.bounds, parents), self.options.node)
        self.seen = self.seen.scatter_reduce(0, new.target, attained.values, "amin")
        done = new.bound > 0
        if bool(done.any()):
            floors = self.bounds.floors(new.take(done))
            safe = floors > 0
            self.closed = self.closed.scatter_reduce(0, new.target[done][safe], floors[safe], "amin")
            done[done.clone()] = safe
        self.open = join([self.open.take(~chosen), new.take(~done).in_range(torch.float16)])
        return True

    def certified(self) -> Tensor:
        """The smallest certified bound of each tree, [targets]."""
        lowest = self.closed
        for part in torch.split(torch.arange(len(self.open), device=lowest.device), AT_ONCE):
            nodes = self.open.take(part)
            lowest = lowest.scatter_reduce(0, nodes.target, self.bounds.floors(nodes), "amin")
        return lowest

    def _chosen(self) -> Tensor:
        """Which nodes are split next, [open]."""
        nodes, count = self.open, len(self.seen)
        worst = torch.full_like(self.seen, inf).scatter_reduce(0, nodes.target, nodes.bound, "amin")
        active = (worst <= 0) & (self.seen - worst > self.slack)
        share = max(self.options.fewest, self.options.batch // max(1, int(active.sum())))
        return active[nodes.target] & (nodes.choices[:, 0] >= 0) & (_ranks(nodes, count) < share)


def _ranks(nodes: Nodes, count: int) -> Tensor:
    """Place of each node among those of its target, the worst bound first, [nodes]."""
    order = nodes.bound.argsort()
    order = order[nodes.target[order].argsort(stable=True)]
    sizes = torch.bincount(nodes.target, minlength=count)
    first = (sizes.cumsum(0) - sizes)[nodes.target[order]]
    places = torch.arange(len(order), device=order.device) - first
    return torch.empty_like(order).index_copy(0, order, places)
