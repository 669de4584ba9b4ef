"""A propagation state in another precision, to search with at half the price."""

from __future__ import annotations

import torch
from torch import Tensor

from mipverify.bounds.relaxation import MaxPoolRelaxation, Relaxation, ReluRelaxation
from mipverify.bounds.state import PropagationState
from mipverify.bounds.torch_network import TorchNetwork


def in_precision(state: PropagationState, network: TorchNetwork) -> PropagationState:
    """The state in the dtype of `network`, for searching: what is found with it carries no claim."""
    dtype = network.dtype
    lines = {position: _lines(held, dtype) for position, held in state.relaxations.items()}
    return PropagationState(
        network,
        state.region.to(dtype),
        [low.to(dtype) for low in state.lower],
        [up.to(dtype) for up in state.upper],
        state.methods,
        lines,
        {},
        state.method,
    )


def _lines(held: Relaxation, dtype: torch.dtype) -> Relaxation:
    slope = held.upper_slope.to(dtype)
    if isinstance(held, ReluRelaxation):
        return ReluRelaxation(held.lower_slope.to(dtype), slope, _kept_positive(held.upper_offset, dtype))
    return MaxPoolRelaxation(held.below, held.above, slope, held.upper_offset.to(dtype))


def _kept_positive(offset: Tensor, dtype: torch.dtype) -> Tensor:
    """Offsets in `dtype`; a positive one stays positive, since that is what marks an unstable neuron."""
    return torch.where(offset != 0, offset.to(dtype).clamp(min=torch.finfo(dtype).tiny), 0.0)
