"""Best-first branch-and-bound over the phases of unstable ReLUs, many nodes at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from mipverify.graph.operators import Float64Array
from mipverify.search.branching import children
from mipverify.search.l2_leaves import best_multipliers
from mipverify.search.node_bounds import Attained, NodeBounds, NodeOptions
from mipverify.search.nodes import Frontier, Nodes
from mipverify.search.phase_leaves import MOST_BYTES, PhaseLeaves
from mipverify.search.subtrees import Phases, Settled, Subtrees

SHRUNK = 0.7  # share of the most nodes ever open
PROGRESS = 0.05  # of the worst bound towards 0 that ends a standstill


@dataclass(frozen=True)
class SearchOptions:
    """Size and effort of a search.

    Attributes:
        batch: nodes split at once.
        node: effort at a node.
        root: effort at the roots.
        finish: effort at nodes that are almost closed, after that of `node`.
        almost: bound from which a node is almost closed, as a share of the worst root's.
        patience: nodes without progress of the worst bound, beyond those that are open, after which the
            search pauses; None for never.
        max_bytes: memory of open nodes at which the search gives up.
        leaf_bytes: memory for closed nodes.
    """

    batch: int = 64
    node: NodeOptions = field(default_factory=NodeOptions)
    root: NodeOptions = field(default_factory=lambda: NodeOptions(steps=30, rate=0.25, decay=0.95))
    finish: NodeOptions = field(default_factory=lambda: NodeOptions(steps=20, rate=0.05, decay=0.9))
    almost: float = 0.01
    patience: int | None = None
    max_bytes: int = 2 << 30
    leaf_bytes: int = MOST_BYTES


@dataclass(frozen=True, eq=False)
class PausedPhases:
    """Where a search ran out of time, to go on from with the same bounds.

    Attributes:
        frontier: the open nodes.
        leaves: the nodes that were closed.
        scale: size of the worst root's bound.
        subtrees: what programs were told so far, if any are.
        standing: whether the worst bound stood still, and the time was not over.
        most: the largest number of nodes that were open at once.
    """

    frontier: Frontier
    leaves: PhaseLeaves
    scale: float
    subtrees: Subtrees | None = None
    standing: bool = False
    most: int = 0

    @property
    def shrinking(self) -> bool:
        """Whether far fewer nodes are open than once were: most searches like that end soon."""
        return len(self.frontier) <= SHRUNK * self.most


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search found.

    Attributes:
        complete: every target is excluded from the region: bound propagation, rounding covered.
        found: a point was accepted as a counterexample, and the search ended there.
        nodes: nodes bounded.
        open: nodes left.
        worst: smallest bound among them (0 without any), not certified.
        leaves: the nodes that were closed.
        paused: what to go on from, if there was not enough time.
    """

    complete: bool
    found: bool
    nodes: int
    open: int
    worst: float
    leaves: PhaseLeaves
    paused: PausedPhases | None


def search_phases(
    bounds: NodeBounds,
    *,
    options: SearchOptions,
    accept: Callable[[Float64Array], bool],
    leaf: Callable[[int, Phases], bool],
    out_of_time: Callable[[], bool],
    subtrees: Subtrees | None = None,
    paused: PausedPhases | None = None,
) -> SearchResult:
    """Exclude every target from the region, or find a point that reaches one.

    Args:
        bounds: bounds the nodes.
        options: size and effort.
        accept: told a few promising inputs [k, n]; says whether one of them is a counterexample.
        leaf: told a target and imposed phases of a node that has nothing left to split and is still
            open; says whether it is excluded.
        out_of_time: says when to stop.
        subtrees: hands some open nodes to programs; those that these leave open are split like any other.
        paused: an earlier search of the same bounds, which goes on and must not be used again.
    """
    step, standstill = _Step(bounds, options, accept, leaf, subtrees), _Standstill(options.patience)
    frontier, visited, most = Frontier(), 0, 0
    found = late = standing = False
    if paused is None:
        roots = bounds.roots(torch.arange(len(bounds.targets), device=bounds.targets.rows.device))
        visited += len(roots)
        found = step.settle(roots, options.root, frontier)
        step.scale = max(0.0, -frontier.worst)
        step.begin(frontier)
    else:
        frontier, step.leaves, step.scale = paused.frontier, paused.leaves, paused.scale
        most = paused.most
    while len(frontier) and not found:
        most = max(most, len(frontier))
        standing = standstill.lasts(frontier, visited)
        late = standing or out_of_time()
        if late or frontier.num_bytes > options.max_bytes or step.stuck:
            break
        parents = frontier.pop_worst(options.batch)
        parents, found = step.hand_over(parents)
        if found or not len(parents):
            continue
        new = children(bounds, parents.in_range(bounds.fast_targets.rows.dtype))
        visited += len(new)
        found = step.settle(new, options.node, frontier)
    complete = not found and not len(frontier) and not step.stuck
    rest = None
    if late and not step.stuck:
        rest = PausedPhases(frontier, step.leaves, step.scale, subtrees, standing, most)
    return SearchResult(complete, found, visited, len(frontier), frontier.worst, step.leaves, rest)


