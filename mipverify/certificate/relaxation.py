"""Bounds by backward substitution, and what a certificate may choose about them.

Let F = sum over layers of g_k value_k be bounded from below over a region. Going backwards, a layer with
coefficients g is exchanged for coefficients on its sources: for *any* floats c,

    g . relu(h)  >=  c . h + sum_j min {g_j max(h_j, 0) - c_j h_j : l_j <= h_j <= u_j}.

So slopes and multipliers are choices of c, and a bad choice costs tightness, never truth. An imposed phase
cuts [l_j, u_j] at 0. Affine layers are exchanged exactly, up to the rounding that the arithmetic covers. What
is left is a linear form in the input, minimised over the region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mipverify.certificate.exact_arithmetic import ExactArithmetic
from mipverify.certificate.float_arithmetic import FloatArithmetic
from mipverify.certificate.network import Affine, CheckedNetwork, MaxPool, Relu
from mipverify.certificate.region import CheckedPart
from mipverify.graph.operators import Float64Array, IndexArray

Arithmetic = FloatArithmetic | ExactArithmetic
Phases = Mapping[int, NDArray[np.int8]]
Columns = Mapping[int, Float64Array]
ROWS = 64  # substituted together


@dataclass(frozen=True, eq=False)
class LayerChoices:
    """Choices at some neurons of a layer, each [neurons] or [rows, neurons]; None for the usual ones."""

    slopes: Float64Array | None
    phases: NDArray[np.int8] | None
    multipliers: Float64Array | None


@dataclass(frozen=True, eq=False)
class Choices:
    """What is chosen for some rows at the ReLU layers; anything is valid.

    Attributes:
        slopes: lower slopes in [0, 1] of open neurons; where there are none, the adaptive ones.
        phases: 1 or -1 where a phase is imposed, 0 elsewhere.
        multipliers: of the imposed phases.
    """

    slopes: Columns = field(default_factory=dict)
    phases: Phases = field(default_factory=dict)
    multipliers: Columns = field(default_factory=dict)

    def at(self, layer: int, moving: IndexArray) -> LayerChoices:
        """Those of some neurons of a layer."""
        slopes, phases = self.slopes.get(layer), self.phases.get(layer)
        multipliers = self.multipliers.get(layer)
        return LayerChoices(
            None if slopes is None else slopes[..., moving],
            None if phases is None else phases[..., moving],
            None if multipliers is None else multipliers[..., moving],
        )


@dataclass(eq=False)
class LayerBounds:
    """Bounds of the value of every layer over a part of the region, as far as they are known."""

    lower: list[Float64Array]
    upper: list[Float64Array]
    _reach: dict[tuple[int, int], Float64Array] = field(default_factory=dict)

    def magnitude(self, layer: int) -> Float64Array:
        """Bounds of the absolute values of a layer."""
        return np.maximum(np.abs(self.lower[layer]), np.abs(self.upper[layer]))

    def note_reach(self, layer: int, reaches: list[Float64Array]) -> None:
        """Keep what `reach` would compute for the terms of a layer."""
        self._reach |= {(layer, term): reach for term, reach in enumerate(reaches)}

    def reach(self, layer: int, affine: Affine, term: int) -> Float64Array:
        """Bounds of abs(matrix) @ abs(value) of a term of an affine layer, without rounding errors."""
        key = layer, term
        if key not in self._reach:
            self._reach[key] = affine.absolute[term] @ self.magnitude(affine.terms[term][0])
        return self._reach[key]


@dataclass(frozen=True, eq=False)
class Relaxation:
    """A network over a part of the region, in one arithmetic."""

    network: CheckedNetwork
    part: CheckedPart
    arithmetic: Arithmetic
    bounds: LayerBounds

    def minimum(self, layer: int, rows: Float64Array, choices: Choices) -> Float64Array:
        """Floats that do not exceed min {row . value(layer)} over the part and the imposed phases, [rows]."""
        return self.least(layer, _any(self.arithmetic).exactly(rows), [], choices)

    def least(self, layer: int, numbers: Any, offsets: list[Any], choices: Choices) -> Float64Array:
        """The same for rows and offsets that are numbers of the arithmetic, [rows]."""
        descent = _Descent(self, choices)
        descent.parts.extend(offsets)
        descent.put(layer, numbers)
        for k in range(layer, 0, -1):
            if k in descent.pending:
                descent.pass_layer(k)
        descent.parts.append(descent.arithmetic.region(descent.pending[0], self.part))
        least: Float64Array = descent.arithmetic.at_least(descent.arithmetic.total(descent.parts))
        return least


def _any(arithmetic: Arithmetic) -> Any:
    """Numbers of one arithmetic are never mixed with those of the other: no type says so."""
    return arithmetic


class _Descent:
    """Coefficients on their way from a layer to the input."""

    def __init__(self, relaxation: Relaxation, choices: Choices) -> None:
        self.network = relaxation.network
        self.bounds = relaxation.bounds
        self.arithmetic = _any(relaxation.arithmetic)
        self.choices = choices
        self.pending: dict[int, Any] = {}
        self.parts: list[Any] = []

    def put(self, layer: int, numbers: Any) -> None:
        """Add coefficients of a layer."""
        known = self.pending.get(layer)
        if known is not None:
            numbers, charge = self.arithmetic.add(known, numbers, self.bounds.magnitude(layer))
            self.parts.append(charge)
        self.pending[layer] = numbers

    def pass_layer(self, k: int) -> None:
        """Exchange the coefficients of a layer for coefficients of its sources."""
        numbers = self.pending.pop(k)
        moving = self.arithmetic.support(numbers)
        some = self.arithmetic.columns(numbers, moving)
        low, up = self.bounds.lower[k][moving], self.bounds.upper[k][moving]
        rows = self.arithmetic.middle(some)
        layer = self.network.layers[k]
        match layer:
            case Relu(source=source, size=size):
                phases = self.choices.phases.get(k)
                low, up = (side[..., moving] for side in imposed(self.bounds, source, phases))
                kept = through_relu(rows, low, up, self.choices.at(k, moving))
                self.parts.append(self.arithmetic.relu(some, kept, low, up))
                everything = np.zeros((len(rows), size))
                everything[:, moving] = kept
                self.put(source, self.arithmetic.exactly(everything))
            case MaxPool(source=source) as pool:
                matrix, sure = self._winners(pool, moving)
                kept = np.where(sure | (rows > 0), rows, 0.0)
                self.parts.append(self.arithmetic.rest(some, kept, low, up))
                reach = matrix @ self.bounds.magnitude(source)
                self._put_product(source, kept, matrix, 0.0, reach)
            case Affine(terms=terms, bias=bias, relative_error=relative, bias_error=error):
                self.parts.append(self.arithmetic.rest(some, rows, low, up))
                self.parts.append(
                    self.arithmetic.dot(rows, bias[moving], None if error is None else error[moving])
                )
                for term, (source, matrix) in enumerate(terms):
                    reach = self.bounds.reach(k, layer, term)
                    part = matrix if len(moving) == layer.size else matrix[moving]
                    self._put_product(source, rows, part, relative, reach[moving])
            case _:
                raise AssertionError("the input is never passed")

    def _put_product(
        self, source: int, rows: Float64Array, matrix: sparse.csr_array, relative: float, reach: Float64Array
    ) -> None:
        values = self.bounds.magnitude(source)
        numbers, charge = self.arithmetic.product(rows, matrix, relative, reach, values)
        self.parts.append(charge)
        self.put(source, numbers)

    def _winners(self, pool: MaxPool, moving: IndexArray) -> tuple[sparse.csr_array, NDArray[np.bool_]]:
        """For each window the entry of the largest lower bound, as a matrix, and whether it surely wins.

        y >= x_j for any entry j, and y = x_j for a sure winner.
        """
        windows = pool.windows[moving]
        low, up = self.bounds.lower[pool.source][windows], self.bounds.upper[pool.source][windows]
        place = np.arange(len(windows))
        winner = windows[place, low.argmax(axis=1)]
        others = np.where(windows == winner[:, None], -np.inf, up).max(axis=1)
        size = self.network.layers[pool.source].size
        matrix = sparse.csr_array((np.ones(len(place)), (place, winner)), shape=(len(place), size))
        return matrix, low.max(axis=1) >= others


def imposed(
    bounds: LayerBounds, source: int, phases: NDArray[np.int8] | None
) -> tuple[Float64Array, Float64Array]:
    """Bounds of the arguments of a ReLU layer, cut at 0 where a phase is imposed."""
    low, up = bounds.lower[source], bounds.upper[source]
    if phases is None:
        return low, up
    return np.where(phases > 0, np.maximum(low, 0.0), low), np.where(phases < 0, np.minimum(up, 0.0), up)


def through_relu(
    rows: Float64Array, low: Float64Array, up: Float64Array, chosen: LayerChoices
) -> Float64Array:
    """Coefficients of the arguments of a ReLU layer: c of the module's text, [rows, neurons]."""
    open_ = (low < 0) & (up > 0) & np.isfinite(low) & np.isfinite(up)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        chord = np.where(open_, up / (up - low), 0.0)
    lower = np.where(up > -low, 1.0, 0.0) if chosen.slopes is None else chosen.slopes
    kept = np.where(low >= 0, rows, 0.0)
    kept = np.where(open_, np.where(rows >= 0, lower, chord) * rows, kept)
    if chosen.phases is None or chosen.multipliers is None:
        return np.asarray(kept)
    kept = np.where(chosen.phases > 0, rows - chosen.multipliers, kept)
    return np.asarray(np.where(chosen.phases < 0, chosen.multipliers, kept))


