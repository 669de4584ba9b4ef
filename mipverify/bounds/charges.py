"""What one operator may be off by, per output: the a-priori error of its computed linear map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mipverify.bounds.rounding import UNDERFLOW, gamma, outward
from mipverify.bounds.torch_network import TorchNetwork, convolve
from mipverify.graph.operators import Conv, Dense, Scale


def absolute_map(network: TorchNetwork, position: int, magnitude: Tensor) -> Tensor:
    """|W| m for an affine node with weights, [batch, size], for magnitudes m [batch, input_size]."""
    op, held = network.graph.nodes[position].op, network.tensors[position]
    match op:
        case Dense():
            return magnitude @ held["weight"].abs().T
        case Conv():
            return convolve(op, magnitude, held["weight"].abs(), None)
        case Scale():
            return magnitude * held["scale"].abs()
        case _:
            raise TypeError(f"{type(op).__name__} has no weights")


@dataclass(frozen=True, eq=False)
class AffineFacts:
    """Constants of a weighted affine node that its error bounds need.

    Attributes:
        bias: b broadcast to the flat result, [size].
        bias_error: bound on the import error of b, [size].
        relative_error: bound on the relative import error of W.
        fan_in: products summed into one output.
        fan_out: products summed into one input by the transposed map.
    """

    bias: Tensor
    bias_error: Tensor
    relative_error: float
    fan_in: int
    fan_out: int


def affine_facts(network: TorchNetwork, position: int) -> AffineFacts:
    """Collect the constants of the Dense, Conv or Scale node at `position`."""
    op = network.graph.nodes[position].op
    match op:
        case Dense(weight=weight, bias=bias):
            fan_out, fan_in = weight.shape
            copies = 1
        case Conv(weight=weight, bias=bias):
            fan_in = int(np.prod(weight.shape[1:]))
            fan_out = int(weight.shape[0] // op.groups * np.prod(weight.shape[2:]))
            copies = op.size // len(bias)
        case Scale(shift=bias):
            fan_in = fan_out = copies = 1
        case _:
            raise TypeError(f"{type(op).__name__} has no weights")
    given = np.zeros_like(bias) if op.bias_error is None else op.bias_error
    # Rounded to the working precision, a coefficient is off by one more unit roundoff.
    rounding = 0.0 if network.dtype == torch.float64 else gamma(2, network.dtype)
    error = np.repeat(given + rounding * np.abs(bias), copies)
    return AffineFacts(
        network.tensor(np.repeat(bias, copies)),
        network.tensor(error) * (1 + 2.0**-20),
        op.relative_error * (1 + 2.0**-20) + rounding,
        int(fan_in),
        int(fan_out),
    )


@dataclass(frozen=True, eq=False)
class Charge:
    """Error bounds of a weighted affine node over one region, per sample.

    Attributes:
        forward: bound on the error of the computed W y + b for any y in the region, [batch, size].
        backward: bound, per unit of |coefficient|, on the error of passing a row back, [batch, size].
        underflow: absolute error of passing a row back that no coefficient scales, [batch].
        spread_slack: relative error of a computed |W| r.
    """

    forward: Tensor
    backward: Tensor
    underflow: Tensor
    spread_slack: float = 0.0

    def select(self, samples: slice) -> Charge:
        """The errors of some of the samples."""
        return Charge(
            self.forward[samples], self.backward[samples], self.underflow[samples], self.spread_slack
        )


def charge_affine(network: TorchNetwork, position: int, facts: AffineFacts, magnitude: Tensor) -> Charge:
    """Errors of y -> W y + b at the node, for |y| <= magnitude [batch, input_size].

    Forward: gamma_{fan_in + 1} (|W| |y| + |b|). Backward: a row r becomes r W, each entry a sum of
    fan_out products, so r W y is off by at most gamma_{fan_out} |r| |W| |y|, and r b likewise by the
    length of r. Import errors of W and b are added to both.
    """
    dtype = magnitude.dtype
    spread = absolute_map(network, position, magnitude)
    total = spread + facts.bias.abs()
    imported = facts.relative_error * spread + facts.bias_error
    slack = gamma(facts.fan_in + 4, dtype)
    size = int(facts.bias.shape[0])
    lost = UNDERFLOW * (facts.fan_in + 2)
    forward = outward((gamma(facts.fan_in + 6, dtype) * total + imported) * (1 + slack) + lost, 8)
    backward = outward((gamma(max(facts.fan_out, size) + 8, dtype) * total + imported) * (1 + slack), 8)
    underflow = UNDERFLOW * (facts.fan_out + 2) * (magnitude.sum(1) + size)
    return Charge(forward, backward, outward(underflow, magnitude.shape[1] + 4), slack)


def charge_lines(magnitude: Tensor, offset: Tensor, additions: int) -> Charge:
    """Errors of replacing values by lines s y + t with |s y| <= magnitude and |t| <= offset, [batch, size].

    A row r becomes r s, and `additions` such products may be summed into one input; r t is summed over
    the row.
    """
    size = int(magnitude.shape[1])
    rate = gamma(max(size, additions) + 8, magnitude.dtype)
    backward = outward(rate * (magnitude + offset), 4)
    underflow = outward(UNDERFLOW * (magnitude.sum(1) + size), size + 4)
    return Charge(torch.zeros_like(backward), backward, underflow)
