r"""VariableMap: what the columns of an encoded program stand for, and their values at an input.

Every column is normalised, \(v = (\text{value} - \text{shift}) / \text{unit}\) with a power of two as
unit, so that it ranges over an interval of length at most 1 (inputs: at most 2) whatever the radius and
the weights; powers of two round nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.problem.grid import Grid
from mipverify.problem.region import Ball


@dataclass(frozen=True, eq=False)
class Trace:
    """One forward pass: the input a, the value of every node there, and the margins of the polytopes.

    Attributes:
        a: [n].
        values: one array [size] a node.
        margins: margin of each encoded polytope at f(a), [polytopes].
    """

    a: Float64Array
    values: Sequence[Float64Array]
    margins: Float64Array


class Block(Protocol):
    """Columns of one kind, one after the other."""

    @property
    def columns(self) -> IndexArray:
        """Their positions, ascending and contiguous."""
        ...

    def values_at(self, trace: Trace) -> Float64Array:
        """Their values in a forward pass, [columns]."""
        ...

    def labels(self) -> list[str]:
        """A readable name for each."""
        ...


@dataclass(frozen=True, eq=False)
class InputBlock:
    """v_i = max(sign * (a_i - center_i), 0) / unit (sign 1 or -1), or (a_i - center_i) / unit (sign 0)."""

    columns: IndexArray
    features: IndexArray
    center: Float64Array  # of these features
    unit: float
    sign: int

    def values_at(self, trace: Trace) -> Float64Array:
        """Displacements of the features."""
        displacement = (trace.a[self.features] - self.center) / self.unit
        return displacement if self.sign == 0 else np.maximum(self.sign * displacement, 0.0)

    def labels(self) -> list[str]:
        """x_i for displacements, xp_i and xn_i for their positive and negative parts."""
        prefix = {0: "x", 1: "xp", -1: "xn"}[self.sign]
        return [f"{prefix}_{i}" for i in self.features]


@dataclass(frozen=True, eq=False)
class GridBlock:
    """v_i = k - k': how many steps of its grid a feature is from the one nearest to the centre."""

    columns: IndexArray
    features: IndexArray
    grid: Grid
    base: Float64Array  # k' of these features

    def values_at(self, trace: Trace) -> Float64Array:
        """Steps of the features."""
        return np.asarray(self.grid.steps(trace.a)[self.features] - self.base)

    def labels(self) -> list[str]:
        """k_i."""
        return [f"k_{i}" for i in self.features]


@dataclass(frozen=True, eq=False)
class RadiusBlock:
    """One column: the largest displacement, max_i |a_i - center_i| / unit."""

    columns: IndexArray
    center: Float64Array
    unit: float

    def values_at(self, trace: Trace) -> Float64Array:
        """The radius of the smallest linf ball that holds a."""
        return np.array([np.abs(trace.a - self.center).max(initial=0.0) / self.unit])

    def labels(self) -> list[str]:
        """The name of the radius."""
        return ["radius"]


@dataclass(frozen=True, eq=False)
class SupportBlock:
    """v_g = 1 if some feature of pixel g differs from the centre, else 0."""

    columns: IndexArray
    pixels: IndexArray  # that these columns stand for, ascending
    owner: IndexArray  # pixel of every feature of the input
    center: Float64Array  # of all features

    def values_at(self, trace: Trace) -> Float64Array:
        """Which pixels are changed."""
        changed = np.isin(self.pixels, self.owner[trace.a != self.center])
        return changed.astype(np.float64)

    def restore(self, a: Float64Array, point: Float64Array) -> Float64Array:
        """The input a with the pixels that are not chosen in a column vector put back to the centre, [n]."""
        kept = np.isin(self.owner, self.pixels[point[self.columns] > 0.5])
        return np.where(kept, a, self.center)

    def labels(self) -> list[str]:
        """s_pixel."""
        return [f"s_{g}" for g in self.pixels]


@dataclass(frozen=True, eq=False)
class ValueBlock:
    """v = (value of a neuron - shift) / unit."""

    columns: IndexArray
    node: int
    neurons: IndexArray
    shift: Float64Array
    unit: Float64Array

    def values_at(self, trace: Trace) -> Float64Array:
        """Normalised values of the neurons."""
        return np.asarray((trace.values[self.node][self.neurons] - self.shift) / self.unit)

    def labels(self) -> list[str]:
        """y_node_neuron."""
        return [f"y_{self.node}_{i}" for i in self.neurons]


