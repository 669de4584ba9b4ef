"""The device check passes sums of products and finds algorithms that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal

from mipverify.bounds import arithmetic
from mipverify.bounds.arithmetic import check_arithmetic, excess, spread
from mipverify.bounds.torch_network import convolve_transposed, plain_convolutions
from mipverify.errors import QueryError


def test_the_cpu_computes_sums_of_products() -> None:
    check_arithmetic(torch.device("cpu"))


def test_sums_in_any_order_are_within_the_bound() -> None:
    rng = np.random.default_rng(1)
    left, right = spread(rng, (5, 60)), spread(rng, (60, 4))
    for _ in range(20):
        order = rng.permutation(60)
        assert excess(left[:, order] @ right[order], left, right) <= 1.0


def test_a_fast_fourier_transform_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_fft(op: object, flat: torch.Tensor, weight: torch.Tensor, _bias: object) -> torch.Tensor:
        images = np.pad(flat.numpy().reshape(-1, *op.input_shape), ((0, 0), (0, 0), (1, 1), (1, 1)))  # type: ignore[attr-defined]
        kernels = weight.numpy()[:, :, ::-1, ::-1]
        sums = [
            sum(signal.fftconvolve(image[c], kernel[c], mode="valid") for c in range(len(kernel)))
            for image in images
            for kernel in kernels
        ]
        return torch.tensor(np.array(sums).reshape(len(images), -1))

    monkeypatch.setattr(arithmetic, "convolve", by_fft)
    with pytest.raises(QueryError, match="less accurate than sums of products"):
        check_arithmetic(torch.device("cpu"))


def test_single_precision_and_undefined_results_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for spoil in (lambda t: t.float().double(), lambda t: t * float("nan")):
        monkeypatch.setattr(
            arithmetic,
            "convolve_transposed",
            lambda op, flat, w, spoil=spoil: spoil(convolve_transposed(op, flat, w)),
        )
        with pytest.raises(QueryError, match="choose the CPU"):
            check_arithmetic(torch.device("cpu"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_computes_sums_of_products() -> None:
    check_arithmetic(torch.device("cuda"))


def test_convolutions_on_cuda_are_deterministic_and_without_tf32() -> None:
    cudnn = torch.backends.cudnn
    before = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)
    with plain_convolutions(torch.device("cuda")):
        assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == (
            True,
            False,
            True,
            False,
        )
    assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == before
