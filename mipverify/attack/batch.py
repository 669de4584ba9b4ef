"""Batch: queries x polytopes x restarts as one tensor, and the margin that each item raises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from mipverify.attack.leaks import Leaks
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.errors import QueryError
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, check_fits

FALLBACK_REACH = 100.0  # half-width searched where neither ball nor domain is bounded, times max(1, |c|)


@dataclass(frozen=True, eq=False)
class Batch:
    """One item a row: a polytope of a query, attacked from one start.

    Attributes:
        query: [items], position of the query.
        polytope: [items], position in its unsafe set.
        center: [items, n].
        lower, upper: [items, n], the domain, made finite.
        radius: [items], made finite.
        matrix: [items, rows, m] and offset: [items, rows]: the polytope; padded with rows 0 y >= -inf.
        norm: of all balls.
    """

    query: Tensor
    polytope: Tensor
    center: Tensor
    lower: Tensor
    upper: Tensor
    radius: Tensor
    matrix: Tensor
    offset: Tensor
    norm: Norm

    def __len__(self) -> int:
        """Number of items."""
        return int(self.query.shape[0])

    def take(self, rows: Tensor) -> Batch:
        """The items at `rows`, in that order."""
        return Batch(
            self.query[rows],
            self.polytope[rows],
            self.center[rows],
            self.lower[rows],
            self.upper[rows],
            self.radius[rows],
            self.matrix[rows],
            self.offset[rows],
            self.norm,
        )

    def unlimited(self) -> Batch:
        """The same items in balls that reach to the far corners of the domain."""
        widest = torch.maximum(self.upper - self.center, self.center - self.lower)
        return replace(self, radius=norm_of(widest, self.norm))

    def reach(self) -> Tensor:
        """[items, n]: how far a coordinate can move from the centre at most, inside ball and domain."""
        widest = torch.maximum(self.upper - self.center, self.center - self.lower)
        return torch.minimum(widest, self.radius[:, None])


def joined(batches: Sequence[Batch]) -> Batch:
    """The items of all batches, which share their norm, one after the other."""
    names = [field.name for field in fields(Batch) if field.name != "norm"]
    parts = {name: torch.cat([getattr(batch, name) for batch in batches]) for name in names}
    return Batch(**parts, norm=batches[0].norm)


def build_batch(
    network: TorchNetwork, queries: Sequence[Query], pairs: Sequence[tuple[int, int]], *, norm: Norm
) -> Batch:
    """The batch of the given (query, polytope) pairs, in the network's dtype and on its device."""
    q = torch.tensor([pair[0] for pair in pairs], dtype=torch.int64, device=network.device)
    k = torch.tensor([pair[1] for pair in pairs], dtype=torch.int64, device=network.device)
    regions = [_finite_region(network, query) for query in queries]
    center, lower, upper, radius = (torch.stack(part)[q] for part in zip(*regions, strict=True))
    polytopes = [queries[i].unsafe[j] for i, j in pairs]
    rows = max(len(polytope.offset) for polytope in polytopes)
    outputs = polytopes[0].matrix.shape[1]
    matrix = torch.zeros(len(pairs), rows, outputs, dtype=network.dtype)
    offset = torch.full((len(pairs), rows), -torch.inf, dtype=network.dtype)
    for item, polytope in enumerate(polytopes):
        count = len(polytope.offset)
        matrix[item, :count] = torch.from_numpy(polytope.matrix)
        offset[item, :count] = torch.from_numpy(polytope.offset)
    device = network.device
    return Batch(q, k, center, lower, upper, radius, matrix.to(device), offset.to(device), norm)


def _finite_region(network: TorchNetwork, query: Query) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centre, domain and radius, with infinite sides replaced by a reach wide enough for a search."""
    ball = query.region
    center = network.tensor(ball.center)
    far = FALLBACK_REACH * center.abs().clamp(min=1.0)
    lower, upper = network.tensor(ball.domain.lower), network.tensor(ball.domain.upper)
    lower = torch.where(lower.isinf(), center - far, lower)
    upper = torch.where(upper.isinf(), center + far, upper)
    widest = torch.maximum(upper - center, center - lower).clamp(min=0)
    radius = torch.tensor(ball.radius, dtype=network.dtype, device=network.device)
    return center, lower, upper, torch.minimum(radius, norm_of(widest[None], ball.norm)[0])


def norm_of(offset: Tensor, norm: Norm) -> Tensor:
    """|offset| in a norm other than l0, [items], for offsets [items, n]."""
    match norm:
        case Norm.LINF:
            return offset.abs().amax(dim=1)
        case Norm.L1:
            return offset.abs().sum(dim=1)
        case _:
            return offset.square().sum(dim=1).sqrt()


def common_norm(network: TorchNetwork, queries: Sequence[Query]) -> Norm:
    """The norm that all queries share, once every query is known to fit the network.

    Raises:
        QueryError: for a query that does not fit, and for mixed norms.
    """
    for query in queries:
        check_fits(network.graph, query)
    norms = {query.region.norm for query in queries}
    if len(norms) != 1:
        raise QueryError(f"queries attacked together must share one norm, got {sorted(norms)}: split them")
    return norms.pop()


def margins(batch: Batch, outputs: Tensor) -> Tensor:
    """Min over rows of (matrix y - offset), [items], for outputs [items, m]; NaN becomes -inf."""
    return _rows(batch, outputs).amin(dim=1).nan_to_num(nan=-torch.inf)


def noise_floor(batch: Batch, outputs: Tensor) -> Tensor:
    """Size of margins, [items], that rounding errors in the outputs [items, m] may explain."""
    size = torch.einsum("brm,bm->br", batch.matrix.abs(), outputs.abs()).amax(dim=1)
    return 16 * torch.finfo(torch.float32).eps * size.nan_to_num(nan=0.0)


def _rows(batch: Batch, outputs: Tensor) -> Tensor:
    return torch.einsum("brm,bm->br", batch.matrix, outputs) - batch.offset


def margins_and_gradients(
    network: TorchNetwork, batch: Batch, points: Tensor, *, chunk_values: int, leaks: Leaks | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Margins [items], gradients [items, n] of what raises them, and noise floors [items].

    A polytope of one row is raised by its margin; one of several rows by the sum of its violated rows,
    since the smallest row alone would leave the others behind. Undefined gradients become 0. With `leaks`,
    gradients go through inactive neurons, too.
    """
    values_per_item = sum(node.size for node in network.graph.nodes)
    chunk = max(1, chunk_values // max(values_per_item, 1))
    parts = []
    for begin in range(0, len(batch), chunk):
        rows = torch.arange(begin, min(begin + chunk, len(batch)), device=network.device)
        piece = batch if len(rows) == len(batch) else batch.take(rows)
        inputs = points[rows[0] : rows[-1] + 1].detach().requires_grad_()
        with torch.enable_grad():
            leaking = None if leaks is None else leaks.take(rows)
            outputs = network(inputs) if leaking is None else leaking.outputs(network, inputs)
            margin_rows = _rows(piece, outputs)
            margin = margin_rows.amin(dim=1)
            violated = margin_rows.clamp(max=0).sum(dim=1)
            aim = margin if margin_rows.shape[1] == 1 else torch.where(margin < 0, violated, margin)
            (gradient,) = torch.autograd.grad(aim.sum(), inputs)
        parts.append(
            (
                margin.detach().nan_to_num(nan=-torch.inf),
                gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0),
                noise_floor(piece, outputs.detach()),
            )
        )
    first, second, third = zip(*parts, strict=True)
    return torch.cat(first), torch.cat(second), torch.cat(third)
