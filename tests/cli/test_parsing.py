from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipverify.cli import parsing
from mipverify.errors import QueryError


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.05", 0.05), ("8/255", 8 / 255), ("1e-3", 1e-3), (" 2 / 4 ", 0.5), ("0.5/2", 0.25), ("0", 0.0)],
)
def test_radius_reads_decimals_and_fractions(text: str, value: float) -> None:
    assert parsing.radius(text, "--eps") == value


@pytest.mark.parametrize(
    "text", ["", "x", "1/0", "8/", "1/2/3", "nan", "inf", "-inf", "-0.1", "-8/255", "1e999", "1,2"]
)
def test_radius_refuses_what_is_no_finite_distance(text: str) -> None:
    with pytest.raises(QueryError, match="--eps"):
        parsing.radius(text, "--eps")


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_fraction_is_the_float_quotient(numerator: int, denominator: int) -> None:
    # Both the quotient and the fraction are rounded once, to the nearest float.
    assert parsing.number(f"{numerator}/{denominator}", "--eps") == numerator / denominator


def test_reach_may_be_infinite_but_not_negative() -> None:
    assert parsing.reach("inf", "--radius") == math.inf
    assert parsing.reach("0.5", "--radius") == 0.5
    for text in ("-1", "-inf", "nan"):
        with pytest.raises(QueryError, match="--radius"):
            parsing.reach(text, "--radius")


def test_interval_takes_infinite_sides_and_none() -> None:
    assert parsing.interval("0,1", "--domain") == (0.0, 1.0)
    assert parsing.interval("-inf,inf", "--domain") == (-math.inf, math.inf)
    assert parsing.interval("0,255/256", "--domain") == (0.0, 255 / 256)
    assert parsing.interval("none", "--domain") is None


@pytest.mark.parametrize("text", ["1,0", "0,0", "0", "0,1,2", "a,b", "nan,1", ""])
def test_interval_refuses_empty_and_malformed_ones(text: str) -> None:
    with pytest.raises(QueryError, match="--domain"):
        parsing.interval(text, "--domain")


@given(st.lists(st.integers(0, 500), min_size=1, max_size=20))
def test_indices_keep_order_and_drop_repetitions(positions: list[int]) -> None:
    text = ",".join(str(position) for position in positions)
    assert parsing.indices(text, "--index") == tuple(dict.fromkeys(positions))


@given(st.integers(0, 100), st.integers(0, 50))
def test_a_range_of_indices_is_inclusive(first: int, more: int) -> None:
    assert parsing.indices(f"{first}-{first + more}", "--index") == tuple(range(first, first + more + 1))


@pytest.mark.parametrize("text", ["", "3-1", "-1", "a", "1,,2", "1.5", "²"])
def test_indices_refuse_what_is_no_position(text: str) -> None:
    with pytest.raises(QueryError, match="--index"):
        parsing.indices(text, "--index")


def test_count_reads_all_and_refuses_none() -> None:
    assert parsing.count("25", "--num") == 25
    assert parsing.count("all", "--num") is None
    for text in ("0", "-3", "many"):
        with pytest.raises(QueryError, match="--num"):
            parsing.count(text, "--num")


def test_lists_of_numbers_classes_and_extents() -> None:
    assert parsing.numbers("0.49,0.48,1/255", "--mean") == (0.49, 0.48, 1 / 255)
    assert parsing.classes("3,5,3", "--targets") == (3, 5)
    assert (
        parsing.shape("1,28,28", "--input-shape") == parsing.shape("1x28x28", "--input-shape") == (1, 28, 28)
    )
    with pytest.raises(QueryError, match="--input-shape"):
        parsing.shape("0,28", "--input-shape")
