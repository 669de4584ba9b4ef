"""Which perturbation fools many samples at once? Gradient ascent on one d for all of them.

Each item raises the margins of a set of samples: those that are closest to being fooled, for every m, and
sets drawn at random, since what is close at first need not go together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from mipverify.attack.options import Deadline
from mipverify.attack.projection import project
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.errors import QueryError
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.shared import SharedQuery

ENOUGH = 0.02  # of the spread of the margins: what is fooled by more is left alone
FIRST_STEP, LAST_STEP = 0.5, 0.01  # of the radius


@dataclass(frozen=True)
class SharedAttackOptions:
    """How hard the attack tries.

    Attributes:
        steps: gradient steps.
        starts: random starts for each number of samples, besides 0.
        sets: samples sets that are attacked besides: all pairs if there are not more, else sets at random.
        keep: perturbations returned.
    """

    steps: int = 60
    starts: int = 3
    sets: int = 48
    keep: int = 8

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        if min(self.steps, self.keep) < 1 or min(self.starts, self.sets) < 0:
            raise QueryError("the shared attack needs at least one step and one result")


@dataclass(frozen=True, eq=False)
class _Unsafe:
    """All polytopes of all samples: matrix [p, rows, m], offset [p, rows], owner [p]."""

    matrix: Tensor
    offset: Tensor
    owner: Tensor
    samples: int

    def margins(self, outputs: Tensor) -> Tensor:
        """[items, samples] for outputs [items, samples, m]: the largest margin of a sample's polytopes."""
        rows = torch.einsum("prm,bpm->bpr", self.matrix, outputs[:, self.owner]) - self.offset
        each = rows.amin(dim=2)
        best = torch.full((len(outputs), self.samples), -torch.inf, dtype=each.dtype, device=each.device)
        return best.scatter_reduce(1, self.owner.expand_as(each), each, "amax")


def attack_shared(
    network: TorchNetwork,
    query: SharedQuery,
    *,
    wanted: Sequence[int],
    options: SharedAttackOptions,
    seed: int,
    starts: Sequence[Float64Array] = (),
    deadline: Deadline | None = None,
) -> list[Float64Array]:
    """Perturbations [n] of the query's region, those that fool most samples first; they claim nothing.

    Args:
        network: evaluated for gradients.
        query: perturbations and samples.
        wanted: the numbers of samples to be fooled that are tried, each at least 1.
        options: effort.
        seed: of the random starts.
        starts: perturbations to start from, besides.
        deadline: says when to stop early with what is at hand.
    """
    region = query.region
    unsafe = _unsafe(network, query)
    centers = torch.stack([network.tensor(sample.region.center) for sample in query.samples])
    low, up = (network.tensor(side) for side in (region.box().lower, region.box().upper))
    first = _starts(network, query, options.starts, seed, starts)
    numbers = torch.tensor(list(wanted), device=network.device).repeat_interleave(len(first))
    chosen = _sets(len(query.samples), wanted, options.sets, seed).to(network.device)
    everyone = chosen.new_ones(len(numbers), len(query.samples))
    d = torch.cat([first.repeat(len(wanted), 1), first[:1].repeat(len(chosen), 1)])
    numbers = torch.cat([numbers, chosen.sum(dim=1)])
    members = torch.cat([everyone, chosen])
    zero, radius = torch.zeros_like(d), torch.full((len(d),), min(region.radius, region.reach()))
    radius = radius.to(d)
    sides = low.expand_as(d), up.expand_as(d)
    d = project(d, zero, radius, *sides, region.norm)
    best_score = torch.full((len(d),), -torch.inf, dtype=d.dtype, device=d.device)
    best = d.clone()
    for step in range(options.steps + 1):
        score, gradient = _score(network, unsafe, centers, d, numbers, members)
        better = score > best_score
        best_score, best = torch.where(better, score, best_score), torch.where(better[:, None], d, best)
        if step == options.steps or (deadline is not None and deadline()):
            break
        share = FIRST_STEP * (LAST_STEP / FIRST_STEP) ** (step / options.steps)
        d = project(d + share * _stride(gradient, radius, region.norm), zero, radius, *sides, region.norm)
    order = torch.argsort(best_score, descending=True, stable=True)
    found = best[order].double().cpu().numpy()
    return list(_different(found, options.keep))


