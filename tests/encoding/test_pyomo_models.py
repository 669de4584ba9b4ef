"""Live Pyomo models of encodings: the same programs, with readable parts, open to more constraints."""

from __future__ import annotations

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import mipverify
from mipverify.encoding.encode import Encoding, Objective, encode
from mipverify.errors import QueryError
from mipverify.graph.evaluate import activations, evaluate
from mipverify.milp.result import Termination
from mipverify.problem.norm import Norm
from mipverify.solvers.registry import solver_named
from mipverify.solvers.solver import SolveOptions
from tests.encoding.tiny_queries import TinyQuery, tiny_query
from tests.oracles.enumeration import linear_regions

NET = "models/digits_mlp.onnx"


def solve(model: pyo.ConcreteModel) -> bool:
    """Whether HiGHS found an optimum."""
    said = pyo.SolverFactory("appsi_highs").solve(model, load_solutions=False)
    if said.solver.termination_condition != pyo.TerminationCondition.optimal:
        return False
    model.solutions.load_from(said)
    return True


def encoded(tiny: TinyQuery, objective: Objective) -> Encoding:
    return encode(tiny.graph, tiny.query, tiny.bounds, objective=objective)


@given(seed=st.integers(0, 2**32 - 1), objective=st.sampled_from(Objective))
@settings(max_examples=30, deadline=None)
def test_a_model_is_the_program(seed: int, objective: Objective) -> None:
    encoding = encoded(tiny_query(np.random.default_rng(seed)), objective)
    if encoding.program.num_columns == 0:
        return
    expected = solver_named("highs").solve(encoding.program, SolveOptions(relative_gap=0.0))
    model = encoding.to_pyomo()
    if not solve(model):
        assert expected.termination is Termination.INFEASIBLE
        return
    assert expected.objective is not None
    assert pyo.value(model.cost) == pytest.approx(expected.objective, abs=1e-5)
    a = encoding.decode_pyomo(model)
    assert [pyo.value(model.a[i]) for i in model.a] == pytest.approx(a.tolist(), abs=1e-6)
    values = activations(encoding.graph, a[None])
    for node, i in model.z:
        assert pyo.value(model.z[node, i]) == pytest.approx(values[node][0][i], abs=1e-4)
    for node, i in model.phase:
        h = values[encoding.graph.nodes[node].inputs[0]][0][i]
        assert abs(h) <= 1e-4 or (h > 0) == (model.phase[node, i].value > 0.5)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_constraint_of_the_user_counts(seed: int) -> None:
    """The closest unsafe point of the same total brightness, against one linear program a linear region."""
    tiny = tiny_query(np.random.default_rng(seed), norm=Norm.LINF)
    encoding = encoded(tiny, Objective.CLOSEST)
    if encoding.program.num_columns == 0:
        return
    model = encoding.to_pyomo()
    total = float(tiny.query.region.center.sum())
    model.brightness = pyo.Constraint(expr=sum(model.a.values()) == total)
    best = _closest_of_this_sum(tiny, total)
    if best is None or not solve(model):
        return  # feasible or not may hang on the last digits
    assert pyo.value(model.cost) == pytest.approx(best, abs=1e-5)


def _closest_of_this_sum(tiny: TinyQuery, total: float) -> float | None:
    ball = tiny.query.region
    n, found = ball.center.size, []
    eye, one = np.eye(n), np.ones((n, 1))
    for cell in linear_regions(tiny.graph, ball):
        weight, bias = cell.output
        for polytope in tiny.query.unsafe:
            rows = np.vstack([cell.rows, -polytope.matrix @ weight])
            ends = np.concatenate([cell.limits, polytope.matrix @ bias - polytope.offset])
            result = linprog(
                np.append(np.zeros(n), 1.0),
                A_ub=np.vstack(
                    [np.hstack([rows, 0 * rows[:, :1]]), np.hstack([eye, -one]), np.hstack([-eye, -one])]
                ),
                b_ub=np.concatenate([ends, ball.center, -ball.center]),
                A_eq=np.append(np.ones(n), 0.0)[None],
                b_eq=[total],
                bounds=[*zip(ball.domain.lower, ball.domain.upper, strict=True), (0, ball.radius)],
                method="highs-ds",
            )
            if result.status == 0:
                found.append(float(result.fun))
    return min(found, default=None)


