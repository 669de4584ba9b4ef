"""Does a device compute sums of products, as the error bounds assume?

An a-priori bound gamma_n |W| |x| holds for a sum of n products in whatever order, with or without fused
multiply-add. It does not hold for fast algorithms that mix entries of different size before they cancel:
Winograd and FFT convolutions, Strassen's product, double precision put together from fixed-point parts.
GPU libraries have such algorithms, if not by default in float64. So a device is tried on numbers of very
different size, where they all show.
"""

from __future__ import annotations

import numpy as np
import torch

from mipverify.bounds.rounding import gamma
from mipverify.bounds.torch_network import convolve, convolve_transposed
from mipverify.errors import QueryError
from mipverify.graph.evaluate import apply
from mipverify.graph.operators import Conv, Float64Array

DECADES = 12  # entries lie between 10^-DECADES and 10^DECADES
ROWS = 8
# Shapes for which libraries have fast algorithms: (channels, size, kernel).
CONVOLUTIONS = ((3, 10, 3), (2, 12, 7))


def check_arithmetic(device: torch.device) -> None:
    """Try products and convolutions in float64 on a device, against numpy.

    Raises:
        QueryError: a result is farther off than sums of products may be.
    """
    rng = np.random.default_rng(0)
    found: list[float] = []
    for channels, size, kernel in CONVOLUTIONS:
        op = Conv(
            spread(rng, (4, channels, kernel, kernel)), np.zeros(4), (channels, size, size), pads=(1, 1, 1, 1)
        )
        matrix = apply(op, [np.eye(channels * size * size)])  # its rows are the inputs
        inputs, rows = spread(rng, (ROWS, matrix.shape[0])), spread(rng, (ROWS, matrix.shape[1]))
        weight = torch.tensor(op.weight, device=device)
        there = [torch.tensor(values, device=device) for values in (inputs, rows, matrix)]
        for computed, left, right in (
            (convolve(op, there[0], weight, None), inputs, matrix),
            (convolve_transposed(op, there[1], weight), rows, matrix.T),
            (there[0] @ there[2], inputs, matrix),
        ):
            found.append(excess(computed.cpu().numpy(), left, right))
    worst = float(np.max(found))  # NaN if one of them is
    if not worst <= 1.0:
        raise QueryError(
            f"float64 on device {device} is {worst:.3g} times less accurate than sums of products: "
            "switch off emulated double precision and fast convolutions there, or choose the CPU"
        )


def spread(rng: np.random.Generator, shape: tuple[int, ...]) -> Float64Array:
    """Random numbers of both signs whose sizes spread evenly over many decades."""
    return np.asarray(rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-DECADES, DECADES, shape))


def excess(computed: Float64Array, left: Float64Array, right: Float64Array) -> float:
    """Largest error of a computed `left` @ `right`, in units of its a-priori bound; NaN if it is none.

    The reference has an error of its own, of at most the same bound: both are allowed for.
    """
    terms = left.shape[1]
    allowed = 2 * gamma(terms + 2) * (np.abs(left) @ np.abs(right))
    return float(np.max(np.abs(computed - left @ right) / allowed))
