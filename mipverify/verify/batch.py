"""A batch of queries from start to end: cases, the ladder, certificates."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from math import ceil

import numpy as np

from mipverify.errors import SoundnessError, reason
from mipverify.frontend.perturbed import PerturbedNetwork, perturbed_network
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.problem.norm import Norm
from mipverify.problem.original import original
from mipverify.problem.pixels import pixels_of
from mipverify.problem.query import Query
from mipverify.verify.case import Case, shared_deadline
from mipverify.verify.certificate import Certificate, Stage
from mipverify.verify.certifying import add_proof, may_be_proven, proof_limit
from mipverify.verify.decide import decide
from mipverify.verify.distance import measure
from mipverify.verify.engine import Engine, choose_device, torch_threads
from mipverify.verify.news import Found, News, Next, Over, Working, in_order, relayed
from mipverify.verify.options import VerifyOptions
from mipverify.verify.profile import Profiler

Ladder = Callable[[Engine, Sequence[Case]], Iterator[Over | Next]]

LARGEST_BATCH = {"cpu": 16, "cuda": 128}
# A batch is at most this share of what is left: on a CPU one of 4 costs 5 % more than one of 16
# (`benchmarks/PERFORMANCE.md`), but with small ones at the end workers finish together.
SHARES = {"cpu": 8, "cuda": 1}


def batches(
    queries: Sequence[Query], options: VerifyOptions, device: str | None = None
) -> list[Sequence[Query]]:
    """The queries in order, cut into batches, smaller towards the end; how does not depend on who answers.

    Args:
        queries: in order.
        options: how they are answered.
        device: `cpu` or `cuda`, where that is not to be found here.

    Raises:
        QueryError: the device asked for does not exist.
    """
    device = device or choose_device(options.device).type
    fixed = options.batch_size
    if any(query.parametrised is not None for query in queries):
        fixed = 1  # each is about a network of its own
    cut: list[Sequence[Query]] = []
    first = 0
    while first < len(queries):
        size = fixed or min(LARGEST_BATCH[device], ceil((len(queries) - first) / SHARES[device]))
        cut.append(queries[first : first + size])
        first += size
    return cut


def answer(engine: Engine, queries: Sequence[Query], *, eps: float | None) -> Generator[Certificate]:
    """One certificate a query of one batch, in order, as `answer_each` finds them."""
    return in_order(answer_each(engine, queries, eps=eps))


def answer_each(engine: Engine, queries: Sequence[Query], *, eps: float | None) -> Generator[News]:
    """What is found about each query of one batch, at once; the final certificates in any order.

    On KeyboardInterrupt, thrown in between two items or raised by the work, every query without one gets a
    final certificate with what is known of it, then the interrupt is raised again.

    Args:
        engine: the network and how to answer.
        queries: of one norm, bounded and attacked together; a parametrised one comes alone.
        eps: the radius asked about, infinity for the whole region of each; None to ask for the distance.
    """
    if queries and queries[0].parametrised is not None:
        (query,) = queries
        yield from answer_parametrised(engine, query, eps)
        return
    cases: list[Case] = []
    given = [False] * len(queries)
    try:
        with closing(_steps(engine, cases, queries, eps)) as steps:
            while (news := _next(steps, engine.options.threads)) is not None:
                if isinstance(news, Found) and news.final:
                    given[news.position] = True
                yield news
        return
    except KeyboardInterrupt:
        pass
    waiting = deque(
        Found(k, case.certificate(), interrupted=True) for k, case in enumerate(cases) if not given[k]
    )
    while waiting:
        with suppress(KeyboardInterrupt):
            while waiting:
                yield waiting.popleft()
    raise KeyboardInterrupt


def _next(steps: Iterator[News], threads: int) -> News | None:
    with torch_threads(threads):
        return next(steps, None)


def _steps(engine: Engine, cases: list[Case], queries: Sequence[Query], eps: float | None) -> Generator[News]:
    """All the work on a batch; `cases` is filled at once."""
    everything = tuple(range(len(queries)))
    yield Working(everything, len(queries) * engine.options.time_limit)
    cases.extend(_begin(engine, queries, eps))
    number = {case: k for k, case in enumerate(cases)}
    told: dict[Case, tuple[float, float]] = {}
    for step in _climb(engine, cases, measure if eps is None else decide):
        match step:
            case Next(cases=those):
                for case in those:
                    if told.get(case, (0.0, float("inf"))) != (case.lower, case.upper):
                        told[case] = case.lower, case.upper
                        yield Found(number[case], case.certificate(), final=False)
                yield Working(tuple(number[case] for case in those), shared_deadline(those).seconds)
            case Over(case=case):
                if may_be_proven(engine, case):
                    yield Found(number[case], case.certificate(), final=False, answered=True)
                    yield Working((number[case],), 2 * proof_limit(engine, case))
                    add_proof(engine, case)
                yield Found(number[case], case.certificate())


def answer_parametrised(engine: Engine, query: Query, eps: float | None) -> Generator[News]:
    """The certificate of a query about parameters: that of the network as a function of them."""
    if query.parametrised is None:
        raise ValueError("the query is not parametrised")
    shown = original(query, engine.network.graph.input_shape)
    network = perturbed_network(engine.network, query.parametrised, query.region)
    pixels = pixels_of(engine.network.graph.input_shape)
    # A certificate is about a file, and this function of the parameters is more than that.
    inner = Engine(network, replace(engine.options, proof="off"))

    def in_inputs(news: News) -> News:
        if isinstance(news, Working):
            return news
        found = in_terms_of_inputs(news.certificate, network, pixels)
        return replace(news, certificate=replace(found, original=shown))

    return relayed(answer_each(inner, [replace(query, parametrised=None)], eps=eps), in_inputs)


def in_terms_of_inputs(
    certificate: Certificate, network: PerturbedNetwork, pixels: IndexArray | None
) -> Certificate:
    """The certificate with the input of its witness in place of the parameters, which are named."""
    found = certificate.witness
    if found is None:
        return certificate
    inputs, _ = network.inputs(found.point[None])
    how = network.parametrisation
    # Where every feature has a parameter of its own, the point says it all.
    parameters = None if how.perturbation.is_diagonal else how.named(found.point)
    distances = {norm.value: float(norm.distance(how.x, inputs[0], pixels)) for norm in Norm}
    return replace(
        certificate, witness=replace(found, point=inputs[0], parameters=parameters, distances=distances)
    )


def _climb(engine: Engine, cases: Sequence[Case], ladder: Ladder) -> Iterator[Over | Next]:
    """Run the ladder; when a batch fails, each of its cases alone, so that one failure stays one."""
    for case in cases:
        if case.finished:
            yield Over(case)
    todo = [case for case in cases if not case.finished]
    rest = list(todo)
    try:
        for step in ladder(engine, todo):
            if isinstance(step, Over):
                rest.remove(step.case)
            yield step
        return
    except SoundnessError:
        raise
    except Exception as error:
        why = reason(error)
    # The exception is forgotten by now: all that its frames held would be missing in what follows.
    if len(todo) > 1:
        for case in rest:
            yield from _climb(engine, [case], ladder)
    elif rest:
        todo[0].error = why
        yield Over(todo[0])


def _begin(engine: Engine, queries: Sequence[Query], eps: float | None) -> list[Case]:
    """Cases with their predictions; an input that is itself unsafe is its own counterexample."""
    from mipverify.attack.confirm import confirm

    outputs = engine.network.run(np.stack([query.region.center for query in queries]))
    cases = []
    for query, output in zip(queries, outputs, strict=True):
        case = Case(
            query=query,
            label=query.label,
            prediction=_prediction(query, output),
            eps=query.region.radius if eps == float("inf") else eps,
            gap=engine.options.gap,
            limit=engine.options.time_limit,
            open_polytopes=tuple(range(len(query.unsafe))),
            num_relus=engine.network.graph.num_relus,
            profiler=Profiler(engine.network.graph, engine.meter) if engine.options.profile else None,
            original=original(query, engine.network.graph.input_shape),
        )
        if not np.isfinite(output).all():
            case.error = "the network's output at the unperturbed input is not finite"
        else:
            case.offer(confirm(engine.network, query, query.region.center))
            lost = query.keeps_class and case.prediction != case.label
            if lost or case.witness is not None:
                case.decided_by = Stage.ATTACK
        cases.append(case)
    return cases


def _prediction(query: Query, output: Float64Array) -> int | None:
    if query.label is None:
        return None
    return int(np.argmax(output)) if np.isfinite(output).all() else -1
