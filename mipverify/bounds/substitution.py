"""Backward substitution: a lower bound of linear forms of one node, in terms of the input.

For rows r and the value v of node `start`, r . v is rewritten node by node towards the input: an affine
node by its exact transpose, a nonlinear one by the line below it where the coefficient is positive and
the line above it where it is negative (CROWN, Zhang et al. 2018; DeepPoly, Singh et al. 2019). What is
left is a linear form of the input, minimised over its region. Every step is charged with the a-priori
bound of its rounding error, so that the result holds in real arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import torch
from torch import Tensor

from mipverify.bounds.interval import magnitude_of
from mipverify.bounds.planes import Planes
from mipverify.bounds.relaxation import MaxPoolRelaxation, ReluRelaxation, RowLines
from mipverify.bounds.rounding import UNDERFLOW, gamma, outward, subtract_down, unit_roundoff
from mipverify.bounds.state import PropagationState
from mipverify.bounds.torch_network import convolve_transposed
from mipverify.bounds.unit_rows import convolution_rows
from mipverify.graph.operators import Add, Concat, Conv, Dense, Input, MaxPool, Relu, Scale, Select


class BackwardPass:
    """One batch of rows on its way from `start` to the input.

    After it, `unstable_parts` holds the coefficients that arrived at the unstable neurons of each ReLU
    node (one sample only), and `input_form` the linear form of the input that was minimised.

    Args:
        state: bounds, relaxations and charges of every node below `start`.
        sample: position of each row's sample in the batch, [rows].
        lines: lines of each row's own for some ReLU nodes, by position; only for a state of one sample.
        rigorous: whether rounding errors are charged; without it the result carries no claim.
    """

    def __init__(
        self,
        state: PropagationState,
        sample: Tensor,
        *,
        lines: Mapping[int, RowLines] | None = None,
        rigorous: bool = True,
    ) -> None:
        self.state = state
        self.sample = sample
        if lines and state.batch != 1:
            raise ValueError("lines per row need a state of one sample")
        self.lines = lines or {}
        self.rigorous = rigorous
        self.pending: dict[int, Tensor] = {}
        self.unstable_parts: dict[int, Tensor] = {}
        self.input_form: Tensor | None = None
        self.constant = state.lower[0].new_zeros(len(sample))
        self.error = torch.zeros_like(self.constant)

    def run(self, start: int, rows: Tensor, *, stop: int = 0) -> Tensor:
        """Lower bound of rows . (value of node `start`), [rows], for rows [rows, size].

        With `stop`, a node that all ways from `start` to the input lead through, the form is minimised over
        the intervals of that node.
        """
        self.pending[start] = rows
        return self._descend(start, stop)

    def run_units(self, start: int, neurons: Tensor, signs: Tensor) -> Tensor:
        """Lower bound of signs[k] * (neuron neurons[k] of node `start`), [rows]."""
        state = self.state
        node, held = state.network.graph.nodes[start], state.network.tensors[start]
        match node.op:
            case Dense():
                rows = held["weight"][neurons] * signs[:, None]
                bias = held["bias"][neurons]
            case Conv() as conv:
                rows = convolution_rows(conv, held["weight"], held["columns"], neurons, signs)
                bias = held["bias"][neurons // held["columns"].shape[0]]
            case _:
                ones = state.lower[0].new_zeros(len(neurons), node.size)
                return self.run(start, ones.scatter_(1, neurons[:, None], signs[:, None]))
        self._add_constant(bias * signs)
        self._charge_units(start, neurons)
        self._pass_on(node.inputs[0], rows)
        return self._descend(start - 1)

    def _descend(self, start: int, stop: int = 0) -> Tensor:
        for position in range(start, stop, -1):
            rows = self.pending.pop(position, None)
            if rows is not None:
                self._through(position, rows)
        form = self.pending.pop(stop, None)
        if form is None:
            form = self.constant.new_zeros(len(self.sample), self.state.network.graph.nodes[stop].size)
        self.input_form = form
        value = self.state.values_at(stop).minimise(form, self.sample)
        total = value + self.constant
        if not self.rigorous:
            return total
        u = unit_roundoff(total.dtype)
        error = self.error + 2 * u * (value.abs() + self.constant.abs())
        widest = max(node.size for node in self.state.network.graph.nodes)
        return subtract_down(total, outward(error, widest + 4 * len(self.state.lower) + 16))

    def _through(self, position: int, rows: Tensor) -> None:
        """Replace `rows` on the value of a node by rows on its arguments."""
        network = self.state.network
        node, held = network.graph.nodes[position], network.tensors[position]
        if not isinstance(node.op, Relu):
            self._charge(position, rows)
        match node.op:
            case Dense() | Conv() | Scale():
                self._through_weights(position, node.inputs[0], rows)
            case Select():
                self._add_constant(rows @ held["fill"])
                self._pass_on(node.inputs[0], self._scatter(rows, held["index"], node.inputs[0]))
            case Add(signs=signs):
                for sign, source in zip(signs, node.inputs, strict=True):
                    self._pass_on(source, rows if sign > 0 else -rows)
            case Concat(sizes=sizes):
                for source, part in zip(node.inputs, torch.split(rows, list(sizes), dim=1), strict=True):
                    self._pass_on(source, part)
            case Relu():
                self._through_relu(position, node.inputs[0], rows)
            case MaxPool():
                self._through_maxpool(position, node.inputs[0], rows)
            case Input():
                raise ValueError("rows stop at the input")
            case _:
                assert_never(node.op)

    def _through_weights(self, position: int, source: int, rows: Tensor) -> None:
        op, held = self.state.network.graph.nodes[position].op, self.state.network.tensors[position]
        match op:
            case Dense():
                self._add_constant(rows @ held["bias"])
                self._pass_on(source, rows @ held["weight"])
            case Conv():
                images = rows.reshape(len(rows), len(held["bias"]), -1)
                self._add_constant(images.sum(2) @ held["bias"])
                self._pass_on(source, convolve_transposed(op, rows, held["weight"]))
            case Scale():
                self._add_constant(rows @ held["shift"])
                self._pass_on(source, rows * held["scale"])
            case _:
                raise TypeError(f"{type(op).__name__} has no weights")

    def _through_relu(self, position: int, source: int, rows: Tensor) -> None:
        lines = self.state.relaxations[position]
        if not isinstance(lines, ReluRelaxation):
            raise TypeError(f"node {position} has no ReLU relaxation")
        if self.state.batch == 1:
            self._through_relu_of_one(position, lines, source, rows)
            return
        below, above = lines.lower_slope[self.sample], lines.upper_slope[self.sample]
        self._charge(position, rows)
        self._add_constant(self._dot(rows.clamp(max=0), lines.upper_offset))
        self._pass_on(source, torch.where(rows > 0, below, above) * rows)

    def _through_relu_of_one(self, position: int, lines: ReluRelaxation, source: int, rows: Tensor) -> None:
        """All rows belong to one sample: only its unstable columns need more than a mask."""
        unstable = lines.unstable(0)
        passed = rows * lines.lower_slope[0]
        if len(unstable):
            part = self.unstable_parts[position] = rows[:, unstable]
            offset = lines.upper_offset[0, unstable]
            own = self.lines.get(position)
            if own is None:
                own = RowLines(lines.lower_slope[0, unstable], lines.upper_slope[0, unstable], offset)
            kept = part if own.planes is None else self._over_planes(own.planes, part)
            onward = torch.where(part > 0, own.below, own.above) * kept
            if own.multiplier is not None:
                onward = onward + own.multiplier
            passed = passed.index_copy(1, unstable, onward)
            self._add_constant((kept.clamp(max=0) * own.offset).sum(1))
            if self.rigorous:
                # Stable columns are multiplied by 0 or 1, which is exact.
                reach = magnitude_of(self.state.lower[source][0], self.state.upper[source][0])[unstable]
                rate = gamma(len(unstable) + 16, rows.dtype)
                lost = UNDERFLOW * (reach.sum() + len(unstable))
                self.error = self.error + rate * (part.abs() @ (reach + offset)) + lost
                if own.multiplier is not None:
                    self.error = self.error + gamma(8, rows.dtype) * (onward.abs() @ reach)
        self._pass_on(source, passed)

    def _over_planes(self, planes: Planes, part: Tensor) -> Tensor:
        """What is left of the coefficients once the planes have carried their share, [rows, unstable]."""
        basis = planes.basis
        mine = part[:, basis.neurons]
        carried = mine.clamp(max=0) * planes.share
        form, constant = planes.carry(carried)
        self._add_constant(constant)
        self._pass_on(basis.source, form)
        if self.rigorous:
            self.error = self.error + basis.error(carried)
        return part.index_copy(1, basis.neurons, mine - carried)

    def _through_maxpool(self, position: int, source: int, rows: Tensor) -> None:
        lines = self.state.relaxations[position]
        if not isinstance(lines, MaxPoolRelaxation):
            raise TypeError(f"node {position} has no max-pool relaxation")
        negative = rows.clamp(max=0)
        self._add_constant(self._dot(negative, lines.upper_offset))
        scaled = negative * self.state.per_row(lines.upper_slope, self.sample)
        below = self.state.per_row(lines.below, self.sample).expand(rows.shape)
        above = self.state.per_row(lines.above, self.sample).expand(rows.shape)
        target = rows.new_zeros(len(rows), self.state.network.graph.nodes[source].size)
        target = target.scatter_add(1, below, rows.clamp(min=0)).scatter_add(1, above, scaled)
        self._pass_on(source, target)

    def _scatter(self, rows: Tensor, index: Tensor, source: int) -> Tensor:
        size = self.state.network.graph.nodes[source].size
        target = rows.new_zeros(len(rows), size + 1)
        return target.index_add(1, torch.where(index < 0, size, index), rows)[:, :size]

    def _dot(self, rows: Tensor, vector: Tensor) -> Tensor:
        """Row-wise product with a per-sample vector [batch, size]."""
        if self.state.batch == 1:
            return rows @ vector[0]
        return (rows * vector[self.sample]).sum(1)

    def _pass_on(self, source: int, rows: Tensor) -> None:
        known = self.pending.get(source)
        if known is None:
            self.pending[source] = rows
            return
        total = self.pending[source] = known + rows
        if self.rigorous:
            rounding = 2 * unit_roundoff(rows.dtype)
            reach = magnitude_of(self.state.lower[source], self.state.upper[source])
            self.error = self.error + rounding * self._dot(total.abs(), reach)

    def _add_constant(self, value: Tensor) -> None:
        self.constant = self.constant + value
        if self.rigorous:
            self.error = self.error + 2 * unit_roundoff(value.dtype) * self.constant.abs()

    def _charge(self, position: int, rows: Tensor) -> None:
        charge = self.state.charges.get(position)
        if self.rigorous and charge is not None:
            lost = self.state.per_row(charge.underflow, self.sample)
            self.error = self.error + self._dot(rows.abs(), charge.backward) + lost

    def _charge_units(self, position: int, neurons: Tensor) -> None:
        """One neuron each: its weights are read, not summed, but the import error counts."""
        if self.rigorous:
            charge = self.state.charges[position]
            per_sample = charge.backward[0 if self.state.batch == 1 else self.sample, neurons]
            self.error = self.error + per_sample
