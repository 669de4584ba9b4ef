"""Optimised slopes: the best lower bound over all lines below the unstable ReLUs (alpha-CROWN).

Every slope in [0, 1] below an unstable ReLU gives a valid bound, so each row may choose its own slopes
in every layer; projected gradient ascent (Xu et al. 2021) finds good ones. The search carries no claim:
only the last pass, with the slopes it found, covers its rounding errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mipverify.bounds.ascent import ProjectedAdam
from mipverify.bounds.forms import Forms
from mipverify.bounds.precision import in_precision
from mipverify.bounds.relaxation import ReluRelaxation, RowLines
from mipverify.bounds.state import PropagationState
from mipverify.bounds.torch_network import TorchNetwork

Slopes = dict[int, Tensor]


@dataclass(frozen=True)
class SlopeOptions:
    """Effort of the slope search.

    Attributes:
        steps: gradient steps.
        rate: first step size, in slope units.
        decay: factor on the step size after each step.
        patience: steps without any row improving by `progress` after which the search ends.
        progress: improvement that counts, relative to the size of the bound.
    """

    steps: int = 12
    rate: float = 0.25
    decay: float = 0.94
    patience: int = 4
    progress: float = 1e-3


def minimise_optimised(
    state: PropagationState,
    forms: Forms,
    known: Tensor,
    *,
    single: TorchNetwork,
    options: SlopeOptions,
    out_of_time: Callable[[], bool] | None = None,
) -> Tensor:
    """Lower bounds of the forms, [rows], each with its own optimised slopes; never below `known`.

    Args:
        state: of one sample.
        forms: what to bound.
        known: bounds already proven, [rows]; rows that have reached their goal are left alone.
        single: the same network in the precision of the search.
        options: effort.
        out_of_time: says when to stop early with what is at hand.
    """
    todo = (~forms.reached(known)).nonzero().squeeze(1)
    if not len(todo):
        return known
    some = forms.take(todo)
    slopes = search_slopes(in_precision(state, single), some.cast(single.dtype), options, out_of_time)
    with torch.no_grad():
        slopes = {position: slope.to(known.dtype) for position, slope in slopes.items()}
        found = some.minimise(state, lines=lines_with(state, slopes))
    return known.index_copy(0, todo, torch.maximum(known[todo], found))


def search_slopes(
    state: PropagationState,
    forms: Forms,
    options: SlopeOptions,
    out_of_time: Callable[[], bool] | None,
) -> Slopes:
    """The slopes of the best bound seen for every row, by Adam with projection onto [0, 1]."""
    slopes = _initial(state, forms)
    best = {position: slope.detach().clone() for position, slope in slopes.items()}
    record = torch.full(
        (len(forms),), -float("inf"), dtype=state.lower[0].dtype, device=state.lower[0].device
    )
    if not slopes:
        return best
    ascent = ProjectedAdam(list(slopes.values()), rate=options.rate, decay=options.decay)
    stalled = 0
    for _ in range(options.steps):
        value = forms.minimise(state, lines=lines_with(state, slopes), rigorous=False)
        now = value.detach()
        better = now > record
        gained = bool((now > record + options.progress * (1e-6 + now.abs())).any())
        stalled = 0 if gained else stalled + 1
        record = torch.where(better, now, record)
        for position, slope in slopes.items():
            best[position][better] = slope.detach()[better]
        late = out_of_time is not None and out_of_time()
        reached = forms.reached(record)
        settled = not value.requires_grad or bool(reached.all())
        if late or settled or stalled > options.patience:
            break
        # Rows that have reached their goal pull no further.
        ascent.step(value[~reached].sum())
    return best


def _initial(state: PropagationState, forms: Forms) -> Slopes:
    """Slopes of the unstable neurons of every ReLU below the forms, one copy a row, ready for gradients."""
    found: Slopes = {}
    for position, lines in state.relaxations.items():
        if position <= forms.start and isinstance(lines, ReluRelaxation):
            unstable = lines.unstable(0)
            if len(unstable):
                adaptive = lines.lower_slope[0, unstable]
                # Away from the ends of [0, 1], so that the first steps may go either way.
                start = (0.1 + 0.8 * adaptive).expand(len(forms), -1).clone()
                found[position] = start.requires_grad_(True)
    return found


def lines_with(state: PropagationState, slopes: Slopes) -> dict[int, RowLines]:
    """The chords of a state of one sample, with lower slopes of each row's own."""
    found: dict[int, RowLines] = {}
    for position, below in slopes.items():
        lines = state.relaxations[position]
        if isinstance(lines, ReluRelaxation):
            unstable = lines.unstable(0)
            found[position] = RowLines(below, lines.upper_slope[0, unstable], lines.upper_offset[0, unstable])
    return found
