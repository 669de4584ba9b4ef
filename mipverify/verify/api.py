"""The Python interface: certificates for one sample or many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mipverify.errors import MipverifyError, QueryError, SoundnessError
from mipverify.frontend.network import Network
from mipverify.graph.operators import Float64Array
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, check_fits, misclassification
from mipverify.problem.region import Ball, Box
from mipverify.verify.case import Case
from mipverify.verify.certificate import Certificate, Stage
from mipverify.verify.decide import decide
from mipverify.verify.distance import measure
from mipverify.verify.engine import Engine
from mipverify.verify.options import VerifyOptions

Domain = tuple[float, float] | Box | None
EXACT_NORMS = (Norm.LINF, Norm.L1)


def certify(
    network: Network,
    x: ArrayLike,
    label: int,
    *,
    eps: float,
    norm: str | Norm = Norm.LINF,
    targets: Iterable[int] | None = None,
    alpha: float = 0.0,
    domain: Domain = (0.0, 1.0),
    options: VerifyOptions | None = None,
) -> Certificate:
    """Is some a in the domain with D(x, a) <= eps classified differently (`certify_batch` for one sample)?"""
    answers = certify_batch(
        network,
        np.asarray(x)[None],
        [label],
        eps=eps,
        norm=norm,
        targets=targets,
        alpha=alpha,
        domain=domain,
        options=options,
    )
    return next(answers)


def minimal_distortion(
    network: Network,
    x: ArrayLike,
    label: int,
    *,
    norm: str | Norm = Norm.LINF,
    radius: float = float("inf"),
    targets: Iterable[int] | None = None,
    alpha: float = 0.0,
    domain: Domain = (0.0, 1.0),
    options: VerifyOptions | None = None,
) -> Certificate:
    """How far must x move before its class changes (`distance_batch` for one sample)?"""
    answers = distance_batch(
        network,
        np.asarray(x)[None],
        [label],
        norm=norm,
        radius=radius,
        targets=targets,
        alpha=alpha,
        domain=domain,
        options=options,
    )
    return next(answers)


def certify_batch(
    network: Network,
    xs: ArrayLike,
    labels: ArrayLike,
    *,
    eps: float,
    norm: str | Norm = Norm.LINF,
    targets: Iterable[int] | None = None,
    alpha: float = 0.0,
    domain: Domain = (0.0, 1.0),
    options: VerifyOptions | None = None,
) -> Iterator[Certificate]:
    """A verdict at radius eps for every sample, in order, each as soon as its batch is done.

    Args:
        network: from `mipverify.load`.
        xs: inputs in raw units, [samples, ...] with n values each.
        labels: the class to be kept, [samples].
        eps: radius of the closed ball, in raw input units.
        norm: linf or l1.
        targets: classes that count as wrong; None for all but the label.
        alpha: margin by which a target must reach the label.
        domain: the box that every point must lie in: a (lower, upper) pair for all features, or a `Box`.
        options: effort, limits and solver.

    Yields:
        One certificate a sample. On KeyboardInterrupt the samples of the running batch are yielded with
        what is known of them, then the interrupt is raised again.

    Raises:
        QueryError: a query that makes no sense, before any work is done.
        SoundnessError: two claims contradict each other.
    """
    if not (np.isfinite(eps) and eps >= 0):
        raise QueryError(f"eps must be a finite number >= 0, got {eps}")
    make = _query_maker(network, norm, eps, targets, alpha, domain)
    return _run(network, xs, labels, make, decide, eps=eps, options=options or VerifyOptions())


def distance_batch(
    network: Network,
    xs: ArrayLike,
    labels: ArrayLike,
    *,
    norm: str | Norm = Norm.LINF,
    radius: float = float("inf"),
    targets: Iterable[int] | None = None,
    alpha: float = 0.0,
    domain: Domain = (0.0, 1.0),
    options: VerifyOptions | None = None,
) -> Iterator[Certificate]:
    """[lower, upper] on the minimal distortion of every sample, like `certify_batch` without a radius.

    Args:
        network: from `mipverify.load`.
        xs: inputs in raw units, [samples, ...] with n values each.
        labels: the class to be kept, [samples].
        norm: linf or l1.
        radius: nothing beyond this distance is searched; infinity for the whole domain.
        targets: classes that count as wrong; None for all but the label.
        alpha: margin by which a target must reach the label.
        domain: the box that every point must lie in.
        options: effort, limits and solver.
    """
    if not radius >= 0:
        raise QueryError(f"the search radius must be a number >= 0, got {radius}")
    make = _query_maker(network, norm, radius, targets, alpha, domain)
    return _run(network, xs, labels, make, measure, eps=None, options=options or VerifyOptions())


Maker = Callable[[Float64Array, int], Query]


def _query_maker(
    network: Network,
    norm: str | Norm,
    radius: float,
    targets: Iterable[int] | None,
    alpha: float,
    domain: Domain,
) -> Maker:
    """A function from input and label to query, after checking what all samples share."""
    measure_in = Norm.parse(norm)
    if measure_in not in EXACT_NORMS:
        known = ", ".join(EXACT_NORMS)
        raise QueryError(f"norm {measure_in} has no exact encoding yet: choose one of {known}")
    box = _domain_box(domain, network.graph.input_size)
    wanted = None if targets is None else tuple(targets)

    def make(x: Float64Array, label: int) -> Query:
        unsafe = misclassification(network.graph.output_size, label, targets=wanted, alpha=alpha)
        query = Query(Ball(x, radius, measure_in, box), unsafe, label)
        check_fits(network.graph, query)
        enclosing = query.region.box()
        if not (np.isfinite(enclosing.lower).all() and np.isfinite(enclosing.upper).all()):
            raise QueryError("the region is unbounded: give a finite domain or a search radius")
        return query

    return make


def _domain_box(domain: Domain, size: int) -> Box:
    if isinstance(domain, Box):
        return domain
    low, up = (-np.inf, np.inf) if domain is None else domain
    return Box(np.full(size, float(low)), np.full(size, float(up)))


def _run(
    network: Network,
    xs: ArrayLike,
    labels: ArrayLike,
    make: Maker,
    ladder: Callable[[Engine, Sequence[Case]], None],
    *,
    eps: float | None,
    options: VerifyOptions,
) -> Iterator[Certificate]:
    """Check all queries, then answer them batch by batch."""
    points = np.asarray(xs, dtype=np.float64)
    points = points.reshape(len(points), -1) if len(points) else points
    classes = [int(label) for label in np.asarray(labels).reshape(-1)]
    if len(points) != len(classes):
        raise QueryError(f"{len(points)} inputs but {len(classes)} labels: give one label an input")
    queries = [make(x, label) for x, label in zip(points, classes, strict=True)]
    engine = Engine(network, options)
    return _answers(engine, queries, ladder, eps=eps)


def _answers(
    engine: Engine,
    queries: Sequence[Query],
    ladder: Callable[[Engine, Sequence[Case]], None],
    *,
    eps: float | None,
) -> Iterator[Certificate]:
    size = engine.options.batch_size
    for first in range(0, len(queries), size):
        cases = _begin(engine, queries[first : first + size], eps)
        interrupted = False
        try:
            _climb(engine, cases, ladder)
        except KeyboardInterrupt:
            interrupted = True
        yield from (case.certificate() for case in cases)
        if interrupted:
            raise KeyboardInterrupt


def _climb(engine: Engine, cases: Sequence[Case], ladder: Callable[[Engine, Sequence[Case]], None]) -> None:
    """Run the ladder; when a batch fails, each of its cases alone, so that one failure stays one."""
    todo = [case for case in cases if not case.finished]
    try:
        ladder(engine, todo)
    except SoundnessError:
        raise
    except (MipverifyError, RuntimeError, MemoryError) as error:
        if len(todo) == 1:
            todo[0].error = f"{type(error).__name__}: {error}"
            return
        for case in todo:
            if not case.finished:
                _climb(engine, [case], ladder)


def _begin(engine: Engine, queries: Sequence[Query], eps: float | None) -> list[Case]:
    """Cases with their predictions; an input that is itself unsafe is its own counterexample."""
    from mipverify.attack.replay import confirm

    outputs = engine.network.run(np.stack([query.region.center for query in queries]))
    cases = []
    for query, output in zip(queries, outputs, strict=True):
        case = Case(
            query=query,
            label=int(query.label if query.label is not None else -1),
            prediction=int(np.argmax(output)) if np.isfinite(output).all() else -1,
            eps=eps,
            gap=engine.options.gap,
            limit=engine.options.time_limit,
            open_polytopes=tuple(range(len(query.unsafe))),
            num_relus=engine.network.graph.num_relus,
        )
        if case.prediction < 0:
            case.error = "the network's output at the unperturbed input is not finite"
        else:
            case.offer(confirm(engine.network, query, query.region.center))
            if case.prediction != case.label or case.witness is not None:
                case.decided_by = Stage.ATTACK
        cases.append(case)
    return cases
