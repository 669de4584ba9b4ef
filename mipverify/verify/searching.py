"""The search stage: branch-and-bound over phases, with replayed points and certified leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from mipverify.attack.replay import replay
from mipverify.bounds.forms import Forms
from mipverify.bounds.optimise_planes import PlaneOptions
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array
from mipverify.graph.size import num_products
from mipverify.problem.norm import Norm
from mipverify.search.node_bounds import NodeBounds, NodeOptions
from mipverify.search.phase_search import PausedPhases, SearchOptions, search_phases
from mipverify.search.subtrees import Phases, Settled, SubtreeOptions, Subtrees
from mipverify.search.target_planes import NodePlanes, TargetPlanes, node_planes, shared_planes
from mipverify.search.targets import targets_of
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.exact import CUT_SHARE, examine, pass_on_interrupt
from mipverify.verify.polish import closest_in_linear_region, deepest_in_linear_region
from mipverify.verify.problem import OpenProblem, bound_outputs

SECONDS_PER_LEAF = 10.0
SECONDS_OFF_GRID = 1.0  # for a value of the grid near an unsafe point between two of them
SUBTREES = SubtreeOptions()
SECONDS_PER_SUBTREE = 1.0
SUBTREE_CUT_SHARE = 0.5  # of that for inequalities at the root: they settle most subtrees that get settled
PROGRAM_SIZE = 300  # unstable neurons up to which a program is worth its time beside the search
# Unstable neurons from which on every node improves planes of its own: where they are that many, splits
# alone close nothing, while below it cheap nodes are worth more than good ones.
MANY = 500
MANY_PLANES = PlaneOptions(steps=(20, 200), decay=0.985, patience=200, negligible=0.0)
MANY_SEARCH = SearchOptions(
    node=NodeOptions(steps=20, rate=0.02, decay=0.97, gentle=True),
    finish=NodeOptions(steps=60, rate=0.02, decay=0.97, gentle=True),
    almost=0.05,
)
# A distance is better asked about at another radius than with splits that gain nothing.
DISTANCE_SEARCH = replace(
    MANY_SEARCH,
    finish=NodeOptions(steps=150, rate=0.02, decay=0.98, stretch=30, gentle=True),
    patience=24,
)
# So does every node where all planes go over the input, whose box is exact, and that many numbers tell them.
FLAT_NUMBERS = 1 << 13
FLAT_SEARCH = SearchOptions(
    batch=256,
    node=NodeOptions(steps=10, rate=0.1),
    finish=NodeOptions(steps=60, rate=0.1, decay=0.95),
    almost=0.05,
)
NUMBERS = 1_000_000  # that move at the nodes of one batch
PRODUCTS = 1 << 27  # of one pass over a batch of nodes, about
FEWEST_NODES, MOST_NODES = 64, 2048  # in a batch


@dataclass(frozen=True, eq=False)
class PausedTree:
    """A search that ran out of time, with all that it rests on.

    Attributes:
        problem: the region and the targets that are searched.
        bounds: of the nodes.
        evidence: of the nodes that are closed.
        paused: the nodes.
    """

    problem: OpenProblem
    bounds: NodeBounds
    evidence: Evidence
    paused: PausedPhases

    @property
    def progress(self) -> float:
        """How far the worst bound has come from the root's to 0, in [0, 1]."""
        scale = self.paused.scale
        return 1 + self.paused.frontier.worst / scale if scale > 0 else 0.0


def decide_by_search(
    engine: Engine, case: Case, problem: OpenProblem, deadline: Deadline, *, planes: bool = False
) -> OpenProblem:
    """Search for a point in any open target, or exclude them all; returns what is still open.

    With `planes`, planes are searched for first: they exclude some targets, and tighten the nodes of the
    others. What is excluded rests on bound propagation with its rounding covered; a leaf that only an LP
    closes makes it a solver's claim.
    """
    case.num_unstable = problem.state.count_unstable(0)
    case.trees.pop(problem.query.region.radius, None)
    if not problem.polytopes or deadline.expired():
        return problem
    with timed([case], Stage.SEARCH):
        found = None
        if planes:
            problem, found = exclude_by_planes(engine, problem, deadline)
            if not problem.polytopes:
                case.exclude(problem.query.region.radius, problem.evidence)
                return problem
        stage = SearchStage(engine, case, problem, deadline)
        return _search(stage, stage.node_bounds(found), deadline)


