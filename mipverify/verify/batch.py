"""A batch of queries from start to end: cases, the ladder, certificates."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from math import ceil

import numpy as np

from mipverify.errors import SoundnessError
from mipverify.frontend.perturbed import PerturbedNetwork, perturbed_network
from mipverify.graph.operators import Float64Array, IndexArray
from mipverify.problem.norm import Norm
from mipverify.problem.original import original
from mipverify.problem.pixels import pixels_of
from mipverify.problem.query import Query
from mipverify.verify.case import Case
from mipverify.verify.certificate import Certificate, Stage
from mipverify.verify.certifying import add_proofs
from mipverify.verify.decide import decide
from mipverify.verify.distance import measure
from mipverify.verify.engine import Engine, choose_device, torch_threads
from mipverify.verify.options import VerifyOptions
from mipverify.verify.profile import Profiler

Ladder = Callable[[Engine, Sequence[Case]], None]

LARGEST_BATCH = {"cpu": 16, "cuda": 128}
# On a CPU a batch of 4 costs 5 % more than one of 16 (`benchmarks/PERFORMANCE.md`): answers come
# sooner, and workers get even shares.
FEWEST_BATCHES = {"cpu": 8, "cuda": 1}


def batches(queries: Sequence[Query], options: VerifyOptions) -> list[Sequence[Query]]:
    """The queries in order, cut into batches; how does not depend on who answers them.

    Raises:
        QueryError: the device asked for does not exist.
    """
    device = choose_device(options.device).type
    size = options.batch_size
    if any(query.parametrised is not None for query in queries):
        size = 1  # each is about a network of its own
    if size is None:
        size = max(1, min(LARGEST_BATCH[device], ceil(len(queries) / FEWEST_BATCHES[device])))
    return [queries[first : first + size] for first in range(0, len(queries), size)]


def answer(engine: Engine, queries: Sequence[Query], *, eps: float | None) -> Generator[Certificate]:
    """One certificate a query of one batch, in order, when the whole batch is done.

    On KeyboardInterrupt, thrown in between two certificates or raised by the work, every query is answered
    with what is known of it, then the interrupt is raised again.

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
    interrupted = False
    try:
        with torch_threads(engine.options.threads):
            cases = _begin(engine, queries, eps)
            _climb(engine, cases, measure if eps is None else decide)
            add_proofs(engine, cases)
    except KeyboardInterrupt:
        interrupted = True
    waiting = deque(case.certificate() for case in cases)
    while waiting:
        try:
            while waiting:
                yield waiting.popleft()
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt


def answer_parametrised(engine: Engine, query: Query, eps: float | None) -> Generator[Certificate]:
    """The certificate of a query about parameters: that of the network as a function of them."""
    if query.parametrised is None:
        raise ValueError("the query is not parametrised")
    shown = original(query, engine.network.graph.input_shape)
    network = perturbed_network(engine.network, query.parametrised, query.region)
    # A certificate is about a file, and this function of the parameters is more than that.
    inner = Engine(network, replace(engine.options, proof="off"))
    for certificate in answer(inner, [replace(query, parametrised=None)], eps=eps):
        found = in_terms_of_inputs(certificate, network, pixels_of(engine.network.graph.input_shape))
        yield replace(found, original=shown)


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


def _climb(engine: Engine, cases: Sequence[Case], ladder: Ladder) -> None:
    """Run the ladder; when a batch fails, each of its cases alone, so that one failure stays one."""
    todo = [case for case in cases if not case.finished]
    try:
        ladder(engine, todo)
    except SoundnessError:
        raise
    except Exception as error:
        if len(todo) == 1:
            todo[0].error = f"{type(error).__name__}: {error}"
            return
        for case in todo:
            if not case.finished:
                _climb(engine, [case], ladder)


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
