"""Engine: one network made ready for many queries: its torch forms, its bounds and its solver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import torch

from mipverify.attack.confirm import Replayable
from mipverify.attack.options import AttackOptions
from mipverify.bounds.arithmetic import check_arithmetic
from mipverify.bounds.network_bounds import Method
from mipverify.bounds.propagate import Propagator
from mipverify.bounds.torch_network import TorchNetwork
from mipverify.errors import QueryError
from mipverify.solvers.registry import solver_named
from mipverify.solvers.solver import Solver
from mipverify.verify.options import VerifyOptions
from mipverify.verify.profile import Meter, MeteredSolver


class Engine:
    """What the stages of a query work with; made once for a network and its options.

    Args:
        network: the imported network with its deployed form, or one as a function of parameters.
        options: how queries are answered.
    """

    def __init__(self, network: Replayable, options: VerifyOptions) -> None:
        self.network = network
        self.options = options
        self.device = choose_device(options.device)
        if self.device.type != "cpu":
            check_arithmetic(self.device)
        self.exact = TorchNetwork(network.graph, device=self.device, dtype=torch.float64)
        self.propagator = Propagator(self.exact)
        self.meter = Meter()
        self.attack_options = AttackOptions(steps=options.attack_steps, restarts=options.restarts)

    @property
    def strongest_bounds(self) -> Method:
        """The strongest bound method that the options allow."""
        return Method[self.options.bounds.upper()]

    @cached_property
    def single(self) -> TorchNetwork:
        """The network in float32, for gradients."""
        return self.propagator.single

    @cached_property
    def solver(self) -> Solver:
        """The solver named in the options, loaded when it is first needed; its calls are counted."""
        return MeteredSolver(solver_named(self.options.solver), self.meter)


def choose_device(name: str) -> torch.device:
    """`auto` takes a CUDA device where there is one.

    Raises:
        QueryError: cuda was asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise QueryError("no CUDA device was found: choose --device cpu or auto")
    return torch.device("cuda" if name != "cpu" and available else "cpu")


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` CPU threads: on a busy machine more than its share makes it many times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
