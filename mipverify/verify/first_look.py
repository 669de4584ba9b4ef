"""A first look at a property: what plain bounds, a few points and halving decide in numpy alone.

Most properties of small networks need no more, and PyTorch takes longer to be imported than they take to be
decided. What is left over goes on from the boxes that are open here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mipverify.attack.confirm import confirm
from mipverify.attack.rounding import round_all_into
from mipverify.bounds.chain import is_chain
from mipverify.graph.operators import Float64Array
from mipverify.search.box_bounds import ChainBoxes, boxes_at_once
from mipverify.search.box_frontier import Boxes
from mipverify.verify.box_search import first_seconds, search_boxes, worth_halving
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.options import VerifyOptions
from mipverify.verify.property_run import PropertyRun

LOGGER = logging.getLogger(__name__)

SHARE = 0.25  # of the time left, at most
LEAST_BATCH = 2  # boxes in a batch of a network that is worth a look


def look(run: PropertyRun, options: VerifyOptions) -> None:
    """Decide the regions that are easily decided, as long as no other engine or device is asked for."""
    graph = run.network.graph
    wanted = options.engine in ("auto", "search") and options.bounds != "interval"
    if not wanted or options.device == "cuda" or not is_chain(graph):
        return
    batch = boxes_at_once(graph)
    if batch < LEAST_BATCH:
        return
    budget = Deadline(SHARE * run.deadline.remaining())
    count = len(run.property.regions)
    for position in range(count):
        if not run.open or budget.expired():
            return
        case = run.begin(position)
        case.limit = run.deadline.remaining()
        seconds = min(budget.remaining() / (count - position), first_seconds(case.query.region.box()))
        run.climb([case], _Look(run, batch, Deadline(seconds), options.seed))
        if case.error is not None:
            LOGGER.warning("the first look at a region failed: %s", case.error)
            case.error = None  # the ladder goes another way


class _Look:
    """The first look at one region."""

    def __init__(self, run: PropertyRun, batch: int, deadline: Deadline, seed: int) -> None:
        self.run = run
        self.batch = batch
        self.deadline = deadline
        self.seed = seed

    def __call__(self, cases: Sequence[Case]) -> None:
        for case in cases:
            with timed([case], Stage.BOUNDS):
                case.offer(confirm(self.run.network, case.query, case.query.region.center))
            case.close(Stage.ATTACK)
            if case.open:
                self._halve(case)
        self.run.found(cases)

    def _halve(self, case: Case) -> None:
        """Bounds and points of the whole box; then of its parts, where few inputs vary."""
        query, box = case.query, case.query.region.box()
        parts = worth_halving(self.batch, box)

        def offer(point: Float64Array) -> None:
            rounded, inside = round_all_into(point[None], query.region)
            if inside[0]:
                case.offer(confirm(self.run.network, query, rounded[0]))

        with timed([case], Stage.SEARCH if parts else Stage.BOUNDS):
            positions = case.open_polytopes
            bounds = ChainBoxes(self.run.network.graph, box, [query.unsafe[k] for k in positions])
            result = search_boxes(
                bounds,
                case,
                positions,
                query.region.radius,
                offer=offer,
                leaf=_no_leaf,
                deadline=self.deadline,
                max_boxes=None if parts else 1,
                seed=self.seed,
            )
        if result.complete:
            case.exclude(query.region.radius, Evidence.BOUND_PROPAGATION)
        whole = result.boxes <= 1
        if not parts:
            case.nodes, case.paused = None, None
        case.close((Stage.ATTACK if result.found else Stage.BOUNDS) if whole else Stage.SEARCH)


def _no_leaf(boxes: Boxes, polytope: int) -> bool:
    """What halving cannot decide is left to the ladder."""
    del boxes, polytope
    return False
