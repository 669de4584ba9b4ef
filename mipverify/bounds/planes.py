"""Planes above a ReLU of an affine map: tighter than its chord, since they know the map's arguments.

The chord above z' = max(h, 0), h = w . z + b, forgets how h came about. For any c, mu >= 0 and nu >= 0,

    z' <= c . z + d,    d = max(max_z (w - c - mu w) . z + b (1 - mu) + mu u,
                                max_z (nu w - c) . z + nu (b - l)),

with z in a box and h in [l, u]: the two branches of the ReLU, each relaxed in the interval of h. The
choice c = s w, mu = 1 - s, nu = s with s = u / (u - l) is the chord. With c_j = theta_j w_j, theta in
[0, 1], these planes are the facets of the convex hull over the box (Anderson et al. 2020) and what lies
between them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from mipverify.bounds.plane_gradient import carry_over_planes
from mipverify.bounds.rounding import UNDERFLOW, gamma, outward
from mipverify.graph.operators import Conv, Dense

if TYPE_CHECKING:
    from mipverify.bounds.state import PropagationState


class Planes(Protocol):
    """Planes above some unstable neurons of one ReLU node, for a batch of rows.

    The share of a row's negative coefficient goes over the plane, the rest over the chord.
    """

    @property
    def basis(self) -> PlaneBasis:
        """The neurons, and the node whose value z the planes are over."""
        ...

    @property
    def share(self) -> Tensor:
        """In [0, 1], [rows, planes] or broadcasting to it."""
        ...

    def carry(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """sum_i weights_i (c_i . z + d_i) for weights <= 0 [rows, planes]: form in z, and constant."""
        ...

    def values(self, z: Tensor) -> Tensor:
        """c . z + d for the z of each row [rows, size], [rows, planes]."""
        ...


@dataclass(frozen=True, eq=False)
class PlaneBasis:
    """What planes above some unstable neurons of one ReLU node are made of, in one sample.

    Attributes:
        source: position of z.
        size: length of z.
        neurons: positions among the unstable neurons of the node, [planes].
        columns: entries of z that each neuron reads (`size` for none), int64 [planes, reads]; without those
            that are always 0.
        weight: w at these entries, [planes, reads].
        middle, radius: box of these entries, [planes, reads].
        bias: b, [planes].
        low, up: interval of w . z + b, [planes].
        chord: slope of the chord, [planes].
        magnitude: bound on |w| . |z| + |b| + |l| + |u|, [planes].
        slack: bound on the import error of h, [planes].
        total_reach: sum of the largest |z|, a scalar.
    """

    source: int
    size: int
    neurons: Tensor
    columns: Tensor
    weight: Tensor
    middle: Tensor
    radius: Tensor
    bias: Tensor
    low: Tensor
    up: Tensor
    chord: Tensor
    magnitude: Tensor
    slack: Tensor
    total_reach: Tensor

    def __len__(self) -> int:
        """Number of planes."""
        return int(self.neurons.shape[0])

    @property
    def reads(self) -> int:
        """Entries of z that a neuron reads at most."""
        return int(self.columns.shape[1])

    @cached_property
    def centred(self) -> Tensor:
        """w times the middle of the box, [planes, reads]."""
        return self.weight * self.middle

    @cached_property
    def spread(self) -> Tensor:
        """|w| times the radius of the box, [planes, reads]."""
        return self.weight.abs() * self.radius

    @cached_property
    def reading(self) -> Tensor:
        """`columns` in one row, [planes * reads]."""
        return self.columns.reshape(-1)

    def to(self, dtype: torch.dtype) -> PlaneBasis:
        """The basis in another precision, for searching."""
        held = ((field.name, getattr(self, field.name)) for field in fields(self))
        floats = {name: value.to(dtype) for name, value in held if _is_float(value)}
        return replace(self, **floats)

    def offsets(self, slopes: Tensor, mu: Tensor, nu: Tensor, *, rigorous: bool) -> Tensor:
        """d for c = `slopes` [..., planes, reads]; with `rigorous` rounded up and with the import error."""
        above = self.weight - slopes - mu[..., None] * self.weight
        active = (above * self.middle + above.abs() * self.radius).sum(-1)
        active = active + self.bias * (1 - mu) + mu * self.up
        below = nu[..., None] * self.weight - slopes
        inactive = (below * self.middle + below.abs() * self.radius).sum(-1) + nu * (self.bias - self.low)
        offset = torch.maximum(active, inactive)
        if not rigorous:
            return offset
        # c, mu and nu are at most 1 in units of w, so no product exceeds three times its magnitude.
        rounding = 4 * gamma(2 * self.reads + 32, offset.dtype) * self.magnitude
        lost = UNDERFLOW * (4 * self.reads + 8)
        raised = offset + outward(rounding + self.slack + lost, 16)
        return torch.nextafter(raised, raised.new_tensor(float("inf")))

    def error(self, weights: Tensor) -> Tensor:
        """Rounding errors of a sum of planes with these weights [rows, planes]; |c . z| <= |w| . |z|."""
        rate = 8 * gamma(len(self) + 16, weights.dtype)
        lost = UNDERFLOW * (len(self) + 2) * (self.total_reach + len(self))
        return outward(rate * (weights.abs() @ self.magnitude) + lost, len(self) + 8)


@dataclass(frozen=True, eq=False)
class OwnPlanes:
    """Planes of each row's own.

    Attributes:
        basis: the neurons.
        theta: c in units of w, in [0, 1], [rows, planes, reads].
        mu, nu: multipliers of h <= u and h >= l, in [0, 1], [rows, planes].
        share: of the negative coefficients, in [0, 1], [rows, planes] or broadcasting to it.
        rigorous: whether offsets are rounded up.
    """

    basis: PlaneBasis
    theta: Tensor
    mu: Tensor
    nu: Tensor
    share: Tensor
    rigorous: bool

    def take(self, rows: Tensor) -> OwnPlanes:
        """The planes of some rows, whose shares are the same for all."""
        return replace(self, theta=self.theta[rows], mu=self.mu[rows], nu=self.nu[rows])

    def carry(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Form [rows, size] and constant [rows]."""
        basis = self.basis
        if not self.rigorous:
            form, constant = carry_over_planes(basis, self.theta, self.mu, self.nu, weights)
            return form, constant
        slopes = self.theta * basis.weight
        offset = basis.offsets(slopes, self.mu, self.nu, rigorous=True)
        products = (weights[:, :, None] * slopes).reshape(len(weights), -1)
        form = products.new_zeros(len(weights), basis.size + 1)
        form = form.index_add(1, basis.columns.reshape(-1), products)[:, : basis.size]
        return form, (weights * offset).sum(1)

    def values(self, z: Tensor) -> Tensor:
        """c . z + d for the z of each row [rows, size], [rows, planes]."""
        basis = self.basis
        slopes = self.theta * basis.weight
        read = torch.nn.functional.pad(z, (0, 1))[:, basis.columns]
        return (slopes * read).sum(-1) + basis.offsets(slopes, self.mu, self.nu, rigorous=self.rigorous)


