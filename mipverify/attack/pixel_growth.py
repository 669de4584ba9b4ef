"""Few pixels, greedily: a beam of sets of changed pixels grows until one is adversarial, then swaps members.

In the manner of JSMA (Papernot et al. 2016) and CornerSearch (Croce and Hein 2019): the gradient proposes
pixels and sends each to the end of its range, forward passes choose among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mipverify.attack.batch import Batch, margins, margins_and_gradients, noise_floor
from mipverify.attack.descent import Descent
from mipverify.attack.options import Deadline
from mipverify.bounds.torch_network import TorchNetwork


@dataclass(frozen=True)
class GrowthOptions:
    """Effort of a growth.

    Attributes:
        width: sets of pixels kept for each item.
        trials: pixels tried for each set.
        most: pixels at most.
        rounds: of swaps among one pixel less than what was found.
    """

    width: int = 4
    trials: int = 16
    most: int = 64
    rounds: int = 4


@dataclass(frozen=True, eq=False)
class _Beam:
    """Points of every item, best first: [items, sets, n], their margins and noise floors [items, sets]."""

    points: Tensor
    margins: Tensor
    noise: Tensor

    def keep(self, rows: Tensor) -> _Beam:
        return _Beam(self.points[rows], self.margins[rows], self.noise[rows])


class PixelGrowth:
    """Looks for adversarial points with few changed pixels.

    Args:
        network: evaluated for gradients.
        batch: one item a target; its radii count for nothing.
        owner: the pixel of each feature, [n], int64.
        options: effort.
        chunk_values: values of all nodes held at once in one pass.
        deadline: says when to stop early.
    """

    def __init__(
        self,
        network: TorchNetwork,
        batch: Batch,
        owner: Tensor,
        *,
        options: GrowthOptions,
        chunk_values: int,
        deadline: Deadline | None,
    ) -> None:
        self.network = network
        self.batch = batch
        self.owner = owner
        self.pixels = int(owner.max()) + 1 if len(owner) else 0
        self.options = options
        self.chunk_values = chunk_values
        self.deadline = deadline
        self.points = batch.center.clone()
        self.counts = torch.full_like(batch.radius, torch.inf)
        # Sets of pixels are told apart by sums of random numbers, one a pixel.
        generator = torch.Generator().manual_seed(0)
        self.marks = torch.rand(self.pixels, generator=generator, dtype=torch.float64).to(batch.center.device)

    def run(self, enough: Tensor) -> Descent:
        """The adversarial points found, of at most one item a query, and their numbers of changed pixels.

        Args:
            enough: [queries]; as many changed pixels will do.
        """
        rows = torch.arange(len(self.batch), device=self.owner.device)
        beam = self._evaluated(rows, self.batch.center[:, None])
        self._note(rows, beam, 0)
        for count in range(1, min(self.options.most, self.pixels) + 1):
            rows, beam = self._without_found(rows, beam)
            if not len(rows) or self._late():
                break
            before, beam = beam, self._grown(rows, beam)
            self._note(rows, beam, count)
            self._shrink(rows, before, count, enough)
        return Descent(self.points, self.counts)

    def _shrink(self, rows: Tensor, before: _Beam, count: int, enough: Tensor) -> None:
        """Queries that needed `count` pixels just now try once more with one less."""
        here = self.batch.query[rows]
        best = torch.full_like(enough, torch.inf).scatter_reduce(0, self.batch.query, self.counts, "amin")
        late = ((best == count) & (best > enough))[here].nonzero()[:, 0]
        rows, beam = rows[late], before.keep(late)
        for _ in range(self.options.rounds if count > 1 else 0):
            if not len(rows) or self._late():
                return
            swapped = self._swapped(rows, beam)
            self._note(rows, swapped, count - 1)
            better = (swapped.margins[:, 0] > beam.margins[:, 0]) & (swapped.margins < swapped.noise).all(1)
            kept = better.nonzero()[:, 0]
            rows, beam = rows[kept], swapped.keep(kept)

    def _late(self) -> bool:
        return self.deadline is not None and self.deadline()

    def _note(self, rows: Tensor, beam: _Beam, count: int) -> None:
        """Keep the points that are clear of rounding noise."""
        found = (beam.margins > beam.noise)[:, 0].nonzero()[:, 0]
        better = found[self.counts[rows[found]] > count]
        self.points[rows[better]] = beam.points[better, 0]
        self.counts[rows[better]] = float(count)

    def _without_found(self, rows: Tensor, beam: _Beam) -> tuple[Tensor, _Beam]:
        """The items of queries for which nothing has been found."""
        queries = int(self.batch.query.max()) + 1
        best = self.counts.new_full((queries,), torch.inf)
        best = best.scatter_reduce(0, self.batch.query, self.counts, "amin")
        kept = best[self.batch.query[rows]].isinf().nonzero()[:, 0]
        return rows[kept], beam.keep(kept)

    def _grown(self, rows: Tensor, beam: _Beam) -> _Beam:
        """The best sets with one pixel more."""
        items, sets = beam.margins.shape
        return self._best(
            rows, self._extended(rows.repeat_interleave(sets), beam.points.flatten(0, 1)), items
        )

    def _swapped(self, rows: Tensor, beam: _Beam) -> _Beam:
        """The best sets with one pixel taken out and another one put in, or the same once more."""
        items, sets, size = beam.points.shape
        owners = rows.repeat_interleave(sets)
        points = beam.points.flatten(0, 1)
        changed = self._changed(owners, points)
        most = int(changed.sum(1).max())
        out = changed.double().topk(most, dim=1).indices  # may name unchanged pixels, which takes nothing out
        taken = self.owner == out[:, :, None]
        fewer = torch.where(taken, self.batch.center[owners][:, None], points[:, None])
        extended = self._extended(owners.repeat_interleave(most), fewer.reshape(-1, size))
        return self._best(rows, torch.cat([extended.reshape(items, -1, size), beam.points], dim=1), items)

    def _extended(self, rows: Tensor, points: Tensor) -> Tensor:
        """Points [k, n] of items [k] with one more pixel sent to its end, by its gain: [k, trials, n]."""
        part = self.batch.take(rows)
        _, gradient, _ = margins_and_gradients(self.network, part, points, chunk_values=self.chunk_values)
        toward = torch.where(gradient > 0, part.upper, part.lower)
        gain = (gradient * (toward - points)).clamp(min=0)
        worth = gain.new_zeros(len(rows), self.pixels).index_add(1, self.owner, gain)
        worth = worth.masked_fill(self._changed(rows, points), -1.0)
        chosen = worth.topk(min(self.options.trials, self.pixels), dim=1).indices
        moved = self.owner == chosen[:, :, None]
        return torch.where(moved, toward[:, None], points[:, None])

    def _changed(self, rows: Tensor, points: Tensor) -> Tensor:
        """Which pixels of points [k, n] differ from the centres of their items, [k, pixels]."""
        moved = (points != self.batch.center[rows]).double()
        return moved.new_zeros(len(rows), self.pixels).index_add(1, self.owner, moved) > 0

    def _best(self, rows: Tensor, trials: Tensor, items: int) -> _Beam:
        """The best `width` different sets of every item among points that reshape to [items, -1, n]."""
        trials = trials.reshape(items, -1, trials.shape[-1])
        beam = self._evaluated(rows, trials)
        sets = trials.shape[1]
        changed = self._changed(rows.repeat_interleave(sets), trials.flatten(0, 1)).double()
        marks = (changed @ self.marks).reshape(items, sets)
        order = beam.margins.argsort(dim=1, descending=True, stable=True)
        ordered = marks.gather(1, order)
        same = (ordered[:, :, None] == ordered[:, None, :]).tril(-1).any(2)  # as a better one
        place = (order.double() * 0 + torch.arange(sets, device=order.device)) + sets * same
        picked = order.gather(1, place.argsort(dim=1)[:, : self.options.width])
        return _Beam(
            trials.gather(1, picked[:, :, None].expand(-1, -1, trials.shape[-1])),
            beam.margins.gather(1, picked),
            beam.noise.gather(1, picked),
        )

    def _evaluated(self, rows: Tensor, points: Tensor) -> _Beam:
        """Margins of points [items, sets, n] for items `rows`."""
        items, sets, size = points.shape
        part = self.batch.take(rows.repeat_interleave(sets))
        per_point = sum(node.size for node in self.network.graph.nodes)
        most = max(1, self.chunk_values // max(1, per_point))
        with torch.no_grad():
            output = torch.cat([self.network(piece) for piece in torch.split(points.reshape(-1, size), most)])
        margin = margins(part, output).reshape(items, sets)
        return _Beam(points, margin, noise_floor(part, output).reshape(items, sets))
