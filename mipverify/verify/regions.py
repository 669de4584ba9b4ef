"""Regions: where the inputs of each sample may lie, beside a ball and the domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array
from mipverify.problem.families import AnyFamily, scaled_pixels
from mipverify.problem.limits import Limits, read_limits
from mipverify.problem.norm import Norm
from mipverify.problem.parametrised import parametrised
from mipverify.problem.perturbation import Outside, Parametrisation, Perturbation
from mipverify.problem.region import Ball, Box


@dataclass(frozen=True, eq=False)
class Regions:
    """What narrows the ball of each sample, or gives it parameters.

    Attributes:
        limits: masks and sides of boxes; None for none.
        perturbations: one a sample where inputs have parameters; None where they are the features.
        outside: what becomes of inputs x + P theta that leave the domain.
        distance_in_input: whether distances are |P theta| rather than |theta|.
    """

    limits: Limits | None = None
    perturbations: Sequence[Perturbation] | None = None
    outside: Outside = Outside.CLIP
    distance_in_input: bool = False

    def region(
        self, sample: int, x: Float64Array, radius: float, norm: Norm, domain: Box
    ) -> tuple[Ball, Parametrisation | None]:
        """The region of one sample, of its input or of its parameters; and what these mean.

        Raises:
            QueryError: an empty region, one without x in it, or one that cannot be had.
        """
        box = domain if self.limits is None else self.limits.box(sample, x, domain)
        if self.perturbations is None:
            return Ball(x, radius, norm, box), None
        perturbation = self.perturbations[sample]
        if self.limits is not None:
            perturbation = perturbation.restricted(self.limits.movable(sample, x.size))
        Ball(x, radius, norm, box)  # refuses an input outside of its domain
        how, ball = parametrised(
            x,
            perturbation,
            box,
            norm=norm,
            outside=self.outside,
            distance_in_input=self.distance_in_input,
            radius=radius,
        )
        return ball, how


def whole_region(ball: Ball) -> Ball:
    """The ball with a radius that reaches all of its domain.

    Raises:
        QueryError: the domain is unbounded.
    """
    radius = ball.enclosing_radius()
    if not np.isfinite(radius):
        raise QueryError("without a radius the region is unbounded: give eps, or limits on every side")
    return replace(ball, radius=radius)


def read_regions(
    points: Float64Array,
    shape: tuple[int, ...],
    *,
    mask: ArrayLike | None = None,
    fixed: Iterable[int] | None = None,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    radii: ArrayLike | None = None,
    perturbation: AnyFamily | None = None,
    outside: str | Outside | None = None,
    distance_in: str = "theta",
) -> Regions:
    """The regions that these say, for inputs [samples, n] of a shape.

    Args:
        points: the unperturbed inputs.
        shape: of one input, without batch axis.
        mask: 1 where a feature may move, 0 where not, as in `read_limits`.
        fixed: positions of features that may not move.
        lower: side of a box, as in `read_limits`.
        upper: side of a box.
        radii: a radius for every feature: distances are those of (a - x) / r.
        perturbation: inputs are a = x + P theta.
        outside: clip, forbid or allow, for a perturbation; clip if None.
        distance_in: theta or input.

    Raises:
        QueryError: anything that does not fit, or cannot be had together.
    """
    samples = len(points)
    limits = read_limits(mask, fixed, lower, upper, shape=shape, samples=samples)
    if distance_in not in ("theta", "input"):
        raise QueryError(f"distances are measured in theta or input, not in {distance_in!r}")
    if perturbation is None and radii is None:
        if outside is not None:
            raise QueryError(f"outside={outside} is about perturbations: name one")
        return Regions(limits)
    if perturbation is not None and radii is not None:
        raise QueryError("radii of features and a perturbation exclude each other: give one of them")
    if radii is not None:
        if outside is not None and Outside.parse(outside) is not Outside.FORBID:
            raise QueryError(
                "with radii of features, inputs stay in the domain: leave out what to do outside"
            )
        return Regions(limits, scaled_pixels(radii, shape, samples), Outside.FORBID, distance_in == "input")
    if not isinstance(perturbation, AnyFamily):
        raise QueryError(
            f"a perturbation is made by mipverify.perturbations, such as brightness(), got {perturbation!r}"
        )
    found = [perturbation.at(x, shape) for x in points]
    treatment = Outside.CLIP if outside is None else Outside.parse(outside)
    return Regions(limits, found, treatment, distance_in == "input")
