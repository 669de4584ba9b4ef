from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mipverify.bounds import plane_gradient
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.plane_gradient import carry_over_planes
from mipverify.bounds.planes import PlaneBasis, can_have_planes, plane_basis
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.region_batch import region_batch
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.problem.norm import Norm
from tests.bounds.regions import random_ball
from tests.random_networks import KINDS, random_graph


def _basis(seed: int) -> PlaneBasis | None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=KINDS, max_blocks=3)
    region = region_batch(
        [random_ball(rng, graph.input_size, Norm.LINF)], device=torch.device("cpu"), dtype=torch.float64
    )
    state = Propagator(TorchNetwork(graph)).run(region, method=Method.LINEAR)
    for relu in graph.relus:
        count = int((state.relaxations[relu].upper_offset[0] > 0).sum())
        if count and can_have_planes(state, relu):
            return plane_basis(state, relu, torch.arange(count))
    return None


def _slowly(basis: PlaneBasis, theta: Tensor, mu: Tensor, nu: Tensor, weights: Tensor) -> Tensor:
    """Form and constant of the definition, next to each other."""
    slopes = theta * basis.weight
    offsets = basis.offsets(slopes, mu, nu, rigorous=False)
    scatter = torch.nn.functional.one_hot(basis.columns, basis.size + 1)[:, :, : basis.size].double()
    form = torch.einsum("np,npr,prs->ns", weights, slopes, scatter)
    return torch.cat([form, (weights * offsets).sum(1, keepdim=True)], dim=1)


@pytest.mark.parametrize("at_once", [1, 1 << 18])
def test_the_gradient_is_that_of_the_definition(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(plane_gradient, "ENTRIES_AT_ONCE", at_once)
    bases = [basis for basis in map(_basis, range(12)) if basis is not None]
    assert bases
    generator = torch.Generator().manual_seed(0)
    for basis in bases:
        rows, count = 3, len(basis)

        def random(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, dtype=torch.float64)

        theta, mu, nu = random(rows, count, basis.reads), random(rows, count), random(rows, count)
        variables = [theta, mu, nu, -random(rows, count)]
        above = random(rows, basis.size + 1) - 0.5
        found = []
        for way in (_slowly, carry_over_planes):
            leaves = [variable.clone().requires_grad_(True) for variable in variables]
            value = way(basis, *leaves)
            joined = value if isinstance(value, Tensor) else torch.cat([value[0], value[1][:, None]], dim=1)
            found.append([joined, *torch.autograd.grad((joined * above).sum(), leaves)])
        for slow, fast in zip(*found, strict=True):
            assert torch.allclose(slow, fast, rtol=1e-9, atol=1e-9)
