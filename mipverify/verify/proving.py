"""Certificates: what a lower bound rests on, written down so that a small checker accepts it.

A proof is made after the answer, from less than the answer was: neurons' bounds by linear relaxation with
the checker's own slopes, then slopes, multipliers and splits of phases for what these leave open. Nothing is
handed out that the checker's own code has not accepted here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from mipverify.bounds.network_bounds import Method
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.state import PropagationState
from mipverify.certificate.content import read_content
from mipverify.certificate.float_arithmetic import FloatArithmetic
from mipverify.certificate.format import FORMAT, VERSION, Arrays, CertificateFile
from mipverify.certificate.network import Relu
from mipverify.certificate.proof import SLOPE_STEPS, ProofChecker
from mipverify.certificate.reading import read_network
from mipverify.certificate.region import CheckedPart, CheckedRegion
from mipverify.certificate.relaxation import Choices, LayerBounds, Relaxation, bound_layers
from mipverify.errors import InputError, MissingBoundError, ModelError, SolverError
from mipverify.frontend.network import Network
from mipverify.graph.evaluate import evaluate
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query
from mipverify.problem.region import Ball
from mipverify.problem.witness import Witness
from mipverify.search.node_bounds import NodeBounds
from mipverify.search.nodes import Nodes
from mipverify.search.phase_search import SearchOptions, search_phases
from mipverify.search.targets import targets_of
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.proof import Proof
from mipverify.verify.proof_trees import Branch, preorder
from mipverify.verify.searching import nodes_at_once

POINTS = 3  # at which the checker's network is compared with the graph


@dataclass(frozen=True, eq=False)
class _Tree:
    """One polytope's tree: splits in preorder, and what closes its leaves, in that order.

    Attributes:
        splits: (place among the ReLU layers, neuron), with -1 for a leaf.
        slopes: [leaves, columns].
        multipliers: of the phases imposed at each leaf, in the order of its path.
        weights: of the polytope's rows, [leaves, rows].
    """

    splits: list[tuple[int, int]]
    slopes: Float64Array
    multipliers: list[float]
    weights: Float64Array


class Prover:
    """Makes certificates for the queries of one engine.

    Raises:
        ModelError: the checker cannot read the network, or reads another one.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        network = engine.network
        if not isinstance(network, Network):
            raise ModelError("what is verified is more than the file alone: it gets no certificates")
        self.name, self.normalization = network.name, network.normalization
        given = network.normalization
        model = onnx.load_model_from_string(network.source)
        self.network = read_network(
            model,
            mean=None if given is None else given.mean,
            std=None if given is None else given.std,
        )
        self.digest = hashlib.sha256(network.source).hexdigest()
        self._check_sizes()
        self._check_values()

    def _check_sizes(self) -> None:
        graph = self.engine.network.graph
        here = [self.network.layers[k].size for k in self.network.relus]
        there = [graph.nodes[k].size for k in graph.relus]
        sizes = (self.network.input_size, self.network.output_size)
        if here != there or sizes != (graph.input_size, graph.output_size):
            raise ModelError("the checker reads this network differently: it gets no certificates")

    def _check_values(self) -> None:
        """The file must say what the graph says: a graph that was built upon a file is another network."""
        rng = np.random.default_rng(0)
        points = rng.normal(size=(POINTS, self.network.input_size))
        norm, groups = Norm.LINF, np.arange(self.network.input_size)
        for point, values in zip(points, evaluate(self.engine.network.graph, points), strict=True):
            here = CheckedRegion(point, 0.0, norm, point, point, groups)
            bounds = bound_layers(self.network, here.whole(), FloatArithmetic(), {})
            slack = 1e-9 * (1 + np.abs(values).max())
            if not ((bounds.lower[-1] - slack <= values) & (values <= bounds.upper[-1] + slack)).all():
                raise ModelError("the network was built upon its file and differs: it gets no certificates")

    def prove(
        self, query: Query, lower: float | None, witness: Witness | None, deadline: Deadline
    ) -> Proof | None:
        """A certificate that no point within `lower` is unsafe and that the witness is; None if it fails.

        Args:
            query: the question; its radius does not count.
            lower: the radius to prove; None to prove none.
            witness: a replayed point, if there is one.
            deadline: when to give up.
        """
        if query.region.grid is not None:
            return None  # certificates know no grid, on which more can be true
        header: dict[str, object] = {
            "format": FORMAT,
            "version": VERSION,
            "network": self.digest,
            "name": self.name,
            "norm": query.region.norm.value,
            "radius": float(query.region.radius if lower is None else lower).hex(),
            "lower": None if lower is None else float(lower).hex(),
            "upper": None if witness is None else float(witness.distance).hex(),
        }
        arrays = self._question(query) | ({} if witness is None else {"witness": witness.point})
        if lower is None:
            return Proof(CertificateFile(header, arrays), None)
        shown = replace(query, region=replace(query.region, radius=lower))
        try:
            found = self._lower_bound(shown, deadline)
        except (InputError, MissingBoundError, SolverError, MemoryError, TimeoutError):
            return None
        if found is None:
            return None
        file = CertificateFile(header, arrays | found)
        try:
            report = ProofChecker(self.network, read_content(file, self.network), FloatArithmetic()).run()
        except (InputError, MemoryError):  # too large for the checker
            return None
        return None if report.failed else Proof(file, report)

    def _question(self, query: Query) -> Arrays:
        region, given = query.region, self.normalization
        sides = np.stack([region.domain.lower, region.domain.upper])
        uniform = bool((sides == sides[:, :1]).all())
        rows = [len(polytope.offset) for polytope in query.unsafe]
        arrays: Arrays = {
            "center": region.center,
            "domain": sides[:, :1] if uniform else sides,
            "unsafe_matrix": np.concatenate([polytope.matrix for polytope in query.unsafe]),
            "unsafe_offset": np.concatenate([polytope.offset for polytope in query.unsafe]),
            "unsafe_owner": np.repeat(np.arange(len(rows)), rows).astype(np.int32),
        }
        if region.groups is not None:
            arrays["groups"] = region.groups.astype(np.int32)
        if given is not None:
            arrays |= {"mean": given.mean, "std": given.std}
        return arrays

    def _lower_bound(self, query: Query, deadline: Deadline) -> Arrays | None:
        """The arrays of a proof, None if there was not enough time for one.

        Intervals are tried first: they are what costs the checker least.
        """
        part = checked_region(query.region).whole()
        refined: dict[int, IndexArray] = {}
        bounds = bound_layers(self.network, part, FloatArithmetic(), refined)
        trees = self._single_leaves(query, part, bounds)
        if len(trees) < len(query.unsafe):
            refined = self._worth_refining(part, bounds)
            bounds = bound_layers(self.network, part, FloatArithmetic(), refined, between=_raising(deadline))
            trees = self._single_leaves(query, part, bounds)
        left = [k for k in range(len(query.unsafe)) if k not in trees]
        found = self._searched(query, left, bounds, deadline) if left else {}
        if found is None:
            return None
        return self._arrays(refined, bounds, [(trees | found)[k] for k in range(len(query.unsafe))])

    def _arrays(self, refined: dict[int, IndexArray], bounds: LayerBounds, trees: Sequence[_Tree]) -> Arrays:
        sources = {self._source(k): place for place, k in enumerate(self.network.relus)}
        pairs = [(sources[source], neurons) for source, neurons in refined.items()]
        columns = [(place, self._open(bounds, k)) for place, k in enumerate(self.network.relus)]
        most = max(tree.weights.shape[1] for tree in trees)
        weights = [np.pad(tree.weights, ((0, 0), (0, most - tree.weights.shape[1]))) for tree in trees]
        splits = np.array([split for tree in trees for split in tree.splits], dtype=np.int32).reshape(-1, 2)
        multipliers = [value for tree in trees for value in tree.multipliers]
        slopes = np.concatenate([tree.slopes for tree in trees])
        return {
            "box_axis": np.array([-1], dtype=np.int32),
            "box_value": np.zeros(1),
            **_pairs("refined", pairs),
            **_pairs("slope", columns),
            "split_relu": splits[:, 0].copy(),
            "split_neuron": splits[:, 1].copy(),
            "slopes": np.rint(slopes * SLOPE_STEPS).astype(np.uint8),
            "multipliers": np.array(multipliers, dtype=np.float32),
            "weights": np.concatenate(weights).astype(np.float32),
        }

    def _source(self, relu: int) -> int:
        layer = self.network.layers[relu]
        assert isinstance(layer, Relu)
        return layer.source

    def _open(self, bounds: LayerBounds, relu: int) -> IndexArray:
        """Neurons of a ReLU layer whose sign is open."""
        low, up = bounds.lower[self._source(relu)], bounds.upper[self._source(relu)]
        return np.flatnonzero((low < 0) & (up > 0))

    def _worth_refining(self, part: CheckedPart, bounds: LayerBounds) -> dict[int, IndexArray]:
        """Neurons whose sign intervals leave open, where substitution says more than intervals."""
        layers = self.network.relus[1:] if part.is_box else self.network.relus
        refined = {self._source(k): self._open(bounds, k) for k in layers}
        return {source: neurons for source, neurons in refined.items() if len(neurons)}

    def _single_leaves(self, query: Query, part: CheckedPart, bounds: LayerBounds) -> dict[int, _Tree]:
        """Trees of a single leaf, for the polytopes for which the usual slopes are enough."""
        steep = [bounds.upper[self._source(k)] > -bounds.lower[self._source(k)] for k in self.network.relus]
        open_ = [self._open(bounds, k) for k in self.network.relus]
        chosen = [usual[own] for usual, own in zip(steep, open_, strict=True)]
        slopes = np.concatenate([np.zeros(0), *chosen])
        relaxation = Relaxation(self.network, part, FloatArithmetic(), bounds)
        rows = np.concatenate([-polytope.matrix for polytope in query.unsafe])
        known = relaxation.minimum(len(self.network.layers) - 1, rows, Choices())
        trees: dict[int, _Tree] = {}
        first = 0
        for k, polytope in enumerate(query.unsafe):
            count = len(polytope.offset)
            margins = known[first : first + count] + polytope.offset
            first += count
            best = int(np.argmax(margins))
            if margins[best] > 1e-9 * (1 + abs(polytope.offset[best])):
                weights = np.zeros((1, count))
                weights[0, best] = 1.0
                trees[k] = _Tree([(-1, 0)], slopes[None], [], weights)
        return trees

    def _searched(
        self,
        query: Query,
        left: Sequence[int],
        bounds: LayerBounds,
        deadline: Deadline,
    ) -> dict[int, _Tree] | None:
        """Trees of the search over phases, on the checker's bounds."""
        state = self._state(query, bounds)
        targets = targets_of(self.engine.exact, [query.unsafe[k] for k in left])
        nodes = NodeBounds(state, self.engine.single, targets)
        result = search_phases(
            nodes,
            options=SearchOptions(batch=nodes_at_once(self.engine.network.graph)),
            accept=lambda _: False,
            leaf=lambda _target, _phases: False,
            out_of_time=deadline.expired,
        )
        if not result.complete or not result.leaves.complete or result.leaves.by_program:
            return None
        open_ = [self._open(bounds, k) for k in self.network.relus]
        return self._as_trees(result.leaves.nodes(), left, nodes, open_)

    def _state(self, query: Query, bounds: LayerBounds) -> PropagationState:
        """The engine's bounds, with the checker's at the arguments of ReLUs."""
        engine = self.engine
        region = region_batch([query.region], device=engine.device, dtype=torch.float64)
        state = engine.propagator.run(region, method=Method.INTERVAL)
        graph = engine.network.graph
        for here, there in zip(self.network.relus, graph.relus, strict=True):
            source = self._source(here)
            sides = (bounds.lower[source], bounds.upper[source])
            low, up = (engine.exact.tensor(side)[None] for side in sides)
            state.intersect(graph.nodes[there].inputs[0], low, up, Method.LINEAR)
        state.method = Method.LINEAR
        return engine.propagator.run(region, method=Method.LINEAR, known=state)

    def _as_trees(
        self, leaves: Nodes, left: Sequence[int], nodes: NodeBounds, open_: Sequence[IndexArray]
    ) -> dict[int, _Tree]:
        graph = self.engine.network.graph
        ordinal = {position: place for place, position in enumerate(graph.relus)}
        held = nodes.open_exact
        columns = [
            (ordinal[position], int(neuron))
            for position, own in zip(held.positions, held.neurons, strict=True)
            for neuron in own.tolist()
        ]
        listed = [(k, neuron) for k, own in enumerate(open_) for neuron in own.tolist()]
        where = {pair: place for place, pair in enumerate(listed)}
        kept = np.array([where.get(column, -1) for column in columns], dtype=np.int64)
        trees: dict[int, _Tree] = {}
        for place, polytope in enumerate(left):
            own = leaves.take(leaves.target == place)
            phases = own.phases.numpy()
            branches, order = preorder(phases)
            slopes = np.zeros((len(order), len(where)))
            inside = kept >= 0
            slopes[:, kept[inside]] = own.slopes.double().numpy()[order][:, inside]
            multipliers = own.multipliers.double().numpy()
            rows = int(nodes.targets.counts[place])
            weights = own.weights.double().numpy()[order][:, :rows] if rows > 1 else np.ones((len(order), 1))
            trees[polytope] = _Tree(
                [columns[branch.column] if branch.column >= 0 else (-1, 0) for branch in branches],
                slopes,
                [float(multipliers[leaf, c]) for leaf, path in _paths(branches) for c in path],
                weights,
            )
        return trees


