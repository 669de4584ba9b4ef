"""mipverify itself, with any of its options; and the textbook method made of its pieces."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import mipverify
from benchmarks.methods.method import Answer, Question, Sample, Target
from benchmarks.methods.textbook import answer_by_the_book
from mipverify.cli.instances import Instance
from mipverify.errors import QueryError, SoundnessError
from mipverify.verify.options import VerifyOptions

# A batch is on the disk once it is answered: where an answer takes long, few are lost.
DECISIONS_TOGETHER, DISTANCES_TOGETHER = 16, 4


class MipverifyMethod:
    """The whole ladder, or what the options leave of it.

    Args:
        options: of `VerifyOptions`, and workers.
        batch: samples bounded and attacked together; None for a default.
    """

    def __init__(self, options: dict[str, object], batch: int | None = None) -> None:
        known = {field.name for field in fields(VerifyOptions)} | {"workers"}
        unknown = sorted(set(options) - known)
        if unknown:
            raise QueryError(f"unknown option {unknown[0]!r}: known are {', '.join(sorted(known))}")
        self._options = {key: value for key, value in options.items() if key != "workers"}
        self._workers = int(str(options.get("workers", 1)))
        self._batch = batch
        VerifyOptions(**self._options)  # type: ignore[arg-type]
        self.settings = ",".join(f"{key}={value}" for key, value in sorted(options.items()))

    def together(self, question: Question) -> int:
        """A batch; everything where several processes share it."""
        return 0 if self._workers > 1 else self._batch_size(question)

    def _batch_size(self, question: Question) -> int:
        return self._batch or (DECISIONS_TOGETHER if question.eps is not None else DISTANCES_TOGETHER)

    def missing(self) -> str:
        """The solver, if it is an optional one."""
        solver = str(self._options.get("solver", "highs"))
        if solver.startswith("pyomo:"):
            from mipverify.solvers.registry import check_solver

            try:
                check_solver(solver)
            except QueryError as error:
                return str(error)
        return ""

    def declines(self, question: Question | None) -> str:
        """Properties are for commands, with their start-up."""
        return "give it a command for properties" if question is None else ""

    def answer(
        self, target: Target, samples: Sequence[Sample], question: Question, limit: float
    ) -> list[Answer]:
        """Answers of one batch, or of several processes; one that contradicts itself is an error."""
        began, cpu = time.perf_counter(), time.process_time()
        try:
            answers = [answer_of(found, question) for found in self._found(target, samples, question, limit)]
        except SoundnessError as error:
            if len(samples) > 1:
                return [a for sample in samples for a in self.answer(target, [sample], question, limit)]
            answers = [alarm(error, time.perf_counter() - began)]
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        return shared(answers, wall, cpu if self._workers == 1 else math.nan)

    def _found(
        self, target: Target, samples: Sequence[Sample], question: Question, limit: float
    ) -> Iterator[mipverify.Certificate]:
        usual = {
            "profile": True,
            "gap": question.gap,
            "seed": question.seed,
            "batch_size": self._batch_size(question),
        }
        options = VerifyOptions(**(usual | self._options | {"time_limit": limit}))  # type: ignore[arg-type]
        points, labels = [sample.x for sample in samples], [sample.label for sample in samples]
        if question.eps is not None:
            return mipverify.certify_batch(
                target.network,
                points,
                labels,
                eps=question.eps,
                norm=question.norm,
                options=options,
                workers=self._workers,
            )
        return mipverify.distance_batch(
            target.network,
            points,
            labels,
            norm=question.norm,
            radius=question.radius,
            options=options,
            workers=self._workers,
        )

    def answer_property(self, instance: Instance, limit: float) -> Answer:
        """Never asked."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held."""


class TextbookMethod:
    """Intervals, linear programs for every unstable neuron, one joint program (Tjeng et al. 2019)."""

    settings = ""

    def together(self, question: Question) -> int:  # noqa: ARG002
        """One."""
        return 1

    def missing(self) -> str:
        """Nothing."""
        return ""

    def declines(self, question: Question | None) -> str:
        """Linear programs only."""
        if question is None:
            return "it takes no properties"
        return "" if question.norm in ("linf", "l1") else "its program is for linf and l1"

    def answer(
        self, target: Target, samples: Sequence[Sample], question: Question, limit: float
    ) -> list[Answer]:
        """Answers, one sample after the other."""
        options = VerifyOptions(time_limit=limit, profile=True, gap=question.gap, seed=question.seed)
        answers = []
        for sample in samples:
            began, cpu = time.perf_counter(), time.process_time()
            try:
                certificate = answer_by_the_book(
                    target.network,
                    sample.x,
                    sample.label,
                    eps=question.eps,
                    radius=question.radius,
                    norm=question.norm,
                    options=options,
                )
                answer = answer_of(certificate, question)
            except SoundnessError as error:
                answer = alarm(error, time.perf_counter() - began)
            wall, cpu = time.perf_counter() - began, time.process_time() - cpu
            answers += shared([answer], wall, cpu)
        return answers

    def answer_property(self, instance: Instance, limit: float) -> Answer:
        """Never asked."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held."""


def alarm(error: SoundnessError, seconds: float) -> Answer:
    """Two claims of one method exclude each other."""
    return Answer("error", seconds=seconds, error=f"SoundnessError: {error}")


def shared(answers: list[Answer], wall: float, cpu: float) -> list[Answer]:
    """The time of a call, shared by its answers in proportion to the seconds that they are charged with."""
    total = sum(answer.seconds for answer in answers)
    shares = [answer.seconds / total if total > 0 else 1 / len(answers) for answer in answers]
    return [
        replace(answer, elapsed=wall * share, cpu_seconds=cpu * share)
        for answer, share in zip(answers, shares, strict=True)
    ]


def answer_of(certificate: mipverify.Certificate, question: Question) -> Answer:
    """What a certificate says; every counterexample in one was replayed."""
    status, profile = certificate.status.value, certificate.profile
    claim = status if status in ("verified", "falsified") and question.eps is not None else ""
    return Answer(
        status=status,
        claim=claim,
        lower=certificate.lower,
        upper=certificate.upper,
        evidence=certificate.evidence.value,
        witness="confirmed" if certificate.witness is not None else "",
        decided_by=rung_of(certificate),
        relus=certificate.num_relus,
        unstable=_number(certificate.num_unstable),
        binaries=_number(certificate.num_binaries),
        nodes=_number(certificate.nodes),
        lps=_number(profile.lps if profile else None),
        mips=_number(profile.mips if profile else None),
        seconds=certificate.seconds.get("total", sum(certificate.seconds.values())),
        error=certificate.error or "",
    )


def rung_of(certificate: mipverify.Certificate) -> str:
    """The stage that decided; of bounds, the strongest ones that ran."""
    from mipverify.bounds.network_bounds import Method as BoundMethod

    decided, profile = certificate.decided_by, certificate.profile
    if decided is None:
        return ""
    if decided.value != "bounds" or profile is None:
        return decided.value
    rungs = [method.name.lower() for method in BoundMethod]
    ran = [rung for rung in rungs if profile.unstable(rung) is not None]
    return ran[-1] if ran else decided.value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
