"""Bounds at the nodes: linear relaxation with slopes and multipliers of imposed phases (beta-CROWN).

For a node with phases imposed, minus the margin of its target is bounded from below by the Lagrangian of
the relaxed problem in the imposed inequalities (Wang et al. 2021); for a target of several rows, which all
have to be reached, so is any convex combination of the rows. Slopes, multipliers, weights of rows and
planes are searched in single precision by projected gradient ascent; a node is closed only by
one more pass in double precision that covers its rounding errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mipverify.bounds.ascent import ProjectedAdam
from mipverify.bounds.interval import magnitude_of
from mipverify.bounds.precision import in_precision
from mipverify.bounds.relaxation import RowLines
from mipverify.bounds.state import PropagationState
from mipverify.bounds.substitution import BackwardPass
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.search.nodes import Nodes
from mipverify.search.open_neurons import OpenNeurons, open_neurons
from mipverify.search.target_planes import TargetPlanes, no_planes
from mipverify.search.targets import Targets

CHOICES = 4  # neurons looked at before one is split
HOPEFUL = 0.2  # gain of the last stretch, as a share of what is missing, for which a node gets another
BELOW = 1e-4  # factor on the score of neurons that come last
TIE_BREAK = 0.01  # share of the largest possible loss in a neuron's score


@dataclass(frozen=True)
class NodeOptions:
    """Effort at a node.

    Attributes:
        steps: gradient steps on slopes, multipliers, weights and planes.
        rate: first step size.
        decay: factor on the step size after each step.
        stretch: steps between looks at which nodes that are closed, or whose last gain is less than `HOPEFUL`
            of what they miss, are let go; None for no such looks.
        gentle: whether the first steps are small ones, see `ProjectedAdam`.
    """

    steps: int = 5
    rate: float = 0.2
    decay: float = 0.9
    stretch: int | None = None
    gentle: bool = False


@dataclass(frozen=True, eq=False)
class Attained:
    """Where the relaxations of nodes are smallest, nearly, and what is true there.

    Attributes:
        points: inputs, [nodes, n].
        values: minus the margin of each node's target at its point, [nodes].
    """

    points: Tensor
    values: Tensor

    def put(self, index: Tensor, other: Attained) -> Attained:
        """The same with other nodes' in the places `index`."""
        return Attained(
            self.points.index_copy(0, index, other.points), self.values.index_copy(0, index, other.values)
        )

    def better(self, other: Attained) -> Attained:
        """For each node the point whose value is smaller."""
        mine = self.values <= other.values
        points = torch.where(mine[:, None], self.points, other.points)
        return Attained(points, torch.where(mine, self.values, other.values))


