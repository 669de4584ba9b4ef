"""How long a proof may take."""

from __future__ import annotations

import pytest

from mipverify.verify.certifying import LEAST_SECONDS, seconds_for_proof


@pytest.mark.parametrize(
    ("spent", "left", "always", "expected"),
    [
        (3.0, 100.0, False, 3.0),
        (70.0, 50.0, False, 50.0),
        (120.0, 0.0, False, LEAST_SECONDS),
        (0.001, 100.0, False, LEAST_SECONDS),
        (3.0, 100.0, True, 100.0),
        (120.0, 0.0, True, 120.0),
    ],
)
def test_a_proof_takes_no_longer_than_the_answer_and_the_budget_allow(
    spent: float, left: float, always: bool, expected: float
) -> None:
    assert seconds_for_proof(spent, left, always=always) == expected
