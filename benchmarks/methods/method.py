"""What a method is asked, what it answers, and what it must be able to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import mipverify
from mipverify.cli.instances import Instance
from mipverify.graph.operators import Float64Array


@dataclass(frozen=True)
class Question:
    """Is there a counterexample within eps, or (eps is None) how far is the closest within radius?

    Attributes:
        norm: of the ball, inside [0, 1].
        eps: radius to decide.
        radius: where the search for a distance ends.
        gap: relative gap at which a distance is closed.
        seed: of everything random.
    """

    norm: str
    eps: float | None
    radius: float = math.inf
    gap: float = 1e-4
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Target:
    """A network, loaded, and the file that it was loaded from."""

    path: Path
    network: mipverify.Network


@dataclass(frozen=True, eq=False)
class Sample:
    """A correctly classified sample: position, input [n], class."""

    index: int
    x: Float64Array
    label: int


@dataclass(frozen=True)
class Answer:
    """What a method says of one instance: the fields of a `Row` that it knows."""

    status: str
    claim: str = ""
    lower: float = 0.0
    upper: float = math.inf
    evidence: str = ""
    witness: str = ""
    decided_by: str = ""
    relus: float = math.nan
    unstable: float = math.nan
    binaries: float = math.nan
    lps: float = math.nan
    mips: float = math.nan
    nodes: float = math.nan
    seconds: float = math.nan
    elapsed: float = math.nan
    cpu_seconds: float = math.nan
    error: str = ""


class Method(Protocol):
    """Somebody who answers questions.

    Attributes:
        settings: what distinguishes it from others of its kind, in words.
    """

    settings: str

    def together(self, question: Question) -> int:
        """How many samples it takes at once, and answers before any is on the disk; 0 for all."""
        ...

    def missing(self) -> str:
        """What must be installed first; empty if nothing."""
        ...

    def declines(self, question: Question | None) -> str:
        """Why it cannot be asked this (None: a property); empty if it can."""
        ...

    def answer(
        self, target: Target, samples: Sequence[Sample], question: Question, limit: float
    ) -> list[Answer]:
        """One answer a sample, in order."""
        ...

    def answer_property(self, instance: Instance, limit: float) -> Answer:
        """The answer to a property."""
        ...

    def close(self) -> None:
        """Let go of processes."""
        ...


def status_of(question: Question, lower: float, upper: float) -> str:
    """What an interval says of a question; `upper` is of a counterexample that counts."""
    if question.eps is not None:
        if lower >= question.eps:
            return "verified"
        return "falsified" if upper <= question.eps else "unknown"
    closed = lower >= question.radius or upper - lower <= question.gap * upper < math.inf
    return "verified" if closed else "unknown"
