"""Query: one question about one network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from mipverify.errors import QueryError
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.problem.perturbation import Parametrisation
from mipverify.problem.region import Ball, Polytope

if TYPE_CHECKING:
    from mipverify.problem.criterion import Criterion


@dataclass(frozen=True, eq=False)
class Query:
    """Is there an a in `region` with f(a) in the union of the `unsafe` polytopes?

    Attributes:
        region: ball and domain of the input.
        unsafe: a union of closed output polytopes, one per target class for a classifier.
        label: the class c that must be kept, where the query is about a classifier.
        criterion: what `unsafe` was made of, for records; None where nobody said.
        parametrised: where a is not the network's input but its parameters: how the input depends on them.
        shape: of the input as it was given; empty where nobody said.
    """

    region: Ball
    unsafe: tuple[Polytope, ...]
    label: int | None = None
    criterion: Criterion | None = None
    parametrised: Parametrisation | None = None
    shape: tuple[int, ...] = ()

    @property
    def keeps_class(self) -> bool:
        """Whether the class of the input is to be kept, so that another prediction there answers nothing."""
        return self.label is not None and (self.criterion is None or self.criterion.output is None)

    def margin(self, outputs: Float64Array) -> Float64Array:
        """Max over polytopes of their margins, for outputs [..., m]; unsafe where >= 0."""
        return np.asarray(np.max([polytope.margin(outputs) for polytope in self.unsafe], axis=0))


class Reading(StrEnum):
    """When a target counts as reached."""

    LABEL = "label"  # it beats the label: y_t >= y_label + alpha
    ARGMAX = "argmax"  # it beats every other class: y_t >= y_k + alpha for all k != t

    @classmethod
    def parse(cls, text: str | Reading) -> Reading:
        """Read `label` or `argmax`; QueryError for anything else."""
        try:
            return cls(str(text).strip().lower())
        except ValueError:
            known = ", ".join(cls)
            raise QueryError(f"unknown reading {str(text)!r} of a target: choose one of {known}") from None


def misclassification(
    num_classes: int,
    label: int,
    *,
    targets: Iterable[int] | None = None,
    alpha: float = 0.0,
    reading: Reading = Reading.LABEL,
) -> tuple[Polytope, ...]:
    """The unsafe set, one polytope a target t; see docs/mathematics.md, Readings of a target.

    It is {y : y_t >= y_label + alpha for some t}, or, read as the arg max,
    {y : y_t >= y_k + alpha for some t and all k != t}.

    Args:
        num_classes: m, the number of outputs.
        label: the class c to be kept.
        targets: classes that count as wrong; None for all but the label.
        alpha: margin by which a target must reach the others, >= 0.
        reading: who these others are.

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
    for target in wanted:
        if not 0 <= target < num_classes or target == label:
            raise QueryError(
                f"target {target} is not possible: choose classes 0 to {num_classes - 1} "
                f"other than the label {label}"
            )
    # Without a margin the best class other than the label beats the label if and only if it is an arg max.
    same = targets is None and alpha == 0
    if reading is Reading.LABEL or same:
        return tuple(_beats(num_classes, target, [label], alpha) for target in wanted)
    everyone = range(num_classes)
    return tuple(_beats(num_classes, t, [k for k in everyone if k != t], alpha) for t in wanted)


def _beats(num_classes: int, target: int, others: list[int], alpha: float) -> Polytope:
    """{y : y_target >= y_k + alpha for every k of `others`}."""
    rows = np.zeros((len(others), num_classes))
    rows[:, target] = 1.0
    rows[np.arange(len(others)), others] = -1.0
    return Polytope(rows, np.full(len(others), float(alpha)), target)


def check_fits(graph: Graph, query: Query) -> None:
    """Raise QueryError unless region and unsafe set have the network's input and output size."""
    x = query.region.center if query.parametrised is None else query.parametrised.x
    if x.size != graph.input_size:
        raise QueryError(f"the input has {x.size} features, the network takes {graph.input_size}")
    for polytope in query.unsafe:
        if polytope.matrix.shape[1] != graph.output_size:
            raise QueryError(
                f"the output constraint has {polytope.matrix.shape[1]} columns, "
                f"the network {graph.output_size} outputs"
            )
