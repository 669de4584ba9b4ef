"""Solvers in processes of their own hand their points over as text, and text has few digits."""

from __future__ import annotations

import numpy as np

from mipverify.graph.operators import Float64Array
from mipverify.milp.program import MixedIntegerProgram

PRINTED = 5e-8  # relative: CBC prints eight digits, others more


def unprinted(program: MixedIntegerProgram, point: Float64Array) -> float:
    """By how much the cost of the point may be off for the digits that were not printed."""
    return PRINTED * float(np.abs(program.cost) @ np.abs(point))
