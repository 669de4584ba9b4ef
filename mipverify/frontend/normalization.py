"""Mean and standard deviation of the data, folded into a network so that inputs are raw units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mipverify.errors import QueryError
from mipverify.graph.graph import Graph, Node
from mipverify.graph.operators import Float64Array, Scale
from mipverify.graph.rounding import Approximate

Numbers = float | Sequence[float] | Float64Array


@dataclass(frozen=True, eq=False)
class Normalization:
    """x -> (x - mean) / std, elementwise; both of shape [n]."""

    mean: Float64Array
    std: Float64Array

    def __call__(self, points: Float64Array) -> Float64Array:
        """Normalised points, in float64; shapes [..., n]."""
        return (points - self.mean) / self.std


def read_normalization(
    mean: Numbers | None, std: Numbers | None, input_shape: tuple[int, ...]
) -> Normalization | None:
    """The normalisation for inputs of this shape; None where neither number is given.

    Args:
        mean: one number, one per channel (the first axis; the last where only that fits), or one per
            feature; 0 where it is None.
        std: likewise; 1 where it is None.
        input_shape: shape of one input, without batch axis.

    Raises:
        QueryError: a length that fits nothing, a number that is not finite, a std <= 0.
    """
    if mean is None and std is None:
        return None
    spread_mean = _spread("mean", 0.0 if mean is None else mean, input_shape)
    spread_std = _spread("std", 1.0 if std is None else std, input_shape)
    if not (spread_std > 0).all():
        raise QueryError(f"std must be positive, got {float(spread_std.min())}")
    return Normalization(spread_mean, spread_std)


def _spread(name: str, numbers: Numbers, shape: tuple[int, ...]) -> Float64Array:
    try:
        array = np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise QueryError(f"{name} must be numbers, got {numbers!r}") from error
    if not np.isfinite(array).all():
        raise QueryError(f"{name} must be finite, got {numbers!r}")
    size = int(np.prod(shape, dtype=np.int64))
    flat = array.ravel()
    if flat.size == 1:
        return np.full(size, flat[0])
    if flat.size == size:
        return flat.copy()
    if len(shape) > 1 and flat.size == shape[0]:
        return np.repeat(flat, size // shape[0])
    if len(shape) > 1 and flat.size == shape[-1]:
        return np.tile(flat, size // shape[-1])
    raise QueryError(
        f"{name} has {flat.size} entries, which fit neither the {size} features nor the channels of an input "
        f"of shape {list(shape)}: give one number, one per channel or one per feature"
    )


def fold_normalization(graph: Graph, normalization: Normalization) -> Graph:
    """The graph on raw inputs: a first `Scale` by 1 / std and -mean / std, its rounding stated."""
    std = Approximate.exact(normalization.std)
    scale = Approximate.exact(np.ones_like(std.value)) / std
    shift = -(Approximate.exact(normalization.mean) / std)
    first = Node(
        Scale(scale.value, shift.value, scale.relative_error(), shift.absolute_error()),
        (0,),
        "normalization",
        graph.input_shape,
    )
    later = [replace(node, inputs=tuple(i + 1 for i in node.inputs)) for node in graph.nodes[1:]]
    return Graph((graph.nodes[0], first, *later), graph.output + 1)
