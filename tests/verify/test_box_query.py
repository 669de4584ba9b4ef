"""Boxes as queries: nothing of a box is lost, and points come back inside it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from mipverify.attack.rounding import nearest32
from mipverify.frontend.vnnlib.normal_form import PropertyRegion
from mipverify.problem.region import Polytope
from mipverify.verify.box_query import box_query, exact_point, pulled_in

decimals = st.decimals(-1000, 1000, allow_nan=False, places=12).map(Fraction)
widths = st.sampled_from([Fraction(0), Fraction(1, 10**12), Fraction(1, 10**6), Fraction(1, 3), Fraction(5)])
sides = st.lists(st.tuples(decimals, widths), min_size=1, max_size=4)


def region_of(drawn: list[tuple[Fraction, Fraction]]) -> PropertyRegion:
    lower = tuple(low for low, _ in drawn)
    upper = tuple(low + width for low, width in drawn)
    return PropertyRegion(lower, upper, (Polytope(np.ones((1, 1)), np.zeros(1)),))


@given(sides)
def test_the_query_covers_the_box(drawn: list[tuple[Fraction, Fraction]]) -> None:
    region = region_of(drawn)
    ball = box_query(region).region
    box = ball.box()
    np.testing.assert_array_equal(box.lower, ball.domain.lower)
    np.testing.assert_array_equal(box.upper, ball.domain.upper)
    np.testing.assert_array_equal(ball.center, nearest32(ball.center))
    for low, up, below, above in zip(region.lower, region.upper, box.lower, box.upper, strict=True):
        assert Fraction(float(below)) <= low
        assert up <= Fraction(float(above))
        step = float(np.spacing(np.float32(max(abs(below), abs(above)))))
        assert low - Fraction(float(below)) <= step, "stretched by a float32 number at most"
        assert Fraction(float(above)) - up <= step


@given(sides, st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_points_come_back_inside(drawn: list[tuple[Fraction, Fraction]], shares: list[float]) -> None:
    region = region_of(drawn)
    box = box_query(region).region.domain
    spread = np.array(shares[: box.size])
    point = nearest32(box.lower + spread * (box.upper - box.lower))
    assume(box.contains(point))
    inputs = exact_point(region, point)
    if inputs is None:
        return
    for x, seen, low, up in zip(inputs, point, region.lower, region.upper, strict=True):
        assert low <= x <= up
        assert np.float32(float(x)) == seen
        if low <= Fraction(float(seen)) <= up:
            assert x == Fraction(float(seen))


@given(sides)
def test_the_centre_stands_for_a_point_of_the_box(drawn: list[tuple[Fraction, Fraction]]) -> None:
    region = region_of(drawn)
    inputs = exact_point(region, box_query(region).region.center)
    assert inputs is not None
    assert all(low <= x <= up for x, low, up in zip(inputs, region.lower, region.upper, strict=True))


@given(sides)
def test_what_is_pulled_in_lies_strictly_inside(drawn: list[tuple[Fraction, Fraction]]) -> None:
    query = box_query(region_of(drawn))
    inner, outer = pulled_in(query, None), query.region.domain
    moved = inner.region.domain.lower > outer.lower
    assert (inner.region.domain.upper[moved] < outer.upper[moved]).all()
    assert inner.region.domain.contains(inner.region.center)
    assert (inner.unsafe[0].offset > query.unsafe[0].offset).all()
