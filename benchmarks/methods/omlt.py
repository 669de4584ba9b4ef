"""OMLT (Ceccon et al. 2022) with HiGHS through Pyomo: its big-M formulation, one program a rival class."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import numpy as np

from benchmarks.methods.foreign import Finding, ForeignMethod
from benchmarks.methods.method import Question
from mipverify.graph.operators import Float64Array

# HiGHS's tolerances, as a share of the radius: as much is taken off its bounds.
SLACK = 2e-6


def omlt_method() -> ForeignMethod:
    """OMLT, for distances, and for decisions by distances that end at eps."""
    return ForeignMethod(measure, module="omlt", extra="omlt", kinds=("decide", "distance"))


def measure(
    path: str, x: Float64Array, label: int, classes: int, question: Question, limit: float
) -> Finding:
    """The smallest distance at which a rival class is at least as high as the label.

    A program after the other; each has to beat the closest point known, and for a decision any will do.
    """
    from pyomo.environ import Constraint

    began, calls = time.perf_counter(), 0
    radius = min(1.0, question.radius if question.eps is None else question.eps)
    model = formulated(path, x, radius)
    lower, upper, point = radius, math.inf, None
    for rival in (k for k in range(classes) if k != label):
        left = limit - (time.perf_counter() - began)
        if left <= 0:
            return Finding(0.0, upper, point, calls)
        model.rival = Constraint(expr=model.network.outputs[rival] >= model.network.outputs[label])
        bound, distance, found = solved(model, left, question.gap / 4)
        model.del_component(model.rival)
        calls += 1
        lower = min(lower, bound - SLACK * radius if bound < radius else radius)
        if found is not None and distance < upper:
            upper, point = distance, found
            if question.eps is not None:
                return Finding(0.0, upper, point, calls)
            model.distance.setub(distance)
    return Finding(max(0.0, min(lower, upper)), upper, point, calls)


def formulated(path: str, x: Float64Array, radius: float) -> Any:
    """A Pyomo model: the network over the ball, and the distance as its cost."""
    logging.getLogger("pyomo").setLevel(logging.ERROR)
    import onnx
    from omlt import OmltBlock
    from omlt.io import load_onnx_neural_network
    from omlt.neuralnet import ReluBigMFormulation
    from pyomo.environ import ConcreteModel, Constraint, Objective, Var

    bounds = {
        k: (float(low), float(up))
        for k, (low, up) in enumerate(zip(np.maximum(x - radius, 0), np.minimum(x + radius, 1), strict=True))
    }
    network = load_onnx_neural_network(onnx.load(path), input_bounds=bounds)
    model = ConcreteModel()
    model.network = OmltBlock()
    model.network.build_formulation(ReluBigMFormulation(network))
    model.distance = Var(bounds=(0, radius))
    inputs = list(model.network.inputs.values())

    def above(model: Any, k: int) -> Any:
        return inputs[k] - float(x[k]) <= model.distance

    def below(model: Any, k: int) -> Any:
        return float(x[k]) - inputs[k] <= model.distance

    model.above = Constraint(range(len(x)), rule=above)
    model.below = Constraint(range(len(x)), rule=below)
    model.cost = Objective(expr=model.distance)
    return model


def solved(model: Any, limit: float, gap: float) -> tuple[float, float, Float64Array | None]:
    """HiGHS's bound on the distance (infinite if there is no point), the distance of its point, the point."""
    from pyomo.contrib.appsi.base import TerminationCondition
    from pyomo.contrib.appsi.solvers import Highs

    solver = Highs()
    solver.config.time_limit, solver.config.load_solution, solver.config.mip_gap = limit, False, gap
    solver.highs_options = {"threads": 1}
    result = solver.solve(model)
    if result.termination_condition in (
        TerminationCondition.infeasible,
        TerminationCondition.infeasibleOrUnbounded,
    ):
        return math.inf, math.inf, None
    bound, distance = result.best_objective_bound, result.best_feasible_objective
    bound = float(bound) if bound is not None and math.isfinite(bound) else 0.0
    if distance is None or not math.isfinite(distance):
        return max(0.0, bound), math.inf, None
    result.solution_loader.load_vars()
    point = np.array([float(variable.value) for variable in model.network.inputs.values()])
    return max(0.0, bound), float(distance), point