@dataclass(frozen=True, eq=False)
class PartBlock:
    """v = max(sign * h, 0) / unit: the positive or the negative part of a pre-activation h."""

    columns: IndexArray
    relu: int
    argument: int
    neurons: IndexArray
    unit: Float64Array
    sign: int

    def values_at(self, trace: Trace) -> Float64Array:
        """Normalised parts of the pre-activations."""
        return np.asarray(np.maximum(self.sign * trace.values[self.argument][self.neurons], 0.0) / self.unit)

    def labels(self) -> list[str]:
        """z_node_neuron for positive parts (the activations), s_node_neuron for negative ones."""
        prefix = "z" if self.sign > 0 else "s"
        return [f"{prefix}_{self.relu}_{i}" for i in self.neurons]


@dataclass(frozen=True, eq=False)
class PhaseBlock:
    """v = 1 if h >= 0, else 0: the phases of unstable neurons.

    `rows` are the positions of their rows z - s = h, `positive` and `negative` the columns z and s.
    """

    columns: IndexArray
    relu: int
    argument: int
    neurons: IndexArray
    rows: IndexArray
    positive: IndexArray
    negative: IndexArray

    def values_at(self, trace: Trace) -> Float64Array:
        """Phases of the neurons."""
        return (trace.values[self.argument][self.neurons] >= 0).astype(np.float64)

    def labels(self) -> list[str]:
        """b_node_neuron."""
        return [f"b_{self.relu}_{i}" for i in self.neurons]


@dataclass(frozen=True, eq=False)
class WinnerBlock:
    """v = 1 for one largest candidate of each pooling window, else 0."""

    columns: IndexArray
    pool: int
    argument: int
    windows: IndexArray  # which window (output neuron) a column belongs to, ascending
    candidates: IndexArray  # neuron of `argument` it stands for

    def values_at(self, trace: Trace) -> Float64Array:
        """Selectors of the windows: the first largest candidate of each."""
        candidates = trace.values[self.argument][self.candidates]
        starts = np.flatnonzero(np.diff(self.windows, prepend=-1))
        largest = np.maximum.reduceat(candidates, starts)
        group = np.cumsum(np.diff(self.windows, prepend=self.windows[0]) != 0)
        winners = np.flatnonzero(candidates >= largest[group])
        _, first = np.unique(group[winners], return_index=True)
        result = np.zeros(candidates.size)
        result[winners[first]] = 1.0
        return result

    def labels(self) -> list[str]:
        """w_node_window_candidate."""
        return [f"w_{self.pool}_{i}_{j}" for i, j in zip(self.windows, self.candidates, strict=True)]


@dataclass(frozen=True, eq=False)
class TargetBlock:
    """v_k = 1 for the polytope with the largest margin, else 0."""

    columns: IndexArray
    polytopes: tuple[int, ...]  # positions in the query's unsafe set
    position: IndexArray  # and among the margins of a trace

    def values_at(self, trace: Trace) -> Float64Array:
        """Selectors of the polytopes."""
        result = np.zeros(self.columns.size)
        result[int(np.argmax(trace.margins[self.position]))] = 1.0
        return result

    def labels(self) -> list[str]:
        """target_k."""
        return [f"target_{k}" for k in self.polytopes]


@dataclass(frozen=True, eq=False)
class MarginBlock:
    """One column: (the largest margin - shift) / unit."""

    columns: IndexArray
    shift: float
    unit: float

    def values_at(self, trace: Trace) -> Float64Array:
        """The margin."""
        return np.array([(float(trace.margins.max()) - self.shift) / self.unit])

    def labels(self) -> list[str]:
        """The name of the margin."""
        return ["margin"]


@dataclass(frozen=True, eq=False)
class VariableMap:
    """The blocks of columns of a program, in order."""

    blocks: tuple[Block, ...]

    def values_at(self, trace: Trace) -> Float64Array:
        """The whole column vector of a forward pass, [columns]."""
        return np.concatenate([np.empty(0), *(block.values_at(trace) for block in self.blocks)])

    def input_of(self, point: Float64Array, region: Ball) -> Float64Array:
        """The input a that a column vector stands for, clipped into the box of its region, [n]."""
        a = region.center.copy()
        for block in self.blocks:
            if isinstance(block, InputBlock):
                a[block.features] += (block.sign or 1) * block.unit * point[block.columns]
        for block in self.blocks:
            if isinstance(block, SupportBlock):
                a = block.restore(a, point)
        box = region.box()
        clipped = np.clip(a, box.lower, box.upper)
        return clipped if region.grid is None else np.clip(region.grid.snap(clipped), box.lower, box.upper)

    def names(self) -> tuple[str, ...]:
        """A readable name for every column."""
        return tuple(label for block in self.blocks for label in block.labels())

    @property
    def num_open(self) -> int:
        """Number of ReLU neurons encoded with an open phase."""
        return sum(block.columns.size for block in self.blocks if isinstance(block, PhaseBlock))
