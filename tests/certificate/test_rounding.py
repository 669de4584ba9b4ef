"""The distance between float32 outputs and real ones, where operators cancel, are fused, or overflow."""

from __future__ import annotations

import numpy as np
import onnxruntime
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from mipverify.certificate.float_arithmetic import FloatArithmetic
from mipverify.certificate.network import CheckedNetwork
from mipverify.certificate.reading import read_network
from mipverify.certificate.region import CheckedRegion
from mipverify.certificate.relaxation import LayerBounds, bound_layers
from mipverify.certificate.rounding import deployed_error
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from tests.certificate.forged import model, products

FloatArrays = dict[str, Float64Array]


def bounds_over(network: CheckedNetwork, lower: Float64Array, upper: Float64Array) -> LayerBounds:
    middle = np.clip(lower / 2 + upper / 2, lower, upper)
    groups = np.arange(lower.size)
    region = CheckedRegion(middle, float("inf"), Norm.LINF, lower, upper, groups)
    return bound_layers(network, region.whole(), FloatArithmetic(), {})


def cancelling_numbers(rng: np.random.Generator) -> FloatArrays:
    """A convolution to 3 channels, and a batch normalisation whose shift may undo what its mean does."""
    mean, var = rng.normal(size=3) * 10 ** rng.uniform(-2, 4), 10 ** rng.uniform(-6, 3, size=3)
    gain = rng.normal(size=3) * 10 ** rng.uniform(-2, 2)
    shift = mean * gain / np.sqrt(var + 1e-5) * (1 + rng.normal(size=3) * 10 ** rng.uniform(-8, 0))
    weight = rng.normal(size=(3, 2, 1, 1)) * 10 ** rng.uniform(-3, 3)
    return {"weight": weight, "gain": gain, "shift": shift, "mean": mean, "var": var}


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_batch_normalisations_that_cancel_stay_within_the_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = {name: value.astype(np.float32) for name, value in cancelling_numbers(rng).items()}
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["h"]),
        helper.make_node("BatchNormalization", ["h", "gain", "shift", "mean", "var"], ["y"]),
    ]
    file = model(nodes, numbers, [1, 2, 2, 2])
    network = read_network(file)
    points = rng.normal(size=(5, 8)).astype(np.float32).astype(np.float64)
    error = deployed_error(network, bounds_over(network, points.min(axis=0), points.max(axis=0)))
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    for point in points:
        deployed = session.run(None, {"x": point.astype(np.float32).reshape(1, 2, 2, 2)})[0].reshape(-1)
        real = bounds_over(network, point, point)
        assert (deployed <= real.upper[-1] + error).all()
        assert (deployed >= real.lower[-1] - error).all()


def test_nothing_is_known_where_float32_overflows() -> None:
    network = read_network(products([1e30, 1e30, 1e-30, 1e-30]))
    error = deployed_error(network, bounds_over(network, np.zeros(1), np.ones(1)))
    assert np.isinf(error).all()
