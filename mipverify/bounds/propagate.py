"""Bounds of every neuron of a network over a batch of regions, node by node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from mipverify.bounds.ball_interval import ball_interval
from mipverify.bounds.charges import AffineFacts, affine_facts, charge_affine, charge_lines
from mipverify.bounds.forms import Forms, both_sides
from mipverify.bounds.interval import interval_step, magnitude_of, middle_and_radius
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.optimise import SlopeOptions, minimise_optimised
from mipverify.bounds.optimise_planes import PlaneBounds, PlaneOptions, minimise_with_planes
from mipverify.bounds.region_batch import RegionBatch
from mipverify.bounds.relaxation import relax_maxpool, relax_relu
from mipverify.bounds.state import PropagationState
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.operators import Conv, Dense, MaxPool, Relu, Scale, Select

# Memory of one tensor of rows; a pass holds about five of them. On a CPU they should stay in its cache.
ROW_BYTES = {"cpu": 2**21, "cuda": 2**28}
ROWS_ALONE = 32  # of a few large samples; for many small ones, a pass each costs more than it saves

# From a state that reaches a node, forms of its neurons and known lower bounds of these to better ones.
Deeper = Callable[[PropagationState, Forms, Tensor], Tensor]


class Propagator:
    """Computes bounds of one network over many batches of regions.

    Args:
        network: the network in float64 for claims.
        row_bytes: memory that one tensor of substituted rows may take; by default what suits the device.
        rows_alone: from so many rows on, a sample gets passes of its own.
        slope_options: effort of the search for slopes, for method OPTIMISED.
        plane_options: effort of the search for planes.
    """

    def __init__(
        self,
        network: TorchNetwork,
        *,
        row_bytes: int | None = None,
        rows_alone: int = ROWS_ALONE,
        slope_options: SlopeOptions = SlopeOptions(),  # noqa: B008  (frozen)
        plane_options: PlaneOptions = PlaneOptions(),  # noqa: B008  (frozen)
    ) -> None:
        self.network = network
        self.slope_options = slope_options
        self.plane_options = plane_options
        self.rows_alone = rows_alone
        self.widest = max(node.size for node in network.graph.nodes)
        memory = ROW_BYTES.get(network.device.type, 2**24) if row_bytes is None else row_bytes
        self.rows_at_once = max(1, memory // (self.widest * torch.finfo(network.dtype).bits // 8))
        self.facts: dict[int, AffineFacts] = {
            position: affine_facts(network, position)
            for position, node in network.graph
            if isinstance(node.op, Dense | Conv | Scale)
        }
        self.exact_boxes = self._reads_input_directly()
        self.scattered = self._repeated_selections()

    @cached_property
    def single(self) -> TorchNetwork:
        """The network in float32, for searching."""
        return TorchNetwork(self.network.graph, device=self.network.device, dtype=torch.float32)

    def run(
        self,
        region: RegionBatch,
        *,
        method: Method,
        known: PropagationState | None = None,
        planes: bool = False,
        deeper: Deeper | None = None,
        out_of_time: Callable[[], bool] | None = None,
    ) -> PropagationState:
        """Bounds of every node: each method up to `method` refines what the one before leaves open.

        Args:
            region: the input regions of the batch.
            method: the strongest method.
            known: bounds over the same regions; methods that they have been through are not run again.
            planes: whether layers with few undecided neurons are bounded with planes at the end.
            deeper: bounds all undecided neurons of a layer after that, in a state of one sample.
            out_of_time: once it says so, the rest is interval arithmetic alone: still sound.
        """
        state = PropagationState(self.network, region, method=method)
        first = Method.LINEAR if known is None else Method(known.method + 1)
        for position, node in self.network.graph:
            if position == 0:
                self._push(state, region.lower, region.upper)
                continue
            self._charge(state, position)
            arguments = [(state.lower[source], state.upper[source]) for source in node.inputs]
            bounds = interval_step(self.network, position, arguments, state.charges.get(position))
            self._push(state, *bounds)
            self._use_ball(state, position)
            if known is not None:
                state.adopt(position, known)
            if out_of_time is None or not out_of_time():
                self._refine(state, position, range(first, method + 1), out_of_time)
                if planes:
                    self._refine_by_planes(state, position, out_of_time)
                if deeper is not None:
                    self._refine_deeper(state, position, deeper)
        return state

    def minimise(
        self,
        state: PropagationState,
        forms: Forms,
        *,
        method: Method = Method.LINEAR,
        out_of_time: Callable[[], bool] | None = None,
    ) -> Tensor:
        """Lower bounds of linear forms, [rows], each over its own sample's region."""
        result = state.lower[0].new_empty(len(forms))
        for part, view, own in self._passes(state, forms):
            intervals = method == Method.INTERVAL
            result[part] = own.minimise_by_intervals(view) if intervals else own.minimise(view)
        if method >= Method.OPTIMISED:
            for part, view, own in self._passes(state, forms, alone=True):
                result[part] = minimise_optimised(
                    view,
                    own,
                    result[part],
                    single=self.single,
                    options=self.slope_options,
                    out_of_time=out_of_time,
                )
        return result

    def minimise_with_planes(
        self,
        state: PropagationState,
        forms: Forms,
        known: Tensor,
        out_of_time: Callable[[], bool] | None,
        *,
        options: PlaneOptions | None = None,
    ) -> PlaneBounds:
        """Lower bounds of linear forms with optimised slopes and planes, in a state of one sample."""
        return minimise_with_planes(
            state,
            forms,
            known,
            single=self.single,
            slope_options=self.slope_options,
            options=self.plane_options if options is None else options,
            out_of_time=out_of_time,
        )

    def refine_output(self, state: PropagationState, *, method: Method = Method.LINEAR) -> None:
        """Tighten the intervals of all outputs by backward substitution."""
        everything = torch.ones_like(state.lower[self.network.graph.output], dtype=torch.bool)
        self._tighten(state, self.network.graph.output, everything, method, None)

    def _tighten(
        self,
        state: PropagationState,
        position: int,
        neurons: Tensor,
        method: Method,
        out_of_time: Callable[[], bool] | None,
    ) -> None:
        """Bound the neurons of a node that are marked in a mask [batch, size]."""
        sample, chosen = neurons.nonzero(as_tuple=True)
        forms = both_sides(position, sample, chosen, self.network.dtype)
        found = self.minimise(state, forms, method=method, out_of_time=out_of_time)
        self._keep(state, position, (sample, chosen), found, method)

    def _keep(
        self,
        state: PropagationState,
        position: int,
        neurons: tuple[Tensor, Tensor],
        found: Tensor,
        method: Method,
    ) -> None:
        """Intersect with lower bounds, then negated upper bounds, of (sample, neuron) pairs."""
        low, up = found.chunk(2)
        lower, upper = state.lower[position].clone(), state.upper[position].clone()
        lower[neurons], upper[neurons] = low, -up
        state.intersect(position, lower, upper, method)

    def _passes(
        self, state: PropagationState, forms: Forms, *, alone: bool = False
    ) -> Iterator[tuple[Tensor, PropagationState, Forms]]:
        """Cut forms into passes that fit the memory: (positions, state, forms within that state).

        Many rows of one sample go on their own (all of them with `alone`), so that its vectors need no
        copy per row.
        """
        counts = torch.bincount(forms.sample, minlength=state.batch)
        separate = counts >= (1 if alone else self.rows_alone)
        for sample in separate.nonzero().squeeze(1).tolist():
            positions = (forms.sample == sample).nonzero().squeeze(1)
            view = state if state.batch == 1 else state.only(sample)
            for part in torch.split(positions, self.rows_at_once):
                yield part, view, forms.take(part).alone()
        mixed = (~separate)[forms.sample].nonzero().squeeze(1)
        for part in torch.split(mixed, self.rows_at_once) if len(mixed) else ():
            yield part, state, forms.take(part)

    def _push(self, state: PropagationState, lower: Tensor, upper: Tensor) -> None:
        state.lower.append(lower)
        state.upper.append(upper)
        state.methods.append(torch.zeros(lower.shape, dtype=torch.uint8, device=lower.device))

    def _use_ball(self, state: PropagationState, position: int) -> None:
        """Intersect intervals of the first weighted layer with what the ball alone says of it."""
        ball = state.region.ball
        if ball is not None and position in self.exact_boxes:
            found = ball_interval(self.network, position, state.region, ball, state.charges[position])
            if found is not None:
                state.intersect(position, *found, Method.INTERVAL)

    def _charge(self, state: PropagationState, position: int) -> None:
        """Errors and lines of the node at `position`, from the bounds of its arguments."""
        node = self.network.graph.nodes[position]
        source = node.inputs[0]
        low, up = state.lower[source], state.upper[source]
        match node.op:
            case Dense() | Conv() | Scale():
                middle, radius = middle_and_radius(low, up)
                reach = middle.abs() + radius
                state.charges[position] = charge_affine(self.network, position, self.facts[position], reach)
            case Relu():
                lines = relax_relu(low, up)
                state.relaxations[position] = lines
                state.charges[position] = charge_lines(magnitude_of(low, up), lines.upper_offset, 1)
            case MaxPool():
                windows = self.network.tensors[position]["windows"]
                pooled = relax_maxpool(low, up, windows)
                state.relaxations[position] = pooled
                reach = magnitude_of(low, up)[:, windows].amax(2)
                state.charges[position] = charge_lines(reach, pooled.upper_offset.abs(), windows.numel())
            case Select() if position in self.scattered:
                picked = self.network.apply(position, [magnitude_of(low, up)]).abs()
                state.charges[position] = charge_lines(picked, torch.zeros_like(picked), node.size)
            case _:
                pass

    def _refine(
        self,
        state: PropagationState,
        position: int,
        methods: Iterable[int],
        out_of_time: Callable[[], bool] | None,
    ) -> None:
        """Tighten the neurons of a node that some nonlinear reader still sees as undecided."""
        if state.region.is_plain_box and position in self.exact_boxes:
            return
        for method in methods:
            undecided = self._undecided(state, position)
            if undecided is None or not bool(undecided.any()):
                return
            self._tighten(state, position, undecided, Method(method), out_of_time)

    def _refine_by_planes(
        self, state: PropagationState, position: int, out_of_time: Callable[[], bool] | None
    ) -> None:
        """Tighten a node's neurons with planes above the ReLUs below, if few are still undecided."""
        few = self._open_neurons(state, position)
        if few is not None and 2 * len(few[0]) <= self.plane_options.most_rows:
            forms = both_sides(position, *few, self.network.dtype)
            found = torch.cat([state.lower[position][few], -state.upper[position][few]])
            for part, view, own in self._passes(state, forms, alone=True):
                found[part] = self.minimise_with_planes(view, own, found[part], out_of_time).values
            self._keep(state, position, few, found, Method.OPTIMISED)

    def _refine_deeper(self, state: PropagationState, position: int, deeper: Deeper) -> None:
        """Tighten a node's undecided neurons as `deeper` does."""
        open_ = self._open_neurons(state, position)
        if open_ is not None:
            forms = both_sides(position, *open_, self.network.dtype)
            known = torch.cat([state.lower[position][open_], -state.upper[position][open_]])
            self._keep(state, position, open_, deeper(state, forms, known), Method.OPTIMISED)

    def _open_neurons(self, state: PropagationState, position: int) -> tuple[Tensor, Tensor] | None:
        """Samples and neurons of a node's undecided ones; None where there are none, or all is settled."""
        undecided = self._undecided(state, position)
        if undecided is None or (state.region.is_plain_box and position in self.exact_boxes):
            return None
        sample, chosen = undecided.nonzero(as_tuple=True)
        return (sample, chosen) if len(chosen) else None

    def _undecided(self, state: PropagationState, position: int) -> Tensor | None:
        masks: list[Tensor] = []
        low, up = state.lower[position], state.upper[position]
        for reader in self.network.graph.consumers[position]:
            match self.network.graph.nodes[reader].op:
                case Relu():
                    masks.append((low < 0) & (up > 0))
                case MaxPool():
                    masks.append(_undecided_in_windows(low, up, self.network.tensors[reader]["windows"]))
                case _:
                    pass
        return torch.stack(masks).any(0) if masks else None

    def _reads_input_directly(self) -> frozenset[int]:
        """Nodes that are one weighted map of (selected) inputs: their intervals over a box are exact."""
        direct = {0}
        found = set()
        for position, node in self.network.graph:
            if position and node.inputs[0] in direct and len(node.inputs) == 1:
                if isinstance(node.op, Select) and position not in self._repeated_selections():
                    direct.add(position)
                elif isinstance(node.op, Dense | Conv | Scale):
                    found.add(position)
        return frozenset(found)

    def _repeated_selections(self) -> frozenset[int]:
        """Select nodes whose transposed map adds something up: a repeated index, or a fill value."""
        found = set()
        for position, node in self.network.graph:
            if isinstance(node.op, Select):
                used = node.op.index[node.op.index >= 0]
                if len(used) < len(node.op.index) or len(set(used.tolist())) < len(used):
                    found.add(position)
        return frozenset(found)


def _undecided_in_windows(low: Tensor, up: Tensor, windows: Tensor) -> Tensor:
    """Entries of windows in which more than one distinct entry may be the largest, [batch, n]."""
    best_low, best = low[:, windows].max(dim=2)
    leader = windows.expand(len(low), *windows.shape).gather(2, best[:, :, None])
    rival = (up[:, windows] > best_low[:, :, None]) & (windows != leader)
    contested = rival.any(dim=2, keepdim=True)
    open_entries = contested & (rival | (windows == leader))
    counts = low.new_zeros(low.shape)
    index = windows.reshape(1, -1).expand(len(low), -1)
    return counts.scatter_add(1, index, open_entries.reshape(len(low), -1).to(low.dtype)) > 0
