"""VNN-LIB as it is written: witnesses in the form of their version, and robustness as a property."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from mipverify.errors import QueryError
from mipverify.frontend.network import Network
from mipverify.frontend.normalization import Normalization
from mipverify.frontend.vnnlib.declarations import Declarations, Tensor
from mipverify.frontend.vnnlib.numerals import decimal_above, decimal_below, decimal_text
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query


def witness_text(declarations: Declarations, inputs: Sequence[Fraction], outputs: Float64Array) -> str:
    """The point and its outputs [m], with all their digits, as the version of the property writes them.

    Version 1: `((X_0 v)`, ..., `(Y_0 v))`, one pair a line. Version 2: each tensor's name, type and shape on
    a line, then its elements in C order, one a line.
    """
    values = [_number(number) for number in inputs], [_number(Fraction(y)) for y in outputs.tolist()]
    if declarations.tensors is not None:
        parts = zip(declarations.tensors, values, strict=True)
        return "\n".join(line for tensor, part in parts for line in (_heading(tensor), *part))
    parts_of_1 = zip("XY", values, strict=True)
    pairs = [f"({kind}_{k} {value})" for kind, part in parts_of_1 for k, value in enumerate(part)]
    return "(" + "\n ".join(pairs) + ")"


def classification_text(network: Network, query: Query, *, title: str) -> str:
    """A property of version 1 that is `sat` if and only if the query has an adversarial point.

    Sides of the box are written with all digits, in the network's own units: a normalisation is applied to
    them, and then, where no finite decimal is exact, they are rounded outward after 30 digits.

    Args:
        network: for its normalisation.
        query: a linf ball, and targets that a label must not be beaten by.
        title: a comment for the first line.

    Raises:
        QueryError: a norm other than linf, an unbounded box, parameters, features on a grid.
    """
    if query.parametrised is not None or query.region.grid is not None:
        what = "steps of features" if query.parametrised is None else "perturbations and radii of features"
        raise QueryError(f"VNN-LIB has boxes only: {what} cannot be exported, a program (-o) has them")
    if query.region.norm is not Norm.LINF:
        raise QueryError(f"VNN-LIB has boxes only: norm {query.region.norm} cannot be exported, linf can")
    lower, upper = _box(query)
    if network.normalization is not None:
        lower, upper = _normalized(network.normalization, lower, upper)
    outputs = query.unsafe[0].matrix.shape[1]
    lines = [f"; {line}" for line in title.splitlines()] + [""]
    lines += [f"(declare-const X_{k} Real)" for k in range(len(lower))]
    lines += [f"(declare-const Y_{k} Real)" for k in range(outputs)] + [""]
    for k, (low, up) in enumerate(zip(lower, upper, strict=True)):
        lines += [f"(assert (>= X_{k} {decimal_below(low)}))", f"(assert (<= X_{k} {decimal_above(up)}))"]
    disjuncts = [
        " ".join(_row(row, bound) for row, bound in zip(polytope.matrix, polytope.offset, strict=True))
        for polytope in query.unsafe
    ]
    return "\n".join([*lines, "", "(assert (or", *(f"    (and {part})" for part in disjuncts), "))", ""])


def _heading(tensor: Tensor) -> str:
    shape = ",".join(str(extent) for extent in tensor.shape)
    return f"{tensor.name} {tensor.element_type} [{shape}]"


def _number(number: Fraction) -> str:
    try:
        return decimal_text(number)
    except ValueError:  # only a quotient such as (/ 1 3) in the file comes to this
        return repr(float(number))


def _box(query: Query) -> tuple[list[Fraction], list[Fraction]]:
    """The exact sides of the ball, cut by its domain."""
    ball = query.region
    radius = Fraction(ball.radius)
    lower, upper = [], []
    for x, low, up in zip(
        ball.center.tolist(), ball.domain.lower.tolist(), ball.domain.upper.tolist(), strict=True
    ):
        center = Fraction(x)
        lower.append(center - radius if low == float("-inf") else max(center - radius, Fraction(low)))
        upper.append(center + radius if up == float("inf") else min(center + radius, Fraction(up)))
    return lower, upper


def _normalized(
    normalization: Normalization, lower: Sequence[Fraction], upper: Sequence[Fraction]
) -> tuple[list[Fraction], list[Fraction]]:
    """(x - mean) / std of both sides, exactly; std > 0 keeps their order."""
    moves = [
        (Fraction(mean), Fraction(std))
        for mean, std in zip(normalization.mean.tolist(), normalization.std.tolist(), strict=True)
    ]
    return (
        [(side - mean) / std for side, (mean, std) in zip(lower, moves, strict=True)],
        [(side - mean) / std for side, (mean, std) in zip(upper, moves, strict=True)],
    )


def _row(row: Float64Array, offset: float) -> str:
    """`(>= Y_t Y_c)`, `(>= (- Y_t Y_c) alpha)`, or a sum of multiples of outputs compared with a number."""
    used = row.nonzero()[0]
    if sorted(row[used].tolist()) == [-1, 1]:
        (high,), (low,) = (row == 1).nonzero()[0], (row == -1).nonzero()[0]
        if offset == 0:
            return f"(>= Y_{high} Y_{low})"
        return f"(>= (- Y_{high} Y_{low}) {decimal_text(offset)})"
    terms = [f"Y_{k}" if row[k] == 1 else f"(* {decimal_text(float(row[k]))} Y_{k})" for k in used]
    left = terms[0] if len(terms) == 1 else f"(+ {' '.join(terms)})"
    return f"(>= {left} {decimal_text(offset)})"
