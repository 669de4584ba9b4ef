"""Tightening: better bounds of the neurons that are still unstable, layer by layer, by LPs and then MIPs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from mipverify.bounds.network_bounds import Method, NetworkBounds
from mipverify.encoding.needed import needed_rows
from mipverify.errors import QueryError, SoundnessError
from mipverify.graph.graph import Graph
from mipverify.graph.operators import Float64Array, IndexArray, Relu
from mipverify.problem.query import Query, check_fits
from mipverify.tightening.layer import LayerTightening, countdown
from mipverify.tightening.sessions import LpSession, MipSession, OpenSession
from mipverify.tightening.values import NeuronValues, values_over_region, values_over_unsafe_points


@dataclass(frozen=True)
class TighteningOptions:
    """Effort; none of these changes what a bound means.

    Attributes:
        seconds: time for everything; layers share it by their numbers of open neurons.
        seconds_per_lp: time limit of one LP.
        seconds_per_mip: time limit of one MIP; 0 for no MIPs. Bounds of MIPs rest on the solver's word.
        least_gain: sides that can gain less than this share of a neuron's width are left out.
        signs_only: leave out LPs that cannot decide a sign; widths then improve less.
    """

    seconds: float = inf
    seconds_per_lp: float = 5.0
    seconds_per_mip: float = 0.0
    least_gain: float = 0.01
    signs_only: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        if not (self.seconds >= 0 and self.seconds_per_lp >= 0 and self.seconds_per_mip >= 0):
            raise QueryError("the times for tightening must be >= 0 s")
        if not 0 <= self.least_gain < 1:
            raise QueryError(f"the least gain is a share of a width, got {self.least_gain}")


@dataclass(frozen=True, eq=False)
class TighteningResult:
    """Bounds, never looser than those given, and what they cost.

    Attributes:
        bounds: of every node; they mean what the function that returned them says.
        lps, mips: solves begun.
        stabilised: unstable neurons whose phase is now known.
        seconds: wall time.
        claimed: some bound, of those given or found, rests on the word of a MIP solver: so does whatever
            uses the bounds.
        empty: proven (unless `claimed`) that there is no point for which the bounds would have to hold.
        complete: the work was neither out of time nor interrupted.
        interrupted: a solve was ended from outside (Ctrl-C): the caller passes that on.
    """

    bounds: NetworkBounds
    lps: int
    mips: int
    stabilised: int
    seconds: float
    claimed: bool = False
    empty: bool = False
    complete: bool = True
    interrupted: bool = False


def tighten(
    graph: Graph,
    query: Query,
    bounds: NetworkBounds,
    *,
    options: TighteningOptions,
    deadline: Callable[[], float],
    threads: int = 1,
    open_lp: OpenSession = LpSession,
) -> TighteningResult:
    """Bounds of the unstable ReLU arguments that the unsafe set depends on, over the region of the query.

    Which bounds are tried, and their last digits, may depend on the number of threads.

    Args:
        graph: the network.
        query: region (linf, l2 or l1); of the unsafe set only which outputs count.
        bounds: bounds of every node over the region.
        options: effort.
        deadline: seconds left.
        threads: neurons of a layer are shared by so many threads, with one LP each.
        open_lp: opens the session that minimises over an LP; its bounds must be rigorous.

    Raises:
        QueryError: sizes that do not fit.
        MissingBoundError: an unstable neuron without finite bounds.
        SoundnessError: the bounds leave no point of the region.
    """
    check_fits(graph, query)
    counted = np.any([np.any(polytope.matrix != 0, axis=0) for polytope in query.unsafe], axis=0)

    def values(known: NetworkBounds, node: int, neurons: IndexArray, relaxed: bool) -> NeuronValues:
        return values_over_region(graph, query.region, known, node, neurons, relaxed=relaxed)

    work = _Tightening(graph, bounds, counted, values, options, deadline, threads, open_lp)
    result = work.run()
    if result.empty:
        source = "a solver's claim" if result.claimed else "linear programs"
        raise SoundnessError(f"the bounds leave no point of the region, according to {source}")
    return result


def tighten_for_unsafe_points(
    graph: Graph,
    query: Query,
    bounds: NetworkBounds,
    polytope: int,
    *,
    options: TighteningOptions,
    deadline: Callable[[], float],
    threads: int = 1,
    open_lp: OpenSession = LpSession,
) -> TighteningResult:
    """Bounds that hold only for the points a of the region with f(a) in `query.unsafe[polytope]`.

    They serve programs about this polytope alone. If the result is `empty`, the region misses it.

    Args:
        graph: the network.
        query: region (linf, l2 or l1) and unsafe set.
        bounds: bounds of every node over the region, or over these points.
        polytope: position in the unsafe set.
        options: effort.
        deadline: seconds left.
        threads: as for `tighten`.
        open_lp: as for `tighten`.

    Raises:
        QueryError: sizes that do not fit, no such polytope.
        MissingBoundError: an unstable neuron without finite bounds.
        SoundnessError: the given bounds cross.
    """
    check_fits(graph, query)
    if not 0 <= polytope < len(query.unsafe):
        raise QueryError(f"polytope {polytope} is not in the unsafe set of {len(query.unsafe)}")
    counted = np.any(query.unsafe[polytope].matrix != 0, axis=0)

    def values(known: NetworkBounds, node: int, neurons: IndexArray, relaxed: bool) -> NeuronValues:
        return values_over_unsafe_points(graph, query, known, polytope, node, neurons, relaxed=relaxed)

    return _Tightening(graph, bounds, counted, values, options, deadline, threads, open_lp).run()


class _Tightening:
    """Layer by layer: each layer's programs are made from the bounds of the layers before."""

    def __init__(
        self,
        graph: Graph,
        bounds: NetworkBounds,
        counted: np.ndarray,
        values: Callable[[NetworkBounds, int, IndexArray, bool], NeuronValues],
        options: TighteningOptions,
        deadline: Callable[[], float],
        threads: int,
        open_lp: OpenSession,
    ) -> None:
        self.graph, self.bounds, self.counted, self.values = graph, bounds, counted, values
        self.options, self.threads, self.open_lp = options, threads, open_lp
        budget = countdown(options.seconds)
        self.left: Callable[[], float] = lambda: min(deadline(), budget())
        self.lps = self.mips = 0
        self.claimed = any(bool((methods == Method.MIP).any()) for methods in bounds.methods)
        self.empty = self.interrupted = False

    def run(self) -> TighteningResult:
        begin, before = time.perf_counter(), self.bounds.num_unstable(self.graph)
        sources = sorted({self.graph.nodes[relu].inputs[0] for relu in self.graph.relus})
        for place, node in enumerate(sources):
            if self.left() <= 0 or self.empty or self.interrupted:
                break
            neurons = self._open(sources[place:])
            mine, all_open = neurons[0].size, sum(part.size for part in neurons)
            if mine:
                share = self.left() * mine / all_open
                self._layer(node, neurons[0], countdown(share))
        complete = not self.interrupted and self.left() > 0
        stabilised = before - self.bounds.num_unstable(self.graph)
        seconds = time.perf_counter() - begin
        return TighteningResult(
            self.bounds,
            self.lps,
            self.mips,
            stabilised,
            seconds,
            self.claimed,
            self.empty,
            complete,
            self.interrupted,
        )

    def _open(self, nodes: list[int]) -> list[IndexArray]:
        """Unstable neurons of these nodes that the counted outputs depend on."""
        needed = needed_rows(self.graph, self.bounds, self.counted)
        found = []
        for node in nodes:
            rows = needed[node].rows
            low, up = self.bounds.lower[node][rows], self.bounds.upper[node][rows]
            found.append(rows[(low < 0) & (up > 0)])
        return found

    def _layer(self, node: int, neurons: IndexArray, left: Callable[[], float]) -> None:
        self._rung(node, neurons, left, Method.LP)
        low, up = self.bounds.lower[node][neurons], self.bounds.upper[node][neurons]
        neurons = neurons[(low < 0) & (up > 0)]
        stopped = self.empty or self.interrupted or left() <= 0
        if self.options.seconds_per_mip > 0 and neurons.size and not stopped:
            self._rung(node, neurons, left, Method.MIP)

    def _rung(self, node: int, neurons: IndexArray, left: Callable[[], float], method: Method) -> None:
        values = self.values(self.bounds, node, neurons, method is Method.LP)
        # Without rows, values are affine in the input and interval arithmetic has nothing to gain.
        if values.program.num_rows == 0 or values.program.num_columns == 0:
            return
        exact = method is Method.MIP
        layer = LayerTightening(
            values,
            self.bounds.lower[node][neurons],
            self.bounds.upper[node][neurons],
            least_gain=self.options.least_gain,
            signs_only=self.options.signs_only,
            seconds_each=self.options.seconds_per_mip if exact else self.options.seconds_per_lp,
            left=left,
        )
        layer.run(MipSession if exact else self.open_lp, self.threads)
        self.mips += layer.solves if exact else 0
        self.lps += 0 if exact else layer.solves
        self.empty |= layer.empty
        self.interrupted |= layer.interrupted
        before = self.bounds
        if not layer.empty:
            self.bounds = _with_node(self.graph, before, node, neurons, (layer.lower, layer.upper), method)
        after = self.bounds
        same = np.array_equal(before.lower[node], after.lower[node]) and np.array_equal(
            before.upper[node], after.upper[node]
        )
        self.claimed |= exact and (layer.empty or not same)


def _with_node(
    graph: Graph,
    bounds: NetworkBounds,
    node: int,
    neurons: IndexArray,
    sides: tuple[Float64Array, Float64Array],
    method: Method,
) -> NetworkBounds:
    """The bounds with better ones for some neurons of a node, and for the ReLUs that read it."""
    lower, upper, methods = list(bounds.lower), list(bounds.upper), list(bounds.methods)
    for target in (node, *graph.consumers[node]):
        if target != node and not isinstance(graph.nodes[target].op, Relu):
            continue
        low, up = sides if target == node else (np.maximum(sides[0], 0.0), np.maximum(sides[1], 0.0))
        better = neurons[(low > lower[target][neurons]) | (up < upper[target][neurons])]
        lower[target], upper[target] = lower[target].copy(), upper[target].copy()
        methods[target] = methods[target].copy()
        lower[target][neurons] = np.maximum(lower[target][neurons], low)
        upper[target][neurons] = np.minimum(upper[target][neurons], up)
        # What once rested on a claim still does.
        methods[target][better] = np.maximum(methods[target][better], method)
    return replace(bounds, lower=tuple(lower), upper=tuple(upper), methods=tuple(methods))
