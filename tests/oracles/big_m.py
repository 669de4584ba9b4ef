"""The minimal distortion of a dense ReLU network by one plain program a target, as a textbook writes it.

Binaries for all neurons, big-M constants from interval arithmetic alone, raw inputs and scores, dense
rows; no cutoff, no start, nothing taken from the network's other bounds. Reads the ONNX file itself.
"""

from __future__ import annotations

from math import inf
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

Array = NDArray[np.float64]
Layer = tuple[Array, Array]


def dense_layers(path: Path) -> list[Layer]:
    """Weights [out, in] and biases [out] of a file of Gemm and Relu nodes, one after the other."""
    graph = onnx.load(str(path)).graph
    constants = {c.name: numpy_helper.to_array(c).astype(np.float64) for c in graph.initializer}
    layers = []
    for node in graph.node:
        if node.op_type == "Gemm":
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if attributes.get("alpha", 1) != 1 or attributes.get("beta", 1) != 1 or attributes.get("transA"):
                raise ValueError(f"{node.name} is no plain Gemm")
            weight = constants[node.input[1]]
            layers.append((weight if attributes.get("transB") else weight.T, constants[node.input[2]]))
        elif node.op_type not in ("Relu", "Flatten", "Reshape"):
            raise ValueError(f"{node.op_type} is not a dense network's operator")
    return layers


def closest_by_big_m(
    layers: list[Layer], x: Array, label: int, *, radius: float, gap: float, time_limit: float
) -> float:
    """min |a - x|_inf over a in [0, 1]^n within `radius` with a score that reaches the label's; inf for none.

    Raises:
        RuntimeError: a program was not solved to its end.
    """
    classes = layers[-1][1].size
    targets = [k for k in range(classes) if k != label]
    return min(_closest(layers, x, label, k, radius, gap, time_limit) for k in targets)


def _closest(
    layers: list[Layer], x: Array, label: int, target: int, radius: float, gap: float, time_limit: float
) -> float:
    n = x.size
    low, up = np.maximum(x - radius, 0.0), np.minimum(x + radius, 1.0)
    program = _Program(n + 1)  # the inputs, and the distance
    program.bound(np.arange(n), low, up)
    program.bound(np.array([n]), np.zeros(1), np.full(1, radius))
    eye, distance = np.eye(n), -np.ones((n, 1))
    program.rows([(np.arange(n), eye), (np.array([n]), distance)], -inf, x)
    program.rows([(np.arange(n), -eye), (np.array([n]), distance)], -inf, -x)
    columns = np.arange(n)
    for weight, bias in layers[:-1]:
        below = np.maximum(weight, 0) @ low + np.minimum(weight, 0) @ up + bias
        above = np.maximum(weight, 0) @ up + np.minimum(weight, 0) @ low + bias
        columns = program.relu(columns, weight, bias, below, above)
        low, up = np.maximum(below, 0.0), np.maximum(above, 0.0)
    weight, bias = layers[-1]
    difference = weight[target] - weight[label]
    program.rows([(columns, difference[None])], bias[label] - bias[target], inf)
    return program.minimise(n, gap, time_limit)


class _Program:
    """Columns and dense blocks of rows, for scipy."""

    def __init__(self, columns: int) -> None:
        self.count = columns
        self.lower: dict[int, float] = {}
        self.upper: dict[int, float] = {}
        self.integral: list[int] = []
        self.blocks: list[tuple[list[tuple[NDArray[np.int64], Array]], Array, Array]] = []

    def bound(self, columns: NDArray[np.int64], lower: Array, upper: Array) -> None:
        self.lower.update(zip(columns.tolist(), lower.tolist(), strict=True))
        self.upper.update(zip(columns.tolist(), upper.tolist(), strict=True))

    def rows(
        self, terms: list[tuple[NDArray[np.int64], Array]], low: Array | float, up: Array | float
    ) -> None:
        count = len(terms[0][1])
        self.blocks.append((terms, np.broadcast_to(low, (count,)), np.broadcast_to(up, (count,))))

    def relu(
        self, columns: NDArray[np.int64], weight: Array, bias: Array, below: Array, above: Array
    ) -> NDArray[np.int64]:
        """z >= h, z <= h - l (1 - b), z <= u b, z >= 0, with b binary for every neuron."""
        size = bias.size
        z, b = self.count + np.arange(size), self.count + size + np.arange(size)
        self.count += 2 * size
        least, most = np.minimum(below, 0.0), np.maximum(above, 0.0)
        self.bound(z, np.zeros(size), most)
        self.bound(b, np.zeros(size), np.ones(size))
        self.integral += b.tolist()
        eye = np.eye(size)
        self.rows([(z, eye), (columns, -weight)], bias, inf)
        self.rows([(z, eye), (columns, -weight), (b, -np.diag(least))], -inf, bias - least)
        self.rows([(z, eye), (b, -np.diag(most))], -inf, 0.0)
        return z

    def minimise(self, column: int, gap: float, time_limit: float) -> float:
        matrices, lows, ups = [], [], []
        for terms, low, up in self.blocks:
            block = np.zeros((len(low), self.count))
            for columns, values in terms:
                block[:, columns] += values
            matrices.append(block)
            lows.append(low)
            ups.append(up)
        cost = np.zeros(self.count)
        cost[column] = 1.0
        integrality = np.zeros(self.count)
        integrality[self.integral] = 1
        result = milp(
            cost,
            integrality=integrality,
            bounds=Bounds(
                *(np.array([side[j] for j in range(self.count)]) for side in (self.lower, self.upper))
            ),
            constraints=LinearConstraint(
                csr_array(np.concatenate(matrices)), np.concatenate(lows), np.concatenate(ups)
            ),
            options={"mip_rel_gap": gap, "time_limit": time_limit},
        )
        if result.status == 2:
            return inf
        if result.status != 0:
            raise RuntimeError(f"the plain program was not solved: {result.message}")
        return float(result.fun)
