"""Malformed properties are refused with file, line and token."""

from __future__ import annotations

from pathlib import Path

import pytest

from mipverify.errors import DataError, InputError, PropertyError
from mipverify.frontend.vnnlib.property import load_property, read_property
from tests.frontend.vnnlib_texts import BOX, HEAD, HEAD_2, asserting

AFTER = HEAD.count("\n") + BOX.count("\n") + 1  # the line after the unit box


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (asserting("(<= Y_0 Y_7)"), AFTER, "'Y_7' is neither a number nor a declared variable"),
        (asserting("(<= Y_0 1.2.3)"), AFTER, "'1.2.3'"),
        (asserting("(<= Y_0 1e999)"), AFTER, "out of range"),
        (asserting("(<= Y_0 nan)"), AFTER, "'nan'"),
        (asserting("(xor (<= Y_0 1) (<= Y_1 1))"), AFTER, "'(xor (<= Y_0 1) (<= Y_1 1))'"),
        (asserting("(<= Y_0)"), AFTER, "a comparison has two sides"),
        (asserting("(<= (% Y_0 2) 1)"), AFTER, "'(% Y_0 2)'"),
        (asserting("(<= (* Y_0 Y_1) 1)"), AFTER, "multiplies variables"),
        (asserting("(<= (/ 1 Y_1) 1)"), AFTER, "divides by 0 or by a variable"),
        (asserting("(<= (+) 1)"), AFTER, "has no arguments"),
        (asserting("Y_0"), AFTER, "expected a formula such as"),
        (asserting("(<= Y_0 1) (<= Y_1 1)"), AFTER, "an assertion holds one formula"),
        (asserting("(>= (+ (* 0.1234567890123456789 Y_0) Y_1) 1)"), AFTER, "15 digits"),
        (asserting("(<= Y_0 1)") + ")", AFTER + 1, "')' closes nothing"),
        (asserting("(or (<= Y_0 1)"), AFTER, "never closed"),
        (asserting() + "assert", AFTER, "expected '(' instead of 'assert'"),
        (asserting() + "(push 1)", AFTER, "unknown command '(push 1)'"),
        (asserting() + "(assert (<= Y_0 ]))", AFTER, "unexpected character ']'"),
        (asserting() + "\n\n(assert (or " + "(and " * 300, AFTER + 2, "parentheses within each other"),
        (HEAD + "(declare-const X_0 Real)", 5, "'X_0' is declared twice"),
        (HEAD + "(declare-const Z_0 Real)", 5, "unknown variable 'Z_0'"),
        (HEAD + "(declare-const X_02 Real)", 5, "'X_02'"),
        (HEAD + "(declare-const X_2 Int)", 5, "unsupported type 'Int'"),
        (HEAD + "(declare-const X_3 Real)", 1, "X_2 is not declared"),
        (HEAD + "(declare-fun X_2 (Real) Real)", 5, "without arguments"),
        ("", 1, "X_0 is not declared"),
        ("(declare-const X_0 Real)", 1, "Y_0 is not declared"),
        (HEAD + "(assert (>= X_0 0))", 1, "input 'X_0' has no upper bound"),
        (asserting().replace("(<= X_1 1.0)", "(<= X_1 1e399)"), 1, "outside of what float64 holds"),
        (HEAD_2.replace("2.0", "3.0"), 1, "unsupported version '<3.0>'"),
        (HEAD_2 + HEAD_2.split("\n", 1)[1], 6, "2 networks are declared"),
        ("(vnnlib-version <2.0>)", 1, "0 networks are declared"),
        (HEAD_2.replace("float32 [1,2]", "int32 [1,2]", 1), 3, "unsupported element type in 'int32[1,2]'"),
        (HEAD_2.replace("float32 [1,2]", "float32", 1), 3, "malformed declaration"),
        (HEAD_2.replace("[1,2]", "[0,2]", 1), 3, "empty or too large"),
        (HEAD_2.replace("declare-output Y", "declare-input Y"), 2, "2 inputs are declared"),
        (HEAD_2.replace("declare-output Y", "declare-hidden Y"), 4, "hidden values are not supported"),
        (HEAD_2.replace("declare-output Y", "declare-output X"), 2, "'X' is declared twice"),
        (HEAD_2 + "(declare-const X_0 Real)", 6, "belongs to version 1"),
        (HEAD_2 + "(assert (<= X[0] 1))", 6, "'X[0]' is neither"),
        (HEAD_2 + "(assert (<= X[0,2] 1))", 6, "'X[0,2]' is neither"),
    ],
)
def test_refused(text: str, line: int, said: str) -> None:
    with pytest.raises(PropertyError) as caught:
        read_property(text, name="bad.vnnlib")
    assert str(caught.value).startswith(f"bad.vnnlib:{line}: ")
    assert said in str(caught.value)
    assert isinstance(caught.value, InputError)


def test_too_many_disjuncts_are_refused() -> None:
    choice = "(or (<= Y_0 1) (<= Y_1 1) (>= Y_0 2))"
    with pytest.raises(PropertyError, match="more than 100000 disjuncts"):
        read_property(asserting(*[choice] * 12))


@pytest.mark.parametrize("content", [b"\x1f\x8bnot gzip", b"\xff\xfe\x00bad"])
def test_unreadable_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.vnnlib"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read the property .*p\.vnnlib"):
        load_property(path)
    with pytest.raises(DataError, match="cannot read the property"):
        load_property(tmp_path / "missing.vnnlib")
