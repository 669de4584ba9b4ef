from __future__ import annotations

import pytest

from mipverify.display.numerals import shares_text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (2 / 3, 2 / 3, "66.6 %"),
        (0.7, 0.7, "70.0 %"),
        (1 / 3, 2 / 3, "33.3 % to 66.7 %"),
        (0.9999, 1.0, "99.9 % to 100.0 %"),
        (0.0, 0.00001, "0.0 % to 0.1 %"),
        (0.999999, 0.999999, "99.9 %"),
        (1.0, 1.0, "100.0 %"),
    ],
)
def test_shares_are_rounded_so_that_they_claim_no_more(low: float, high: float, text: str) -> None:
    assert shares_text(low, high) == text
