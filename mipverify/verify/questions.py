"""Questions: one checked query a sample, before any work is done."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from mipverify.attack.rounding import ceil32, floor32, nearest32
from mipverify.errors import QueryError
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.problem.criterion import Criterion
from mipverify.problem.grid import Grid
from mipverify.problem.norm import Norm
from mipverify.problem.pixels import pixels_of
from mipverify.problem.query import Query, check_fits
from mipverify.problem.region import Box
from mipverify.verify.regions import Regions, whole_region

Domain = tuple[float, float] | Box | None
ANY_OTHER_CLASS = Criterion()


def questions(
    graph: Graph,
    xs: ArrayLike,
    labels: ArrayLike | None,
    *,
    radius: float,
    norm: str | Norm,
    domain: Domain,
    criterion: Criterion = ANY_OTHER_CLASS,
    regions: Regions | None = None,
    whole: bool = False,
    grid: Grid | None = None,
) -> list[Query]:
    """Has some a in the domain with D(x, a) <= radius unsafe outputs?, for every x, in order.

    Args:
        graph: the network.
        xs: inputs in raw units, [samples, ...] with n values each.
        labels: the class to be kept, [samples]; None where a condition on outputs needs none.
        radius: of the closed ball; may be infinite where the domain is not.
        norm: linf, l2, l1 or l0. For l0 distances are numbers of changed pixels (all channels of a pixel are
            one), and x is what the file reads: its float32 numbers.
        domain: the box that every point must lie in: a (lower, upper) pair for all features, or a `Box`.
        criterion: when outputs count as unsafe; by default where another class is reached.
        regions: what narrows the ball of each sample, or gives it parameters; None for nothing.
        grid: the values that features take; None where all are continuous.
        whole: whether the radius is whatever reaches all of a sample's region.

    Raises:
        QueryError: a query that makes no sense.
    """
    radius, points, shape = float(radius), flat_points(xs), np.shape(xs)[1:]
    classes: list[int | None] = [None] * len(points)
    if labels is not None and criterion.needs_label:
        classes = list(_classes(labels))
    if len(points) != len(classes):
        raise QueryError(f"{len(points)} inputs but {len(classes)} labels: give one label an input")
    measure_in = Norm.parse(norm)
    if measure_in.counts and np.isfinite(radius) and radius != np.floor(radius):
        raise QueryError(
            f"a radius in {measure_in} is a number of changed pixels, got {radius:g}: give a whole number"
        )
    box = _domain_box(domain, graph.input_size)
    groups = pixels_of(graph.input_shape)
    if measure_in.counts:
        points = _as_read(points, box)
    if grid is not None and points.shape[1:] == grid.levels.shape:
        points = grid.read(points)

    around = Regions() if regions is None else regions

    def ask(sample: int, x: Float64Array, label: int | None) -> Query:
        unsafe = criterion.unsafe(graph.output_size, label)
        ball, parametrised = around.region(sample, x, radius, measure_in, box)
        if parametrised is None:
            ball = replace(ball, groups=groups, grid=grid)
        elif grid is not None:
            raise QueryError(
                "features on a grid have no parameters: leave out the levels or the perturbation"
            )
        query = Query(whole_region(ball) if whole else ball, unsafe, label, criterion, parametrised, shape)
        check_fits(graph, query)
        enclosing = query.region.box()
        if not (np.isfinite(enclosing.lower).all() and np.isfinite(enclosing.upper).all()):
            raise QueryError("the region is unbounded: give a finite domain or a search radius")
        return query

    pairs = zip(points, classes, strict=True)
    return [ask(sample, x, label) for sample, (x, label) in enumerate(pairs)]


def flat_points(xs: ArrayLike) -> Float64Array:
    """Inputs [samples, ...] as [samples, n], in float64."""
    points = np.asarray(xs, dtype=np.float64)
    return points.reshape(len(points), -1) if len(points) else points


def _classes(labels: ArrayLike) -> list[int]:
    """Labels as whole numbers."""
    given = np.asarray(labels).reshape(-1)
    if given.dtype.kind == "f" and not (np.isfinite(given) & (given == np.floor(given))).all():
        wrong = given[~(np.isfinite(given) & (given == np.floor(given)))][0]
        raise QueryError(f"a label is the number of a class, 0 the first one, got {wrong:g}")
    return [int(label) for label in given]


def _as_read(points: Float64Array, domain: Box) -> Float64Array:
    """The nearest float32 numbers inside the domain, which an unchanged feature of a counterexample has."""
    if points.ndim != 2 or points.shape[1] != domain.size:
        return points  # refused when the query is made
    lower, upper = ceil32(domain.lower), floor32(domain.upper)
    inside = (points >= domain.lower) & (points <= domain.upper) & (lower <= upper)
    return np.where(inside, np.clip(nearest32(points), lower, np.maximum(lower, upper)), points)


def _domain_box(domain: Domain, size: int) -> Box:
    if isinstance(domain, Box):
        return domain
    low, up = (-np.inf, np.inf) if domain is None else domain
    return Box(np.full(size, float(low)), np.full(size, float(up)))
