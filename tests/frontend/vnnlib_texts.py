"""Short ways to write properties of two inputs in [0, 1] and two outputs."""

from __future__ import annotations

HEAD = """(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(declare-const Y_1 Real)
"""
BOX = """(assert (>= X_0 0.0))
(assert (<= X_0 1.0))
(assert (>= X_1 0.0))
(assert (<= X_1 1.0))
"""
HEAD_2 = """(vnnlib-version <2.0>)
(declare-network f
  (declare-input X float32 [1,2])
  (declare-output Y float32 [1,2])
)
"""
BOX_2 = "(assert (and (>= X[0,0] 0.0) (<= X[0,0] 1.0) (>= X[0,1] 0.0) (<= X[0,1] 1.0)))\n"


def asserting(*formulas: str, version: int = 1) -> str:
    """The unit box and these assertions."""
    lines = "".join(f"(assert {formula})\n" for formula in formulas)
    return HEAD + BOX + lines if version == 1 else HEAD_2 + BOX_2 + lines
