"""Exit codes: what a shell learns from a run."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from mipverify.errors import QueryError

if TYPE_CHECKING:
    from mipverify.verify.summary import Summary


class ExitCode(IntEnum):
    """One number for a whole run; the worst finding wins.

    Misclassified samples are a matter of accuracy, not of robustness: they count neither as falsified nor
    as undecided. A run in which nothing at all was verified never exits 0.
    """

    VERIFIED = 0  # every correctly classified sample verified, or its distance closed
    FALSIFIED = 1  # at least one counterexample within eps
    USAGE = 2  # bad options, model or data
    UNDECIDED = 3  # none falsified, some unknown or failed
    UNSOUND = 4  # two claims contradict each other
    INTERNAL = 70  # a defect outside a single sample
    INTERRUPTED = 130


class FailOn(StrEnum):
    """Which findings make a run fail; each of these includes those after it.

    Whatever is chosen, misuse, a soundness alarm, an internal error and an interrupt keep their codes.
    """

    UNKNOWN = "unknown"  # what the codes above say: code 3 for undecided samples, too
    FALSIFIED = "falsified"  # counterexamples alone
    NEVER = "never"

    @classmethod
    def parse(cls, text: str) -> FailOn:
        """Read one of the three; QueryError for anything else."""
        try:
            return cls(text)
        except ValueError:
            raise QueryError(f"--fail-on must be one of {', '.join(cls)}, got {text!r}") from None


def exit_code(summary: Summary, fail_on: FailOn = FailOn.UNKNOWN) -> ExitCode:
    """The code of a run that went to its end."""
    if fail_on is FailOn.NEVER:
        return ExitCode.VERIFIED
    if summary.falsified:
        return ExitCode.FALSIFIED
    if fail_on is FailOn.FALSIFIED:
        return ExitCode.VERIFIED
    if summary.unknown or summary.errors or not summary.verified:
        return ExitCode.UNDECIDED
    return ExitCode.VERIFIED


def verdict_code(verdicts: Sequence[str]) -> ExitCode:
    """The code of verdicts on properties: `unsat` verifies, `sat` falsifies, all others leave open."""
    if "sat" in verdicts:
        return ExitCode.FALSIFIED
    return ExitCode.VERIFIED if verdicts and set(verdicts) == {"unsat"} else ExitCode.UNDECIDED
