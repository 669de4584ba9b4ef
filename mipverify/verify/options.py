"""Options of a verification, beside the query itself."""

from __future__ import annotations

from dataclasses import dataclass

from mipverify.errors import QueryError

ENGINES = ("auto", "search", "mip", "none")
PROOFS = ("off", "auto", "always")
BOUND_METHODS = ("interval", "linear", "optimised", "lp", "mip")


@dataclass(frozen=True)
class VerifyOptions:
    """How a query is answered; none of these changes what the answer means.

    Attributes:
        time_limit: seconds per sample, shared by all stages.
        gap: relative gap at which a distance counts as closed.
        engine: `search` (branch-and-bound over phases), `mip` (a solver), `auto`: search, then solver;
            `none`: bounds and attack alone.
        solver: `highs`, `cbc` or `pyomo:NAME`.
        threads: threads of one process: of a solve, and of torch on the CPU.
        seed: seed of attack and solver.
        device: `auto`, `cpu` or `cuda`, for bounds and attack.
        restarts: random restarts of the attack, per target.
        attack_steps: gradient steps of one restart.
        batch_size: samples bounded and attacked together; None for what suits the device and their number.
        bounds: strongest bounds of the neurons: `interval`, `linear` (relaxation), `optimised` (its slopes);
            `lp`: linear programs for all neurons still open, over the region and then for each target;
            `mip`: for each target short mixed-integer programs, too, used by its own program alone since
            they rest on the solver's word. With `optimised`, few open neurons are given linear programs
            for each target before a program of it is solved.
        attack: whether to attack at all (without it every counterexample comes from the solver).
        profile: whether certificates carry a `Profile`.
        proof: whether certificates carry a proof that `mipverify check` accepts: `off`; `auto`: where it
            takes no longer than the answer took, within the time limit; `always`: with all the time that
            is left, at least as much as the answer took.
    """

    time_limit: float = 120.0
    gap: float = 1e-4
    engine: str = "auto"
    solver: str = "highs"
    threads: int = 1
    seed: int = 0
    device: str = "auto"
    restarts: int = 4
    attack_steps: int = 40
    batch_size: int | None = None
    bounds: str = "optimised"
    attack: bool = True
    profile: bool = False
    proof: str = "off"

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        if not self.time_limit > 0:
            raise QueryError(f"the time limit must be positive, got {self.time_limit} s")
        if not 1e-5 <= self.gap < 1:
            raise QueryError(f"the gap must lie in [1e-5, 1), below that solvers cannot tell: got {self.gap}")
        for name, least in (("threads", self.threads), ("batch_size", self.batch_size)):
            if least is not None and least < 1:
                raise QueryError(f"{name} must be at least 1, got {least}")
        for name in ("restarts", "attack_steps"):
            if getattr(self, name) < 0:
                raise QueryError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.bounds not in BOUND_METHODS:
            raise QueryError(
                f"unknown bound method {self.bounds!r}: choose one of {', '.join(BOUND_METHODS)}"
            )
        if self.engine not in ENGINES:
            raise QueryError(f"unknown engine {self.engine!r}: choose one of {', '.join(ENGINES)}")
        if self.proof not in PROOFS:
            raise QueryError(f"unknown choice of proofs {self.proof!r}: choose one of {', '.join(PROOFS)}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise QueryError(f"unknown device {self.device!r}: choose auto, cpu or cuda")
