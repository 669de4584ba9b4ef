"""Trees of splits in preorder: every inner node has both of its halves, so the leaves cover the root."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mipverify.certificate.format import CertificateError
from mipverify.certificate.region import CheckedPart
from mipverify.graph.operators import Float64Array, IndexArray


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
        self._nodes: Iterator[tuple[int, int]] = zip(relu.tolist(), neuron.tolist(), strict=True)

    def next_tree(self) -> Iterator[PhaseLeaf]:
        """The leaves of the next tree, in order.

        Raises:
            CertificateError: it is cut short, or splits a neuron twice.
        """
        waiting: list[tuple[tuple[int, int, int], ...]] = [()]
        while waiting:
            imposed = waiting.pop()
            node = next(self._nodes, None)
            if node is None:
                raise CertificateError("a tree of phases lacks a leaf")
            layer, neuron = node
            if layer < 0:
                yield PhaseLeaf(imposed)
                continue
            if any((layer, neuron) == known[:2] for known in imposed):
                raise CertificateError("a tree splits a neuron twice on one path")
            waiting.append((*imposed, (layer, neuron, -1)))
            waiting.append((*imposed, (layer, neuron, 1)))

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
    nodes = zip(axis.tolist(), value.tolist(), strict=True)
    waiting = [root]
    while waiting:
        part = waiting.pop()
        node = next(nodes, None)
        if node is None:
            raise CertificateError("the tree of boxes lacks a leaf")
        if node[0] < 0:
            yield part
            continue
        lower, upper = part.halves(*node)
        waiting += [upper, lower]
    if next(nodes, None) is not None:
        raise CertificateError("the tree of boxes has leaves too many")
