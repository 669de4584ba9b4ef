"""Witness: an adversarial point that was run, in the file's own arithmetic and in float64."""

from __future__ import annotations

from dataclasses import dataclass, field

from mipverify.graph.operators import Float64Array


@dataclass(frozen=True, eq=False)
class Witness:
    """A point a in the region of a query whose outputs are unsafe, replayed in onnxruntime.

    Attributes:
        point: a, [n]; every entry is a float32 number stored as float64.
        outputs: what onnxruntime (CPU) returned for it, [m].
        prediction: the arg max of `outputs`.
        margin: by how much the unsafe set is reached in onnxruntime, >= 0.
        distance: D(x, a) in the norm of the query.
        target: the class whose polytope was reached, if the query has classes.
        parameters: where inputs were parametrised, the theta that `point` was made of, by name; `distance` is
            then theirs, and `point` the float32 input next to x + P theta.
        distances: D(x, a) in every norm, keyed by its name.
    """

    point: Float64Array
    outputs: Float64Array
    prediction: int
    margin: float
    distance: float
    target: int | None
    parameters: dict[str, float] | None = None
    distances: dict[str, float] = field(default_factory=dict)