def _unsafe(network: TorchNetwork, query: SharedQuery) -> _Unsafe:
    pairs = [(k, polytope) for k, sample in enumerate(query.samples) for polytope in sample.unsafe]
    rows = max(len(polytope.offset) for _, polytope in pairs)
    matrix = torch.zeros(len(pairs), rows, pairs[0][1].matrix.shape[1], dtype=network.dtype)
    offset = torch.full((len(pairs), rows), -torch.inf, dtype=network.dtype)
    for position, (_, polytope) in enumerate(pairs):
        count = len(polytope.offset)
        matrix[position, :count] = torch.from_numpy(polytope.matrix)
        offset[position, :count] = torch.from_numpy(polytope.offset)
    owner = torch.tensor([k for k, _ in pairs], dtype=torch.int64)
    device = network.device
    return _Unsafe(matrix.to(device), offset.to(device), owner.to(device), len(query.samples))


def _starts(
    network: TorchNetwork, query: SharedQuery, count: int, seed: int, given: Sequence[Float64Array]
) -> Tensor:
    generator = torch.Generator().manual_seed(seed & (2**63 - 1))
    size = query.region.center.size
    reach = min(query.region.radius, query.region.reach())
    random = (2 * torch.rand(count, size, generator=generator, dtype=torch.float64) - 1) * reach
    zero = torch.zeros(1, size, dtype=torch.float64)
    more = torch.from_numpy(np.stack(given)) if len(given) else zero[:0]
    return torch.cat([zero, more, random]).to(network.dtype).to(network.device)


def _sets(samples: int, wanted: Sequence[int], most: int, seed: int) -> Tensor:
    """Masks [sets, samples]: all pairs if they are not too many, and sets of the sizes wanted, at random."""
    pairs = list(combinations(range(samples), 2))
    if 2 in wanted and len(pairs) <= most:
        chosen: list[Sequence[int]] = list(pairs)
    else:
        chosen = []
    generator = np.random.default_rng(seed & (2**63 - 1))
    sizes = [size for size in wanted if 1 < size < samples]
    while sizes and len(chosen) < most:
        size = sizes[len(chosen) % len(sizes)]
        chosen.append(generator.choice(samples, size, replace=False).tolist())
    masks = torch.zeros(len(chosen), samples, dtype=torch.bool)
    for row, members in enumerate(chosen):
        masks[row, list(members)] = True
    return masks


def _score(
    network: TorchNetwork, unsafe: _Unsafe, centers: Tensor, d: Tensor, wanted: Tensor, members: Tensor
) -> tuple[Tensor, Tensor]:
    """How many samples are fooled, and a share for what is nearly so, [items]; its gradient, [items, n]."""
    moved = d.detach().requires_grad_()
    with torch.enable_grad():
        points = (centers[None] + moved[:, None]).flatten(0, 1)
        outputs = network(points).view(len(d), unsafe.samples, -1)
        margins = unsafe.margins(outputs).nan_to_num(nan=-1e30)
        spread = outputs.detach().amax(dim=(1, 2)) - outputs.detach().amin(dim=(1, 2))
        aim = (margins / spread.clamp(min=1e-30)[:, None]).clamp(max=ENOUGH)
        aim = torch.where(members, aim, -torch.inf)  # sorts last, where nothing is wanted any more
        ordered = aim.sort(dim=1, descending=True).values
        ranks = torch.arange(unsafe.samples, device=d.device)
        total = torch.where(ranks[None] < wanted[:, None], ordered, 0.0).sum(dim=1)
        (gradient,) = torch.autograd.grad(total.sum(), moved)
    fooled = (margins.detach() >= 0).sum(dim=1).to(d.dtype)
    nearly = (total.detach() / (1 + total.detach().abs())).nan_to_num(nan=-1.0)
    return fooled + 0.5 * nearly, gradient.nan_to_num(nan=0.0)


def _stride(gradient: Tensor, radius: Tensor, norm: Norm) -> Tensor:
    if norm is Norm.LINF:
        return radius[:, None] * gradient.sign()
    length = gradient.square().sum(dim=1).sqrt().clamp(min=1e-30)
    return radius[:, None] * gradient / length[:, None]


def _different(points: Float64Array, keep: int) -> list[Float64Array]:
    kept: list[Float64Array] = []
    for point in points:
        if len(kept) == keep:
            break
        if not any(np.array_equal(point, other) for other in kept):
            kept.append(point)
    return kept
