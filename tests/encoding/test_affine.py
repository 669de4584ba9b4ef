"""Sparse rows of the affine operators against their evaluation, and compositions of affine forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mipverify.encoding.affine import AffineForm, combine, keep_rows, multiply, operator_rows, spread_rows
from mipverify.graph.evaluate import apply
from mipverify.graph.operators import Add, Concat, Dense, Operator, Relu, Scale, Select
from tests.random_networks import random_conv

SEEDS = st.integers(0, 2**32 - 1)


def random_operator(rng: np.random.Generator) -> tuple[Operator, tuple[int, ...]]:
    """An affine operator and the sizes of its arguments."""
    n, m = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    match int(rng.integers(6)):
        case 0:
            weight = rng.normal(size=(m, n)) * (rng.random((m, n)) < 0.7)
            return Dense(weight, rng.normal(size=m)), (n,)
        case 1:
            return random_conv(rng, n), (n,)
        case 2:
            return Scale(rng.normal(size=n) * (rng.random(n) < 0.8), rng.normal(size=n)), (n,)
        case 3:
            return Select(rng.integers(-1, n, m), rng.normal(size=m)), (n,)
        case 4:
            return Add(n, tuple(int(s) for s in rng.choice([-1, 1], m))), (n,) * m
        case _:
            parts = tuple(int(p) for p in rng.integers(1, 5, m))
            return Concat(parts), parts


@given(seed=SEEDS)
@settings(max_examples=300, deadline=None)
def test_rows_are_the_operator(seed: int) -> None:
    rng = np.random.default_rng(seed)
    op, sizes = random_operator(rng)
    rows = np.flatnonzero(rng.random(op.size) < 0.6)
    found = operator_rows(op, rows, sizes)
    arguments = [rng.normal(size=(3, size)) for size in sizes]
    expected = apply(op, arguments)[:, rows]
    total = np.broadcast_to(found.constant, expected.shape).copy()
    for matrix, argument in zip(found.matrices, arguments, strict=True):
        assert matrix.shape == (rows.size, argument.shape[1])
        assert (matrix.data != 0).all()
        total += (matrix @ argument.T).T
    np.testing.assert_allclose(total, expected, rtol=1e-12, atol=1e-12)


@given(seed=SEEDS)
@settings(max_examples=100, deadline=None)
def test_combination_is_the_operator_of_the_forms(seed: int) -> None:
    rng = np.random.default_rng(seed)
    op, sizes = random_operator(rng)
    widths = rng.integers(1, 7, len(sizes))
    forms = [
        AffineForm(
            sparse.csr_array(rng.normal(size=(size, width)) * (rng.random((size, width)) < 0.6)),
            rng.normal(size=size),
            np.abs(rng.normal(size=size)) * 1e-3,
        )
        for size, width in zip(sizes, widths, strict=True)
    ]
    rows = np.arange(op.size)
    columns = rng.normal(size=widths.max())
    form = combine(operator_rows(op, rows, sizes), forms, np.abs(columns))
    values = [(f.matrix @ columns[: f.matrix.shape[1]] + f.constant)[None] for f in forms]
    exact = apply(op, values)[0]
    np.testing.assert_allclose(form.matrix @ columns + form.constant, exact, rtol=1e-12, atol=1e-12)
    # The errors of the arguments are passed on: moving each argument by its error stays within.
    moved = [v + f.error * rng.choice([-1, 1], f.error.size) for v, f in zip(values, forms, strict=True)]
    assert (np.abs(apply(op, moved)[0] - exact) <= form.error * (1 + 1e-9) + 1e-14).all()


def test_errors_of_the_file_are_counted() -> None:
    weight, bias = np.array([[2.0, -3.0]]), np.array([1.0])
    argument = AffineForm(sparse.csr_array(np.eye(2)), np.zeros(2), np.zeros(2))
    for op, least in (
        (Dense(weight, bias), 0.0),
        (Dense(weight, bias, relative_error=1e-3), 5e-3),
        (Dense(weight, bias, bias_error=np.array([0.5])), 0.5),
    ):
        form = combine(operator_rows(op, np.arange(1), (2,)), [argument], np.ones(2))
        assert least <= form.error[0] <= least + 2e-3


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_products_agree_however_they_are_computed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 260, 3)
    density = float(rng.choice([0.02, 0.5, 1.0]))
    left = sparse.random_array((shape[0], shape[1]), density=density, rng=rng, format="csr")
    right = sparse.random_array((shape[1], shape[2]), density=density, rng=rng, format="csr")
    product = multiply(sparse.csr_array(left), sparse.csr_array(right))
    np.testing.assert_allclose(product.toarray(), left.toarray() @ right.toarray(), rtol=1e-10, atol=1e-12)


def test_rows_can_be_emptied_and_spread() -> None:
    matrix = sparse.csr_array(np.arange(1.0, 7.0).reshape(3, 2))
    kept = keep_rows(matrix, np.array([True, False, True]))
    np.testing.assert_array_equal(kept.toarray(), [[1, 2], [0, 0], [5, 6]])
    assert kept.nnz == 4
    spread = spread_rows(matrix, np.array([0, 2, 3]), 5)
    np.testing.assert_array_equal(spread.toarray(), [[1, 2], [0, 0], [3, 4], [5, 6], [0, 0]])


def test_relus_are_not_affine() -> None:
    with pytest.raises(TypeError, match="Relu"):
        operator_rows(Relu(2), np.arange(2), (2,))
