"""How a set is cut into batches."""

from __future__ import annotations

import numpy as np
import pytest

from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, Box
from mipverify.verify.batch import LARGEST_BATCH, batches
from mipverify.verify.options import VerifyOptions


def queries(count: int) -> list[Query]:
    domain = Box(np.zeros(1), np.ones(1))
    return [
        Query(Ball(np.zeros(1), k / 1000, Norm.LINF, domain), misclassification(2, 0)) for k in range(count)
    ]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("count", [0, 1, 7, 120, 1000])
def test_batches_hold_everything_in_order_and_become_smaller(count: int, device: str) -> None:
    asked = queries(count)
    cut = batches(asked, VerifyOptions(), device)
    assert [query for batch in cut for query in batch] == asked
    sizes = [len(batch) for batch in cut]
    assert sizes == sorted(sizes, reverse=True)
    assert all(0 < size <= LARGEST_BATCH[device] for size in sizes)
    if device == "cpu" and count > 7:
        assert sizes[-1] == 1  # workers finish together


def test_a_size_that_was_asked_for_is_kept() -> None:
    cut = batches(queries(10), VerifyOptions(batch_size=4), "cpu")
    assert [len(batch) for batch in cut] == [4, 4, 2]
