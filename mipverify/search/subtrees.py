"""Subtrees for programs: which open nodes are worth one, and how many are tried.

A program over a node settles all of its subtree, at the price of some hundred nodes. It pays where splits
gain so little that the subtree would be large, as in deep networks: a split changes nothing about the
intervals of the neurons above it, while in a program it does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mipverify.search.nodes import Nodes

Phases = dict[int, NDArray[np.int8]]


class Settled(Enum):
    """What a program says of a node: no point of its target is in it, one was accepted, or nothing."""

    EXCLUDED = "excluded"
    REACHED = "reached"
    OPEN = "open"


Program = Callable[[int, Phases], Settled]


@dataclass(frozen=True)
class SubtreeOptions:
    """Which nodes are tried, and how often.

    Attributes:
        splits: a node is looked at when so many splits, or a multiple of them, lead to it: so none is tried
            twice, and what is left of one that was tried in vain is tried again only some splits later.
        levels: of splits left, at the mean gain of those that lead to a node, from which on it is tried.
        dear: nodes bounded for each program, while programs are in vain.
        cheap: the same where every one of them excludes its node.
    """

    splits: int = 4
    levels: float = 12.0
    dear: float = 5000.0
    cheap: float = 50.0


class Subtrees:
    """What programs are told of nodes, and what has come of it.

    Counts alone decide what is tried, no clock: the same search tries the same nodes.

    Args:
        options: which nodes are tried, and how often.
        program: told a target and the imposed phases of a node.
    """

    def __init__(self, options: SubtreeOptions, program: Program) -> None:
        self.options = options
        self.program = program
        self.tried = 0
        self.excluded = 0
        self._credit = 0.0
        self._roots: dict[int, float] = {}

    def begin(self, roots: Nodes) -> None:
        """Note the bounds that splits start from."""
        self._roots = dict(zip(roots.target.tolist(), roots.bound.tolist(), strict=True))

    def earn(self, nodes: int) -> None:
        """Note that so many nodes were bounded."""
        share = self.excluded / self.tried if self.tried else 0.0
        price = self.options.dear * (self.options.cheap / self.options.dear) ** share
        self._credit += nodes / price

    def choose(self, nodes: Nodes) -> list[int]:
        """Positions of the nodes to be tried now, the worst first."""
        count = int(min(self._credit, len(nodes)))
        if count < 1:
            return []
        depth = (nodes.phases != 0).sum(1)
        due = (
            (depth > 0)
            & (depth % self.options.splits == 0)
            & (self._left(nodes, depth) >= self.options.levels)
        )
        order = nodes.bound.argsort(stable=True)
        return [k for k in order.tolist() if bool(due[k])][:count]

    def settle(self, target: int, phases: Phases) -> Settled:
        """Ask the program about one node."""
        self._credit = max(0.0, self._credit - 1)
        self.tried += 1
        answer = self.program(target, phases)
        self.excluded += answer is Settled.EXCLUDED
        return answer

    def _left(self, nodes: Nodes, depth: Tensor) -> Tensor:
        """Levels of splits left at the mean gain so far, infinite where nothing was gained, [nodes]."""
        roots = nodes.bound.new_tensor([self._roots.get(k, -float("inf")) for k in nodes.target.tolist()])
        gain = (nodes.bound - roots).clamp(min=0) / depth
        return torch.where(gain > 0, -nodes.bound / gain, float("inf")).nan_to_num(
            nan=0.0, posinf=float("inf")
        )