def _raising(deadline: Deadline) -> Callable[[], None]:
    """Raises TimeoutError once the time is up."""

    def check() -> None:
        if deadline.expired():
            raise TimeoutError

    return check


def checked_region(region: Ball) -> CheckedRegion:
    """The region of a query as the checker has it."""
    domain = region.domain
    return CheckedRegion(
        region.center, region.radius, region.norm, domain.lower, domain.upper, region.pixels.astype(np.int64)
    )


def _paths(branches: Sequence[Branch]) -> list[tuple[int, list[int]]]:
    """For each leaf in order, its number and the columns on its path."""
    found: list[tuple[int, list[int]]] = []
    waiting: list[list[int]] = [[]]
    for branch in branches:
        path = waiting.pop()
        if branch.column < 0:
            found.append((branch.leaf, path))
        else:
            waiting += [[*path, branch.column], [*path, branch.column]]
    return found


def _pairs(kind: str, neurons: Sequence[tuple[int, IndexArray]]) -> dict[str, NDArray[np.int32]]:
    relus = [np.full(len(own), place) for place, own in neurons]
    places = [own for _, own in neurons]
    empty = np.zeros(0, dtype=np.int64)
    return {
        f"{kind}_relu": np.concatenate([*relus, empty]).astype(np.int32),
        f"{kind}_neuron": np.concatenate([*places, empty]).astype(np.int32),
    }
