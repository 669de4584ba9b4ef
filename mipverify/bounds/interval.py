"""Interval arithmetic through one operator, widened by its rounding error."""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor

from mipverify.bounds.charges import Charge, absolute_map
from mipverify.bounds.rounding import UNDERFLOW, add_up, gamma, outward, subtract_down
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.operators import Add, Concat, Conv, Dense, Input, MaxPool, Relu, Scale, Select

Bounds = tuple[Tensor, Tensor]


def magnitude_of(lower: Tensor, upper: Tensor) -> Tensor:
    """Largest absolute value in each interval."""
    return torch.maximum(lower.abs(), upper.abs())


def middle_and_radius(lower: Tensor, upper: Tensor) -> Bounds:
    """A rounded middle c and r with [lower, upper] inside [c - r, c + r]."""
    middle = (lower + upper) / 2
    radius = torch.maximum(upper - middle, middle - lower)
    return middle, torch.nextafter(radius, upper.new_tensor(float("inf")))


def interval_step(
    network: TorchNetwork, position: int, arguments: list[Bounds], charge: Charge | None
) -> Bounds:
    """Interval of the node at `position` for the intervals of its arguments, [batch, size] each.

    A weighted node (Dense, Conv, Scale) needs its `charge`, the error of its computed linear map.
    """
    op = network.graph.nodes[position].op
    match op:
        case Dense() | Conv() | Scale():
            if charge is None:
                raise ValueError("a weighted node needs its charge")
            return _affine(network, position, arguments[0], charge)
        case Select() | Concat() | Relu() | MaxPool():
            # Monotone and free of rounding: the ends map to the ends.
            low = network.apply(position, [argument[0] for argument in arguments])
            return low, network.apply(position, [argument[1] for argument in arguments])
        case Add(signs=signs):
            return _signed_sum(signs, arguments)
        case Input():
            raise ValueError("the interval of the input is its region")
        case _:
            assert_never(op)


def _affine(network: TorchNetwork, position: int, argument: Bounds, charge: Charge) -> Bounds:
    """W c + b -+ (|W| r + error) for the argument inside [c - r, c + r]."""
    middle, radius = middle_and_radius(*argument)
    center = network.apply(position, [middle])
    spread = absolute_map(network, position, radius)
    total = outward(spread * (1 + charge.spread_slack) + charge.forward, 4)
    return subtract_down(center, total), add_up(center, total)


def _signed_sum(signs: tuple[int, ...], arguments: list[Bounds]) -> Bounds:
    low = sum((a if sign > 0 else -b for sign, (a, b) in zip(signs, arguments, strict=True)), start=0.0)
    up = sum((b if sign > 0 else -a for sign, (a, b) in zip(signs, arguments, strict=True)), start=0.0)
    if not isinstance(low, Tensor) or not isinstance(up, Tensor):
        raise ValueError("a sum needs at least one argument")
    scale = torch.stack([magnitude_of(a, b) for a, b in arguments]).sum(0)
    error = outward(gamma(len(signs), scale.dtype) * scale + UNDERFLOW, len(signs) + 2)
    return subtract_down(low, error), add_up(up, error)
