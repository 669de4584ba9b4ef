"""The Python interface: certificates for one sample or many."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mipverify.errors import QueryError
from mipverify.frontend.network import Network
from mipverify.graph.graph import Graph
from mipverify.problem.criterion import Criterion, Output
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, Reading
from mipverify.runs.serial import answer_here
from mipverify.verify.batch import batches
from mipverify.verify.certificate import Certificate
from mipverify.verify.options import VerifyOptions
from mipverify.verify.questions import Domain, questions


def certify(
    network: Network,
    x: ArrayLike,
    label: int | None = None,
    *,
    eps: float,
    norm: str | Norm = Norm.LINF,
    targets: Iterable[int] | None = None,
    alpha: float = 0.0,
    reading: str | Reading = Reading.LABEL,
    output: Output = None,
    domain: Domain = (0.0, 1.0),
    options: VerifyOptions | None = None,
) -> Certificate:
    """Is some a in the domain with D(x, a) <= eps classified differently (`certify_batch` for one sample)?"""
    answers = certify_batch(
        network,
        np.asarray(x)[None],
        None if label is None else [label],
        eps=eps,
        norm=norm,
        targets=targets,
        alpha=alpha,
        reading=reading,
        output=output,
        domain=domain,
        options=options,
    )
    return next(answers)


def minimal_distortion(
    network: Network,
    x: ArrayLike,
    label: int | None = None,
    *,
    norm: str | Norm = Norm.LINF,
    radius: float = float("inf"),
    targets: Iterable[int] | None = None,
    alpha: float = 0.0,
    reading: str | Reading = Reading.LABEL,
    output: Output = None,
    domain: Domain = (0.0, 1.0),
    options: VerifyOptions | None = None,
) -> Certificate:
    """How far must x move before its class changes (`distance_batch` for one sample)?"""
    answers = distance_batch(
        network,
        np.asarray(x)[None],
        None if label is None else [label],
        norm=norm,
        radius=radius,
        targets=targets,
        alpha=alpha,
        reading=reading,
        output=output,
        domain=domain,
        options=options,
    )
    return next(answers)


def certify_batch(
    network: Network,
    xs: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    eps: float,
    norm: str | Norm = Norm.LINF,
    targets: Iterable[int] | None = None,
    alpha: float = 0.0,
    reading: str | Reading = Reading.LABEL,
    output: Output = None,
    domain: Domain = (0.0, 1.0),
    options: VerifyOptions | None = None,
    workers: int = 1,
) -> Generator[Certificate]:
    """A verdict at radius eps for every sample, in order, each as soon as its batch is done.

    Args:
        network: from `mipverify.load`.
        xs: inputs in raw units, [samples, ...] with n values each.
        labels: the class to be kept, [samples]; needed unless a condition on outputs names none.
        eps: radius of the closed ball, in raw input units.
        norm: linf or l1.
        targets: classes that count as wrong; None for all but the label.
        alpha: margin by which a target must win.
        reading: `label` if a target must beat the label, `argmax` if it must beat every other class.
        output: what must hold of the outputs, in place of the class: a text such as `y0 - y3 <= 0.5`, a
            condition made of `mipverify.output`, or several, which must all hold. Unsafe is where it fails,
            equality included.
        domain: the box that every point must lie in: a (lower, upper) pair for all features, or a `Box`.
        options: effort, limits and solver.
        workers: processes that answer at the same time; the certificates do not depend on it.

    Yields:
        One certificate a sample. On KeyboardInterrupt the samples of the running batch are yielded with
        what is known of them, then the interrupt is raised again.

    Raises:
        QueryError: a query that makes no sense, before any work is done.
        SoundnessError: two claims contradict each other.
    """
    if not (np.isfinite(eps) and eps >= 0):
        raise QueryError(f"eps must be a finite number >= 0, got {eps}")
    criterion = Criterion.of(targets=targets, alpha=alpha, reading=reading, output=output)
    queries = questions(
        _answerable(network, criterion), xs, labels, radius=eps, norm=norm, criterion=criterion, domain=domain
    )
    return _answers(network, queries, eps=eps, options=options or VerifyOptions(), workers=workers)


def distance_batch(
    network: Network,
    xs: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    norm: str | Norm = Norm.LINF,
    radius: float = float("inf"),
    targets: Iterable[int] | None = None,
    alpha: float = 0.0,
    reading: str | Reading = Reading.LABEL,
    output: Output = None,
    domain: Domain = (0.0, 1.0),
    options: VerifyOptions | None = None,
    workers: int = 1,
) -> Generator[Certificate]:
    """[lower, upper] on the minimal distortion of every sample, like `certify_batch` without a radius.

    Args:
        network: from `mipverify.load`.
        xs: inputs in raw units, [samples, ...] with n values each.
        labels: the class to be kept, [samples]; needed unless a condition on outputs names none.
        norm: linf or l1.
        radius: nothing beyond this distance is searched; infinity for the whole domain.
        targets: classes that count as wrong; None for all but the label.
        alpha: margin by which a target must win.
        reading: `label` if a target must beat the label, `argmax` if it must beat every other class.
        output: what must hold of the outputs, in place of the class: a text such as `y0 - y3 <= 0.5`, a
            condition made of `mipverify.output`, or several, which must all hold. Unsafe is where it fails,
            equality included.
        domain: the box that every point must lie in.
        options: effort, limits and solver.
        workers: processes that answer at the same time; the certificates do not depend on it.
    """
    if not radius >= 0:
        raise QueryError(f"the search radius must be a number >= 0, got {radius}")
    criterion = Criterion.of(targets=targets, alpha=alpha, reading=reading, output=output)
    queries = questions(
        _answerable(network, criterion),
        xs,
        labels,
        radius=radius,
        norm=norm,
        criterion=criterion,
        domain=domain,
    )
    return _answers(network, queries, eps=None, options=options or VerifyOptions(), workers=workers)


def _answerable(network: Network, criterion: Criterion) -> Graph:
    """The graph, if its outputs are those of the file wherever their values matter."""
    if criterion.output is not None and network.softmax_dropped:
        raise QueryError(
            f"network {network.name!r} returns probabilities, but its outputs here are the logits before: "
            "cut the file before its softmax to state conditions on its outputs"
        )
    return network.graph


def _answers(
    network: Network, queries: Sequence[Query], *, eps: float | None, options: VerifyOptions, workers: int
) -> Generator[Certificate]:
    if workers < 1:
        raise QueryError(f"workers must be at least 1, got {workers}")
    if workers == 1 or len(batches(queries, options)) <= 1:
        return answer_here(network, queries, eps=eps, options=options)
    from mipverify.runs.processes import answer_in_processes

    return answer_in_processes(network, queries, eps=eps, options=options, workers=workers)
