"""The first look decides truly, and without PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mipverify.frontend.network import load_network
from mipverify.frontend.vnnlib.property import read_property
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box, Polytope
from mipverify.verify import first_look
from mipverify.verify.deadline import Deadline
from mipverify.verify.first_look import look
from mipverify.verify.options import VerifyOptions
from mipverify.verify.property import decide_property
from mipverify.verify.property_answer import Verdict
from mipverify.verify.property_run import PropertyRun
from tests.oracles.enumeration import linear_regions, worst
from tests.random_networks import random_chain_graph, to_onnx

SURE = 1e-4  # margins closer to 0 than this may be decided either way


def text_of(box: Box, output_size: int, bound: float) -> str:
    """Some point of the box has Y_0 >= bound."""
    names = [f"(declare-const X_{k} Real)" for k in range(len(box.lower))]
    names += [f"(declare-const Y_{k} Real)" for k in range(output_size)]
    sides = zip(box.lower.tolist(), box.upper.tolist(), strict=True)
    limits = [f"(assert (>= X_{k} {a!r}))(assert (<= X_{k} {b!r}))" for k, (a, b) in enumerate(sides)]
    return "\n".join([*names, *limits, f"(assert (>= Y_0 {bound!r}))"])


def test_verdicts_against_all_linear_regions() -> None:
    """Whatever the first look decides is true; what it leaves, the ladder decides."""
    looked = {Verdict.SAT: 0, Verdict.UNSAT: 0}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        graph = random_chain_graph(rng, input_size=int(rng.integers(1, 5)), max_relus=7)
        network = load_network(to_onnx(graph))
        low = rng.normal(size=graph.input_size).astype(np.float32).astype(float)
        box = Box(low, low + rng.choice([0.0, 0.25, 2.0], graph.input_size))
        wanted = Polytope(np.eye(1, graph.output_size), np.array([float(rng.normal())]))
        ball = Ball(box.lower, 1e3, Norm.LINF, box)
        margin = worst(linear_regions(network.graph, ball), ball, [wanted])
        prop = read_property(text_of(box, graph.output_size, float(wanted.offset[0])))
        run = PropertyRun(network, prop, Deadline(60), gap=1e-4)
        look(run, VerifyOptions())
        for answer in (run.answer(), decide_property(network, prop, VerifyOptions(), Deadline(60))):
            if answer.verdict is Verdict.SAT:
                assert margin >= -SURE
            if answer.verdict is Verdict.UNSAT:
                assert margin <= SURE
        assert answer.verdict in looked
        first = run.answer().verdict
        looked[first] = looked.get(first, 0) + 1
    assert min(looked[Verdict.SAT], looked[Verdict.UNSAT]) >= 10, looked


def test_an_easy_property_imports_neither_torch_nor_a_solver(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    graph = random_chain_graph(rng, input_size=3)
    (tmp_path / "net.onnx").write_bytes(to_onnx(graph).SerializeToString())
    box = Box(np.zeros(3), np.ones(3))
    (tmp_path / "p.vnnlib").write_text(text_of(box, graph.output_size, 1e4))
    program = (
        "import sys, json\n"
        "from mipverify.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    code = stop.code\n"
        "print(json.dumps([code, sorted({'torch', 'highspy', 'pulp', 'pyomo', 'scipy'} & set(sys.modules))]))"
    )
    words = ["vnnlib", str(tmp_path / "net.onnx"), str(tmp_path / "p.vnnlib"), "--quiet"]
    ended = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True, timeout=120
    )
    *said, last = ended.stdout.strip().splitlines()
    assert said == ["unsat"]
    assert json.loads(last) == [0, []]


def test_a_look_that_fails_is_left_to_the_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ArithmeticError("as if")

    monkeypatch.setattr(first_look, "search_boxes", broken)
    rng = np.random.default_rng(1)
    graph = random_chain_graph(rng, input_size=3)
    wanted = read_property(text_of(Box(np.zeros(3), np.ones(3)), graph.output_size, 1e4))
    answer = decide_property(load_network(to_onnx(graph)), wanted, VerifyOptions(), Deadline(60))
    assert answer.verdict is Verdict.UNSAT