def test_the_public_way(capsys: pytest.CaptureFixture[str]) -> None:
    net = mipverify.load(NET)
    data = mipverify.load_dataset("digits", input_size=64)
    x, label = data.inputs[0].reshape(-1), int(data.labels[0])
    encoding = mipverify.encode(net, x, label, eps=0.15, objective="closest")
    model = encoding.to_pyomo()
    with pytest.raises(QueryError, match="no solution"):
        encoding.decode_pyomo(model)
    assert solve(model)
    free = pyo.value(model.cost)
    exact = mipverify.minimal_distortion(net, x, label)
    assert exact.lower * (1 - 1e-4) <= free <= exact.upper * (1 + 1e-4)
    model.brightness = pyo.Constraint(expr=sum(model.a.values()) == float(x.sum()))
    assert solve(model)
    kept = pyo.value(model.cost)
    a = encoding.decode_pyomo(model)
    assert kept >= free - 1e-6
    assert a.sum() == pytest.approx(x.sum(), abs=1e-5)
    assert np.abs(a - x).max() == pytest.approx(kept, abs=1e-6)
    outputs = evaluate(net.graph, a[None])[0]
    assert np.delete(outputs, label).max() >= outputs[label] - 1e-4
    assert capsys.readouterr().out == ""


def test_masks_and_parameters_are_encoded() -> None:
    net = mipverify.load(NET)
    data = mipverify.load_dataset("digits", input_size=64)
    x, label = data.inputs[0], int(data.labels[0])
    mask = np.zeros(64)
    mask[16:48] = 1
    encoding = mipverify.encode(net, x, label, eps=0.5, objective="closest", mask=mask)
    found = solver_named("highs").solve(encoding.program, SolveOptions())
    exact = mipverify.minimal_distortion(net, x, label, mask=mask)
    assert exact.lower * (1 - 1e-4) <= found.objective <= exact.upper * (1 + 1e-4)
    changed = np.flatnonzero(encoding.decode(found.point) != x.reshape(-1))
    assert set(changed) <= set(range(16, 48))

    brightness = mipverify.perturbations.brightness()
    encoding = mipverify.encode(net, x, label, objective="closest", perturbation=brightness)
    found = solver_named("highs").solve(encoding.program, SolveOptions())
    exact = mipverify.minimal_distortion(net, x, label, perturbation=brightness)
    assert encoding.decode(found.point).shape == (1,)
    assert exact.lower * (1 - 1e-4) <= found.objective <= exact.upper * (1 + 1e-4)


def test_names_say_what_things_are() -> None:
    net = mipverify.load(NET)
    data = mipverify.load_dataset("digits", input_size=64)
    encoding = mipverify.encode(net, data.inputs[0], int(data.labels[0]), eps=0.3)
    program = encoding.named_program()
    rows, columns = program.row_names(), program.column_names()
    assert len(set(rows)) == program.num_rows
    assert len(set(columns)) == program.num_columns
    assert not any(name.startswith("row_") for name in rows)
    for kind in ("split_2_", "on_2_", "off_2_", "unsafe_", "some_target"):
        assert any(name.startswith(kind) for name in rows), kind
    for kind in ("x_", "z_2_", "s_2_", "b_2_", "target_"):
        assert any(name.startswith(kind) for name in columns), kind


def test_questions_without_sense_are_refused() -> None:
    net = mipverify.load(NET)
    x = np.full(64, 0.5)
    for wrong, message in (
        ({"eps": -1.0}, "eps must be"),
        ({"eps": 0.1, "objective": "nearest"}, "unknown objective 'nearest'"),
        ({"eps": 0.1, "norm": "l7"}, "unknown norm"),
        ({"eps": 0.1, "targets": [0]}, "no target class|not possible"),
    ):
        with pytest.raises(QueryError, match=message):
            mipverify.encode(net, x, 0, **wrong)  # type: ignore[arg-type]
