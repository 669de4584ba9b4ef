"""Solutions as solvers write them: HiGHS, CBC, SCIP, Gurobi (`name value` a line), CPLEX (XML)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from mipverify.errors import DataError
from mipverify.graph.operators import Float64Array
from mipverify.milp.program import MixedIntegerProgram

_XML = re.compile(r'<variable\s+name="([^"]+)".*?\bvalue="([^"]+)"')
_END = ("# Rows", "# Dual")  # of HiGHS's values of columns
_STATUS = re.compile(r"infeasible|unbounded", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Solution:
    """A point, and how much of it the file named.

    Attributes:
        point: [columns], 0 where the file says nothing, as solvers leave zeros out.
        named: number of columns that the file names.
    """

    point: Float64Array
    named: int


def read_solution(text: str, program: MixedIntegerProgram, *, file: str = "the solution") -> Solution:
    """The point in a solution file, by the names of the columns.

    Raises:
        DataError: the file holds no solution of this program, or a value that is no number.
    """
    positions = {name: j for j, name in enumerate(program.column_names())}
    point, seen = np.zeros(program.num_columns), set()
    pairs = _XML.findall(text) if text.lstrip().startswith("<") else _pairs(text, positions)
    for name, value in pairs:
        if name not in positions:
            continue
        try:
            number = float(value)
        except ValueError:
            raise DataError(f"{file}: the value {value!r} of {name} is no number") from None
        if not np.isfinite(number):
            raise DataError(f"{file}: the value of {name} is {value}, not a finite number")
        point[positions[name]] = number
        seen.add(name)
    if not seen and not _is_zero(text):
        said = _STATUS.search(text)
        why = f"it says {said.group(0).lower()}" if said else "it names none of its variables"
        raise DataError(
            f"{file} holds no solution of this program: {why}; ask the same question as for the file solved"
        )
    return Solution(point, len(seen))


def _is_zero(text: str) -> bool:
    """Whether it is a solution, all of whose values are zeros that were left out."""
    lines = [line.strip().lower() for line in text.splitlines() if line.strip()]
    headers = (
        "solution status: optimal",
        "objective value",
        "# objective value",
        "optimal - objective value",
    )
    return bool(lines) and all(line.startswith(headers) for line in lines)


def _pairs(text: str, positions: dict[str, int]) -> list[tuple[str, str]]:
    """(name, value) of every line that starts with a name, or, in CBC's way, with a number and a name."""
    pairs = []
    for line in text.splitlines():
        if line.startswith(_END):
            break
        words = line.replace("**", " ").split()
        if len(words) >= 3 and words[0].isdigit() and words[1] in positions:
            words = words[1:]
        if len(words) >= 2 and words[0] in positions:
            pairs.append((words[0], words[1]))
    return pairs
