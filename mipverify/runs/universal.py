"""The Python interface to universal perturbations: one perturbation for several samples."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from mipverify.errors import QueryError
from mipverify.frontend.network import Network
from mipverify.problem.criterion import Criterion, Output
from mipverify.problem.norm import Norm
from mipverify.problem.query import Reading
from mipverify.runs.api import answerable
from mipverify.verify.options import VerifyOptions
from mipverify.verify.questions import Domain, questions
from mipverify.verify.universal_answer import UniversalAnswer


def universal_perturbation(
    network: Network,
    xs: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    eps: float | None = None,
    at_least: int | None = None,
    radius: float = float("inf"),
    norm: str | Norm = Norm.LINF,
    targets: Iterable[int] | None = None,
    alpha: float = 0.0,
    reading: str | Reading = Reading.LABEL,
    output: Output = None,
    domain: Domain = (0.0, 1.0),
    options: VerifyOptions | None = None,
) -> UniversalAnswer:
    """How many of the samples does one perturbation d fool? Or: how small is one that fools `at_least`?

    d is the same for all samples, |d| <= eps, and every x_k + d lies in the domain; nothing is clipped. So a
    feature at the lower end of the domain in one sample and at its upper end in another cannot move at all;
    `domain=None` leaves d to the norm alone.

    Args:
        network: from `mipverify.load`.
        xs: inputs in raw units, [samples, ...] with n values each.
        labels: the class to be kept, [samples]; needed unless a condition on outputs names none.
        eps: the size allowed, to ask for the largest number of samples fooled.
        at_least: the number to be fooled, to ask for the smallest size.
        radius: with `at_least`, nothing larger is searched.
        norm: linf or l1.
        targets: classes that count as wrong; None for all but the label.
        alpha: margin by which a target must win.
        reading: `label` if a target must beat the label, `argmax` if it must beat every other class.
        output: what must hold of the outputs, in place of the class.
        domain: the box that every x_k + d must lie in: a (lower, upper) pair for all features, or a `Box`.
        options: effort, limits and solver; the time limit is for the whole question.

    Returns:
        An interval on the number, or on the size, with a replayed perturbation. Samples that are
        misclassified or unsafe without a perturbation are left out, and named.

    Raises:
        QueryError: a question that makes no sense, before any work is done.
        SoundnessError: two claims contradict each other.
    """
    if (eps is None) == (at_least is None):
        raise QueryError(
            "give eps, to ask how many samples are fooled, or at_least, to ask how small it can be"
        )
    if eps is not None and not (np.isfinite(eps) and eps >= 0):
        raise QueryError(f"eps must be a finite number >= 0, got {eps}")
    if not radius >= 0:
        raise QueryError(f"the search radius must be a number >= 0, got {radius}")
    criterion = Criterion.of(targets=targets, alpha=alpha, reading=reading, output=output)
    queries = questions(
        answerable(network, criterion),
        xs,
        labels,
        radius=radius if eps is None else eps,
        norm=norm,
        criterion=criterion,
        domain=domain,
    )
    if not queries:
        raise QueryError("a universal perturbation needs at least one sample")
    from mipverify.verify.engine import Engine
    from mipverify.verify.universal import answer_universal

    engine = Engine(network, options or VerifyOptions())
    return answer_universal(engine, queries, at_least=at_least, criterion=criterion)