def resume_search(engine: Engine, case: Case, radius: float, deadline: Deadline) -> OpenProblem | None:
    """Go on with the paused search of a radius, if there is one; returns what is still open."""
    tree = case.trees.pop(radius, None)  # what fails on the way may have lost nodes
    if tree is None:
        return None
    with timed([case], Stage.SEARCH):
        stage = SearchStage(engine, case, tree.problem, deadline)
        stage.evidence = tree.evidence
        left = _search(stage, tree.bounds, deadline, tree.paused)
    case.close(Stage.SEARCH)
    return left


def _search(
    stage: SearchStage, bounds: NodeBounds, deadline: Deadline, paused: PausedPhases | None = None
) -> OpenProblem:
    """What a search leaves open; the search for a distance can be resumed."""
    case, problem = stage.case, stage.problem
    result = search_phases(
        bounds,
        options=_effort(stage, bounds, resumed=paused is not None),
        accept=stage.accept,
        leaf=stage.leaf,
        out_of_time=deadline.expired,
        subtrees=stage.subtrees(bounds, paused),
        paused=paused,
    )
    case.nodes = (case.nodes or 0) + result.nodes
    if not result.complete:
        region = problem.query.region
        # In l2 decisions near the witness end, if late: what they have done so far is kept.
        worth_keeping = bounds.count > MANY or region.norm is Norm.L2
        if case.eps is None and worth_keeping and result.paused is not None:
            radius = region.radius
            case.trees[radius] = PausedTree(problem, bounds, stage.evidence, result.paused)
        return problem
    case.leaves = result.leaves
    case.exclude(problem.query.region.radius, stage.evidence)
    return replace(problem, polytopes=(), claimed=stage.evidence is Evidence.SOLVER_CLAIM)


