"""What each construct of VNN-LIB becomes."""

from __future__ import annotations

import gzip
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mipverify.frontend.vnnlib.normal_form import PropertyRegion
from mipverify.frontend.vnnlib.property import load_property, read_property
from tests.frontend.vnnlib_texts import BOX, HEAD, HEAD_2, asserting


def only_region(text: str) -> PropertyRegion:
    (region,) = read_property(text).regions
    return region


def rows(region: PropertyRegion) -> list[list[tuple[list[float], float]]]:
    return [
        [(row.tolist(), float(bound)) for row, bound in zip(part.matrix, part.offset, strict=True)]
        for part in region.unsafe
    ]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("(<= Y_0 Y_1)", ([-1.0, 1.0], 0.0)),
        ("(>= Y_0 Y_1)", ([1.0, -1.0], 0.0)),
        ("(< Y_0 Y_1)", ([-1.0, 1.0], 0.0)),
        ("(<= Y_0 1.5)", ([-1.0, 0.0], -1.5)),
        ("(>= 1.5 Y_0)", ([-1.0, 0.0], -1.5)),
        ("(<= 2 Y_1)", ([0.0, 1.0], 2.0)),
        ("(>= Y_0 -1.5e-1)", ([1.0, 0.0], np.nextafter(-0.15, -1) if Fraction("-0.15") < -0.15 else -0.15)),
        ("(>= (+ Y_0 Y_1) 1)", ([1.0, 1.0], 1.0)),
        ("(>= (- Y_0 Y_1 1) 1)", ([1.0, -1.0], 2.0)),
        ("(>= (- Y_0) (* 2 3.0))", ([-1.0, 0.0], 6.0)),
        ("(>= (* 0.1 Y_0) (* 0.3 Y_1))", ([0.5, -1.5], 0.0)),
        ("(>= (* 4 Y_0) 1)", ([1.0, 0.0], 0.25)),
        ("(>= (/ Y_0 4) 1)", ([1.0, 0.0], 4.0)),
        ("(not (< Y_0 Y_1))", ([1.0, -1.0], 0.0)),
    ],
)
def test_one_row(formula: str, expected: tuple[list[float], float]) -> None:
    assert rows(only_region(asserting(formula))) == [[expected]]


def test_offsets_are_rounded_so_that_nothing_is_lost() -> None:
    for text in ("0.1", "-0.1", "3.991125645861615", "1e-30", "0.30000000000000004"):
        ((((row, bound),),),) = (rows(only_region(asserting(f"(>= Y_0 {text})"))),)
        assert row == [1.0, 0.0]
        assert Fraction(bound) <= Fraction(text) < Fraction(float(np.nextafter(bound, np.inf)))


def test_conjunctions_become_rows_and_disjunctions_polytopes() -> None:
    region = only_region(asserting("(or (and (<= Y_0 Y_1) (>= Y_0 0)) (and (>= Y_1 3)))", "(<= Y_0 9)"))
    assert rows(region) == [
        [([-1.0, 0.0], -9.0), ([-1.0, 1.0], 0.0), ([1.0, 0.0], 0.0)],
        [([-1.0, 0.0], -9.0), ([0.0, 1.0], 3.0)],
    ]


def test_nested_connectives() -> None:
    region = only_region(asserting("(or (or (and (and (<= Y_0 1)))) (and (or (<= Y_1 1) (>= Y_1 2))))"))
    assert rows(region) == [[([-1.0, 0.0], -1.0)], [([0.0, -1.0], -1.0)], [([0.0, 1.0], 2.0)]]


def test_equality_is_two_rows_and_inequality_two_polytopes() -> None:
    assert rows(only_region(asserting("(= Y_0 1)"))) == [[([1.0, 0.0], 1.0), ([-1.0, 0.0], -1.0)]]
    assert rows(only_region(asserting("(distinct Y_0 1)"))) == [[([1.0, 0.0], 1.0)], [([-1.0, 0.0], -1.0)]]


def test_chains() -> None:
    assert rows(only_region(asserting("(<= 0 Y_0 1)"))) == [[([1.0, 0.0], 0.0), ([-1.0, 0.0], -1.0)]]


def test_constants_are_decided_at_once() -> None:
    assert read_property(asserting("(<= 2 1)")).regions == ()
    assert read_property(asserting("false")).regions == ()
    assert rows(only_region(asserting("true", "(or (<= 1 1) (<= Y_0 3))")))[0] == [([0.0, 0.0], 0.0)]


def test_without_output_constraints_every_output_counts() -> None:
    (polytope,) = only_region(asserting()).unsafe
    assert polytope.margin(np.array([-5.0, 7.0])) >= 0


