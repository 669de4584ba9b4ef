"""The proof of a lower bound, checked: leaves cover the region, and each excludes its polytope."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from scipy import sparse

from mipverify.certificate.content import Content, neurons_of
from mipverify.certificate.float_arithmetic import TINY
from mipverify.certificate.format import CertificateError
from mipverify.certificate.network import CheckedNetwork, Relu
from mipverify.certificate.region import CheckedPart
from mipverify.certificate.relaxation import Arithmetic, Choices, Relaxation, bound_layers, imposed
from mipverify.certificate.rounding import deployed_error
from mipverify.certificate.trees import PhaseLeaf, PhaseTrees, box_leaves
from mipverify.graph.operators import Float64Array, IndexArray

LEAVES = 64  # bounded together
SLOPE_STEPS = 255.0  # slopes are k / 255


@dataclass(eq=False)
class ProofReport:
    """What was found out about a proof.

    Attributes:
        leaves: number of leaves that were looked at.
        failed: those that do not exclude their polytope.
        margin: the smallest margin by which a polytope is missed, in output units.
        deployed: whether every margin exceeds the error of float32 arithmetic, too.
    """

    leaves: int = 0
    failed: int = 0
    margin: float = float("inf")
    deployed: bool = True


@dataclass(frozen=True, eq=False)
class _Leaf:
    """A leaf of a tree over phases, its polytope, and its place in the arrays."""

    phases: PhaseLeaf
    polytope: int
    position: int
    first: int  # of its multipliers


@dataclass(eq=False)
class ProofChecker:
    """Goes over all leaves of a certificate.

    Attributes:
        network, content: what is claimed of what.
        arithmetic: how sums are formed.
    """

    network: CheckedNetwork
    content: Content
    arithmetic: Arithmetic
    report: ProofReport = field(default_factory=ProofReport)

    def run(self) -> ProofReport:
        """Check every leaf of every polytope of every box.

        Raises:
            CertificateError: the proof is malformed; leaves that fail are counted instead.
        """
        content, network = self.content, self.network
        self.slope_layer, self.slope_neuron = neurons_of(content, network, "slope")
        self.slopes = content.array("slopes")
        self.multipliers = content.array("multipliers").astype(np.float64)
        self.weights = content.array("weights").astype(np.float64)
        self._check_numbers()
        refined = self._refined()
        trees = PhaseTrees(*neurons_of(content, network, "split"))
        place = _Place()
        axis = content.array("box_axis").astype(np.int64)
        for part in box_leaves(content.region.whole(), axis, content.array("box_value")):
            self._check_box(part, refined, trees, place)
        trees.finish()
        if place.leaf != len(self.slopes) or place.multiplier != len(self.multipliers):
            raise CertificateError("there are more slopes or multipliers than leaves that use them")
        return self.report

    def _check_numbers(self) -> None:
        leaves = len(self.slopes)
        rows = int(np.bincount(self.content.unsafe.owner).max())
        if self.slopes.shape[1] != self.slope_layer.size or self.weights.shape != (leaves, rows):
            raise CertificateError("slopes or weights do not have the size that they need")
        pairs = np.stack([self.slope_layer, self.slope_neuron])
        if np.unique(pairs, axis=1).shape != pairs.shape:
            raise CertificateError("a neuron has two slopes")
        for name in ("multipliers", "weights"):
            numbers = getattr(self, name)
            if not (np.isfinite(numbers).all() and (numbers >= 0).all()):
                raise CertificateError(f"{name} must be finite and not negative")

    def _refined(self) -> dict[int, IndexArray]:
        """Neurons to be bounded by substitution, by the position of the layer that they are the value of."""
        layer, neuron = neurons_of(self.content, self.network, "refined")
        result: dict[int, IndexArray] = {}
        for k in np.unique(layer).tolist():
            relu = self.network.layers[k]
            assert isinstance(relu, Relu)
            some = np.unique(neuron[layer == k])
            result[relu.source] = np.union1d(result[relu.source], some) if relu.source in result else some
        return result

    def _check_box(
        self, part: CheckedPart, refined: dict[int, IndexArray], trees: PhaseTrees, place: _Place
    ) -> None:
        leaves = self._leaves(trees, place)
        if part.empty:
            for _ in leaves:  # nothing is in there, but what was written of it is still read
                pass
            return
        bounds = bound_layers(self.network, part, self.arithmetic, refined)
        relaxation = Relaxation(self.network, part, self.arithmetic, bounds)
        error = deployed_error(self.network, bounds)
        while batch := list(islice(leaves, LEAVES)):
            self._check_leaves(batch, relaxation, error)

    def _leaves(self, trees: PhaseTrees, place: _Place) -> Iterator[_Leaf]:
        """The leaves of one tree a polytope."""
        for polytope in range(self.content.unsafe.count):
            for phases in trees.next_tree():
                yield _Leaf(phases, polytope, place.leaf, place.multiplier)
                place.leaf += 1
                place.multiplier += len(phases.imposed)

    def _check_leaves(self, batch: list[_Leaf], relaxation: Relaxation, error: Float64Array) -> None:
        if batch[-1].position >= len(self.slopes):
            raise CertificateError("there are fewer slopes than leaves")
        choices = self._choices(batch)
        void = self._contradicts_bounds(choices, relaxation)
        weights = self._rows(batch)
        arithmetic: Any = self.arithmetic
        unsafe = self.content.unsafe
        output = len(self.network.layers) - 1
        with np.errstate(over="ignore", invalid="ignore"):
            values = relaxation.bounds.magnitude(output)
            reach = np.abs(unsafe.matrix) @ values
        forms, charge = arithmetic.product(weights, sparse.csr_array(-unsafe.matrix), 0.0, reach, values)
        offset = arithmetic.dot(weights, unsafe.offset, None)
        least = relaxation.least(output, forms, [offset, charge], choices)
        margins = np.where(void, np.inf, least)
        rounding = (weights @ np.abs(unsafe.matrix) + TINY) @ error * (1 + 1e-9)
        self.report.leaves += len(batch)
        self.report.failed += int((~(margins > 0)).sum())
        self.report.margin = min(self.report.margin, float(margins.min()))
        self.report.deployed &= bool((margins > rounding).all())

    def _rows(self, batch: list[_Leaf]) -> Float64Array:
        """The weights of the rows of each leaf's polytope among all rows, [leaves, rows]."""
        unsafe = self.content.unsafe
        weights = np.zeros((len(batch), len(unsafe.offset)))
        for k, leaf in enumerate(batch):
            own = unsafe.rows(leaf.polytope)
            weights[k, own] = self.weights[leaf.position, : len(own)]
        return weights

    def _choices(self, batch: list[_Leaf]) -> Choices:
        """Slopes, phases and multipliers of some leaves, [leaves, neurons] a layer."""
        count = len(batch)
        known = self.slopes[[leaf.position for leaf in batch]] / SLOPE_STEPS
        slopes: dict[int, Float64Array] = {}
        for k in np.unique(self.slope_layer).tolist():
            here = self.slope_layer == k
            full = np.zeros((count, self.network.layers[k].size))
            full[:, self.slope_neuron[here]] = known[:, here]
            slopes[k] = full
        sizes = {
            layer: self.network.layers[layer].size for leaf in batch for layer, _, _ in leaf.phases.imposed
        }
        phases = {layer: np.zeros((count, size), dtype=np.int8) for layer, size in sizes.items()}
        multipliers = {layer: np.zeros((count, size)) for layer, size in sizes.items()}
        for k, leaf in enumerate(batch):
            own = self.multipliers[leaf.first : leaf.first + len(leaf.phases.imposed)]
            if len(own) != len(leaf.phases.imposed):
                raise CertificateError("there are fewer multipliers than imposed phases")
            for (layer, neuron, phase), value in zip(leaf.phases.imposed, own.tolist(), strict=True):
                phases[layer][k, neuron], multipliers[layer][k, neuron] = phase, value
        return Choices(slopes, phases, multipliers)

    def _contradicts_bounds(self, choices: Choices, relaxation: Relaxation) -> Any:
        """Leaves whose imposed phases the bounds rule out: nothing is in there, [leaves]."""
        void = np.zeros(1, dtype=np.bool_)
        for k, phases in choices.phases.items():
            layer = self.network.layers[k]
            assert isinstance(layer, Relu)
            low, up = imposed(relaxation.bounds, layer.source, phases)
            void = void | (low > up).any(axis=1)
        return void


@dataclass(eq=False)
class _Place:
    """How many leaves and multipliers have been used."""

    leaf: int = 0
    multiplier: int = 0
