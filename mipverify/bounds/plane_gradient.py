"""What planes above ReLUs carry, and its gradient, written out by hand; for searching, without any claim.

Slopes of planes are by far the most numbers of a search for them. Automatic differentiation goes over them
three times as often as is needed here, and not in an order that finds them in the cache. With weights
kappa <= 0, theta, mu and nu as in `planes.py`, form and constant are

    form = sum_i kappa_i theta_i w_i,    constant = sum_i kappa_i max(active_i, inactive_i),
    active   = sum_j t_j w_j m_j + |t_j| |w_j| r_j + (1 - mu) b + mu u,     t = 1 - mu - theta,
    inactive = sum_j t_j w_j m_j + |t_j| |w_j| r_j + nu (b - l),            t = nu - theta,

with the box of z as middle m and radius r.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mipverify.bounds.planes import PlaneBasis

ENTRIES_AT_ONCE = 1 << 18  # slopes that are worked on together: about what a cache holds


def carry_over_planes(
    basis: PlaneBasis, theta: Tensor, mu: Tensor, nu: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Form in z [rows, size] and constant [rows] of planes with weights <= 0 [rows, planes], differentiable.

    Args:
        basis: the neurons, in the precision of the rest.
        theta: slopes in units of w, [rows, planes, reads].
        mu: multipliers of h <= u, [rows, planes].
        nu: multipliers of h >= l, [rows, planes].
        weights: coefficients that go over the planes, [rows, planes].
    """
    found: tuple[Tensor, Tensor] = _Carry.apply(basis, theta, mu, nu, weights)  # type: ignore[no-untyped-call]
    return found


class _Carry(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, basis: PlaneBasis, theta: Tensor, mu: Tensor, nu: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        form = weights.new_zeros(len(weights), basis.size + 1)
        active, inactive = torch.empty_like(weights), torch.empty_like(weights)
        for rows in _chunks(basis, len(weights)):
            part = theta[rows]
            common = (part * basis.centred).sum(2)
            active[rows] = (((1 - mu[rows])[:, :, None] - part).abs_().mul_(basis.spread)).sum(2) - common
            inactive[rows] = ((nu[rows][:, :, None] - part).abs_().mul_(basis.spread)).sum(2) - common
            products = (part * basis.weight).mul_(weights[rows][:, :, None])
            form[rows] = form[rows].index_add_(1, basis.reading, products.reshape(len(part), -1))
        whole = basis.centred.sum(1)
        active += (1 - mu) * (whole + basis.bias) + mu * basis.up
        inactive += nu * (whole + basis.bias - basis.low)
        offset = torch.maximum(active, inactive)
        # Where both are the same, half of the gradient goes either way.
        share = torch.sign(active - inactive).add_(1).mul_(0.5)
        ctx.basis = basis
        ctx.save_for_backward(theta, mu, nu, weights, offset, share)
        return form[:, : basis.size], (weights * offset).sum(1)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        basis: PlaneBasis = ctx.basis
        to_form, to_constant = above[0], above[1][:, None]
        theta, mu, nu, weights, offset, share = ctx.saved_tensors
        to_form = torch.nn.functional.pad(to_form, (0, 1))
        to_theta, to_weights, summed = torch.empty_like(theta), to_constant * offset, torch.empty_like(mu)
        turn = torch.lerp(nu, 1 - mu, share)
        for rows in _chunks(basis, len(weights)):
            part = theta[rows]
            slope = (turn[rows][:, :, None] - part).sign_().mul_(basis.spread).add_(basis.centred)
            summed[rows] = slope.sum(2)
            read = to_form[rows].index_select(1, basis.reading).reshape(part.shape).mul_(basis.weight)
            to_weights[rows] += (part * read).sum(2)
            read -= slope.mul_(to_constant[rows][:, :, None])
            torch.mul(read, weights[rows][:, :, None], out=to_theta[rows])
        scale = to_constant * weights
        to_mu = scale * share * (basis.up - basis.bias - summed)
        to_nu = scale * (1 - share) * (summed + basis.bias - basis.low)
        return None, to_theta, to_mu, to_nu, to_weights


def _chunks(basis: PlaneBasis, rows: int) -> Iterator[slice]:
    size = max(1, ENTRIES_AT_ONCE // max(1, len(basis) * basis.reads))
    for first in range(0, rows, size):
        yield slice(first, min(rows, first + size))