def nodes_at_once(graph: Graph) -> int:
    """Nodes split in one batch: the more, the smaller the network, whose passes are overhead mostly."""
    return min(MOST_NODES, max(FEWEST_NODES, PRODUCTS // max(1, num_products(graph))))


def has_many_unstable(problem: OpenProblem) -> bool:
    """Whether nodes get planes of their own, and many steps."""
    return problem.state.count_unstable(0) > MANY


def is_narrowed(problem: OpenProblem) -> bool:
    """Whether a distance is asked about at radii close to each other, some of which are given up soon."""
    region = problem.query.region
    return has_many_unstable(problem) and region.grid is None and not region.norm.counts


def is_flat(problem: OpenProblem) -> bool:
    """Whether a single layer of ReLUs over a box is so narrow that nodes get planes of their own."""
    graph, region = problem.state.network.graph, problem.state.region
    numbers = problem.state.count_unstable(0) * graph.input_size
    return len(graph.relus) == 1 and region.is_box and numbers <= FLAT_NUMBERS


def _effort(stage: SearchStage, bounds: NodeBounds, *, resumed: bool) -> SearchOptions:
    """Better nodes where they have planes of their own or there are many neurons, as many at once as fit."""
    if bounds.count <= MANY:
        flat = isinstance(bounds.planes, NodePlanes) and bounds.planes.bases
        return FLAT_SEARCH if flat else SearchOptions(batch=nodes_at_once(stage.engine.network.graph))
    distance = stage.case.eps is None and is_narrowed(stage.problem)
    options = DISTANCE_SEARCH if distance else MANY_SEARCH
    batch = min(options.batch, max(4, NUMBERS // bounds.numbers))
    return replace(options, batch=batch, patience=None if resumed else options.patience)


def exclude_by_planes(
    engine: Engine, problem: OpenProblem, deadline: Deadline
) -> tuple[OpenProblem, TargetPlanes | None]:
    """The targets that planes leave open, and their planes (None while some target has several rows)."""
    unsafe = [problem.query.unsafe[k] for k in problem.polytopes]
    network = problem.state.network
    offsets = np.concatenate([polytope.offset for polytope in unsafe])
    rows = network.tensor(np.concatenate([-polytope.matrix for polytope in unsafe]))
    sample = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    forms = Forms(network.graph.output, sample, rows=rows, goal=network.tensor(-offsets))
    known = rows.new_full((len(rows),), -float("inf"))
    many = has_many_unstable(problem)
    found = engine.propagator.minimise_with_planes(
        problem.state, forms, known, deadline.expired, options=MANY_PLANES if many else None
    )
    missed = np.nextafter(found.values.cpu().numpy() + offsets, -np.inf) > 0
    owner = np.repeat(np.arange(len(unsafe)), [len(polytope.offset) for polytope in unsafe])
    left = [k for k in range(len(unsafe)) if not missed[owner == k].any()]
    narrowed = replace(problem, polytopes=tuple(problem.polytopes[k] for k in left))
    if not left or len(owner) > len(unsafe):
        return narrowed, None
    make = node_planes if many or is_flat(problem) else shared_planes
    return narrowed, make(found, torch.tensor(left, device=rows.device))


class SearchStage:
    """What the search asks of the rest: is this a counterexample, is this leaf excluded?"""

    def __init__(
        self, engine: Engine, case: Case, problem: OpenProblem, deadline: Deadline | None = None
    ) -> None:
        self.engine = engine
        self.case = case
        self.problem = problem
        self.deadline = case.deadline() if deadline is None else deadline
        self.evidence = problem.evidence

    @property
    def claimed(self) -> bool:
        """Whether what was excluded so far rests on a solver's word."""
        return self.evidence is Evidence.SOLVER_CLAIM

    def node_bounds(self, planes: TargetPlanes | None) -> NodeBounds:
        """Bounds of the nodes for the open targets."""
        unsafe = [self.problem.query.unsafe[k] for k in self.problem.polytopes]
        targets = targets_of(self.engine.exact, unsafe)
        many = has_many_unstable(self.problem)
        return NodeBounds(self.problem.state, self.engine.single, targets, planes, above_first=many)

    def accept(self, points: Float64Array) -> bool:
        """Replay the points that look unsafe; a witness goes to the case."""
        query = self.problem.query
        margins = query.margin(self.engine.network(points))
        for point in points[margins >= 0]:
            found = replay(self.engine.network, query, point)
            if found is None and query.region.grid is not None and not self.case.reached(query.region.radius):
                # Unsafe between the values of the grid: perhaps at one of them in the same linear region.
                limit = Deadline(min(SECONDS_OFF_GRID, self.case.remaining()))
                found = deepest_in_linear_region(self.engine, query, self.problem.bounds, point, limit)
            if found is not None and self.case.eps is None:
                found = closest_in_linear_region(
                    self.engine, query, self.problem.bounds, found, self.case.deadline()
                )
            self.case.offer(found)
        return self.case.reached(query.region.radius)

    def subtrees(self, bounds: NodeBounds, paused: PausedPhases | None = None) -> Subtrees | None:
        """Programs for subtrees, where programs may be used and are small; those of a paused search go on."""
        if self.engine.options.engine != "auto" or bounds.count > PROGRAM_SIZE:
            return None
        if paused is None or paused.subtrees is None:
            return Subtrees(SUBTREES, self.subtree)
        paused.subtrees.program = self.subtree
        return paused.subtrees

    def subtree(self, target: int, phases: Phases) -> Settled:
        """A program over a node with open phases: a short one."""
        if self._excludes(target, phases, SECONDS_PER_SUBTREE, SUBTREE_CUT_SHARE):
            return Settled.EXCLUDED
        return Settled.REACHED if self.case.reached(self.problem.query.region.radius) else Settled.OPEN

    def leaf(self, target: int, phases: Phases) -> bool:
        """Nothing is worth a split any more, and the leaf is still open: its program decides."""
        return self._excludes(target, phases, SECONDS_PER_LEAF, CUT_SHARE)

    @cached_property
    def _bounded(self) -> OpenProblem:
        return bound_outputs(self.engine, self.problem)

    def _excludes(self, target: int, phases: Phases, seconds: float, cut_share: float) -> bool:
        excluded, result = examine(
            self.engine,
            self.case,
            self._bounded,
            self.problem.polytopes[target],
            phases=phases,
            time_limit=min(seconds, self.deadline.remaining()),
            cut_share=cut_share,
        )
        pass_on_interrupt(result)
        # The cost is minus the margin: a certified bound > 0 needs no trust in the solver.
        if excluded and not (result.certified and result.dual_bound > 0):
            self.evidence = Evidence.SOLVER_CLAIM
        return excluded
