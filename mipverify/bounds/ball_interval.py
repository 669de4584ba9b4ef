"""Intervals of the first weighted layer over a norm ball: its centre and the dual norm of its weights."""

from __future__ import annotations

from torch import Tensor

from mipverify.bounds.charges import Charge
from mipverify.bounds.norm_ball import NormBall
from mipverify.bounds.region_batch import RegionBatch
from mipverify.bounds.rounding import add_up, outward, subtract_down
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.operators import Conv, Dense


def ball_interval(
    network: TorchNetwork, position: int, region: RegionBatch, ball: NormBall, charge: Charge
) -> tuple[Tensor, Tensor] | None:
    """W c + b -+ (max {w . d : |d| <= radius} + error) over balls about c, [batch, size] each.

    Args:
        network: in the precision of the region.
        position: a weighted node that reads the input, through selections without repetition at most.
        region: the regions.
        ball: their balls.
        charge: errors of the node over the boxes of the regions.

    Returns:
        None for an operator whose intervals over the box are as good.
    """
    op, weight = network.graph.nodes[position].op, network.tensors[position].get("weight")
    if weight is None or not isinstance(op, Dense | Conv):
        return None
    spread = ball.spread(weight.reshape(len(weight), -1))
    if isinstance(op, Conv):
        # A window that padding cuts reads less than its kernel: the bound holds for it, too.
        spread = spread.repeat_interleave(op.size // len(weight), dim=1)
    center = network.apply(position, [_through_selections(network, position, region.center)])
    total = outward(spread + charge.forward, 4)
    return subtract_down(center, total), add_up(center, total)


def _through_selections(network: TorchNetwork, position: int, inputs: Tensor) -> Tensor:
    """The argument of a node for given inputs, where nothing but selections lies between them."""
    source = network.graph.nodes[position].inputs[0]
    if source == 0:
        return inputs
    return network.apply(source, [_through_selections(network, source, inputs)])