@dataclass(frozen=True, eq=False)
class FixedPlanes:
    """Planes that rows of the same group have in common; each row says how much goes over them.

    Attributes:
        basis: the neurons.
        slopes: c, [groups, planes, size].
        offset: d, rounded up, [groups, planes].
        group: group of each row, [rows].
        share: [rows, planes].
    """

    basis: PlaneBasis
    slopes: Tensor
    offset: Tensor
    group: Tensor
    share: Tensor

    def carry(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Form [rows, size] and constant [rows]."""
        constant = (weights * self.offset[self.group]).sum(1)
        if len(self.slopes) == 1:
            return weights @ self.slopes[0], constant
        form = weights.new_zeros(len(weights), self.basis.size)
        for group in sorted(set(self.group.tolist())):
            rows = (self.group == group).nonzero().squeeze(1)
            form = form.index_add(0, rows, weights[rows] @ self.slopes[group])
        return form, constant

    def values(self, z: Tensor) -> Tensor:
        """c . z + d for the z of each row [rows, size], [rows, planes]."""
        found = torch.empty_like(self.offset[self.group])
        for group in sorted(set(self.group.tolist())):
            rows = self.group == group
            found[rows] = z[rows] @ self.slopes[group].T + self.offset[group]
        return found


def plane_basis(state: PropagationState, relu: int, chosen: Tensor) -> PlaneBasis:
    """The basis for some unstable neurons of a ReLU node, in a state of one sample with charges.

    Args:
        state: bounds in float64.
        relu: position of a ReLU node whose argument is Dense or Conv.
        chosen: positions among its unstable neurons, [planes].
    """
    network = state.network
    argument = network.graph.nodes[relu].inputs[0]
    source = network.graph.nodes[argument].inputs[0]
    neurons = _unstable(state, relu)[chosen]
    size = network.graph.nodes[source].size
    lower, upper = state.lower[source][0], state.upper[source][0]
    columns, weight, bias = _reads(state, argument, neurons)
    columns, weight = _without_zeros(columns, weight, (lower == 0) & (upper == 0))
    infinity = weight.new_tensor(float("inf"))
    middle = (lower + upper) / 2
    radius = torch.nextafter(torch.maximum(upper - middle, middle - lower), infinity)
    middle, radius = (torch.nn.functional.pad(side, (0, 1))[columns] for side in (middle, radius))
    slack = outward(state.charges[argument].backward[0, neurons], 4)
    low = torch.nextafter(state.lower[argument][0, neurons] - slack, -infinity)
    up = torch.nextafter(state.upper[argument][0, neurons] + slack, infinity)
    reach = torch.maximum(lower.abs(), upper.abs())
    magnitude = (weight.abs() * (middle.abs() + radius)).sum(1) + bias.abs() + low.abs() + up.abs()
    return PlaneBasis(
        source,
        size,
        chosen,
        columns,
        weight,
        middle,
        radius,
        bias,
        low,
        up,
        (up / (up - low)).clamp(0, 1),
        outward(magnitude, columns.shape[1] + 8),
        slack,
        outward(reach.sum(), size + 2),
    )


def _without_zeros(columns: Tensor, weight: Tensor, zero: Tensor) -> tuple[Tensor, Tensor]:
    """The reads without entries that are always 0, as wherever a ReLU below is inactive."""
    useful = ~torch.nn.functional.pad(zero, (0, 1), value=True)[columns]
    most = max(1, int(useful.sum(1).max()))
    order = useful.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    kept = useful.gather(1, order)
    columns = columns.gather(1, order).masked_fill(~kept, len(zero))
    return columns, weight.gather(1, order).masked_fill(~kept, 0.0)


def _is_float(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype.is_floating_point


def can_have_planes(state: PropagationState, relu: int) -> bool:
    """Whether the argument of a ReLU node is an affine map with weights, in a precision that is charged."""
    argument = state.network.graph.nodes[relu].inputs[0]
    return isinstance(state.network.graph.nodes[argument].op, Dense | Conv) and argument in state.charges


def _unstable(state: PropagationState, relu: int) -> Tensor:
    lines = state.relaxations[relu]
    return (lines.upper_offset[0] != 0).nonzero().squeeze(1)


def _reads(state: PropagationState, argument: int, neurons: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Entries that neurons of an affine node read [planes, reads], their weights, and the biases [planes]."""
    op, held = state.network.graph.nodes[argument].op, state.network.tensors[argument]
    if isinstance(op, Dense):
        weight = held["weight"][neurons]
        everything = torch.arange(weight.shape[1], device=weight.device)
        return everything.expand(weight.shape), weight, held["bias"][neurons]
    if not isinstance(op, Conv):
        raise TypeError(f"{type(op).__name__} has no planes")
    columns, weight = held["columns"], held["weight"]
    channels, height, width = op.input_shape
    size, area = channels * height * width, columns.shape[0]
    out_channel = neurons // area
    shift = (out_channel // (int(weight.shape[0]) // op.groups)) * int(weight.shape[1]) * height * width
    reads = columns[neurons % area]
    target = torch.where(reads == size, size, reads + shift[:, None])
    values = weight[out_channel].reshape(len(neurons), -1).masked_fill(target == size, 0.0)
    return target, values, held["bias"][out_channel]


def fixed(planes: OwnPlanes) -> tuple[Tensor, Tensor]:
    """Slopes [rows, planes, size] and offsets [rows, planes] of planes, each row becoming a group."""
    basis = planes.basis
    slopes = planes.theta * basis.weight
    full = slopes.new_zeros(*slopes.shape[:2], basis.size + 1)
    full = full.scatter(2, basis.columns.expand(slopes.shape), slopes)[:, :, : basis.size]
    return full, basis.offsets(slopes, planes.mu, planes.nu, rigorous=planes.rigorous)
