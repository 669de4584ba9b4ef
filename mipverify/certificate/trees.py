"""Trees of splits in preorder: every inner node has both of its halves, so the leaves cover the root."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.certificate.format import CertificateError
from mipverify.certificate.region import CheckedPart
from mipverify.graph.operators import Float64Array, IndexArray

DEEPEST = 1 << 16  # splits on one path
CHUNK = 1 << 16


@dataclass(frozen=True)
class PhaseLeaf:
    """A leaf of a tree over phases: the imposed ones as (ReLU layer, neuron, phase)."""

    imposed: tuple[tuple[int, int, int], ...]


class PhaseTrees:
    """Trees one after the other: inner nodes split a neuron, active half first; -1 is a leaf.

    Args:
        relu: position of the ReLU layer, or -1, [nodes].
        neuron: [nodes].
    """

    def __init__(self, relu: IndexArray, neuron: IndexArray) -> None:
        self._nodes = _nodes(relu, neuron)

    def next_tree(self) -> Iterator[PhaseLeaf]:
        """The leaves of the next tree, in order.

        Raises:
            CertificateError: it is cut short or too deep, or splits a neuron twice.
        """
        path: list[tuple[int, int, int]] = []
        taken: set[tuple[int, int]] = set()
        waiting: list[tuple[int, tuple[int, int, int] | None]] = [(0, None)]  # depth and last step
        while waiting:
            depth, step = waiting.pop()
            while len(path) >= max(depth, 1):
                taken.discard(path.pop()[:2])
            if step is not None:
                path.append(step)
                taken.add(step[:2])
            node = next(self._nodes, None)
            if node is None:
                raise CertificateError("a tree of phases lacks a leaf")
            if node[0] < 0:
                yield PhaseLeaf(tuple(path))
                continue
            if node in taken or depth >= DEEPEST:
                raise CertificateError("a tree splits a neuron twice on one path, or is too deep")
            waiting += [(depth + 1, (*node, -1)), (depth + 1, (*node, 1))]

    def finish(self) -> None:
        """Raise CertificateError if nodes are left over."""
        if next(self._nodes, None) is not None:
            raise CertificateError("there are more trees or leaves than the certificate needs")


def box_leaves(root: CheckedPart, axis: IndexArray, value: Float64Array) -> Iterator[CheckedPart]:
    """The leaves of a tree over boxes: inner nodes halve an axis at a value, lower half first; -1 is a leaf.

    Raises:
        CertificateError: the tree is cut short or too long, or names an axis that is not there.
    """
    if axis.shape != value.shape or axis.min(initial=-1) < -1 or axis.max(initial=-1) >= root.lower.size:
        raise CertificateError("the tree of boxes is malformed")
    if not np.isfinite(value[axis >= 0]).all():
        raise CertificateError("a box is halved at a number that is not finite")
    open_ = 1 + np.cumsum(np.where(axis < 0, -1, 1))  # subtrees that still have to come, after each node
    if not axis.size or (open_[:-1] < 1).any() or open_[-1] != 0 or open_.max() > DEEPEST:
        raise CertificateError("the tree of boxes lacks a leaf, has leaves too many, or is too deep")
    sides = root.lower.copy(), root.upper.copy()
    nodes = _nodes(axis, value)
    # What to write into a side, and whether a subtree comes then or the side is only restored.
    waiting: list[tuple[int, int, float, bool]] = [(0, 0, float(root.lower[0]), True)]
    while waiting:
        side, place, number, visit = waiting.pop()
        sides[side][place] = number
        if not visit:
            continue
        at, cut = next(nodes)
        if at < 0:
            yield replace(root, lower=sides[0].copy(), upper=sides[1].copy())
            continue
        low, up = float(sides[0][at]), float(sides[1][at])
        waiting += [(0, at, low, False), (0, at, max(low, cut), True)]
        waiting += [(1, at, up, False), (1, at, min(up, cut), True)]


def _nodes(first: NDArray[Any], second: NDArray[Any]) -> Iterator[tuple[Any, Any]]:
    """Pairs of Python numbers, without lists of all of them."""
    for start in range(0, len(first), CHUNK):
        part = slice(start, start + CHUNK)
        yield from zip(first[part].tolist(), second[part].tolist(), strict=True)