def test_input_boxes_inside_disjunctions() -> None:
    text = HEAD + (
        "(assert (or\n"
        " (and (>= X_0 0) (<= X_0 1) (>= X_1 0) (<= X_1 1) (>= Y_0 1))\n"
        " (and (<= 2 X_0) (>= 3 X_0) (>= X_1 0) (<= X_1 1) (>= Y_1 1))\n"
        " (and (>= X_0 0) (<= X_0 1) (>= X_1 0) (<= X_1 1) (>= Y_1 2))))"
    )
    first, second = read_property(text).regions
    assert (first.lower, first.upper) == ((0, 0), (1, 1))
    assert (second.lower, second.upper) == ((2, 0), (3, 1))
    assert rows(first) == [[([1.0, 0.0], 1.0)], [([0.0, 1.0], 2.0)]]
    assert rows(second) == [[([0.0, 1.0], 1.0)]]


def test_boxes_meet_and_empty_ones_go() -> None:
    text = asserting("(or (<= X_0 0.5) (>= X_0 2))", "(or (>= X_1 0.25) (<= X_1 -1))", "(>= Y_0 0)")
    region = only_region(text)
    assert region.lower == (0, Fraction(1, 4))
    assert region.upper == (Fraction(1, 2), 1)


def test_scaled_and_negated_inputs() -> None:
    region = only_region(asserting("(<= (* -2 X_0) -0.5)", "(not (> (+ X_1 0.25) 1))"))
    assert region.lower == (Fraction(1, 4), 0)
    assert region.upper == (1, Fraction(3, 4))


def test_comments_spacing_and_smt_commands() -> None:
    text = (
        "; a comment (with) parentheses\n(set-logic QF_LRA)\n"
        + HEAD.replace("(declare-const X_0 Real)", "(declare-fun X_0 () Real) ; the first")
        + BOX
        + "(assert(<=Y_0 Y_1)) (check-sat)\n;".replace("(<=Y", "(<= Y")
    )
    assert rows(only_region(text)) == [[([-1.0, 1.0], 0.0)]]


def test_gzip_and_plain_files(tmp_path: Path) -> None:
    text = asserting("(<= Y_0 Y_1)").replace("\n", "\r\n")
    plain, packed = tmp_path / "a.vnnlib", tmp_path / "b.vnnlib.gz"
    plain.write_bytes(b"\xef\xbb\xbf" + text.encode())
    packed.write_bytes(gzip.compress(text.encode()))
    first, second = load_property(plain), load_property(packed)
    assert rows(first.regions[0]) == rows(second.regions[0])
    assert (first.name, second.name) == ("a.vnnlib", "b.vnnlib.gz")


def test_version_2() -> None:
    text = asserting("(or (<= Y[0,0] Y [ 0, 1 ]) (> (+ (* 2.0 Y[0,0]) Y[0,1]) 0.5))", version=2)
    wanted = read_property(text)
    assert wanted.declarations.version == 2
    (region,) = wanted.regions
    assert (region.lower, region.upper) == ((0, 0), (1, 1))
    assert rows(region) == [[([-1.0, 1.0], 0.0)], [([1.0, 0.5], 0.25)]]


def test_version_2_counts_elements_in_c_order() -> None:
    text = (
        '(vnnlib-version <2.0>) (declare-network f (declare-input X Real [2,1,2] "in")'
        " (declare-output out real []))"
        "(assert (and (<= 0 X[0,0,0] 1) (<= 0 X[0,0,1] 2) (<= 0 X[1,0,0] 3) (<= 0 X[1,0,1] 4)))"
        "(assert (>= out 1)) (assert (<= out[0] 2))"
    ).replace(' "in"', "")
    region = only_region(text)
    assert region.upper == (1, 2, 3, 4)
    assert rows(region) == [[([1.0], 1.0), ([-1.0], -2.0)]]


def test_version_2_with_onnx_names() -> None:
    text = HEAD_2.replace("[1,2])", '[1,2] "node")') + "(assert (and (<= 0 X[0,0] 1) (<= 0 X[0,1] 1)))"
    assert read_property(text).declarations.num_inputs == 2


def test_many_disjuncts_are_read_as_they_are() -> None:
    parts = " ".join(f"(and (>= X_0 0.{k:04}) (<= X_0 0.{k + 1:04}) (>= Y_0 {k}))" for k in range(3000))
    wanted = read_property(asserting(f"(or {parts})"))
    assert len(wanted.regions) == 3000
    assert wanted.regions[17].lower[0] == Fraction("0.0017")