def bound_layers(
    network: CheckedNetwork,
    part: CheckedPart,
    arithmetic: Arithmetic,
    refined: Mapping[int, IndexArray],
    *,
    between: Callable[[], None] = lambda: None,
) -> LayerBounds:
    """Bounds of every layer: from its sources' bounds, and by substitution for the `refined` neurons.

    Args:
        network: the network.
        part: where.
        arithmetic: how.
        refined: for arguments of ReLUs (layer positions), neurons whose open signs are worth a substitution.
        between: called before each batch of substitutions; may raise to end them.
    """
    bounds = LayerBounds([part.lower], [part.upper])
    for k, layer in enumerate(network.layers[1:], start=1):
        match layer:
            case Relu(source=source):
                low, up = np.maximum(bounds.lower[source], 0.0), np.maximum(bounds.upper[source], 0.0)
            case MaxPool(source=source, windows=windows):
                low = bounds.lower[source][windows].max(axis=1)
                up = bounds.upper[source][windows].max(axis=1)
            case Affine() as affine:
                low, up = _from_sources(affine, part, bounds, arithmetic)
            case _:
                raise AssertionError("the input comes first")
        bounds.lower.append(low)
        bounds.upper.append(up)
        if k in refined:
            _refine(Relaxation(network, part, arithmetic, bounds), k, refined[k], between)
    return bounds


