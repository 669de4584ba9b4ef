"""Bounds, attack and search keep to the device they are given, and claim the same on each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import mipverify
from mipverify.verify import batch, engine
from mipverify.verify.certificate import Certificate
from mipverify.verify.options import VerifyOptions
from tests.emulated_device import REMOTE, DeviceMixError, EmulatedDevice, is_remote

MODELS = Path(__file__).resolve().parents[2] / "models"
NETWORKS = ("digits_mlp", "digits_conv")
Ask = Callable[[mipverify.Network, mipverify.Dataset, VerifyOptions], list[Certificate]]


def verdicts(
    network: mipverify.Network, digits: mipverify.Dataset, options: VerifyOptions
) -> list[Certificate]:
    assert digits.labels is not None
    some = slice(0, 5)
    return list(
        mipverify.certify_batch(network, digits.inputs[some], digits.labels[some], eps=0.08, options=options)
    )


def distances(
    network: mipverify.Network, digits: mipverify.Dataset, options: VerifyOptions
) -> list[Certificate]:
    assert digits.labels is not None
    return list(
        mipverify.distance_batch(
            network, digits.inputs[:1], digits.labels[:1], radius=0.1, norm="l1", options=options
        )
    )


@pytest.fixture(scope="module")
def digits() -> mipverify.Dataset:
    return mipverify.load_dataset("digits", input_size=64)


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> EmulatedDevice:
    """Everything that asks for a device gets the emulated one."""
    for module in (engine, batch):
        monkeypatch.setattr(module, "choose_device", lambda _: REMOTE)
    return EmulatedDevice()


@pytest.mark.parametrize("ask", [verdicts, distances])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_operation_mixes_devices(
    name: str, ask: Ask, digits: mipverify.Dataset, emulated: EmulatedDevice
) -> None:
    network = mipverify.load(MODELS / f"{name}.onnx")
    with emulated:
        found = ask(network, digits, VerifyOptions(time_limit=60, batch_size=6))
    assert {certificate.error for certificate in found} == {None}
    assert {certificate.decided_by for certificate in found} - {None}


def test_the_emulated_device_refuses_what_an_accelerator_would() -> None:
    with EmulatedDevice():
        there, here = torch.zeros(3, device=REMOTE), torch.zeros(3)
        assert there.device == REMOTE
        assert is_remote((2 * there + torch.tensor(1.0))[torch.tensor([0, 2])])
        assert not is_remote(there.cpu())
        assert is_remote(here.to(there))
        for refused in (
            lambda: there + here,
            lambda: here[there.long()],
            lambda: torch.cat([there, here]),
            there.numpy,
            lambda: here.index_add(0, there.long(), here),
        ):
            with pytest.raises(DeviceMixError):
                refused()
        assert there.cpu().numpy().sum() == 0.0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_gpu_claims_what_the_cpu_claims(name: str, digits: mipverify.Dataset) -> None:
    network = mipverify.load(MODELS / f"{name}.onnx")
    claims = []
    for device in ("cpu", "cuda"):
        options = VerifyOptions(time_limit=60, device=device, batch_size=6)
        found = verdicts(network, digits, options) + distances(network, digits, options)
        claims.append([(c.status, c.closed) for c in found])
    assert claims[0] == claims[1]
