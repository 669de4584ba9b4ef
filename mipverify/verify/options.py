"""Options of a verification, beside the query itself."""

from __future__ import annotations

from dataclasses import dataclass

from mipverify.errors import QueryError

BOUND_METHODS = ("interval", "linear", "optimised")


@dataclass(frozen=True)
class VerifyOptions:
    """How a query is answered; none of these changes what the answer means.

    Attributes:
        time_limit: seconds per sample, shared by all stages.
        gap: relative gap at which a distance counts as closed.
        solver: `highs`, `cbc` or `pyomo:NAME`.
        threads: threads of one solve.
        seed: seed of attack and solver.
        device: `auto`, `cpu` or `cuda`, for bounds and attack.
        restarts: random restarts of the attack, per target.
        attack_steps: gradient steps of one restart.
        batch_size: samples bounded and attacked together.
        bounds: strongest bound method before the solver: `interval`, `linear` or `optimised`.
        attack: whether to attack at all (without it every counterexample comes from the solver).
    """

    time_limit: float = 120.0
    gap: float = 1e-4
    solver: str = "highs"
    threads: int = 1
    seed: int = 0
    device: str = "auto"
    restarts: int = 4
    attack_steps: int = 40
    batch_size: int = 16
    bounds: str = "optimised"
    attack: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        if not self.time_limit > 0:
            raise QueryError(f"the time limit must be positive, got {self.time_limit} s")
        if not 1e-5 <= self.gap < 1:
            raise QueryError(f"the gap must lie in [1e-5, 1), below that solvers cannot tell: got {self.gap}")
        for name in ("threads", "batch_size"):
            if getattr(self, name) < 1:
                raise QueryError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("restarts", "attack_steps"):
            if getattr(self, name) < 0:
                raise QueryError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.bounds not in BOUND_METHODS:
            raise QueryError(
                f"unknown bound method {self.bounds!r}: choose one of {', '.join(BOUND_METHODS)}"
            )
        if self.device not in ("auto", "cpu", "cuda"):
            raise QueryError(f"unknown device {self.device!r}: choose auto, cpu or cuda")
