"""The question whether one perturbation fools so many samples, as one about a stack of networks.

The stack takes the perturbation and returns the outputs of all samples. It fools m of them where it reaches
one of the polytopes made of one unsafe polytope each for m samples. So bounds, attack, search and programs
for single networks answer it, as long as these combinations are few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product

import numpy as np

from mipverify.attack.confirm import Replayable
from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.graph.stack import stacked
from mipverify.problem.query import Query
from mipverify.problem.region import Polytope
from mipverify.problem.shared import SharedQuery
from mipverify.verify.batch import answer
from mipverify.verify.certificate import Certificate
from mipverify.verify.engine import Engine
from mipverify.verify.universal_state import UniversalState

MOST_COMBINATIONS = 400
Targets = Mapping[int, Sequence[int]]  # of each sample, the polytopes that it may reach


@dataclass(frozen=True, eq=False)
class Stack:
    """Copies of a network, as far as the stages of a query look at one: input d, outputs of all samples."""

    single: Replayable
    centers: Float64Array

    @cached_property
    def graph(self) -> Graph:
        """The graph of all copies."""
        return stacked(self.single.graph, self.centers)

    def run(self, deltas: Float64Array) -> Float64Array:
        """Outputs of onnxruntime at x_k + d, added in float32, [batch, K m] for d [batch, n]."""
        moved = (self.centers[None] + deltas[:, None]).astype(np.float32).astype(np.float64)
        outputs = self.single.run(moved.reshape(-1, moved.shape[-1]))
        return np.asarray(outputs.reshape(len(deltas), -1))

    def __call__(self, deltas: Float64Array) -> Float64Array:
        """Outputs of the reference evaluation, [batch, K m] for d [batch, n]."""
        return evaluate(self.graph, deltas)


def num_combinations(targets: Targets, count: int) -> int:
    """How many polytopes it takes to say that `count` samples are fooled."""
    sizes = [len(found) for found in targets.values()]
    total = [1] + [0] * count  # elementary symmetric functions of the sizes
    for size in sizes:
        for m in range(count, 0, -1):
            total[m] += size * total[m - 1]
    return total[count]


def ask_stack(
    state: UniversalState,
    query: SharedQuery,
    targets: Targets,
    count: int,
    *,
    eps: float | None,
    seconds: float,
) -> Certificate:
    """Does a perturbation of size eps fool `count` of the `targets`? Without eps: how small is one?

    What is found goes to the state; the certificate says what was proven.

    Args:
        state: the question.
        query: its perturbations, those of a smaller radius perhaps.
        targets: samples that may be fooled, and the polytopes that they may reach.
        count: how many are to be fooled.
        eps: None to ask for the smallest size.
        seconds: that all of this may take.
    """
    samples = list(targets)
    network = Stack(state.engine.network, np.stack([query.samples[k].region.center for k in samples]))
    unsafe = [
        _joint(query, samples, dict(zip(chosen, polytopes, strict=True)))
        for chosen in combinations(samples, count)
        for polytopes in product(*(targets[k] for k in chosen))
    ]
    options = replace(state.engine.options, time_limit=max(seconds, 1e-3))
    engine = Engine(network, options)
    [found] = answer(engine, [Query(query.region, tuple(unsafe))], eps=eps)
    if found.nodes is not None:
        state.nodes = (state.nodes or 0) + found.nodes
    if found.num_binaries is not None:
        state.num_binaries = max(state.num_binaries or 0, found.num_binaries)
    if found.witness is not None:
        state.offer(found.witness.point)
    return found


def _joint(query: SharedQuery, samples: Sequence[int], reached: Mapping[int, int]) -> Polytope:
    """All outputs of the stack where each sample of `reached` lies in its polytope."""
    parts = [(samples.index(k), query.samples[k].unsafe[j]) for k, j in reached.items()]
    width = parts[0][1].matrix.shape[1]
    matrix = np.zeros((sum(len(part.offset) for _, part in parts), width * len(samples)))
    row = 0
    for place, part in parts:
        matrix[row : row + len(part.offset), place * width : (place + 1) * width] = part.matrix
        row += len(part.offset)
    return Polytope(matrix, np.concatenate([part.offset for _, part in parts]))
