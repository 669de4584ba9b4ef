"""Networks written by the exporters of torch, from the module itself and from its file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mipverify.errors import ModelError, QueryError
from mipverify.frontend.network import load_network
from tests.frontend.onnx_models import assert_close, points_for


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.LeakyReLU(0.1))
        self.branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.PReLU(4), nn.Conv2d(4, 4, 1))
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.last = nn.Linear(4 * 3 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x = nn.functional.relu6(x + self.branch(x))
        x = self.pool(x)
        return self.last(x.view(x.size(0), -1))


class Mixed(nn.Module):
    """Chunks, stacks, means, clamps and one-dimensional layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3, stride=2, dilation=2, padding=2)
        self.mix = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        left, right = x.chunk(2, dim=1)
        x = torch.cat([left, torch.abs(right)], dim=1)
        x = self.mix(x.transpose(1, 2))
        x = torch.clamp(x, -0.5, 2.0) - x.mean(dim=1, keepdim=True)
        return torch.maximum(x[:, 0], x[:, -1]).unsqueeze(1).flatten(1)


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ZeroPad2d((1, 2, 0, 1)),
            nn.Conv2d(1, 3, 2),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.AvgPool2d(2, padding=1, count_include_pad=False),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(3, 4),
            nn.Softmax(dim=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


CASES = [(Residual, (2, 5, 7)), (Mixed, (2, 9)), (Pooled, (1, 5, 6))]


def trained(kind: type[nn.Module], shape: tuple[int, ...]) -> nn.Module:
    """A module whose batch statistics are no longer those of its start, in evaluation mode."""
    torch.manual_seed(0)
    module = kind()
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(8, *shape) * 2 + 1)
    return module.eval()


def outputs(module: nn.Module, points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    with torch.no_grad():
        return module.double()(torch.from_numpy(points).reshape(-1, *shape)).numpy()


def export(module: nn.Module, shape: tuple[int, ...], path: Path, **options: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(1, *shape),), path, input_names=["x"], output_names=["y"], **options
        )


def check(path: Path, kind: type[nn.Module], module: nn.Module, shape: tuple[int, ...]) -> None:
    network = load_network(path)
    assert network.input_shape == shape
    points = points_for(int(np.prod(shape)))
    logits = network(points)
    if kind is Pooled:
        assert network.softmax_dropped
        logits = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert_close(logits, outputs(module, points, shape))


@pytest.mark.parametrize(("kind", "shape"), CASES)
@pytest.mark.parametrize("opset", [11, 13, 17, 20])
@pytest.mark.parametrize("any_batch", [False, True])
def test_the_older_exporter(kind, shape, opset, any_batch, tmp_path):
    module = trained(kind, shape)
    axes = {"x": {0: "batch"}, "y": {0: "batch"}} if any_batch else None
    export(module, shape, tmp_path / "net.onnx", dynamo=False, opset_version=opset, dynamic_axes=axes)
    check(tmp_path / "net.onnx", kind, module, shape)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "shape"), CASES)
@pytest.mark.parametrize("any_batch", [False, True])
def test_the_newer_exporter(kind, shape, any_batch, tmp_path):
    pytest.importorskip("onnxscript")
    module = trained(kind, shape)
    shapes = ({0: torch.export.Dim("batch")},) if any_batch else None
    export(module, shape, tmp_path / "net.onnx", dynamo=True, dynamic_shapes=shapes)
    check(tmp_path / "net.onnx", kind, module, shape)


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_modules(kind, shape):
    module = trained(kind, shape)
    part = next(module.children()).train()
    network = load_network(module, input_shape=shape)
    assert network.name == kind.__name__
    assert network.deployed.batched
    assert part.training, "the caller's module keeps its modes"
    assert not module.training
    points = points_for(int(np.prod(shape)))
    assert_close(network(points), network.run(points))
    module.eval()
    logits = network(points)
    if kind is Pooled:
        logits = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert_close(logits, outputs(module, points, shape))


def test_a_module_in_double_precision():
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    network = load_network(module, input_shape=(3,))
    assert network.deployed.dtype == "float64"
    points = points_for(3)
    assert_close(network(points), outputs(module, points, (3,)), 1e-14)


def test_a_module_needs_its_input_shape():
    with pytest.raises(QueryError, match="give input_shape"):
        load_network(nn.Linear(3, 2))


def test_a_module_that_does_not_run_is_an_error():
    with pytest.raises(ModelError, match="torch cannot export Linear"):
        load_network(nn.Linear(3, 2), input_shape=(5,))
