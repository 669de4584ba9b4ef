"""Boxes through any network, by the bound propagation of `bounds`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import RegionBatch
from mipverify.bounds.state import PropagationState
from mipverify.bounds.substitution import BackwardPass
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.problem.region import Box, Polytope
from mipverify.search.box_bounds import BoxBounds, PullBack, RelaxedBoxes, no_forms
from mipverify.search.box_frontier import Boxes
from mipverify.search.clipping import CornerForms


class GraphBoxes(BoxBounds):
    """Bounds boxes inside one region, by linear relaxation in float64 on the network's device.

    Args:
        state: bounds over the whole region, a box, of one sample.
        polytopes: that the boxes may reach.
    """

    def __init__(self, state: PropagationState, polytopes: Sequence[Polytope]) -> None:
        if state.batch != 1 or not state.region.is_box:
            raise ValueError("a search over inputs starts from one box")
        self.network = state.network
        # Boxes are many and small: their rows share passes.
        self.propagator = Propagator(self.network, rows_alone=2**62)
        super().__init__(self.network.graph, region_of(state), polytopes)
        self.known = known_bounds(state, self.positions)

    def relax(self, boxes: Boxes) -> RelaxedBoxes:
        """Bounds by `Propagator`."""
        with torch.no_grad():
            state = self.state_of(boxes)
            forms = self._forms(state, boxes)
        lower = _gathered(state.lower, self.positions, len(boxes))
        upper = _gathered(state.upper, self.positions, len(boxes))
        return RelaxedBoxes(lower, upper, forms, self._losses(forms))

    def evaluate(self, points: Float64Array) -> tuple[Float64Array, PullBack]:
        """Rows at points, in float64."""
        with torch.enable_grad():
            here = self.network.tensor(points).requires_grad_(True)
            values = self.network(here) @ self.network.tensor(self.rows.rows).T
            values = values + self.network.tensor(self.rows.constants)

        def pull_back(weights: Float64Array) -> Float64Array:
            (slope,) = torch.autograd.grad(values, here, grad_outputs=self.network.tensor(weights))
            return np.asarray(slope.cpu().numpy())

        return np.asarray(values.detach().cpu().numpy()), pull_back

    def state_of(self, boxes: Boxes) -> PropagationState:
        """Bounds of every node over one box (or several)."""
        with torch.no_grad():
            return self.propagator.run(
                self._region(boxes), method=Method.LINEAR, known=self._known_state(boxes)
            )

    def _forms(self, state: PropagationState, boxes: Boxes) -> CornerForms:
        forms, rows = no_forms(boxes, self.rows.rows), self.network.tensor(self.rows.rows)
        samples, chosen = boxes.open[:, self.rows.owner].nonzero()
        for first in range(0, len(chosen), self.propagator.rows_at_once):
            part = slice(first, first + self.propagator.rows_at_once)
            sample, row = samples[part], chosen[part]
            descent = BackwardPass(state, self._index(sample))
            low = descent.run(self.network.graph.output, rows[self._index(row)]).cpu().numpy()
            if descent.input_form is None:
                raise ValueError("the pass has not been run")
            form = descent.input_form.cpu().numpy()
            total = np.nextafter(low + self.rows.constants[row], -np.inf)
            sound = np.isfinite(form).all(1) & np.isfinite(total)
            forms.least[sample, row] = np.where(sound, total, -np.inf)
            forms.slopes[sample, row] = np.where(sound[:, None], form, 0.0)
        return forms

    def _losses(self, forms: CornerForms) -> Float64Array:
        """A stand-in for what the relaxation loses along each input: more, the less of it was halved."""
        tiny = np.finfo(np.float64).tiny
        root = self.region.upper - self.region.lower
        width = forms.upper - forms.lower
        left = np.where(root > 0, width / root, 0.0)
        left = left / np.maximum(left.max(1, keepdims=True), tiny)
        effect = (np.abs(forms.slopes) * width[:, None]).max(2, keepdims=True)
        losses = effect * (left / np.maximum(width, tiny))[:, None]
        return np.asarray(np.nan_to_num(losses, nan=0.0, posinf=0.0, neginf=0.0))

    def _region(self, boxes: Boxes) -> RegionBatch:
        lower = self.network.tensor(boxes.lower)
        return RegionBatch(lower, self.network.tensor(boxes.upper), lower, None)

    def _known_state(self, boxes: Boxes) -> PropagationState:
        """The bounds that the boxes came with, as a state that linear relaxation has not been through."""
        lower, upper = self._scattered(boxes.known_lower, -1.0), self._scattered(boxes.known_upper, 1.0)
        methods = [torch.zeros(1, 1, dtype=torch.uint8, device=self.network.device)] * len(lower)
        return PropagationState(self.network, self._region(boxes), lower, upper, methods)

    def _scattered(self, columns: Float64Array, side: float) -> list[Tensor]:
        held = self.network.tensor(columns)
        bounds = [held.new_full((1, 1), side * float("inf"))] * len(self.network.graph.nodes)
        for position, part in zip(self.positions, torch.split(held, self.sizes, dim=1), strict=True):
            bounds[position] = part
        return bounds

    def _index(self, positions: IndexArray) -> Tensor:
        return torch.from_numpy(positions).to(self.network.device)


def region_of(state: PropagationState) -> Box:
    """The box of a state's only sample."""
    lower, upper = (side[0].cpu().numpy() for side in (state.region.lower, state.region.upper))
    return Box(np.asarray(lower), np.asarray(upper))


def known_bounds(state: PropagationState, positions: Sequence[int]) -> tuple[Float64Array, Float64Array]:
    """The bounds of the nodes at `positions` of the only sample of a state, in a row, [neurons] each."""
    return _gathered(state.lower, positions, 1)[0], _gathered(state.upper, positions, 1)[0]


def _gathered(bounds: Sequence[Tensor], positions: Sequence[int], count: int) -> Float64Array:
    if not positions:
        return np.zeros((count, 0))
    return np.asarray(torch.cat([bounds[position] for position in positions], dim=1).cpu().numpy())