def _from_sources(
    layer: Affine, part: CheckedPart, bounds: LayerBounds, arithmetic: Arithmetic
) -> tuple[Float64Array, Float64Array]:
    """Bounds of an affine layer over the boxes of its sources, and over the region if that is its source."""
    sides = [
        (matrix, absolute, bounds.lower[source], bounds.upper[source])
        for (source, matrix), absolute in zip(layer.terms, layer.absolute, strict=True)
    ]
    low, up, reaches = arithmetic.box(sides, layer.bias, layer.relative_error, layer.bias_error)
    bounds.note_reach(len(bounds.lower), reaches)
    if part.is_box or [source for source, _ in layer.terms] != [0]:
        return low, up
    ball = [_over_region(sign, layer, part, bounds, arithmetic) for sign in (1.0, -1.0)]
    return np.maximum(low, ball[0]), np.minimum(up, -ball[1])


def _over_region(
    sign: float, layer: Affine, part: CheckedPart, bounds: LayerBounds, arithmetic: Arithmetic
) -> Float64Array:
    """Lower bounds of sign times an affine layer of the input, [size]."""
    exact, values = _any(arithmetic), bounds.magnitude(0)
    matrix, reach = layer.terms[0][1], layer.absolute[0] @ values
    least = []
    for first in range(0, layer.size, ROWS):
        count = min(ROWS, layer.size - first)
        rows = sign * np.eye(count, layer.size, k=first)
        form, charge = exact.product(rows, matrix, layer.relative_error, reach, values)
        offset = exact.dot(rows, layer.bias, layer.bias_error)
        least.append(exact.at_least(exact.total([exact.region(form, part), offset, charge])))
    return np.concatenate(least)


def _refine(relaxation: Relaxation, k: int, neurons: IndexArray, between: Callable[[], None]) -> None:
    """Tighten the bounds of neurons whose sign is open, in place."""
    bounds, size = relaxation.bounds, relaxation.network.layers[k].size
    neurons = neurons[(bounds.lower[k][neurons] < 0) & (bounds.upper[k][neurons] > 0)]
    for first in range(0, len(neurons), ROWS):
        between()
        some = neurons[first : first + ROWS]
        rows = np.zeros((len(some), size))
        rows[np.arange(len(some)), some] = 1.0
        low = relaxation.minimum(k, rows, Choices())
        up = -relaxation.minimum(k, -rows, Choices())
        bounds.lower[k][some] = np.maximum(bounds.lower[k][some], low)
        bounds.upper[k][some] = np.minimum(bounds.upper[k][some], up)
