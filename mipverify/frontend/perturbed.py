"""PerturbedNetwork: a network as a function of the parameters of a perturbation, in both of its forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import QueryError
from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.graph.prepending import Inexact, Sides, prepend, prepend_scale, reach_of
from mipverify.graph.rounding import Approximate
from mipverify.problem.norm import Norm
from mipverify.problem.perturbation import Parametrisation
from mipverify.problem.region import Ball
from mipverify.problem.rotation import farthest, upper_product

_LARGEST = float(np.finfo(np.float32).max)


class Runnable(Protocol):
    """A graph, and the same network in its file's own arithmetic."""

    @property
    def graph(self) -> Graph:
        """f in real arithmetic."""
        ...

    def run(self, points: Float64Array, /) -> Float64Array:
        """Outputs of onnxruntime, [batch, m], for inputs [batch, n]."""
        ...


@dataclass(frozen=True, eq=False)
class PerturbedNetwork:
    """theta -> f(x + P theta), for theta in one region.

    Attributes:
        graph: the function in real arithmetic, for the parameters of the region and nowhere else.
        network: f itself.
        parametrisation: x, P and the domain of inputs.
    """

    graph: Graph
    network: Runnable
    parametrisation: Parametrisation

    def __call__(self, points: Float64Array) -> Float64Array:
        """Outputs in float64, [batch, m], for points of the region [batch, q]."""
        return evaluate(self.graph, np.asarray(points, dtype=np.float64))

    def run(self, points: Float64Array) -> Float64Array:
        """Outputs of onnxruntime, [batch, m], for the float32 inputs that parameters [batch, q] stand for.

        NaN where there is no such input in the domain.
        """
        inputs, inside = self.inputs(points)
        if not inside.all():
            inputs = np.where(inside[:, None], inputs, _float32(self.parametrisation.x))
        return np.where(inside[:, None], self.network.run(inputs), np.nan)

    def inputs(self, points: Float64Array) -> tuple[Float64Array, NDArray[np.bool_]]:
        """The float32 inputs, as float64 [batch, n], that parameters [batch, q] stand for; which are valid.

        The nearest ones inside the domain; where every feature has a parameter of its own, the next ones
        towards x, so that no feature moves further than its parameter says.
        """
        points = np.asarray(points, dtype=np.float64)
        exact = self.parametrisation.inputs(points)
        x, domain = self.parametrisation.x, self.parametrisation.domain
        near = _float32(exact)
        still = near == _float32(x)  # onnxruntime can be given nothing else for x itself
        if self.parametrisation.perturbation.is_diagonal:
            factor = np.broadcast_to(self.parametrisation.perturbation.matrix, points.shape)
            allowed = Approximate.exact(points) * Approximate.exact(factor)
            far = ~still & _farther(near, x, allowed)
            near = np.where(far, _neighbour(near, np.where(near > x, -np.inf, np.inf)), near)
            valid = still | ~_farther(near, x, allowed)
        else:
            valid = np.ones_like(still)
        near = np.where(~still & (near > domain.upper), _neighbour(near, -np.inf), near)
        near = np.where(~still & (near < domain.lower), _neighbour(near, np.inf), near)
        valid = valid & (still | ((domain.lower <= near) & (near <= domain.upper)))
        return near, np.asarray(valid.all(axis=1))


def perturbed_network(network: Runnable, parametrisation: Parametrisation, region: Ball) -> PerturbedNetwork:
    """The network as a function of theta in a region.

    Raises:
        QueryError: the region of theta is unbounded.
    """
    box, perturbation, x = region.box(), parametrisation.perturbation, parametrisation.x
    if not (np.isfinite(box.lower).all() and np.isfinite(box.upper).all()):
        raise QueryError("the parameters are unbounded: give them limits, or a radius")
    if perturbation.is_diagonal:
        graph = prepend_scale(network.graph, perturbation.matrix, x)
        return PerturbedNetwork(graph, network, parametrisation)
    domain, turn, limits = parametrisation.domain, parametrisation.rotation, Sides(box.lower, box.upper)
    reach = region.radius if region.measured else np.inf
    graph = prepend(
        network.graph,
        perturbation.matrix if turn is None else turn.moves.value,
        x,
        limits,
        clip=Sides(domain.lower, domain.upper) if parametrisation.clips else None,
        budget=region.radius if region.norm is Norm.L1 else np.inf,
        reach=reach if turn is None else farthest(turn.moves.value, region.radius),
        inexact=None
        if turn is None
        else Inexact(upper_product(turn.moves.error, reach_of(limits)), turn.row),
    )
    return PerturbedNetwork(graph, network, parametrisation)


def _farther(inputs: Float64Array, x: Float64Array, allowed: Approximate) -> NDArray[np.bool_]:
    """Where |a - x| may be larger than what is allowed, however both were rounded."""
    moved = Approximate.exact(inputs) - Approximate.exact(np.broadcast_to(x, inputs.shape))
    return np.abs(moved.value) + moved.error > np.abs(allowed.value) - allowed.error


def _float32(values: Float64Array) -> Float64Array:
    """The nearest finite float32 numbers, as float64."""
    return np.clip(values, -_LARGEST, _LARGEST).astype(np.float32).astype(np.float64)


def _neighbour(values: Float64Array, towards: float | Float64Array) -> Float64Array:
    """The next float32 numbers in one direction, as float64."""
    with np.errstate(over="ignore"):
        return np.nextafter(values.astype(np.float32), np.float32(towards)).astype(np.float64)
