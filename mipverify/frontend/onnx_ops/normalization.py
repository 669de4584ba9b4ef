"""Batch normalisation with fixed statistics."""

from __future__ import annotations

from mipverify.frontend.lowering import Call
from mipverify.frontend.onnx_values import Value
from mipverify.graph.rounding import Approximate


def batch_normalization(call: Call) -> Value:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, per channel (axis 1)."""
    x = call.tensor(0)
    if call.attribute("training_mode", 0):
        call.refuse("it is in training mode: export the network in evaluation mode")
    if not call.attribute("spatial", 1):
        call.refuse("spatial=0 was removed from ONNX: convert the file with onnx.version_converter")
    names = ("scale", "bias", "mean", "variance")
    gamma, beta, mean, variance = (call.coefficients(i + 1, name) for i, name in enumerate(names))
    channels = x.shape[1] if len(x.shape) > 1 else x.size
    if any(statistic.value.shape != (channels,) for statistic in (gamma, beta, mean, variance)):
        call.fail(f"its statistics do not have one entry for each of the {channels} channels")
    epsilon = Approximate.exact(float(call.attribute("epsilon", 1e-5)))
    try:
        scale = gamma / (variance + epsilon).sqrt()
    except (ValueError, ZeroDivisionError):
        call.fail("a variance plus epsilon is not positive")
    shift = beta - mean * scale
    per_channel = (channels,) + (1,) * (len(x.shape) - 2)
    return call.scale(
        x,
        scale.rearranged(lambda a: a.reshape(per_channel)),
        shift.rearranged(lambda a: a.reshape(per_channel)),
    )
