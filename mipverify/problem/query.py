"""Query: one question about one network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mipverify.errors import QueryError
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.problem.region import Ball, Polytope


@dataclass(frozen=True, eq=False)
class Query:
    """Is there an a in `region` with f(a) in the union of the `unsafe` polytopes?

    Attributes:
        region: ball and domain of the input.
        unsafe: a union of closed output polytopes, one per target class for a classifier.
        label: the class c that must be kept, where the query is about a classifier.
    """

    region: Ball
    unsafe: tuple[Polytope, ...]
    label: int | None = None

    def margin(self, outputs: Float64Array) -> Float64Array:
        """Max over polytopes of their margins, for outputs [..., m]; unsafe where >= 0."""
        return np.asarray(np.max([polytope.margin(outputs) for polytope in self.unsafe], axis=0))


def misclassification(
    num_classes: int, label: int, *, targets: Iterable[int] | None = None, alpha: float = 0.0
) -> tuple[Polytope, ...]:
    """The unsafe set {y : y_t >= y_label + alpha for some target t}, one polytope a target.

    Args:
        num_classes: m, the number of outputs.
        label: the class c to be kept.
        targets: classes that count as wrong; None for all but the label.
        alpha: margin by which a target must reach the label, >= 0.

    Raises:
        QueryError: a label or target out of range, a target equal to the label, a negative margin.
    """
    if num_classes < 2:
        raise QueryError(f"the network has {num_classes} output: a classifier has at least two")
    if not 0 <= label < num_classes:
        raise QueryError(f"label {label} is out of range: the network has classes 0 to {num_classes - 1}")
    if not (np.isfinite(alpha) and alpha >= 0):
        raise QueryError(f"alpha must be a finite number >= 0, got {alpha}")
    wanted = (
        [k for k in range(num_classes) if k != label] if targets is None else list(dict.fromkeys(targets))
    )
    if not wanted:
        raise QueryError("no target class is left: name at least one besides the label")
    return tuple(_beats_label(num_classes, label, target, alpha) for target in wanted)


def _beats_label(num_classes: int, label: int, target: int, alpha: float) -> Polytope:
    if not 0 <= target < num_classes or target == label:
        raise QueryError(
            f"target {target} is not possible: choose classes 0 to {num_classes - 1} "
            f"other than the label {label}"
        )
    row = np.zeros((1, num_classes))
    row[0, target], row[0, label] = 1.0, -1.0
    return Polytope(row, np.array([alpha], dtype=np.float64), target)


def check_fits(graph: Graph, query: Query) -> None:
    """Raise QueryError unless region and unsafe set have the network's input and output size."""
    if query.region.center.size != graph.input_size:
        raise QueryError(
            f"the input has {query.region.center.size} features, the network takes {graph.input_size}"
        )
    for polytope in query.unsafe:
        if polytope.matrix.shape[1] != graph.output_size:
            raise QueryError(
                f"the output constraint has {polytope.matrix.shape[1]} columns, "
                f"the network {graph.output_size} outputs"
            )
