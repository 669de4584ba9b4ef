"""Options of the attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mipverify.errors import QueryError

Deadline = Callable[[], bool]  # says whether the time is up


@dataclass(frozen=True)
class AttackOptions:
    """How hard an attack tries; the defaults come from `benchmarks/PERFORMANCE.md`.

    Attributes:
        quick_steps: gradient steps from the centre, against every target, before anything else.
        steps: gradient steps of one restart (radius); 0 leaves only the quick phase.
        pursue: whether the closest adversarial points are sought outside the ball at last (radius).
        descent_steps: gradient steps of one descent (distance).
        refinement_steps: steps to the linearised boundary after a descent (distance).
        settle_steps: gradient steps of the long descent from the closest points (distance).
        settle_targets: items of a query that get this long descent (distance).
        restarts: random restarts of a target that the quick phase left open.
        samples: random points of which a restart takes the best, for networks of few inputs.
        max_targets: polytopes attacked when the unsafe set has more, by margin at the centre.
        restart_targets: the most promising targets of a query that get restarts.
        keep: candidates returned per query.
        chunk_values: values of all nodes held at once in one forward and backward pass.
    """

    quick_steps: int = 8
    steps: int = 20
    pursue: bool = True
    descent_steps: int = 40
    refinement_steps: int = 8
    settle_steps: int = 100
    settle_targets: int = 2
    restarts: int = 4
    samples: int = 32
    max_targets: int = 10
    restart_targets: int = 3
    keep: int = 3
    chunk_values: int = 1 << 22

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        may_be_zero = ("steps", "restarts", "descent_steps", "refinement_steps", "settle_steps", "pursue")
        for name, value in vars(self).items():
            least = 0 if name in may_be_zero else 1
            if value < least:
                raise QueryError(f"{name} must be at least {least}, got {value}")
