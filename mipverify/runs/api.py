"""The Python interface: certificates for one sample or many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mipverify.errors import QueryError
from mipverify.frontend.network import Network
from mipverify.graph.graph import Graph
from mipverify.problem.criterion import Criterion, Output
from mipverify.problem.families import AnyFamily
from mipverify.problem.grid import Grid, read_grid
from mipverify.problem.norm import Norm
from mipverify.problem.perturbation import Outside
from mipverify.problem.query import Query, Reading
from mipverify.runs.answers import Answers
from mipverify.runs.executor import Executor, Job
from mipverify.runs.serial import Serial
from mipverify.solvers.registry import check_solver
from mipverify.verify.batch import batches
from mipverify.verify.certificate import Certificate
from mipverify.verify.options import VerifyOptions
from mipverify.verify.questions import Domain, flat_points, questions
from mipverify.verify.regions import read_regions


def certify(
    network: Network,
    x: ArrayLike,
    label: int | None = None,
    *,
    eps: float | None = None,
    norm: str | Norm = Norm.LINF,
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
    options: VerifyOptions | None = None,
) -> Certificate:
    """Is some a in the domain with D(x, a) <= eps classified differently?

    `certify_batch` for one sample: `x` is one input in raw units, of n values, `label` its class.
    The other arguments are described there.

    Raises:
        QueryError: a query that makes no sense.
        SoundnessError: two claims contradict each other.
    """
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
        mask=mask,
        fixed=fixed,
        lower=lower,
        upper=upper,
        radii=radii,
        perturbation=perturbation,
        outside=outside,
        distance_in=distance_in,
        levels=levels,
        integers=integers,
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
    options: VerifyOptions | None = None,
) -> Certificate:
    """How far must x move before its class changes?

    `distance_batch` for one sample: `x` is one input in raw units, of n values, `label` its class.
    The other arguments are described there.

    Raises:
        QueryError: a query that makes no sense.
        SoundnessError: two claims contradict each other.
    """
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
        mask=mask,
        fixed=fixed,
        lower=lower,
        upper=upper,
        radii=radii,
        perturbation=perturbation,
        outside=outside,
        distance_in=distance_in,
        levels=levels,
        integers=integers,
        options=options,
    )
    return next(answers)


def certify_batch(
    network: Network,
    xs: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    eps: float | None = None,
    norm: str | Norm = Norm.LINF,
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
    options: VerifyOptions | None = None,
    workers: int | Executor = 1,
) -> Answers:
    """A verdict at radius eps for every sample, in order, or as they are found by `as_completed()`.

    Args:
        network: from `mipverify.load`.
        xs: inputs in raw units, [samples, ...] with n values each.
        labels: the class to be kept, [samples]; needed unless a condition on outputs names none.
        eps: radius of the closed ball, in raw input units; None for all of a box or a perturbation.
        norm: linf, l2, l1, or l0 (the number of changed pixels, all channels of a pixel at once).
        targets: classes that count as wrong; None for all but the label.
        alpha: margin by which a target must win.
        reading: `label` if a target must beat the label, `argmax` if it must beat every other class.
        output: what must hold of the outputs, in place of the class: a text such as `y0 - y3 <= 0.5`, a
            condition made of `mipverify.output`, or several, which must all hold. Unsafe is where it fails,
            equality included.
        domain: the box that every point must lie in: a (lower, upper) pair for all features, or a `Box`.
        mask: 1 for features that may move, 0 for others: of the shape of an input, of its height and width,
            or one such array a sample.
        fixed: positions of features that may not move.
        lower: a side of a box around the input, inside the domain: a number, an array of the shape of an
            input, or one a sample.
        upper: likewise.
        radii: a radius for every feature, in place of 1: distances are those of (a - x) / r.
        perturbation: inputs are a = x + P theta, of `mipverify.perturbations`; distances are |theta|.
        outside: what becomes of a = x + P theta outside of the domain: clip (if None), forbid or allow.
        distance_in: theta, or input for distances |P theta|.
        levels: features take values in steps: the float32 numbers nearest to k / levels for whole k, 255 for
            8-bit pixels; one number, or one a feature with 0 for continuous ones.
        integers: positions of features that are whole numbers.
        options: effort, limits and solver.
        workers: processes that answer at the same time, or an `Executor`; the certificates do not depend
            on it.

    Returns:
        An iterator over one certificate a sample. On KeyboardInterrupt it goes on with what is known of the
        samples of running batches, up to the first without a certificate; then the interrupt is raised again.

    Raises:
        QueryError: a query that makes no sense, before any work is done.
        SoundnessError: two claims contradict each other, by the iterator.
    """
    if eps is not None and not (np.isfinite(eps) and eps >= 0):
        raise QueryError(f"eps must be a finite number >= 0, got {eps}")
    if eps is None and lower is None and upper is None and mask is None and perturbation is None:
        raise QueryError("without eps there is no region: give a radius, a box, a mask or a perturbation")
    criterion = Criterion.of(targets=targets, alpha=alpha, reading=reading, output=output)
    queries = questions(
        answerable(network, criterion),
        xs,
        labels,
        radius=np.inf if eps is None else float(eps),
        norm=norm,
        criterion=criterion,
        domain=domain,
        regions=read_regions(
            flat_points(xs),
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
        whole=eps is None,
        grid=grid_of(network, levels, integers),
    )
    radius = np.inf if eps is None else float(eps)
    return _answers(network, queries, eps=radius, options=options or VerifyOptions(), workers=workers)


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
    options: VerifyOptions | None = None,
    workers: int | Executor = 1,
) -> Answers:
    """[lower, upper] on the minimal distortion of every sample, like `certify_batch` without a radius.

    Args:
        network: from `mipverify.load`.
        xs: inputs in raw units, [samples, ...] with n values each.
        labels: the class to be kept, [samples]; needed unless a condition on outputs names none.
        norm: linf, l2, l1, or l0 (the number of changed pixels, all channels of a pixel at once).
        radius: nothing beyond this distance is searched; infinity for the whole domain.
        targets: classes that count as wrong; None for all but the label.
        alpha: margin by which a target must win.
        reading: `label` if a target must beat the label, `argmax` if it must beat every other class.
        output: what must hold of the outputs, in place of the class: a text such as `y0 - y3 <= 0.5`, a
            condition made of `mipverify.output`, or several, which must all hold. Unsafe is where it fails,
            equality included.
        domain: the box that every point must lie in.
        mask: 1 for features that may move, as in `certify_batch`.
        fixed: positions of features that may not move.
        lower: a side of a box, as in `certify_batch`.
        upper: a side of a box.
        radii: a radius for every feature, as in `certify_batch`.
        perturbation: inputs are a = x + P theta, as in `certify_batch`.
        outside: what becomes of inputs outside of the domain, as in `certify_batch`.
        distance_in: theta, or input for distances |P theta|.
        levels: features take values in steps, as in `certify_batch`.
        integers: positions of features that are whole numbers.
        options: effort, limits and solver.
        workers: processes that answer at the same time, or an `Executor`; the certificates do not depend
            on it.

    Returns:
        An iterator over one certificate a sample, as of `certify_batch`.

    Raises:
        QueryError: a query that makes no sense, before any work is done.
        SoundnessError: two claims contradict each other, by the iterator.
    """
    if not radius >= 0:
        raise QueryError(f"the search radius must be a number >= 0, got {radius}")
    criterion = Criterion.of(targets=targets, alpha=alpha, reading=reading, output=output)
    queries = questions(
        answerable(network, criterion),
        xs,
        labels,
        radius=radius,
        norm=norm,
        criterion=criterion,
        domain=domain,
        regions=read_regions(
            flat_points(xs),
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
    return _answers(network, queries, eps=None, options=options or VerifyOptions(), workers=workers)


def answerable(network: Network, criterion: Criterion) -> Graph:
    """The graph, if its outputs are those of the file wherever their values matter."""
    if criterion.output is not None and network.softmax_dropped:
        raise QueryError(
            f"network {network.name!r} returns probabilities, but its outputs here are the logits before: "
            "cut the file before its softmax to state conditions on its outputs"
        )
    return network.graph


def grid_of(network: Network, levels: ArrayLike | None, integers: Iterable[int] | None) -> Grid | None:
    """The values that features take; None where all are continuous."""
    return read_grid(levels, None if integers is None else list(integers), network.graph.input_size)


def _answers(
    network: Network,
    queries: Sequence[Query],
    *,
    eps: float | None,
    options: VerifyOptions,
    workers: int | Executor,
) -> Answers:
    check_solver(options.solver)
    executor = _executor(workers, len(batches(queries, options))) if isinstance(workers, int) else workers
    return Answers(executor.run(Job(network, queries, eps, options)))


def _executor(workers: int, parts: int) -> Executor:
    if workers == 1:
        return Serial()
    from mipverify.runs.processes import Processes

    executor = Processes(workers)
    return executor if parts > 1 else Serial()
