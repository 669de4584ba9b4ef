"""Projected gradient ascent with momentum and automatic step control (APGD; Croce and Hein 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mipverify.attack.batch import Batch, margins_and_gradients, norm_of
from mipverify.attack.descent import unit_gradient
from mipverify.attack.options import Deadline
from mipverify.attack.projection import project
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm

FIRST_STEP = 2.0  # in sizes of the region: from the centre to its far side and beyond
MOMENTUM = 0.75
ENOUGH_RISES = 0.75  # share of steps between two checkpoints that must raise the margin


@dataclass(frozen=True, eq=False)
class Ascent:
    """Best points [items, n] and margins [items] of a batch; `reached` [queries] where one was enough."""

    points: Tensor
    margins: Tensor
    reached: Tensor


@dataclass
class _State:
    """What one item carries from step to step; all tensors have one row an item still running."""

    rows: Tensor  # position in the whole batch
    point: Tensor
    previous: Tensor
    gradient: Tensor
    margin: Tensor
    best_point: Tensor
    best_gradient: Tensor
    best_margin: Tensor
    step: Tensor  # in units of the reach
    rises: Tensor
    margin_at_checkpoint: Tensor
    halved: Tensor

    def keep(self, kept: Tensor) -> None:
        for name, value in vars(self).items():
            setattr(self, name, value[kept])


def ascend(
    network: TorchNetwork,
    batch: Batch,
    start: Tensor,
    *,
    steps: int,
    chunk_values: int,
    deadline: Deadline | None = None,
) -> Ascent:
    """Raise the margin of every item from `start` [items, n] for at most `steps` steps.

    As soon as one item of a query is clear of rounding noise, all items of that query stop.
    """
    num_queries = int(batch.query.max()) + 1
    reached = torch.zeros(num_queries, dtype=torch.bool, device=network.device)
    best_points, best_margins = start.clone(), torch.full_like(batch.radius, -torch.inf)
    margin, gradient, noise = margins_and_gradients(network, batch, start, chunk_values=chunk_values)
    state = _first_state(start, margin, gradient)
    running, checkpoints, last = batch, _checkpoints(steps), 0
    for k in range(steps + 1):
        reached[running.query[margin > noise]] = True
        open_items = ~reached[running.query]
        if k == steps or (deadline is not None and deadline()) or not bool(open_items.all()):
            best_points[state.rows], best_margins[state.rows] = state.best_point, state.best_margin
            if k == steps or not bool(open_items.any()) or (deadline is not None and deadline()):
                break
            kept = open_items.nonzero()[:, 0]
            running = running.take(kept)
            state.keep(kept)
        if k in checkpoints:
            _control(state, interval=k - last)
            last = k
        margin, noise = _advance(network, running, state, first=k == 0, chunk_values=chunk_values)
    return Ascent(best_points, best_margins, reached)


def _first_state(start: Tensor, margin: Tensor, gradient: Tensor) -> _State:
    return _State(
        rows=torch.arange(len(start), device=start.device),
        point=start,
        previous=start,
        gradient=gradient,
        margin=margin,
        best_point=start,
        best_gradient=gradient,
        best_margin=margin,
        step=torch.full_like(margin, FIRST_STEP),
        rises=torch.zeros_like(margin),
        margin_at_checkpoint=margin,
        halved=torch.zeros_like(margin, dtype=torch.bool),
    )


def _advance(
    network: TorchNetwork, batch: Batch, state: _State, *, first: bool, chunk_values: int
) -> tuple[Tensor, Tensor]:
    """One step of every running item; returns the new margins and noise floors."""
    moved = _step(batch, state.point, state.gradient, state.step)
    mixed = state.point + MOMENTUM * (moved - state.point) + (1 - MOMENTUM) * (state.point - state.previous)
    new = moved if first else project(mixed, batch.center, batch.radius, batch.lower, batch.upper, batch.norm)
    margin, gradient, noise = margins_and_gradients(network, batch, new, chunk_values=chunk_values)
    state.rises = state.rises + (margin > state.margin)
    better = margin > state.best_margin
    state.best_point = torch.where(better[:, None], new, state.best_point)
    state.best_gradient = torch.where(better[:, None], gradient, state.best_gradient)
    state.best_margin = torch.where(better, margin, state.best_margin)
    state.previous, state.point, state.gradient, state.margin = state.point, new, gradient, margin
    return margin, noise


def _step(batch: Batch, point: Tensor, gradient: Tensor, step: Tensor) -> Tensor:
    """The point one step up the margin, back in the region; steps count in sizes of the region."""
    if batch.norm is Norm.LINF:
        stride = batch.reach() * gradient.sign()
    else:
        blocked = ((gradient > 0) & (point >= batch.upper)) | ((gradient < 0) & (point <= batch.lower))
        length = batch.radius
        if batch.norm is Norm.L1:
            # Measured: Euclidean steps find far more in l1 than sparse ones.
            length = torch.maximum(norm_of(point - batch.center, Norm.L2), 0.3 * batch.radius)
        stride = length[:, None] * unit_gradient(gradient.masked_fill(blocked, 0.0))
    moved = point + step[:, None] * stride
    return project(moved, batch.center, batch.radius, batch.lower, batch.upper, batch.norm)


def _control(state: _State, *, interval: int) -> None:
    """Halve the step of items that stall, and send them back to their best point."""
    few_rises = state.rises < ENOUGH_RISES * interval
    stalled = ~state.halved & (state.best_margin <= state.margin_at_checkpoint)
    halve = few_rises | stalled
    state.step = torch.where(halve, 0.5 * state.step, state.step)
    state.point = torch.where(halve[:, None], state.best_point, state.point)
    state.previous = torch.where(halve[:, None], state.best_point, state.previous)
    state.gradient = torch.where(halve[:, None], state.best_gradient, state.gradient)
    state.margin = torch.where(halve, state.best_margin, state.margin)
    state.halved, state.margin_at_checkpoint = halve, state.best_margin
    state.rises = torch.zeros_like(state.rises)


def _checkpoints(steps: int) -> frozenset[int]:
    """Steps at which the step size is reviewed: shares 0.22, 0.41, 0.57, ... of all steps."""
    shares, previous, current = [], 0.0, 0.22
    while current < 1.0:
        shares.append(current)
        previous, current = current, current + max(current - previous - 0.03, 0.06)
    return frozenset(max(1, round(share * steps)) for share in shares) - {steps}
