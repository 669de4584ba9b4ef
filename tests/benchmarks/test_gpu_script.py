from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mipverify
from benchmarks import gpu_work
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.query import Query
from mipverify.verify.questions import questions
from tests.emulated_device import REMOTE, EmulatedDevice

ROOT = Path(__file__).resolve().parents[2]
AS_SCRIPT, AS_MODULE = ("benchmarks/gpu.py",), ("-m", "benchmarks.gpu")


def run_script(how: tuple[str, ...], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *how, "models/digits_mlp.onnx", *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return done.stdout


def test_rates_and_verdicts_on_the_cpu(tmp_path: Path) -> None:
    table = tmp_path / "gpu.csv"
    short = ["--batches", "1", "2", "--restarts", "1", "2", "--steps", "2", "--repeats", "1", "--eps", "0.1"]
    run_script(AS_SCRIPT, "--device", "cpu", *short, "--certify", "4", "--csv", str(table))
    rows = list(csv.DictReader(table.open()))
    measured = {(row["what"], row["dtype"], row["batch"], row["restarts"]) for row in rows}
    expected = {("certify", "mixed", "4", "")}
    for dtype in ("float32", "float64"):
        expected |= {("steps", dtype, batch, restarts) for batch in "12" for restarts in "12"}
        expected |= {("optimised", dtype, "1", ""), ("nodes", dtype, "1", "")}
        expected |= {("bounded", dtype, batch, "") for batch in "12"}
    assert measured >= expected
    assert all(float(row["rate"]) > 0 and row["peak_mib"] == "" for row in rows)
    assert sum(int(part.split()[0]) for part in rows[-1]["verdicts"].split(", ")) == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_the_comparison_is_skipped() -> None:
    assert run_script(AS_MODULE).startswith("skipped: no CUDA device")


@pytest.fixture(scope="module")
def asked() -> tuple[mipverify.Network, list[Query]]:
    network = mipverify.load(ROOT / "models" / "digits_mlp.onnx")
    digits = mipverify.load_dataset("digits", input_size=64)
    assert digits.labels is not None
    queries = questions(
        network.graph, digits.inputs[:2], digits.labels[:2], radius=0.5, norm="linf", domain=(0.0, 1.0)
    )
    return network, queries


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_work_mixes_devices(asked: tuple[mipverify.Network, list[Query]], dtype: torch.dtype) -> None:
    network, queries = asked
    tiny = replace(queries[0], region=replace(queries[0].region, radius=1e-6))
    with EmulatedDevice():
        net = TorchNetwork(network.graph, device=REMOTE, dtype=dtype)
        exact = TorchNetwork(network.graph, device=REMOTE)
        assert gpu_work.gradient_steps(net, queries, restarts=2, steps=3)() == 2 * 9 * 2 * 3
        assert gpu_work.bounded_samples(net, queries)() == 2
        assert gpu_work.optimised_samples(net, queries)() == 2
        assert gpu_work.searched_nodes(exact, net, queries[0], batch=4, rounds=2)() == 16
        with pytest.raises(gpu_work.TooSmallError):
            gpu_work.searched_nodes(exact, net, tiny, batch=4, rounds=2)
