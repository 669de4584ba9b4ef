from __future__ import annotations

import json

import onnx
import pytest
from onnx import numpy_helper

from tests.cli.conftest import CONV, MLP, Invoke


@pytest.mark.parametrize("network", [MLP, CONV])
def test_inspect_counts_what_the_file_holds(invoke: Invoke, network: str) -> None:
    result = invoke("inspect", network, "--json")
    assert result.exit_code == 0
    described = json.loads(result.stdout)
    model = onnx.load(network)
    weights = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    # Reshape targets are integers, not parameters.
    assert described["parameters"] == sum(w.size for w in weights if w.dtype.kind == "f")
    assert described["relu_layers"] == sum(node.op_type == "Relu" for node in model.graph.node)
    assert described["inputs"] == 64
    assert described["outputs"] == 10
    assert described["relus"] == sum(node["relus"] for node in described["nodes"])
    assert described["worst_case_program"]["binaries"] == described["relus"]
    assert described["supported"] is True


def test_inspect_shows_a_table_and_totals(invoke: Invoke) -> None:
    result = invoke("inspect", MLP)
    operators = [line.split()[1] for line in result.stdout.splitlines()[1:7]]
    assert operators == ["Input", "Dense", "Relu", "Dense", "Relu", "Dense"]
    assert "digest" in result.stdout
    assert result.stderr == ""


def test_normalisation_changes_the_digest(invoke: Invoke) -> None:
    plain = json.loads(invoke("inspect", MLP, "--json").stdout)
    scaled = json.loads(invoke("inspect", MLP, "--json", "--mean", "0.5", "--std", "0.5").stdout)
    assert plain["digest"] != scaled["digest"]


def test_solvers_are_listed_with_what_they_can_do(invoke: Invoke) -> None:
    result = invoke("inspect", "--solvers")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert lines["highs"].split()[-1] == "interrupt"
    assert "duals" in lines["highs"]
    assert "duals" not in lines["cbc"]
    described = [json.loads(line) for line in invoke("inspect", "--solvers", "--json").stdout.splitlines()]
    assert {row["name"] for row in described} == {name for name in lines if name != "--solver"}
    for row in described:
        assert (row["version"] is None) == (row["missing"] is not None)
        assert row["capabilities"]["programs"][:2] == ["LP", "MILP"]
    quadratic = {row["name"] for row in described if "MIQP" in row["capabilities"]["programs"]}
    assert "pyomo:scip_direct" in quadratic
    assert quadratic.isdisjoint({"highs", "cbc", "pyomo:highs", "pyomo:glpk"})
    nothing = invoke("inspect")
    assert nothing.exit_code == 2
    assert "--solvers" in nothing.stderr
