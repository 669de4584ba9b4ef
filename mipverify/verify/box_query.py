"""Boxes as queries, and points found in them as points of the property."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from mipverify.attack.rounding import ceil32, floor32, nearest32
from mipverify.frontend.vnnlib.normal_form import PropertyRegion
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.problem.region import Ball, Box
from mipverify.problem.witness import Witness

INSIDE = 1e-6  # of the size of the outputs


def box_query(region: PropertyRegion) -> Query:
    """Is there an a in the box with f(a) in one of the polytopes? The ball reaches beyond the box.

    Sides are rounded outward to float64. A side so short that no float32 number lies on it is stretched to
    the nearest one: onnxruntime cannot be given anything else, and a proof for the longer side holds for the
    shorter one.
    """
    box = _with_float32(region.box())
    center = np.clip(nearest32(_middle(box)), ceil32(box.lower), floor32(box.upper))
    reach = float(np.maximum(box.upper - center, center - box.lower).max(initial=0.0))
    return Query(Ball(center, 2 * reach + 1, Norm.LINF, box), region.unsafe)


def pulled_in(query: Query, near: Witness | None) -> Query:
    """The query with every side that has room ended one float32 number further inside, and raised offsets.

    Args:
        query: of a box.
        near: a point with margin >= 0, whose outputs tell how far offsets are raised.
    """
    box = query.region.domain
    low = np.nextafter(ceil32(box.lower).astype(np.float32), np.float32(np.inf)).astype(np.float64)
    up = np.nextafter(floor32(box.upper).astype(np.float32), np.float32(-np.inf)).astype(np.float64)
    room = low < up
    inner = Box(np.where(room, low, box.lower), np.where(room, up, box.upper))
    center = np.clip(query.region.center, inner.lower, inner.upper)
    size = 1.0 if near is None else float(np.abs(near.outputs).max())
    raised = tuple(
        replace(part, offset=part.offset + INSIDE * size * np.abs(part.matrix).sum(axis=1))
        for part in query.unsafe
    )
    return replace(query, region=replace(query.region, center=center, domain=inner), unsafe=raised)


def exact_point(region: PropertyRegion, point: Float64Array) -> tuple[Fraction, ...] | None:
    """The point of the box, without any tolerance, that onnxruntime sees as the float32 numbers `point`, [n].

    Where the float32 number lies outside of its side, the end of the side is taken, if float32 rounds it
    back; else the point stands for nothing in the box and None is returned.
    """
    inputs = tuple(
        min(max(Fraction(value), low), high)
        for value, low, high in zip(point.tolist(), region.lower, region.upper, strict=True)
    )
    return inputs if np.array_equal(nearest32(as_float64(inputs)), point) else None


def as_float64(numbers: Sequence[Fraction]) -> Float64Array:
    """The nearest float64 numbers, [n]."""
    return np.array([float(number) for number in numbers], dtype=np.float64)


def _middle(box: Box) -> Float64Array:
    return box.lower + (box.upper - box.lower) / 2


def _with_float32(box: Box) -> Box:
    near = nearest32(box.lower)
    missing = ceil32(box.lower) > floor32(box.upper)
    return Box(
        np.where(missing, np.minimum(box.lower, near), box.lower),
        np.where(missing, np.maximum(box.upper, near), box.upper),
    )
