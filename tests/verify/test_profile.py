"""The profile counts what the bounds leave open and what the solver is asked; it changes no answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mipverify
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, unit_box
from mipverify.verify.options import VerifyOptions

MODEL = Path(__file__).resolve().parents[2] / "models" / "digits_mlp.onnx"
EPS = 0.1


@pytest.fixture(scope="module")
def network() -> mipverify.Network:
    return mipverify.load(MODEL)


@pytest.fixture(scope="module")
def digits() -> mipverify.Dataset:
    return mipverify.load_dataset("digits", input_size=64)


def open_neurons(network: mipverify.Network, x: np.ndarray, method: Method) -> list[int]:
    """Sign changes of the pre-activations, layer by layer, by bounds of one method."""
    single = TorchNetwork(network.graph)
    ball = Ball(x.reshape(-1).astype(np.float64), EPS, Norm.LINF, unit_box(64))
    regions = region_batch([ball], device=single.device, dtype=torch.float64)
    bounds = Propagator(single).run(regions, method=method).bounds(0)
    sources = [network.graph.nodes[relu].inputs[0] for relu in network.graph.relus]
    return [int(((bounds.lower[s] < 0) & (bounds.upper[s] > 0)).sum()) for s in sources]


def test_the_profile_counts_open_neurons_and_programs(
    network: mipverify.Network, digits: mipverify.Dataset
) -> None:
    assert digits.labels is not None
    options = VerifyOptions(profile=True, engine="mip", attack=False, batch_size=8)
    found = list(
        mipverify.certify_batch(network, digits.inputs[:8], digits.labels[:8], eps=EPS, options=options)
    )
    for x, certificate in zip(digits.inputs, found, strict=False):
        profile = certificate.profile
        assert profile is not None
        assert [layer.size for layer in profile.layers] == [32, 32]
        counts = [layer.unstable["interval"] for layer in profile.layers]
        assert counts == open_neurons(network, x, Method.INTERVAL)
        assert profile.unstable("interval") == sum(counts)
        if certificate.decided_by == "mip":
            for better, worse in (("linear", "interval"), ("optimised", "linear")):
                assert (profile.unstable(better) or 0) <= (profile.unstable(worse) or 0)
            assert [layer.unstable["linear"] for layer in profile.layers] == open_neurons(
                network, x, Method.LINEAR
            )
            if profile.mips:  # none where inequalities at the root are enough
                assert profile.mip_nodes == certificate.nodes
                assert 0 < profile.mip_seconds <= certificate.seconds["mip"]
        if certificate.decided_by in ("mip", "tightening"):
            assert profile.lps > 0
            assert 0 < profile.lp_seconds <= certificate.seconds["tightening"]
        else:
            assert (profile.lps, profile.mips, profile.unstable("lp")) == (0, 0, None)
        assert profile.unstable("mip") is None
    assert {certificate.decided_by for certificate in found} == {"bounds", "tightening", "mip"}
    assert any(certificate.profile and certificate.profile.mips for certificate in found)


def test_the_profile_changes_no_answer_and_is_off_by_default(
    network: mipverify.Network, digits: mipverify.Dataset
) -> None:
    assert digits.labels is not None
    with_profile = VerifyOptions(profile=True, time_limit=60)
    for ask in ("certify", "distance"):
        found = []
        for options in (with_profile, replace(with_profile, profile=False)):
            x, label = digits.inputs[0], int(digits.labels[0])
            if ask == "certify":
                found.append(mipverify.certify(network, x, label, eps=EPS, options=options))
            else:
                found.append(mipverify.minimal_distortion(network, x, label, options=options))
        profile = found[0].profile
        assert profile is not None
        assert profile.unstable("interval") is not None
        assert found[1].profile is None
        assert (found[0].lower, found[0].upper) == (found[1].lower, found[1].upper)
