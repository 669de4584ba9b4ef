"""Random properties: what is read means what was written, for the union and for the evaluator."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mipverify.frontend.vnnlib.property import Property, read_property
from tests.oracles.vnnlib_trees import NUM_INPUTS, Point, Tree, points, property_text, trees


def in_union(wanted: Property, point: Point) -> bool:
    """Whether the point lies in a region, in exact arithmetic on the numbers that the stages are given."""
    inputs, outputs = point
    columns = outputs + inputs if wanted.relates_inputs else outputs
    for region in wanted.regions:
        box = region.box()
        if not all(
            Fraction(float(low)) <= x <= Fraction(float(up))
            for x, low, up in zip(inputs, box.lower, box.upper, strict=True)
        ):
            continue
        for polytope in region.unsafe:
            rows = zip(polytope.matrix, polytope.offset, strict=True)
            if all(
                sum(Fraction(float(c)) * y for c, y in zip(row, columns, strict=True))
                >= Fraction(float(bound))
                for row, bound in rows
            ):
                return True
    return False


@settings(max_examples=300, deadline=None)
@given(
    st.lists(trees, min_size=1, max_size=3), st.sampled_from([1, 2]), st.lists(points, min_size=8, max_size=8)
)
def test_union_and_evaluator_agree_with_the_tree(
    assertions: list[Tree], version: int, tried: list[Point]
) -> None:
    wanted = read_property(property_text(assertions, version))
    assert wanted.declarations.version == version
    closed = all(tree.closed for tree in assertions)
    for point in tried:
        expected = all(tree.holds(point) for tree in assertions)
        assert wanted.holds(*point) is expected
        if expected or closed:
            assert in_union(wanted, point) is expected


@settings(max_examples=100, deadline=None)
@given(
    st.decimals(min_value=-3, max_value=3, allow_nan=False, places=20),
    st.decimals(min_value=-3, max_value=3, allow_nan=False, places=20),
)
def test_boxes_enclose_decimals_tightly(first: object, second: object) -> None:
    low, up = sorted([Fraction(str(first)), Fraction(str(second))])
    low_text, up_text = (first, second) if low == Fraction(str(first)) else (second, first)
    text = property_text([], 1).replace("-2.0", f"{low_text:f}").replace("2.0", f"{up_text:f}")
    (region,) = read_property(text).regions
    assert region.lower == (low,) * NUM_INPUTS
    assert region.upper == (up,) * NUM_INPUTS
    box = region.box()
    assert Fraction(float(box.lower[0])) <= low <= Fraction(float(np.nextafter(box.lower[0], np.inf)))
    assert Fraction(float(np.nextafter(box.upper[0], -np.inf))) <= up <= Fraction(float(box.upper[0]))
