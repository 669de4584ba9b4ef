"""Perturbation: inputs a = x + P theta with a few parameters theta, instead of one a feature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.region import Box
from mipverify.problem.rotation import Rotation


class Outside(StrEnum):
    """What becomes of inputs x + P theta that leave the domain."""

    CLIP = "clip"  # every feature is clipped to its range, as a camera does
    FORBID = "forbid"  # such parameters are not looked at
    ALLOW = "allow"  # the network is asked about them as they are

    @classmethod
    def parse(cls, text: str | Outside) -> Outside:
        """Read one of the names; QueryError for anything else."""
        try:
            return cls(str(text).strip().lower())
        except ValueError:
            known = ", ".join(cls)
            raise QueryError(f"unknown treatment {str(text)!r} of values outside: choose {known}") from None


@dataclass(frozen=True, eq=False)
class Perturbation:
    """x + P theta, or x + diag(P) theta, with every parameter between its limits; theta = 0 is x.

    Attributes:
        names: one a parameter, [q].
        matrix: P, [n, q]; or its diagonal, [n], where every feature has a parameter of its own.
        lower, upper: limits of the parameters, [q], infinite where there is none; 0 lies between them.
    """

    names: tuple[str, ...]
    matrix: Float64Array
    lower: Float64Array
    upper: Float64Array

    def __post_init__(self) -> None:
        """Refuse NaN, shapes that do not fit, and limits that exclude x itself."""
        count = len(self.names)
        if not count:
            raise QueryError("a perturbation without parameters moves nothing: ask about eps=0 instead")
        if self.matrix.shape[-1] != count or self.lower.shape != (count,) or self.upper.shape != (count,):
            raise QueryError(
                f"a perturbation with {count} names needs {count} columns and limits, got a matrix of shape "
                f"{list(self.matrix.shape)}, {self.lower.size} lower and {self.upper.size} upper limits"
            )
        if not np.isfinite(self.matrix).all():
            raise QueryError("the directions of a perturbation must be finite: one holds NaN or infinity")
        for name, low, up in zip(self.names, self.lower, self.upper, strict=True):
            if not low <= 0 <= up:
                raise QueryError(
                    f"the limits of {name} are [{low:g}, {up:g}]: they must enclose 0, the input itself"
                )

    @property
    def size(self) -> int:
        """Number of parameters q."""
        return len(self.names)

    @property
    def is_diagonal(self) -> bool:
        """Whether every feature has a parameter of its own."""
        return self.matrix.ndim == 1

    def moved(self, parameters: Float64Array) -> Float64Array:
        """P theta in float64, [batch, n], for parameters [batch, q]."""
        return parameters * self.matrix if self.is_diagonal else parameters @ self.matrix.T

    def restricted(self, movable: np.ndarray) -> Perturbation:
        """The same where features that are not `movable`, [n], stay as they are."""
        keep = movable if self.is_diagonal else movable[:, None]
        return replace(self, matrix=np.where(keep, self.matrix, 0.0))

    def separable(self) -> bool:
        """Whether no feature depends on more than one parameter."""
        return self.is_diagonal or bool(((self.matrix != 0).sum(axis=1) <= 1).all())

    def moving(self) -> NDArray[np.bool_]:
        """Which parameters move anything, [q]."""
        return np.asarray(self.matrix != 0 if self.is_diagonal else (self.matrix != 0).any(axis=0))

    def column_norms(self, norm: Norm) -> Float64Array:
        """|P_k| of every column, [q]; squares neither overflow nor vanish."""
        if self.is_diagonal:
            return np.abs(self.matrix)
        sizes = np.abs(self.matrix).max(axis=0, initial=0.0)
        sizes = np.where(sizes > 0, sizes, 1.0)
        with np.errstate(over="ignore"):
            return norm.distance(np.zeros(len(self.matrix)), (self.matrix / sizes).T) * sizes


@dataclass(frozen=True, eq=False)
class Parametrisation:
    """The inputs of one query as a function of theta: x + P theta, clipped to the domain if wanted.

    Attributes:
        x: the unperturbed input, [n].
        perturbation: P, and what its parameters are called.
        domain: where inputs must lie, a witness without any tolerance; infinite where they may leave it.
        outside: what becomes of inputs that leave the domain.
        scale: parameters are divided by it before the user sees them, [q].
        rotation: where the query is about phi, how the parameters that move anything follow; else None.
    """

    x: Float64Array
    perturbation: Perturbation
    domain: Box
    outside: Outside
    scale: Float64Array
    rotation: Rotation | None = None

    @property
    def clips(self) -> bool:
        """Whether inputs are clipped to the domain."""
        return self.outside is Outside.CLIP

    def parameters(self, points: Float64Array) -> Float64Array:
        """theta within its limits, [batch, q], for points of the query's region, [batch, dimensions]."""
        if self.rotation is None:
            return points
        theta = np.zeros((len(points), self.perturbation.size))
        theta[:, self.perturbation.moving()] = self.rotation.parameters(points)
        return np.clip(theta, self.perturbation.lower, self.perturbation.upper)

    def inputs(self, points: Float64Array) -> Float64Array:
        """The inputs a in float64, [batch, n], for points of the region; clipped, not rounded to float32."""
        moved = self.x + self.perturbation.moved(self.parameters(points))
        return np.clip(moved, self.domain.lower, self.domain.upper) if self.clips else moved

    def named(self, point: Float64Array) -> dict[str, float]:
        """theta by name, in the user's units, for a point of the region."""
        values = (self.parameters(point[None])[0] / self.scale).tolist()
        return dict(zip(self.perturbation.names, values, strict=True))