class _Standstill:
    """Whether the worst bound has not come nearer to 0 for a while.

    Args:
        patience: nodes, beyond twice those open at the last progress: to split each of these once.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.worst = -float("inf")
        self.until = 0

    def lasts(self, frontier: Frontier, visited: int) -> bool:
        """Asked between batches."""
        if self.patience is None:
            return False
        worst = frontier.worst
        if worst > self.worst * (1 - PROGRESS):
            self.worst, self.until = worst, visited + self.patience + 2 * len(frontier)
        return visited > self.until


class _Step:
    """Bounding of new nodes: closed ones are dropped, the others go to the frontier."""

    def __init__(
        self,
        bounds: NodeBounds,
        options: SearchOptions,
        accept: Callable[[Float64Array], bool],
        leaf: Callable[[int, Phases], bool],
        subtrees: Subtrees | None,
    ) -> None:
        self.bounds = bounds
        self.options = options
        self.scale = 0.0
        self.accept = accept
        self.leaf = leaf
        self.subtrees = subtrees
        self.sizes = {k: node.size for k, node in bounds.exact.network.graph}
        self.stuck = False
        self.leaves = PhaseLeaves(options.leaf_bytes)

    def begin(self, frontier: Frontier) -> None:
        """Tell the subtrees of the roots that are open."""
        if self.subtrees is not None:
            for block in frontier.blocks:
                self.subtrees.begin(block)

    def hand_over(self, nodes: Nodes) -> tuple[Nodes, bool]:
        """The nodes that programs do not exclude, and whether one found a counterexample."""
        if self.subtrees is None:
            return nodes, False
        self.subtrees.earn(2 * len(nodes))
        kept = torch.ones_like(nodes.bound, dtype=torch.bool)
        for k in self.subtrees.choose(nodes):
            phases = self.bounds.open_exact.as_phases(nodes.phases[k], self.sizes)
            answer = self.subtrees.settle(int(nodes.target[k]), phases)
            if answer is Settled.REACHED:
                return nodes, True
            kept[k] = answer is Settled.OPEN
            self.leaves.by_program += answer is Settled.EXCLUDED
        return nodes.take(kept), False

    def settle(self, nodes: Nodes, options: NodeOptions, frontier: Frontier) -> bool:
        """Whether a counterexample turned up while the nodes were bounded."""
        improved, attained = self._improve(nodes, options)
        hopeful = improved.bound > 0
        closed = torch.zeros_like(hopeful)
        if bool(hopeful.any()):
            closed[hopeful] = self.bounds.certify(improved.take(hopeful))
            self.leaves.add(improved.take(closed))
        still = improved.take(~closed)
        if not len(still):
            return False
        # What single precision closed and double precision did not is split further like any other.
        still = replace(still, bound=still.bound.clamp(max=0.0))
        if self.accept(_promising(attained, ~closed)):
            return True
        splittable = still.choices[:, 0] >= 0
        for place in (~splittable).nonzero().squeeze(1):
            if self._end(still.take(place[None])):
                return True
        frontier.add(still.take(splittable).in_range(torch.float16))
        return False

    def _end(self, leaf: Nodes) -> bool:
        """Close a node that has nothing left to split; whether a counterexample turned up on the way."""
        best = best_multipliers(self.bounds, leaf)
        if best is not None:
            node, point = best
            if bool(self.bounds.certify(node)):
                self.leaves.add(node)
                return False
            if self.accept(point[None]):
                return True
        imposed = self.bounds.open_exact.as_phases(leaf.phases[0], self.sizes)
        self.stuck = self.stuck or not self.leaf(int(leaf.target), imposed)
        self.leaves.by_program += not self.stuck
        return False

    def _improve(self, nodes: Nodes, options: NodeOptions) -> tuple[Nodes, Attained]:
        """More effort for nodes that are almost closed, which splitting would close late, in many parts."""
        improved, attained = self.bounds.improve(nodes, options)
        almost = (improved.bound <= 0) & (improved.bound > -self.options.almost * self.scale)
        if not bool(almost.any()):
            return improved, attained
        some = almost.nonzero().squeeze(1)
        better, there = self.bounds.improve(improved.take(some), self.options.finish)
        return improved.put(some, better), attained.put(some, there)


def _promising(attained: Attained, open_: Tensor, count: int = 2) -> Float64Array:
    """The points of open nodes at which the margin of the node's own target is largest, [count, n]."""
    values = attained.values[open_]
    best = values.topk(min(count, len(values)), largest=False).indices
    return attained.points[open_][best].double().cpu().numpy()