class NodeBounds:
    """Bounds the nodes of one sample.

    Args:
        exact: bounds of the region in float64, of one sample.
        single: the same network in float32, for the search.
        targets: what is bounded, in float64.
        planes: found for the targets on the same bounds, or None to go without.
        position: node whose value the targets speak of, by default the output.
        above_first: whether neurons are split first whose relaxation from above the form goes over.
    """

    def __init__(
        self,
        exact: PropagationState,
        single: TorchNetwork,
        targets: Targets,
        planes: TargetPlanes | None = None,
        *,
        position: int | None = None,
        above_first: bool = False,
    ) -> None:
        self.exact = exact
        self.fast = in_precision(exact, single)
        self.output = single.graph.output if position is None else position
        self.open_exact = open_neurons(exact, below=self.output)
        self.open_fast = self.open_exact.to(single.dtype)
        self.above_first = above_first
        self.targets = targets
        self.fast_targets = targets.to(single.dtype)
        self.planes = no_planes(targets.constants) if planes is None else planes
        self.fast_planes = self.planes.to(single.dtype)

    @property
    def numbers(self) -> int:
        """Numbers that move at a node."""
        return 2 * self.count + int(self.planes.start.shape[1])

    @property
    def count(self) -> int:
        """Number of neurons that can be split."""
        return self.open_exact.count

    def roots(self, target: Tensor) -> Nodes:
        """A node without imposed phases for each given target."""
        shape = (len(target), self.count)
        held = self.open_fast
        known = self.fast_planes.slopes
        slopes = 0.1 + 0.8 * held.adaptive.expand(shape)
        if known:
            columns = zip(held.positions, held.split(slopes).values(), strict=True)
            slopes = torch.cat([known[k][target] if k in known else own for k, own in columns], dim=1)
        zeros = torch.zeros_like(slopes)
        return Nodes(
            target,
            zeros.to(torch.int8),
            slopes,
            zeros,
            self.fast_planes.start[target],
            self.fast_targets.even_weights()[target],
            zeros.new_full((len(target),), -float("inf")),
            torch.full((len(target), CHOICES), -1, dtype=torch.int64, device=target.device),
        )

    def quick(self, nodes: Nodes) -> Tensor:
        """Bounds with the multipliers of all kinds that the nodes came with, no claim, [nodes]."""
        with torch.no_grad():
            return self._pass(nodes)[0]

    def coefficients(self, nodes: Nodes) -> Tensor:
        """With which open neurons' values enter the nodes' forms, no claim, [nodes, open neurons]."""
        with torch.no_grad():
            return self._coefficients(nodes, self._pass(nodes)[1])

    def improve(self, nodes: Nodes, options: NodeOptions) -> tuple[Nodes, Attained]:
        """Nodes with better multipliers of all kinds and bounds; and what is true at their minima."""
        columns = {"slopes": 1.0, "multipliers": float("inf"), "weights": 1.0}
        if self.fast_targets.most_rows == 1:
            del columns["weights"]
        limits = [*columns.values(), *(1.0 for _ in self._parts(nodes))]
        # Each part of the planes moves on its own: gradients of slices would be copied once more.
        best = [*(getattr(nodes, name) for name in columns), *self._parts(nodes)]
        variables = [held.clone().requires_grad_(True) for held in best]
        best = [held.clone() for held in best]
        record = nodes.bound.new_full((len(nodes),), -float("inf"))
        ascent = ProjectedAdam(
            variables, rate=options.rate, decay=options.decay, limits=limits, gentle=options.gentle
        )
        moving, rows, before = nodes, torch.arange(len(nodes), device=record.device), record
        total = torch.zeros_like(self.fast.region.lower).repeat(len(nodes), 1)
        count = torch.zeros_like(record)
        for step in range(options.steps + 1):
            moved = replace(moving, **dict(zip(columns, variables, strict=False)))
            value, descent = self._pass(moved, variables[len(columns) :])
            now, points = value.detach(), self._minimisers(descent)
            if len(rows) == len(nodes):
                total, count = total + points, count + 1
            else:
                total, count = (
                    total.index_add(0, rows, points),
                    count.index_add(0, rows, torch.ones_like(now)),
                )
            better = now > record[rows]
            record = record.index_copy(0, rows, torch.where(better, now, record[rows]))
            _keep(best, variables, rows, better)
            if step == options.steps or not value.requires_grad or bool((record[rows] > 0).all()):
                break
            ascent.step(value[record[rows] <= 0].sum())
            if options.stretch is not None and (step + 1) % options.stretch == 0:
                hopeful = (record <= 0) & (record - before >= -HOPEFUL * record)
                before, kept = record, hopeful[rows].nonzero().squeeze(1)
                if not len(kept):
                    break
                if len(kept) < len(rows):
                    rows, moving = rows[kept], moving.take(kept)
                    variables = [held.detach()[kept].requires_grad_(True) for held in variables]
                    ascent.keep(kept, variables)
        found = dict(zip(columns, best, strict=False))
        if nodes.planes.shape[1]:
            found["planes"] = torch.cat(best[len(columns) :], dim=1)
        improved = replace(nodes, **found, bound=torch.maximum(record, nodes.bound))
        with torch.no_grad():
            return self._look(improved, total / count[:, None])

    def certify(self, nodes: Nodes) -> Tensor:
        """Which nodes hold no point of their target: bounds > 0 in float64, rounding covered, [nodes]."""
        double = nodes.in_range(torch.float64)
        low = self._rigorous(double)
        if self.targets.most_rows == 1:
            # The sign of a rounded sum of two numbers is the sign of their exact sum.
            return low > 0
        reach = magnitude_of(self.exact.lower[self.output][0], self.exact.upper[self.output][0])
        return low > self.targets.rounding(nodes.target, double.weights, reach)

    def floors(self, nodes: Nodes) -> Tensor:
        """Lower bounds of the forms of targets of one row, in float64, rounding covered, [nodes].

        Raises:
            ValueError: a target has several rows.
        """
        if self.targets.most_rows > 1:
            raise ValueError("bounds are certified for targets of one row")
        low = self._rigorous(nodes.in_range(torch.float64))
        return torch.nextafter(low, low.new_tensor(-float("inf")))

    def _rigorous(self, double: Nodes) -> Tensor:
        """Bounds in float64, rounding covered except for the sum of a target's forms and the last one."""
        lines = self._lines(double, self.open_exact, self.planes, rigorous=True)
        sample = torch.zeros_like(double.target)
        rows, constants = self.targets.combined(double.target, double.weights)
        with torch.no_grad():
            low = BackwardPass(self.exact, sample, lines=lines).run(self.output, rows)
        return low + constants

    def _parts(self, nodes: Nodes) -> list[Tensor]:
        """The numbers of the planes, part by part."""
        return list(torch.split(nodes.planes, list(self.planes.sizes), dim=1)) if self.planes.sizes else []

    def _pass(self, nodes: Nodes, parts: Sequence[Tensor] | None = None) -> tuple[Tensor, BackwardPass]:
        """A pass in single precision, with these parts of the planes in the place of the nodes'."""
        lines = self._lines(nodes, self.open_fast, self.fast_planes, parts, rigorous=False)
        sample = torch.zeros_like(nodes.target)
        descent = BackwardPass(self.fast, sample, lines=lines, rigorous=False)
        rows, constants = self.fast_targets.combined(nodes.target, nodes.weights)
        return descent.run(self.output, rows) + constants, descent

    def _lines(
        self,
        nodes: Nodes,
        held: OpenNeurons,
        planes: TargetPlanes,
        parts: Sequence[Tensor] | None = None,
        *,
        rigorous: bool,
    ) -> dict[int, RowLines]:
        lines = held.lines(nodes.phases, nodes.slopes, nodes.multipliers)
        open_ = held.split(nodes.phases == 0)
        parts = self._parts(nodes) if parts is None else parts
        found = planes.for_rows(nodes.target, parts, open_, rigorous=rigorous)
        for position, above in found.items():
            lines[position] = replace(lines[position], planes=above)
        return lines

    def _minimisers(self, descent: BackwardPass) -> Tensor:
        """Where the forms of a pass are smallest, [nodes, n]."""
        if descent.input_form is None:
            raise ValueError("the pass has not been run")
        return self.fast.region.minimisers(descent.input_form.detach(), descent.sample)

    def _look(self, nodes: Nodes, mean: Tensor) -> tuple[Nodes, Attained]:
        """The nodes with their choices, and what is true where their bounds are attained or at the mean.

        The better the multipliers, the more inputs have no influence on the form left, and its minimiser is
        a corner among many that says nothing. The mean of the minimisers of all steps comes near to
        the minimiser of the relaxed problem instead (Sherali and Choi 1996), and has the open neurons that
        cost the bound.
        """
        _, descent = self._pass(nodes)
        corner, middle = (self._attained(nodes, points) for points in (self._minimisers(descent), mean))
        attained = corner[0].better(middle[0])
        if not self.count:
            return nodes, attained
        return replace(nodes, choices=self._choices(nodes, descent, middle[1])), attained

    def _attained(self, nodes: Nodes, points: Tensor) -> tuple[Attained, Sequence[Tensor]]:
        """What is true at points [nodes, n], and the values of all nodes of the network there."""
        values = self.fast.network.activations(points)
        return Attained(points, self.fast_targets.values(nodes.target, values[self.output])), values

    def _choices(self, nodes: Nodes, descent: BackwardPass, values: Sequence[Tensor]) -> Tensor:
        """Neurons by what their relaxation costs the bound.

        That is the loss at the point where the bound is attained on the mean, relu(h) against the line that
        stands for it, h being the true pre-activation there. The largest loss over all points, in the manner
        of Bunel et al. (2020), only breaks ties: by itself it needs many times more nodes.

        Where slopes are good, a split of a neuron that enters with a positive coefficient gains next to
        nothing: its slope is the phase of one of the children already.
        """
        held, slopes = self.open_fast, nodes.slopes
        coefficient, pre = self._coefficients(nodes, descent), self._pre_activations(values)
        line = torch.where(coefficient > 0, slopes * pre, self._above(nodes, pre, values))
        loss = coefficient * (pre.clamp(min=0) - line)
        largest_below = torch.maximum(slopes * -held.low, (1 - slopes) * held.up)
        largest = coefficient.abs() * torch.where(coefficient > 0, largest_below, held.offset)
        score = loss + TIE_BREAK * largest
        if self.above_first:
            score = torch.where(coefficient > 0, BELOW * score, score)
        score = score.masked_fill(nodes.phases != 0, -1.0)
        scores, order = score.topk(min(CHOICES, self.count), dim=1)
        order = order.masked_fill(scores < 0, -1)
        missing = CHOICES - order.shape[1]
        return torch.nn.functional.pad(order, (0, missing), value=-1) if missing else order

    def _coefficients(self, nodes: Nodes, descent: BackwardPass) -> Tensor:
        held = self.open_fast
        parts = [descent.unstable_parts.get(position) for position in held.positions]
        columns = [
            part if part is not None else nodes.slopes.new_zeros(len(nodes), len(neurons))
            for part, neurons in zip(parts, held.neurons, strict=True)
        ]
        return torch.cat(columns, dim=1)

    def _above(self, nodes: Nodes, pre: Tensor, values: Sequence[Tensor]) -> Tensor:
        """Chords and planes above the open neurons at the values of the network, [nodes, open]."""
        held = self.open_fast
        above = held.split(held.chord * pre + held.offset)
        open_ = held.split(nodes.phases == 0)
        found = self.fast_planes.for_rows(nodes.target, self._parts(nodes), open_, rigorous=False)
        for position, planes in found.items():
            neurons, chord = planes.basis.neurons, above[position]
            plane = planes.values(values[planes.basis.source])
            mixed = torch.lerp(chord[:, neurons], plane, planes.share)
            above[position] = chord.index_copy(1, neurons, mixed)
        return torch.cat([above[position] for position in held.positions], dim=1)

    def _pre_activations(self, values: Sequence[Tensor]) -> Tensor:
        """Arguments of the open neurons, [nodes, open]."""
        graph, held = self.fast.network.graph, self.open_fast
        arguments = (values[graph.nodes[position].inputs[0]] for position in held.positions)
        picked = [value[:, neurons] for value, neurons in zip(arguments, held.neurons, strict=True)]
        return torch.cat(picked, dim=1)


def _keep(best: Sequence[Tensor], variables: Sequence[Tensor], rows: Tensor, better: Tensor) -> None:
    """Write variables of `rows` that have become better over the best ones known."""
    everything = len(rows) == len(best[0]) and bool(better.all())
    chosen = better.nonzero().squeeze(1)
    for held, variable in zip(best, variables, strict=True):
        if everything:
            held.copy_(variable.detach())
        elif len(chosen):
            held.index_copy_(0, rows[chosen], variable.detach()[chosen])
