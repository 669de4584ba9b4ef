"""Options of the attacks."""

from __future__ import annotations

from dataclasses import dataclass

from mipverify.errors import QueryError


@dataclass(frozen=True)
class AttackOptions:
    """How hard an attack tries; the defaults come from `benchmarks/PERFORMANCE.md`.

    Attributes:
        quick_steps: gradient steps from the centre, against every target, before anything else.
        steps: gradient steps of one restart (radius).
        descent_steps: gradient steps of one descent (distance).
        refinement_steps: steps to the linearised boundary after a descent (distance).
        restarts: random restarts of a target that the quick phase left open.
        max_targets: polytopes attacked when the unsafe set has more, by margin at the centre.
        restart_targets: the most promising targets of a query that get restarts.
        keep: candidates returned per query (radius), or per target of a query (distance).
        chunk_values: values of all nodes held at once in one forward and backward pass.
    """

    quick_steps: int = 8
    steps: int = 40
    descent_steps: int = 20
    refinement_steps: int = 8
    restarts: int = 4
    max_targets: int = 10
    restart_targets: int = 3
    keep: int = 3
    chunk_values: int = 1 << 22

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        for name in ("quick_steps", "max_targets", "restart_targets", "keep", "chunk_values"):
            if getattr(self, name) < 1:
                raise QueryError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("steps", "restarts", "descent_steps", "refinement_steps"):
            if getattr(self, name) < 0:
                raise QueryError(f"{name} must not be negative, got {getattr(self, name)}")
