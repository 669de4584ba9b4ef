"""Closer points by hops: known points are shaken, and climb the margin in a smaller ball (basin hopping).

Descents end in a local optimum of their own. In networks trained for robustness these are many: from random
starts most are far worse than the best one, from its neighbourhood some are better. All targets hop
together, since the closest point that descents find is often not of the target that is closest in truth;
and the gradient of most climbs leaks at first, see `leaks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mipverify.attack.batch import Batch, build_batch, margins, margins_and_gradients
from mipverify.attack.candidates import Candidates
from mipverify.attack.distance import attack_distance, pull_to_center
from mipverify.attack.leaks import Leaks, leaks_of
from mipverify.attack.options import AttackOptions, Deadline
from mipverify.attack.projection import project
from mipverify.attack.selection import as_candidates, promising_polytopes
from mipverify.bounds.state import PropagationState
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query

MOMENTUM = 0.9
LAST = 0.02  # share of the first step that the last step keeps
DESCENTS = AttackOptions(restarts=32, descent_steps=20, settle_steps=0, keep=6)
MOST, LEAST = 0.004, 0.0002  # by how much a ball is smaller than the best distance


@dataclass(frozen=True)
class HopOptions:
    """Effort.

    Attributes:
        descents: effort of the descents to each target that hops start from, all that they keep: many short
            ones, since in which optimum hops end depends on where they start.
        first: points that climb at the same time in the first climb.
        items: points that climb at the same time in all others.
        steps: gradient steps of a climb.
        kept: points of the largest margin that the next climb starts from.
        shake: smallest and largest random offset of a start, in units of the radius.
        step: smallest and largest first step, in the same units.
        patience: climbs in turn without success after which the search ends.
        turned: share of the starts that climb towards another target than the point they come from.
        leaking: share of the climbs whose gradients leak.
        leak: smallest and largest share of the gradient that they let through at first.
        dry: share of the steps after which nothing leaks any more.
        chunk_values: values of all nodes held at once.
    """

    descents: AttackOptions = DESCENTS
    first: int = 56
    items: int = 24
    steps: int = 100
    kept: int = 6
    shake: tuple[float, float] = (0.05, 1.0)
    step: tuple[float, float] = (0.1, 0.3)
    patience: int = 16
    turned: float = 0.25
    leaking: float = 0.75
    leak: tuple[float, float] = (0.003, 0.1)
    dry: float = 0.5
    chunk_values: int = 1 << 22


@dataclass(frozen=True, eq=False)
class _Points:
    """Points [k, n], and the place of the target of each in the batch, [k]."""

    points: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.points)

    def take(self, chosen: Tensor) -> _Points:
        return _Points(self.points[chosen], self.targets[chosen])

    def and_(self, other: _Points) -> _Points:
        points = other.points.to(self.points)
        return _Points(torch.cat([self.points, points]), torch.cat([self.targets, other.targets]))


def _distance(known: tuple[float, _Points]) -> float:
    return known[0]


class Hopping:
    """A search for closer points than a known one, in linf; each run goes another way.

    Args:
        network: evaluated for gradients; float32 is fast and enough.
        query: its radius only limits the result.
        exact: the same network in float64.
        state: bounds over a ball that holds the known point, of one sample, to tell which neurons can be
            active; None to let gradients leak through any.
        options: effort.
        seed: of descents, targets, offsets and step sizes.
    """

    def __init__(
        self,
        network: TorchNetwork,
        query: Query,
        *,
        exact: TorchNetwork,
        state: PropagationState | None = None,
        options: HopOptions | None = None,
        seed: int = 0,
    ) -> None:
        self.network, self.query, self.exact, self.state = network, query, exact, state
        self.options = HopOptions() if options is None else options
        self.seed, self.runs = seed, 0
        self.random = torch.Generator().manual_seed(seed)
        most = self.options.descents.max_targets
        pairs = promising_polytopes(network, [query], max_targets=most)
        self.batch = build_batch(network, [query], pairs, norm=Norm.LINF)

    def run(self, point: Float64Array, deadline: Deadline, *, alone: Deadline | None = None) -> Candidates:
        """The closest points found, closest first, none but closer ones than the adversarial `point` [n].

        Each run begins anew, from what descents find for all targets and from the point, with other random
        numbers.

        Args:
            point: an adversarial point.
            deadline: says when to stop.
            alone: says from when on the point takes part, which draws all others to its neighbourhood; None
                for from the start.
        """
        known, limit = self._known(point), float(self.query.region.distance(point))
        pool = self._starts(deadline)
        best, closest = self._closest(pool.points) or (limit, known)
        found = [closest] if best < limit else []
        joined = alone is None or not len(pool)
        if joined:
            pool = pool.and_(known)
            best, closest = min((best, closest), (limit, known), key=_distance)
        shrink, failures = MOST / 2, 0
        start = pool.take(torch.arange(self.options.first) % len(pool))
        while failures < self.options.patience and not deadline():
            ball = self.batch.take(start.targets)
            ball = replace(ball, radius=torch.full_like(ball.radius, best * (1 - shrink)))
            points, record = self._climb(ball, self._shaken(start.points, ball))
            pulled = pull_to_center(self.exact, self.query, points[record > 0].double().cpu().numpy())
            nearest = self._closest(self.exact.tensor(pulled))
            if nearest is not None and nearest[0] < best:
                (best, closest), failures = nearest, 0
                found = [closest, *found[:2]]
                shrink = min(MOST, 1.5 * shrink)
            else:
                failures, shrink = failures + 1, max(LEAST, 0.7 * shrink)
            if alone is not None and not joined and (alone() or failures == self.options.patience):
                joined, failures, shrink = True, 0, MOST / 2
                best, closest = min((best, closest), (limit, known), key=_distance)
            kept = record.topk(min(self.options.kept, len(record))).indices
            start = self._turned(_Points(points, start.targets).take(kept).and_(closest))
        candidates = self._candidates(found)
        return candidates.take(np.flatnonzero(candidates.distances < limit))

    def _closest(self, points: Tensor) -> tuple[float, _Points] | None:
        """The closest of points [k, n], if there are any, and its distance."""
        if not len(points):
            return None
        held = points.double().cpu().numpy()
        distances = self.query.region.distance(held)
        return float(distances.min()), self._known(held[distances.argmin()])

    def _candidates(self, closer: Sequence[_Points]) -> Candidates:
        none, nobody = self.query.region.center[None][:0], np.zeros(0, dtype=np.int64)
        points = [held.points.cpu().numpy() for held in closer]
        owners = [self.batch.polytope[held.targets].cpu().numpy() for held in closer]
        found = as_candidates(
            self.exact, self.query, np.concatenate([none, *points]), np.concatenate([nobody, *owners])
        )
        return found.take(np.argsort(found.distances, kind="stable"))

    def _known(self, point: Float64Array) -> _Points:
        """A point with the target of the largest margin there."""
        points = self.exact.tensor(point)[None]
        with torch.no_grad():
            outputs = self.exact(points).to(self.network.dtype).expand(len(self.batch), -1)
        return _Points(points, margins(self.batch, outputs).argmax()[None])

    def _starts(self, deadline: Deadline) -> _Points:
        """What descents find for each target, the closest ones first; none where they find nothing."""
        polytopes = [self.query.unsafe[polytope] for polytope in self.batch.polytope.tolist()]
        found = attack_distance(
            self.network,
            [replace(self.query, unsafe=(polytope,)) for polytope in polytopes],
            options=self.options.descents,
            seed=self.seed + self.runs,
            exact=self.exact,
            deadline=deadline,
        )
        self.runs += 1
        ranks = range(max(map(len, found)))
        order = [(target, rank) for rank in ranks for target, held in enumerate(found) if rank < len(held)]
        points = np.array([found[target].points[rank] for target, rank in order])
        points = points.reshape(len(order), self.batch.center.shape[1])
        targets = torch.tensor([target for target, _ in order], dtype=torch.int64)
        return _Points(self.network.tensor(points), targets.to(self.batch.center.device))

    def _turned(self, pool: _Points) -> _Points:
        """Points of the pool for all items, some of them with another target."""
        count, device = self.options.items, pool.targets.device
        chosen = pool.take(torch.randint(len(pool), (count,), generator=self.random).to(device))
        other = torch.randint(len(self.batch), (count,), generator=self.random).to(device)
        turned = (torch.rand(count, generator=self.random) < self.options.turned).to(device)
        return replace(chosen, targets=torch.where(turned, other, chosen.targets))

    def _shaken(self, start: Tensor, ball: Batch) -> Tensor:
        """Starts in the ball, [items, n]: the points with some or all of their entries moved."""
        size = self._between(self.options.shake, start) * ball.radius[:, None]
        noise = (2 * torch.rand(start.shape, generator=self.random) - 1).to(start)
        some = torch.where(torch.rand(len(ball), 1, generator=self.random) < 0.5, 1.0, 0.2)
        moved = (torch.rand(start.shape, generator=self.random) < some).to(start)
        return project(
            start + size * noise * moved, ball.center, ball.radius, ball.lower, ball.upper, ball.norm
        )

    def _climb(self, ball: Batch, point: Tensor) -> tuple[Tensor, Tensor]:
        """The point of the largest margin on the way of each item, and that margin less what may be noise."""
        options, leaks = self.options, self._leaks(point)
        best, record = point.clone(), torch.full_like(ball.radius, -torch.inf)
        first = self._between(options.step, point) * ball.radius[:, None]
        mean = torch.zeros_like(point)
        for k in range(options.steps):
            share = k / options.steps
            margin, gradient, noise = margins_and_gradients(
                self.network,
                ball,
                point,
                chunk_values=options.chunk_values,
                leaks=replace(leaks, factor=1 - share / options.dry) if share < options.dry else None,
            )
            better = margin - noise > record
            record = torch.where(better, margin - noise, record)
            best = torch.where(better[:, None], point, best)
            mean = MOMENTUM * mean + (1 - MOMENTUM) * gradient
            point = point + first * LAST**share * mean.sign()
            point = project(point, ball.center, ball.radius, ball.lower, ball.upper, ball.norm)
        return best, record

    def _leaks(self, point: Tensor) -> Leaks:
        size = self._between(self.options.leak, point)
        dry = torch.rand(len(point), 1, generator=self.random) >= self.options.leaking
        confined = torch.rand(len(point), 1, generator=self.random) < 0.5
        size = size.masked_fill(dry.to(size.device), 0.0)
        return leaks_of(self.network, size, confined.to(size.device), self.state)

    def _between(self, ends: tuple[float, float], like: Tensor) -> Tensor:
        """Random numbers [len(like), 1] whose logarithms are spread evenly."""
        low, high = ends
        return (low * (high / low) ** torch.rand(len(like), 1, generator=self.random)).to(like)
