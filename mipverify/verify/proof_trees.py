"""From a set of leaves back to the tree that they are the leaves of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import SoundnessError


@dataclass(frozen=True)
class Branch:
    """A node in preorder, active half first: the column that it splits, or -1 and the leaf that it is."""

    column: int
    leaf: int = -1


def preorder(phases: NDArray[np.int8]) -> tuple[list[Branch], list[int]]:
    """The tree whose leaves impose `phases` [leaves, columns], and the order of its leaves.

    The column that all leaves below a node impose, with both signs, is the one that it was split at.

    Raises:
        SoundnessError: the leaves are not those of a tree.
    """
    branches: list[Branch] = []
    order: list[int] = []
    waiting = [np.arange(len(phases))]
    used: list[frozenset[int]] = [frozenset()]
    while waiting:
        leaves, path = waiting.pop(), used.pop()
        if len(leaves) == 1 and np.count_nonzero(phases[leaves[0]]) == len(path):
            branches.append(Branch(-1, int(leaves[0])))
            order.append(int(leaves[0]))
            continue
        part = phases[leaves]
        split = (part != 0).all(axis=0) & (part > 0).any(axis=0) & (part < 0).any(axis=0)
        columns = np.flatnonzero(split)
        if not columns.size:
            raise SoundnessError("the leaves of a search are not those of a tree: please report this query")
        column = int(columns[0])
        branches.append(Branch(column))
        active = part[:, column] > 0
        waiting += [leaves[~active], leaves[active]]
        used += [path | {column}] * 2
    return branches, order
