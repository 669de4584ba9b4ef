"""Optimised planes: the best lower bound over all lines below and all planes above the unstable ReLUs.

Slopes and planes are searched in single precision by projected gradient ascent, starting from optimised
slopes and chords; the bound comes from one more pass in double precision that covers its rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mipverify.bounds.ascent import ProjectedAdam
from mipverify.bounds.forms import Forms
from mipverify.bounds.optimise import SlopeOptions, Slopes, lines_with, search_slopes
from mipverify.bounds.planes import OwnPlanes, PlaneBasis, can_have_planes, plane_basis
from mipverify.bounds.precision import in_precision
from mipverify.bounds.relaxation import ReluRelaxation, RowLines
from mipverify.bounds.state import PropagationState
from mipverify.bounds.substitution import BackwardPass
from mipverify.bounds.torch_network import TorchNetwork


@dataclass(frozen=True)
class PlaneOptions:
    """Effort of the search for planes.

    Attributes:
        steps: gradient steps, first for planes over the input alone, then for all.
        rate: first step size, for slopes and for planes in units of the weights.
        multiplier_scale: factor on it for the multipliers of a plane, which move all its slopes at once.
        decay: factor on the step size after each step.
        patience: steps without any row improving by `progress` after which the search ends.
        progress: improvement that counts, relative to the size of the bound.
        entries: slopes of planes, over all rows, that may be searched at once.
        most_rows: sides of neurons up to which a layer is bounded with planes.
        negligible: neurons whose chord can cost a row no more than this share of the costliest keep it.
    """

    steps: tuple[int, int] = (20, 80)
    rate: tuple[float, float] = (0.2, 0.1)
    multiplier_scale: float = 0.5
    decay: float = 0.98
    patience: int = 12
    progress: float = 2e-3
    entries: int = 3_000_000
    most_rows: int = 256
    negligible: float = 1e-3


@dataclass(frozen=True, eq=False)
class PlaneBounds:
    """What a search for planes found.

    Attributes:
        values: lower bounds of all forms, [forms].
        rows: positions of the forms that were searched, [rows].
        slopes: the lower slopes of each of these, by ReLU node.
        planes: the planes of each of these, in float64, by ReLU node.
    """

    values: Tensor
    rows: Tensor
    slopes: Slopes
    planes: Mapping[int, OwnPlanes]


def minimise_with_planes(
    state: PropagationState,
    forms: Forms,
    known: Tensor,
    *,
    single: TorchNetwork,
    slope_options: SlopeOptions,
    options: PlaneOptions,
    out_of_time: Callable[[], bool] | None = None,
) -> PlaneBounds:
    """Lower bounds of the forms, [rows], each with its own slopes and planes; never below `known`.

    Args:
        state: of one sample, in float64.
        forms: what to bound.
        known: bounds already proven, [rows]; rows that have reached their goal are left alone.
        single: the same network in the precision of the search.
        slope_options: effort of the slopes from which the planes start.
        options: effort.
        out_of_time: says when to stop early with what is at hand.
    """
    todo = (~forms.reached(known)).nonzero().squeeze(1)
    if not len(todo):
        return PlaneBounds(known, todo, {}, {})
    some = forms.take(todo)
    fast, cast = in_precision(state, single), some.cast(single.dtype)
    slopes = search_slopes(fast, cast, slope_options, out_of_time)
    bases = _bases(state, fast, cast, slopes, options)
    search = _Search(fast, cast, slopes, {k: basis.to(single.dtype) for k, basis in bases.items()}, options)
    search.run(out_of_time)
    exact = known.dtype
    slopes = {position: slope.to(exact) for position, slope in search.slopes().items()}
    planes = {position: search.planes(position, basis) for position, basis in bases.items()}
    with torch.no_grad():
        found = some.minimise(state, lines=_with_planes(lines_with(state, slopes), planes))
    values = known.index_copy(0, todo, torch.maximum(known[todo], found))
    return PlaneBounds(values, todo, slopes, planes)


def _with_planes(lines: dict[int, RowLines], planes: Mapping[int, OwnPlanes]) -> dict[int, RowLines]:
    return {
        position: RowLines(own.below, own.above, own.offset, own.multiplier, planes.get(position))
        for position, own in lines.items()
    }


def _bases(
    state: PropagationState, fast: PropagationState, forms: Forms, slopes: Slopes, options: PlaneOptions
) -> dict[int, PlaneBasis]:
    """The neurons whose chords can cost the most, as many as the options have room for."""
    with torch.no_grad():
        descent = BackwardPass(fast, forms.sample, lines=lines_with(fast, slopes), rigorous=False)
        forms.run(descent)
    costs: dict[int, Tensor] = {}
    for position, part in descent.unstable_parts.items():
        lines = fast.relaxations[position]
        if isinstance(lines, ReluRelaxation) and can_have_planes(state, position):
            costs[position] = (-part.clamp(max=0) * lines.upper_offset[0, lines.unstable(0)]).amax(0)
    if not costs:
        return {}
    least = options.negligible * max(float(cost.max()) for cost in costs.values())
    found: dict[int, PlaneBasis] = {}
    room = options.entries // max(1, len(forms))
    # The last layers first: they have few neurons, and their chords cost most.
    for position in sorted(costs, reverse=True):
        order = costs[position].argsort(descending=True)
        chosen = order[costs[position][order] > least]
        if len(chosen) and room > 0:
            basis = plane_basis(state, position, chosen[:1])
            chosen = chosen[: room // basis.reads]
            if len(chosen):
                found[position] = plane_basis(state, position, chosen.sort().values)
                room -= len(chosen) * basis.reads
    return found


class _Search:
    """Projected gradient ascent on slopes and planes; the best of every row is kept.

    Args:
        state: of one sample, in the precision of the search.
        forms: what is bounded.
        slopes: to start from.
        bases: of the planes, which start as chords.
        options: effort.
    """

    def __init__(
        self,
        state: PropagationState,
        forms: Forms,
        slopes: Slopes,
        bases: Mapping[int, PlaneBasis],
        options: PlaneOptions,
    ) -> None:
        self.state, self.forms, self.bases, self.options = state, forms, bases, options
        self.variables: dict[tuple[str, int], Tensor] = {("slope", k): v.clone() for k, v in slopes.items()}
        for position, basis in bases.items():
            chord = basis.chord.expand(len(forms), -1)
            theta = chord[:, :, None].expand(-1, -1, basis.reads).clone()
            self.variables["theta", position] = theta
            # Over a box of inputs the interval of h says nothing that the box does not.
            direct = basis.source == 0 and state.region.is_box
            self.variables["mu", position] = torch.zeros_like(chord) if direct else 1 - chord
            self.variables["nu", position] = torch.zeros_like(chord) if direct else chord.clone()
        self.best = dict(self.variables)
        self.record = state.lower[0].new_full((len(forms),), -float("inf"))

    def run(self, out_of_time: Callable[[], bool] | None) -> None:
        """Search first the planes over the input, which always gain, then all; until every row has reached
        its goal.

        Planes over deeper values start as chords and may get worse before they get better.
        """
        direct = frozenset(position for position, basis in self.bases.items() if basis.source == 0)
        stages = [direct] if direct == self.bases.keys() else [direct, frozenset(self.bases)]
        for positions, steps, rate in zip(stages, self.options.steps, self.options.rate, strict=False):
            if positions and not self._ascend(positions, steps, rate, out_of_time):
                return

    def _ascend(
        self, positions: frozenset[int], steps: int, rate: float, out_of_time: Callable[[], bool] | None
    ) -> bool:
        """Whether some row is still open and there is time for more."""
        moving: dict[tuple[str, int], Tensor] = {}
        for key, best in self.best.items():
            kind, position = key
            if kind == "slope" or (position in positions and (kind == "theta" or bool(best.any()))):
                moving[key] = best.clone().requires_grad_(True)
        self.variables = {**self.best, **moving}
        ascent = ProjectedAdam(
            list(moving.values()),
            rate=rate,
            decay=self.options.decay,
            scales=[self.options.multiplier_scale if kind in ("mu", "nu") else 1.0 for kind, _ in moving],
        )
        stalled = 0
        for _ in range(steps):
            value = self.forms.minimise(self.state, lines=self._lines(positions), rigorous=False)
            now = value.detach()
            better = now > self.record
            gained = bool((now > self.record + self.options.progress * (1e-6 + now.abs())).any())
            stalled = 0 if gained else stalled + 1
            self.record = torch.where(better, now, self.record)
            for key, variable in moving.items():
                self.best[key][better] = variable.detach()[better]
            reached = self.forms.reached(self.record)
            if (out_of_time is not None and out_of_time()) or bool(reached.all()):
                return False
            # Without a gradient nothing that moves has any influence here.
            if stalled > self.options.patience or not value.requires_grad:
                break
            ascent.step(value[~reached].sum())
        return True

    def slopes(self) -> Slopes:
        """The best slopes found."""
        return {position: value for (kind, position), value in self.best.items() if kind == "slope"}

    def planes(self, position: int, basis: PlaneBasis) -> OwnPlanes:
        """The best planes found, in the precision of `basis`, their offsets rounded up."""
        theta, mu, nu = (self.best[kind, position].to(basis.weight.dtype) for kind in ("theta", "mu", "nu"))
        return OwnPlanes(basis, theta, mu, nu, _all_of_it(mu), rigorous=True)

    def _lines(self, positions: frozenset[int]) -> dict[int, RowLines]:
        """Lines of the present variables, with planes at some ReLU nodes and chords at the others."""
        planes = {}
        for position in positions:
            theta, mu, nu = (self.variables[kind, position] for kind in ("theta", "mu", "nu"))
            everything = _all_of_it(mu)
            planes[position] = OwnPlanes(self.bases[position], theta, mu, nu, everything, rigorous=False)
        slopes = {position: value for (kind, position), value in self.variables.items() if kind == "slope"}
        return _with_planes(lines_with(self.state, slopes), planes)


def _all_of_it(mu: Tensor) -> Tensor:
    """The share of planes that carry all of the negative coefficients."""
    return mu.new_ones(1, 1)
