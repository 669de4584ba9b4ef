"""The Python interface to exact programs: one question as an `Encoding`, to be solved by whom you like."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from mipverify.encoding.encode import Encoding, Objective
from mipverify.errors import QueryError
from mipverify.frontend.network import Network
from mipverify.problem.criterion import Criterion, Output
from mipverify.problem.families import AnyFamily
from mipverify.problem.norm import Norm
from mipverify.problem.perturbation import Outside
from mipverify.problem.query import Reading
from mipverify.runs.api import answerable, grid_of
from mipverify.verify.encoded import encode_query
from mipverify.verify.engine import Engine
from mipverify.verify.options import VerifyOptions
from mipverify.verify.questions import Domain, flat_points, questions
from mipverify.verify.regions import read_regions


def encode(
    network: Network,
    x: ArrayLike,
    label: int | None = None,
    *,
    eps: float | None = None,
    norm: str | Norm = Norm.LINF,
    objective: str | Objective | None = None,
    targets: Iterable[int] | None = None,
    alpha: float = 0.0,
    reading: str | Reading = Reading.LABEL,
    output: Output = None,
    domain: Domain = (0.0, 1.0),
    mask: ArrayLike | None = None,
    fixed: Iterable[int] | None = None,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    radii: ArrayLike | None = None,
    perturbation: AnyFamily | None = None,
    outside: str | Outside | None = None,
    distance_in: str = "theta",
    levels: ArrayLike | None = None,
    integers: Iterable[int] | None = None,
    quadratic: bool = True,
    options: VerifyOptions | None = None,
) -> Encoding:
    """The exact program of one question, for any solver (see docs/pyomo.md).

    Args:
        network: from `mipverify.load`.
        x: input in raw units, n values.
        label: the class to be kept; needed unless a condition on outputs names none.
        eps: radius of the closed ball, in raw input units; None for the whole domain.
        norm: the distance.
        objective: `decide` (any unsafe point; the default with a radius), `closest` (the closest one; the
            default without) or `worst` (the largest margin in the ball, unsafe or not).
        targets: classes that count as wrong; None for all but the label.
        alpha: margin by which a target must win.
        reading: `label` if a target must beat the label, `argmax` if it must beat every other class.
        output: a condition on outputs that must hold, in place of the class.
        domain: the box that every point must lie in: a (lower, upper) pair for all features, or a `Box`.
        mask: 1 for features that may move, as in `certify_batch`.
        fixed: positions of features that may not move.
        lower: a side of a box, as in `certify_batch`.
        upper: a side of a box.
        radii: a radius for every feature, as in `certify_batch`; like a perturbation it makes the program one
            about parameters theta: what it calls `a`, and what `decode` returns, are these.
        perturbation: inputs are a = x + P theta, as in `certify_batch`.
        outside: what becomes of inputs outside of the domain, as in `certify_batch`.
        distance_in: theta, or input for distances |P theta|.
        levels: features take values in steps, as in `certify_batch`.
        integers: positions of features that are whole numbers.
        quadratic: whether an l2 ball or distance is written as it is, for solvers of MIQP; else by tangents.
        options: how neurons are bounded: `bounds`, `device`, `threads`, and `time_limit` for it.

    Raises:
        QueryError: a question that makes no sense, or that has no such program.
        MissingBoundError: a neuron has no finite bound.
    """
    if eps is not None and not (np.isfinite(eps) and eps >= 0):
        raise QueryError(f"eps must be a finite number >= 0, got {eps}")
    wanted = objective_named(objective, radius=eps)
    criterion = Criterion.of(targets=targets, alpha=alpha, reading=reading, output=output)
    (query,) = questions(
        answerable(network, criterion),
        np.asarray(x)[None],
        None if label is None else [label],
        radius=float("inf") if eps is None else eps,
        norm=norm,
        domain=domain,
        criterion=criterion,
        regions=read_regions(
            flat_points(np.asarray(x)[None]),
            network.input_shape,
            mask=mask,
            fixed=fixed,
            lower=lower,
            upper=upper,
            radii=radii,
            perturbation=perturbation,
            outside=outside,
            distance_in=distance_in,
        ),
        grid=grid_of(network, levels, integers),
    )
    options = options or VerifyOptions()
    engine = Engine(network, options)
    return encode_query(engine, query, wanted, quadratic=quadratic, time_limit=options.time_limit)


def objective_named(name: str | Objective | None, *, radius: float | None) -> Objective:
    """`decide`, `closest` or `worst`; None for what suits the radius.

    Raises:
        QueryError: another name.
    """
    if name is None:
        return Objective.CLOSEST if radius is None else Objective.DECIDE
    try:
        return Objective(str(name).strip().lower())
    except ValueError:
        known = ", ".join(Objective)
        raise QueryError(f"unknown objective {str(name)!r}: choose one of {known}") from None
