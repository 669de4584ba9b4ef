from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipverify.report.accuracy import accuracy_curve, longest_reach, tally
from mipverify.report.run_data import STATUSES, Sample, _sample
from tests.report.conftest import record

FINITE = st.floats(0, 10, allow_subnormal=False)


@st.composite
def samples(draw: st.DrawFn) -> list[Sample]:
    found = []
    for index in range(draw(st.integers(1, 8))):
        low, high = sorted((draw(FINITE), draw(FINITE)))
        found.append(
            _sample(
                Path("run"),
                record(
                    index,
                    status=draw(st.sampled_from(STATUSES)),
                    lower_bound=low,
                    upper_bound=draw(st.sampled_from([None, math.nextafter(high, math.inf)])),
                    evidence=draw(st.sampled_from(["checked proof", "none"])),
                ),
            )
        )
    return found


def certain(sample: Sample, radius: float) -> bool:
    return (
        sample.status not in ("misclassified", "error")
        and sample.evidence != "none"
        and radius <= sample.lower
    )


@given(samples(), FINITE)
def test_the_curve_counts_what_is_proven_and_refuted_at_each_radius(
    found: list[Sample], radius: float
) -> None:
    curve = accuracy_curve(found)
    for at in [radius, *(s.lower for s in found), *(s.upper for s in found if math.isfinite(s.upper))]:
        certified, not_refuted = curve.at(at)
        refuted = sum(s.status == "misclassified" or s.upper <= at for s in found)
        assert certified == pytest.approx(sum(certain(s, at) for s in found) / len(found))
        assert not_refuted == pytest.approx(1 - refuted / len(found))


@given(samples())
def test_curves_fall_and_never_cross(found: list[Sample]) -> None:
    curve = accuracy_curve(found)
    assert np.all(np.diff(curve.radii) > 0)
    assert np.all(np.diff(curve.certified) <= 1e-12)
    assert np.all(np.diff(curve.not_refuted) <= 1e-12)
    assert np.all(curve.certified <= curve.not_refuted + 1e-12)


def test_a_bound_that_stands_for_infinity_ends_no_plot() -> None:
    largest = float(np.finfo(np.float64).max)
    found = [_sample(Path("run"), record(0, lower_bound=largest, upper_bound=None))]
    assert longest_reach(found) == 0
    assert accuracy_curve(found).at(1e300) == (1.0, 1.0)


def test_certified_accuracy_is_an_interval() -> None:
    statuses = ["verified", "verified", "falsified", "unknown", "misclassified", "error"]
    found = tally([_sample(Path("run"), record(k, status=status)) for k, status in enumerate(statuses)])
    assert found.certified == (2 / 6, 4 / 6)
    assert found.counts["unknown"] == 1
    assert found.evidence == {"checked proof": 4}
