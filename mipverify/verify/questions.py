"""Questions: one checked query a sample, before any work is done."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from mipverify.errors import QueryError
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, check_fits, misclassification
from mipverify.problem.region import Ball, Box

Domain = tuple[float, float] | Box | None
EXACT_NORMS = (Norm.LINF, Norm.L1)


def questions(
    graph: Graph,
    xs: ArrayLike,
    labels: ArrayLike,
    *,
    radius: float,
    norm: str | Norm,
    targets: Iterable[int] | None,
    alpha: float,
    domain: Domain,
) -> list[Query]:
    """Is some a in the domain with D(x, a) <= radius in a wrong class?, for every x, in order.

    Args:
        graph: the network.
        xs: inputs in raw units, [samples, ...] with n values each.
        labels: the class to be kept, [samples].
        radius: of the closed ball; may be infinite where the domain is not.
        norm: linf or l1.
        targets: classes that count as wrong, the label never; None for all but the label.
        alpha: margin by which a target must reach the label.
        domain: the box that every point must lie in: a (lower, upper) pair for all features, or a `Box`.

    Raises:
        QueryError: a query that makes no sense.
    """
    points = np.asarray(xs, dtype=np.float64)
    points = points.reshape(len(points), -1) if len(points) else points
    classes = [int(label) for label in np.asarray(labels).reshape(-1)]
    if len(points) != len(classes):
        raise QueryError(f"{len(points)} inputs but {len(classes)} labels: give one label an input")
    measure_in = Norm.parse(norm)
    if measure_in not in EXACT_NORMS:
        known = ", ".join(EXACT_NORMS)
        raise QueryError(f"norm {measure_in} has no exact encoding yet: choose one of {known}")
    box = _domain_box(domain, graph.input_size)
    wanted = None if targets is None else tuple(targets)

    def ask(x: Float64Array, label: int) -> Query:
        others = None if wanted is None else [target for target in wanted if target != label]
        unsafe = misclassification(graph.output_size, label, targets=others, alpha=alpha)
        query = Query(Ball(x, radius, measure_in, box), unsafe, label)
        check_fits(graph, query)
        enclosing = query.region.box()
        if not (np.isfinite(enclosing.lower).all() and np.isfinite(enclosing.upper).all()):
            raise QueryError("the region is unbounded: give a finite domain or a search radius")
        return query

    return [ask(x, label) for x, label in zip(points, classes, strict=True)]


def _domain_box(domain: Domain, size: int) -> Box:
    if isinstance(domain, Box):
        return domain
    low, up = (-np.inf, np.inf) if domain is None else domain
    return Box(np.full(size, float(low)), np.full(size, float(up)))
