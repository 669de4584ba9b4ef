"""Rotations of parameters in rational arithmetic: no distance grows, no error is larger than stated."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.parametrised import parametrised
from mipverify.problem.perturbation import Outside, Perturbation
from mipverify.problem.region import Box
from mipverify.problem.rotation import Rotation, farthest, rotation, upper_product

Exact = list[list[Fraction]]


def fractions(matrix: Float64Array) -> Exact:
    return [[Fraction(v) for v in row] for row in matrix.tolist()]


def times(a: Exact, b: Exact) -> Exact:
    columns = list(zip(*b, strict=True))
    return [[sum((x * y for x, y in zip(row, c, strict=True)), Fraction(0)) for c in columns] for row in a]


def inverted(upper: Exact) -> Exact:
    """The inverse of an upper triangular matrix, by back substitution."""
    q = len(upper)
    found = [[Fraction(0)] * q for _ in range(q)]
    for j in range(q):
        for i in reversed(range(q)):
            rest = sum((upper[i][k] * found[k][j] for k in range(i + 1, q)), Fraction(0))
            found[i][j] = (Fraction(int(i == j)) - rest) / upper[i][i]
    return found


def definite(gram: Exact) -> bool:
    """Whether a symmetric matrix is positive definite, by elimination."""
    rows = [list(row) for row in gram]
    for k in range(len(rows)):
        if rows[k][k] <= 0:
            return False
        for i in range(k + 1, len(rows)):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    return True


def drawn(seed: int) -> Float64Array:
    """Columns of many sizes, often sparse, with equal rows, or nearly dependent."""
    rng = np.random.default_rng(seed)
    q = int(rng.integers(2, 5))
    n = int(rng.integers(q, 12))
    matrix = rng.normal(size=(n, q)) if seed % 2 else rng.choice([0.0, 1.0, -0.5, 0.3, 2.0], (n, q))
    if seed % 3 == 0:
        matrix[:, -1] = matrix[:, 0] + 10.0 ** -rng.integers(1, 6) * matrix[:, -1]
    if seed % 5 == 0:
        matrix[0] = matrix[-1]
    if seed % 7 == 0:
        matrix[0] *= 10.0 ** -rng.integers(10, 300)
    return np.asarray(matrix * 10.0 ** rng.integers(-140, 140, q) if seed % 4 == 0 else matrix)


@pytest.mark.parametrize("seed", range(40))
def test_no_distance_grows_and_errors_are_as_stated(seed: int) -> None:
    matrix = drawn(seed)
    found = rotation(matrix)
    if found is None:
        size = np.abs(matrix).max(axis=0)
        assert np.linalg.cond(matrix / np.where(size > 0, size, 1)) > 1e3
        return
    back = inverted(fractions(found.triangle))
    scaled = [
        [v / Fraction(2) ** int(e) for v, e in zip(row, found.exponent, strict=True)]
        for row in fractions(matrix)
    ]
    true = times(scaled, back)
    check_known(found.moves.value, found.moves.error, true)
    check_known(found.back.value, found.back.error, back)
    gram = times([list(c) for c in zip(*true, strict=True)], true)
    tiny = Fraction(1, 10**60)  # definite, not semidefinite
    excess = (1 + Fraction(found.excess)) ** 2
    unit = [[Fraction(int(i == j)) for j in range(found.size)] for i in range(found.size)]
    assert definite(
        [[g - u + u * tiny for g, u in zip(a, b, strict=True)] for a, b in zip(gram, unit, strict=True)]
    )
    assert definite(
        [[excess * u - g for g, u in zip(a, b, strict=True)] for a, b in zip(gram, unit, strict=True)]
    )
    assert found.excess < 2.0**-28


def check_known(value: Float64Array, error: Float64Array, true: Exact) -> None:
    for row, errors, exact in zip(value.tolist(), error.tolist(), true, strict=True):
        assert all(abs(Fraction(v) - t) <= Fraction(e) for v, e, t in zip(row, errors, exact, strict=True))


def test_equal_rows_stay_equal() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(7, 3))
    row = rng.integers(0, 7, 301)
    found = rotation(kinds[row])
    assert found is not None
    for k in range(7):
        same = found.moves.value[row == k]
        assert (same == same[0]).all()
        assert np.unique(found.row[row == k]).size == 1
    assert np.unique(found.row).size == np.unique(row).size


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-6, 1e-3])
def test_columns_that_nearly_cancel_have_none(size: float) -> None:
    moved = np.random.default_rng(1).normal(size=(50, 2))
    found = rotation(np.stack([moved[:, 0], moved[:, 0] + size * moved[:, 1]], axis=1))
    assert (found is None) == (size < 2.0**-16)


def test_products_are_rounded_up() -> None:
    rng = np.random.default_rng(2)
    matrix, vector = rng.random((40, 3)), rng.random(3) * 10.0 ** rng.integers(-320, 300, 3)
    for row, most in zip(fractions(matrix), upper_product(matrix, vector), strict=True):
        assert sum(
            (a * Fraction(v) for a, v in zip(row, vector.tolist(), strict=True)), Fraction(0)
        ) <= Fraction(most)
    assert upper_product(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([np.inf, 2.0]))[0] >= 2
    assert upper_product(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([np.inf, 2.0]))[1] == np.inf
    rows = rng.normal(size=(40, 3)) * 10.0 ** rng.integers(-300, 3, (40, 1))
    for row, most in zip(fractions(rows), farthest(rows, 0.7), strict=True):
        assert sum((a * a for a in row), Fraction(0)) * Fraction(0.7) ** 2 <= Fraction(most) ** 2


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("outside", list(Outside))
def test_no_parameters_of_the_region_are_lost(seed: int, outside: Outside) -> None:
    """For theta within limits, domain and radius, phi in rational arithmetic keeps all sides."""
    rng = np.random.default_rng(seed)
    matrix = drawn(seed)
    n, q = matrix.shape
    sizes = np.where(matrix.any(axis=0), np.abs(matrix).max(axis=0), 1.0)
    x = rng.choice([0.0, 0.25, 1.0, 0.7], n)
    low = -rng.choice([0.0, 0.5, np.inf], q) / sizes
    up = rng.choice([0.0, 1.0, np.inf], q) / sizes
    perturbation = Perturbation(tuple(f"t{k}" for k in range(q)), matrix, low, up)
    if perturbation.separable() or rotation(matrix[:, perturbation.moving()]) is None:
        return
    radius = float(rng.choice([1e-9, 0.3, 2.0, 1e6]))
    how, ball = parametrised(
        x,
        perturbation,
        Box(np.zeros(n), np.ones(n)),
        norm=Norm.L2,
        outside=outside,
        distance_in_input=True,
        radius=radius,
    )
    turn = how.rotation
    assert turn is not None
    assert ball.norm is Norm.L2
    moves = perturbation.moving()
    for _ in range(20):
        theta = np.zeros(q)
        far = np.minimum(radius, rng.choice([1e-3, 1.0, 1e3]))
        theta[moves] = (
            np.linalg.pinv(matrix[:, moves] / sizes[moves]) @ rng.normal(size=n) * far / sizes[moves]
        )
        theta = np.clip(theta, low, up)
        moved = perturbation.moved(theta[None])[0]
        inside = 1.0
        if outside is Outside.FORBID:
            with np.errstate(divide="ignore", invalid="ignore"):
                room = np.where(moved > 0, (1 - x) / moved, np.where(moved < 0, -x / moved, np.inf))
            inside = float(room.min(initial=np.inf))
        with np.errstate(divide="ignore"):
            theta = theta * min(1.0, inside, radius / np.linalg.norm(moved)) * (1 - 1e-9)
        check_inside(turn, ball.box(), ball.image, theta[moves])


def check_inside(turn: Rotation, box: Box, image: object, theta: Float64Array) -> None:
    psi = [[Fraction(t) * Fraction(2) ** int(e)] for t, e in zip(theta.tolist(), turn.exponent, strict=True)]
    phi = [row[0] for row in times(fractions(turn.triangle), psi)]
    assert all(
        Fraction(a) <= v <= Fraction(b)
        for a, v, b in zip(box.lower.tolist(), phi, box.upper.tolist(), strict=True)
    )
    if image is None:
        return
    for row, low, up in zip(fractions(image.matrix), image.lower, image.upper, strict=True):  # type: ignore[attr-defined]
        value = sum((a * v for a, v in zip(row, phi, strict=True)), Fraction(0))
        assert np.isinf(low) or Fraction(float(low)) <= value
        assert np.isinf(up) or value <= Fraction(float(up))


def test_names_are_those_of_theta() -> None:
    matrix = np.array([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 0.5, 0.0]])
    perturbation = Perturbation(("a", "b", "still"), matrix, np.array([0.0, -1, -1]), np.full(3, 1.0))
    how, ball = parametrised(
        np.full(3, 0.5),
        perturbation,
        Box(np.zeros(3), np.ones(3)),
        norm=Norm.L2,
        outside=Outside.CLIP,
        distance_in_input=True,
    )
    assert ball.center.size == 2
    theta = np.array([0.25, -0.5])
    phi = how.rotation.triangle @ np.ldexp(theta, how.rotation.exponent)  # type: ignore[union-attr]
    assert how.named(phi) == pytest.approx({"a": 0.25, "b": -0.5, "still": 0.0}, abs=1e-12)
    assert np.linalg.norm(phi) == pytest.approx(np.linalg.norm(matrix[:, :2] @ theta))
    assert how.named(-10 * phi) == {"a": 0.0, "b": 1.0, "still": 0.0}  # within the limits
    assert np.allclose(how.inputs(phi[None]), np.clip(0.5 + matrix[:, :2] @ theta, 0, 1))
