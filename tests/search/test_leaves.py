"""What searches keep: closed again by the numbers kept, and together all of the region."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from mipverify.bounds.chain import is_chain
from mipverify.graph.evaluate import evaluate
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.region import Ball, Box, Polytope
from mipverify.search.box_leaves import BoxLeaves
from mipverify.search.input_search import InputSearchOptions, search_inputs
from mipverify.search.node_bounds import CHOICES, NodeBounds
from mipverify.search.nodes import Nodes
from mipverify.search.phase_leaves import PhaseLeaves
from mipverify.search.phase_search import SearchOptions, search_phases
from tests.bounds.test_chain import random_chain
from tests.oracles.exact_values import exact_values
from tests.random_networks import KINDS, random_chain_graph, random_graph
from tests.search.test_input_search import box_bounds
from tests.search.test_phase_search import node_bounds


def nothing_found(_: Float64Array) -> bool:
    return False


def test_closed_nodes_are_closed_again_and_halve_each_other() -> None:
    """Kept numbers certify; the parts of the phases' space add up to one a target."""
    searched = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        graph = random_chain(rng, widest=20) if seed % 2 else random_graph(rng, kinds=KINDS, max_blocks=3)
        for bounds, leaves in complete_searches(graph, rng):
            assert leaves.complete
            assert leaves.by_program == 0
            nodes = leaves.nodes()
            assert bool(bounds.certify(nodes).all())
            for target in range(len(bounds.targets)):
                parts = [Fraction(1, 2 ** int((p != 0).sum())) for p in nodes.phases[nodes.target == target]]
                assert sum(parts) == 1
                searched += len(parts) > 1
    assert searched >= 5


def complete_searches(graph: Graph, rng: np.random.Generator) -> list[tuple[NodeBounds, PhaseLeaves]]:
    """Searches that end, at radii ever closer to where they do not."""
    center = rng.normal(size=graph.input_size).astype(np.float32).astype(float)
    everywhere = Box(np.full(graph.input_size, -np.inf), np.full(graph.input_size, np.inf))
    label = int(evaluate(graph, center[None])[0].argmax())
    found, low, high = [], 0.0, 2.0
    for _ in range(8):
        middle = (low + high) / 2
        bounds = node_bounds(graph, Ball(center, middle, Norm.LINF, everywhere), label)
        result = search_phases(
            bounds,
            options=SearchOptions(batch=4),
            accept=nothing_found,
            leaf=lambda *_: False,
            out_of_time=lambda: False,
        )
        low, high = (middle, high) if result.complete else (low, middle)
        if result.complete:
            found.append((bounds, result.leaves))
    return found


def test_phases_and_multipliers_survive_packing() -> None:
    generator = torch.Generator().manual_seed(0)
    for count in (0, 1, 3, 4, 5, 9):
        leaves, held = PhaseLeaves(), []
        for size in (1, 4):
            phases = torch.randint(-1, 2, (size, count), generator=generator, dtype=torch.int8)
            nodes = Nodes(
                torch.arange(size),
                phases,
                torch.rand(size, count, generator=generator),
                torch.rand(size, count, generator=generator),
                torch.rand(size, 3, generator=generator),
                torch.rand(size, 2, generator=generator),
                torch.zeros(size),
                torch.full((size, CHOICES), -1),
            )
            leaves.add(nodes)
            held.append(nodes)
        kept = leaves.nodes()
        assert len(leaves) == len(kept) == 5
        for name in ("target", "phases", "slopes", "planes", "weights"):
            assert torch.equal(getattr(kept, name), torch.cat([getattr(part, name) for part in held]))
        imposed = torch.cat([torch.where(part.phases != 0, part.multipliers, 0.0) for part in held])
        assert torch.equal(kept.multipliers, imposed)


def test_leaves_without_room_are_counted() -> None:
    nodes = Nodes(
        torch.zeros(10, dtype=torch.int64),
        torch.ones(10, 50, dtype=torch.int8),
        *(torch.rand(10, size) for size in (50, 50, 0, 1)),
        torch.zeros(10),
        torch.full((10, 1), -1),
    )
    leaves = PhaseLeaves(most_bytes=5000)
    leaves.add(nodes)
    leaves.add(nodes)
    assert (len(leaves), leaves.dropped, leaves.complete) == (10, 10, False)
    boxes = BoxLeaves(most_bytes=100)
    boxes.add(np.zeros((2, 2, 9)), np.zeros((2, 2, 9)), np.ones((2, 1), bool), np.ones((2, 1), bool))
    assert (len(boxes), boxes.dropped, boxes.complete) == (0, 2, False)


@pytest.mark.parametrize("chain", [True, False])
def test_boxes_cover_what_was_left_and_say_the_truth(chain: bool) -> None:
    """A point followed down the boxes leaves those of a polytope only if it misses the polytope."""
    closed = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        make = random_chain_graph if chain else random_graph
        graph = make(rng, input_size=2, max_relus=8)
        box = Box(-np.ones(2), np.ones(2))
        outputs = evaluate(graph, rng.uniform(-1, 1, (2000, 2)))
        row = np.eye(1, graph.output_size)
        highest = float(outputs[:, 0].max())
        polytopes = [
            Polytope(row, np.array([highest + share * np.ptp(outputs[:, 0])])) for share in (0.02, 0.3)
        ]
        bounds = box_bounds(graph, box, polytopes)
        assert not chain or is_chain(graph)
        result = search_inputs(
            bounds,
            options=InputSearchOptions(batch=4, max_boxes=200),
            accept=nothing_found,
            leaf=lambda *_: False,
            out_of_time=lambda: False,
        )
        if not result.complete:
            continue
        closed += 1
        sides, left, before, after = result.leaves.boxes()
        assert len(sides) == result.boxes
        np.testing.assert_array_equal(sides[0], np.stack([box.lower, box.upper]))
        for point in rng.uniform(-1, 1, (20, 2)):
            first = exact_values(graph, [Fraction(v) for v in point.tolist()])[graph.output][0]
            for k, polytope in enumerate(polytopes):
                inside = ((sides[:, 0] <= point) & (point <= sides[:, 1])).all(1) & before[:, k]
                stays = after[:, k] & ((left[:, 0] <= point) & (point <= left[:, 1])).all(1)
                assert inside[0]
                if first >= Fraction(float(polytope.offset[0])):
                    assert bool((inside & stays).any())
                else:
                    # Wherever it stays in a box, a half of what was left holds it, further down.
                    for position in np.flatnonzero(inside & stays):
                        assert bool(inside[position + 1 :].any())
    assert closed >= 5
