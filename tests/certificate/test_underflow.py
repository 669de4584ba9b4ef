"""False claims about numbers so small or large that float64 loses them are not accepted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mipverify.certificate.check import ArithmeticChoice, check
from tests.certificate.forged import Forged, products

CHOICES = (ArithmeticChoice.FLOAT, ArithmeticChoice.EXACT)


@pytest.mark.parametrize("choice", CHOICES)
def test_coefficients_that_vanish_on_their_way_back(choice: ArithmeticChoice, tmp_path: Path) -> None:
    """y = 1e-30 x, and y <= -0.5e-30 is said not to happen in [-1, 1]: its coefficient passes 1e-330."""
    small = products([1e30] * 10 + [1e-30] * 11)
    claim = Forged(small, [0.0], [[-1.0], [1.0]], [[-1.0]], [0.5e-30], lower=1.0)
    assert not check(*claim.save(tmp_path), arithmetic=choice).accepted


@pytest.mark.parametrize("choice", CHOICES)
def test_rows_that_vanish_with_their_weights(choice: ArithmeticChoice, tmp_path: Path) -> None:
    """y = 1e38 x, and 1e-300 y >= 1e-270 is said not to happen in [-100, 100]."""
    claim = Forged(
        products([1e38]),
        [0.0],
        [[-100.0], [100.0]],
        [[1e-300]],
        [1e-270],
        radius=100.0,
        lower=100.0,
        weight=1.4e-45,
    )
    assert not check(*claim.save(tmp_path), arithmetic=choice).accepted


@pytest.mark.parametrize("choice", CHOICES)
def test_squares_that_vanish(choice: ArithmeticChoice, tmp_path: Path) -> None:
    """The l2 norm of 100 coefficients of 1.5e-162 is 1.5e-161, though their squares are 0 in float64."""
    row = np.full((1, 100), 1.5e-162)
    row[0, 0] = 2e-162
    claim = Forged(products([1.0], 100), np.zeros(100), [[-1.0], [1.0]], row, [4e-162], norm="l2", lower=1.0)
    assert not check(*claim.save(tmp_path), arithmetic=choice).accepted


@pytest.mark.parametrize("choice", CHOICES)
def test_claims_that_are_true_at_such_scales(choice: ArithmeticChoice, tmp_path: Path) -> None:
    claim = Forged(products([1e-30] * 2), [0.0], [[-1.0], [1.0]], [[-1.0]], [2e-60], lower=1.0)
    assert check(*claim.save(tmp_path), arithmetic=choice).accepted
