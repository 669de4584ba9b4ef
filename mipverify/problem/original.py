"""Original: the unperturbed input of a question, with what is needed to show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mipverify.graph.operators import Float64Array
from mipverify.problem.query import Query


@dataclass(frozen=True, eq=False)
class Original:
    """The input that a question is about.

    Attributes:
        point: x, [n], in raw units.
        shape: of the network's input, or of x as it was given to a network of flat inputs.
        limits: range of every feature, if there is one for all: black and white of a picture.
    """

    point: Float64Array
    shape: tuple[int, ...]
    limits: tuple[float, float] | None


def original(query: Query, shape: tuple[int, ...]) -> Original:
    """The input of a query about a network whose inputs have this shape."""
    how = query.parametrised
    x, domain = (query.region.center, query.region.domain) if how is None else (how.x, how.domain)
    given = query.shape if len(shape) <= 1 and query.shape else shape
    sides = np.unique(domain.lower), np.unique(domain.upper)
    common = all(len(side) == 1 and np.isfinite(side[0]) for side in sides)
    # A copy: a certificate must not keep the array of all samples alive.
    return Original(x.copy(), given, (float(sides[0][0]), float(sides[1][0])) if common else None)
