"""Tangents at the root: squares of an l2 program held up where its linear relaxation wants to be."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from math import inf

from mipverify.encoding.encode import Encoding
from mipverify.encoding.squares import SquareBlock
from mipverify.milp.result import Termination
from mipverify.milp.rows import UpperRows, append_rows
from mipverify.solvers.highs import HighsLp
from mipverify.solvers.solver import SolveOptions


@dataclass(frozen=True)
class TangentOptions:
    """Effort; none of these changes what a program means.

    Attributes:
        rounds: linear programs at most.
        short: share of the radius squared by which the squares of a point may be too small together.
    """

    rounds: int = 12
    short: float = 1e-3


@dataclass(frozen=True, eq=False)
class RootTangents:
    """An encoding with more tangents, and what the rounds cost.

    Attributes:
        encoding: holds the same points of the ball, and fewer beyond it.
        rounds: linear programs solved.
        seconds: wall time.
        interrupted: ended from outside.
    """

    encoding: Encoding
    rounds: int = 0
    seconds: float = 0.0
    interrupted: bool = False


def squares_of(encoding: Encoding) -> SquareBlock | None:
    """The squares of an l2 program by tangents; None of any other."""
    blocks = encoding.variables.blocks
    return next((block for block in blocks if isinstance(block, SquareBlock)), None)


def with_rows(encoding: Encoding, rows: UpperRows) -> Encoding:
    """The encoding with more rows in its program."""
    return replace(encoding, program=append_rows(encoding.program, rows))


def add_root_tangents(
    encoding: Encoding, *, options: TangentOptions, time_limit: float = inf, seed: int = 0
) -> RootTangents:
    """Alternate linear programs and the tangents that their points miss; nothing but l2 programs changes."""
    squares = squares_of(encoding)
    if squares is None or not squares.columns.size:
        return RootTangents(encoding)
    begin = time.monotonic()
    lp, rounds, interrupted = HighsLp(encoding.program), 0, False
    while rounds < options.rounds:
        left = max(0.0, begin + time_limit - time.monotonic())
        result = lp.solve(SolveOptions(time_limit=left, seed=seed))
        rounds += 1
        interrupted = result.termination is Termination.INTERRUPTED
        if result.termination is not Termination.OPTIMAL or result.point is None:
            break
        new = squares.tangents(result.point, share=options.short, width=encoding.program.num_columns)
        if not new.count:
            break
        lp.add_rows(new)
        encoding = with_rows(encoding, new)
    return RootTangents(encoding, rounds, time.monotonic() - begin, interrupted)
