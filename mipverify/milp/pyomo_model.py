"""Programs as live Pyomo models: the only file besides `solvers/pyomo.py` that imports pyomo."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, TypeAlias

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr.numeric_expr import LinearExpression

from mipverify.graph.operators import Float64Array
from mipverify.milp.program import MixedIntegerProgram

Model: TypeAlias = pyo.ConcreteModel


def pyomo_model(program: MixedIntegerProgram, *, readable: bool = False, cost_unit: float = 1.0) -> Model:
    """The program as a Pyomo model.

    Its parts are `v` (the columns), `rows`, `balls` and `cost`.

    Args:
        program: the program.
        readable: index columns and rows by their names instead of their positions.
        cost_unit: the objective is the cost divided by this.
    """
    model = pyo.ConcreteModel()
    columns: list[Any] = list(program.column_names() if readable else range(program.num_columns))
    model.v = pyo.Var(columns)
    variables = [model.v[name] for name in columns]
    for variable, low, up, integral in zip(
        variables, program.lower.tolist(), program.upper.tolist(), program.integral.tolist(), strict=True
    ):
        if integral:
            variable.domain = pyo.Binary if 0 <= low <= up <= 1 else pyo.Integers
        variable.setlb(low if isfinite(low) else None)
        variable.setub(up if isfinite(up) else None)
    model.cost = pyo.Objective(expr=_cost(program, variables, cost_unit))
    _add_rows(model, program, variables, readable=readable)
    model.balls = pyo.Constraint(pyo.Any)
    for ball in program.balls:
        squares = sum(variables[j] ** 2 for j in ball.columns.tolist())
        if ball.columns.size:
            model.balls[ball.name] = squares <= ball.upper
    return model


def column_values(model: Model) -> Float64Array | None:
    """The values of all columns that a solver left in the model, [columns]; None if one has none."""
    values = [variable.value for variable in model.v.values()]
    return None if any(value is None for value in values) else np.array(values, dtype=np.float64)


def set_column_values(model: Model, point: Float64Array) -> None:
    """Put a point into the model, for solvers that start from it; integers are rounded."""
    for variable, value in zip(model.v.values(), point.tolist(), strict=True):
        variable.set_value(round(value) if variable.is_integer() else value, skip_validation=True)


def _cost(program: MixedIntegerProgram, variables: list[Any], unit: float) -> Any:
    # Every column is named in the objective, so that none is lost that no row mentions.
    linear = LinearExpression(
        constant=program.offset / unit,
        linear_coefs=(program.cost / unit).tolist(),
        linear_vars=variables,
    )
    if program.quadratic is None:
        return linear
    entries = program.quadratic.tocoo()
    triples = zip(entries.coords[0].tolist(), entries.coords[1].tolist(), entries.data.tolist(), strict=True)
    return linear + sum(
        q / (2 * unit) * (variables[i] ** 2 if i == j else variables[i] * variables[j])
        for i, j, q in triples
        if q != 0
    )


def _add_rows(model: Model, program: MixedIntegerProgram, variables: list[Any], *, readable: bool) -> None:
    names: list[Any] = list(program.row_names() if readable else range(program.num_rows))
    model.rows = pyo.Constraint(pyo.Any)
    indptr, indices = program.matrix.indptr.tolist(), program.matrix.indices.tolist()
    data = program.matrix.data.tolist()
    sides = zip(program.row_lower.tolist(), program.row_upper.tolist(), strict=True)
    for i, (low, up) in enumerate(sides):
        part = slice(indptr[i], indptr[i + 1])
        if not (isfinite(low) or isfinite(up)):
            continue
        if part.start == part.stop:
            # Pyomo refuses constraints without variables: one that 0 violates makes the model infeasible.
            if not low <= 0 <= up:
                zero = LinearExpression(constant=0.0, linear_coefs=[0.0], linear_vars=variables[:1])
                model.rows[names[i]] = (1.0, zero, None)
            continue
        body = LinearExpression(
            constant=0.0, linear_coefs=data[part], linear_vars=[variables[j] for j in indices[part]]
        )
        if low == up:
            model.rows[names[i]] = body == low
        else:
            model.rows[names[i]] = (low if isfinite(low) else None, body, up if isfinite(up) else None)


def add_expressions(
    model: Model, name: str, parts: Mapping[Any, tuple[float, list[tuple[float, str]]]]
) -> None:
    """Expressions constant + sum of coefficient * v[column], by key, as a part of the model."""
    expressions = {
        key: constant + sum(coefficient * model.v[column] for coefficient, column in terms)
        for key, (constant, terms) in parts.items()
    }
    setattr(model, name, pyo.Expression(list(expressions), initialize=expressions))


def add_references(model: Model, name: str, columns: Mapping[Any, str]) -> None:
    """Some columns under keys of their own, as a part of the model."""
    setattr(model, name, pyo.Reference({key: model.v[column] for key, column in columns.items()}))
