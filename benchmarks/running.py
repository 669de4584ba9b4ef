"""A suite is run: every block, every method, row by row onto the disk, and on from where it stopped."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import environment
from benchmarks.methods.method import Answer, Method, Question, Sample
from benchmarks.methods.registry import kind_of, make_method
from benchmarks.plan import Block, Choice, Job, blocks, entries, jobs
from benchmarks.rows import Row, RowFile
from benchmarks.suite import MethodEntry, Suite

Notice = Callable[[str], None]
TURN = 4  # samples after which the next method has its turn


def tell(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


@dataclass(eq=False)
class Runner:
    """Asks methods what is not in the file yet.

    Attributes:
        suite, choice: what is asked.
        file: of the rows.
        methods: by name, those that can be run.
        skipped: what is left out, and why, one sentence each.
        asked: rows of this choice, new and old.
        expected: verdicts that a set's table states.
        done: rows of the file, by key.
    """

    suite: Suite
    choice: Choice
    file: RowFile
    notice: Notice = tell
    methods: dict[str, Method] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    asked: list[Row] = field(default_factory=list)
    expected: list[Row] = field(default_factory=list)
    done: dict[tuple[object, ...], Row] = field(default_factory=dict)

    def run(self) -> None:
        """Everything; KeyboardInterrupt leaves what is done on the disk.

        Raises:
            InputError: the suite asks what cannot be asked.
        """
        self.done = {row.key: row for row in self.file.rows}
        for entry in entries(self.suite, self.choice):
            method = make_method(entry, self.suite.batch)
            reason = method.missing()
            if reason:
                self._skip(f"{entry.name} is skipped: {reason}")
            else:
                self.methods[entry.name] = method
        try:
            for block in blocks(self.suite, self.choice):
                self._block(block)
            for job in jobs(self.suite, self.choice):
                self._job(job)
        finally:
            for method in self.methods.values():
                method.close()

    def _skip(self, line: str) -> None:
        if line not in self.skipped:
            self.skipped.append(line)
            self.notice(line)

    def _block(self, block: Block) -> None:
        """Methods take turns, a few samples each: what else the machine does hits all of them."""
        willing: list[tuple[MethodEntry, Method, float, list[Sample]]] = []
        for entry, limit in block.methods:
            method = self.methods.get(entry.name)
            reason = method.declines(block.question) if method else ""
            if reason:
                self._skip(f"{entry.name} is not asked in {block.question.norm} ({block.kind}): {reason}")
            if method is None or reason:
                continue
            samples = block.samples[: entry.samples]
            mine = [(sample, self._row(block, sample, entry, method, limit)) for sample in samples]
            self._known([row for _, row in mine])
            willing.append((entry, method, limit, [s for s, row in mine if row.key not in self.done]))
            last = samples[-1].index if entry.samples and samples else math.inf
            wrong = [sample for sample in block.wrong if sample.index < last]
            self._misclassified(block, entry, method, limit, wrong)
        if not any(samples for *_, samples in willing):
            return
        self.notice(f"{block.target.network.name} {question_text(block.question)}")
        self._warm_up(block, [(method, samples) for _, method, _, samples in willing if samples])
        for entry, method, limit, samples in _in_turns(willing, block.question):
            self._answers(block, entry, method, limit, samples)

    def _warm_up(self, block: Block, waiting: list[tuple[Method, list[Sample]]]) -> None:
        """Load what a first call would load: nobody is charged with it."""
        from benchmarks.methods.mipverify_method import MipverifyMethod

        if any(isinstance(method, MipverifyMethod) for method, _ in waiting):
            first = waiting[0][1][:1]
            MipverifyMethod({"engine": "none"}).answer(block.target, first, block.question, 1.0)

    def _answers(
        self, block: Block, entry: MethodEntry, method: Method, limit: float, samples: list[Sample]
    ) -> None:
        load = environment.load()
        answers = method.answer(block.target, samples, block.question, limit)
        rows = [
            self._row(block, sample, entry, method, limit, answer, load)
            for sample, answer in zip(samples, answers, strict=True)
        ]
        self._keep(rows)

    def _misclassified(
        self,
        block: Block,
        entry: MethodEntry,
        method: Method,
        limit: float,
        wrong: list[Sample],
    ) -> None:
        """Nobody is asked about these; they count in accuracies."""
        answer = Answer("misclassified", upper=0.0, witness="confirmed", seconds=0.0, elapsed=0.0)
        rows = [self._row(block, sample, entry, method, limit, answer) for sample in wrong]
        self._known(rows)
        self._keep([row for row in rows if row.key not in self.done], quietly=True)

    def _known(self, rows: list[Row]) -> None:
        """What is there already, from an earlier run or an earlier query."""
        told = {row.key for row in self.asked}
        keys = [row.key for row in rows if row.key in self.done and row.key not in told]
        self.asked += [self.done[key] for key in keys]

    def _keep(self, rows: list[Row], *, quietly: bool = False) -> None:
        self.file.append(rows)
        self.asked += rows
        self.done |= {row.key: row for row in rows}
        for row in [] if quietly else rows:
            self.notice(f"  {row.method} {row.place}: {row.status} {row.seconds:.2f} s {row.error}".rstrip())

    def _row(
        self,
        block: Block,
        sample: Sample,
        entry: MethodEntry,
        method: Method,
        limit: float,
        answer: Answer | None = None,
        load: float = math.nan,
    ) -> Row:
        question = block.question
        return self._filled(
            entry,
            method,
            limit,
            answer,
            load,
            network=block.target.network.name,
            digest=block.target.network.digest,
            question=block.kind,
            norm=question.norm,
            eps=math.nan if question.eps is None else question.eps,
            radius=question.radius,
            sample=sample.index,
            label=sample.label,
        )

    def _job(self, job: Job) -> None:
        for entry, limit in job.methods:
            method = self.methods.get(entry.name)
            reason = method.declines(None) if method else ""
            if reason:
                self._skip(f"{entry.name} is not asked about properties: {reason}")
            if method is None or reason:
                continue
            names: dict[str, Any] = {
                "network": job.instance.network_name,
                "digest": f"{job.set_name}/{job.instance.network_name}",
                "spec": f"{job.set_name}/{job.instance.property_name}",
                "question": "property",
            }
            blank = self._filled(entry, method, limit, None, **names)
            if job.instance.expected:
                claim = {"sat": "falsified", "unsat": "verified"}[job.instance.expected]
                self.expected.append(Row(method="expected", status=claim, claim=claim, **names))
            if blank.key in self.done:
                self._known([blank])
                continue
            load = environment.load()
            answer = method.answer_property(job.instance, limit)
            self._keep([self._filled(entry, method, limit, answer, load, **names)])

    def _filled(
        self,
        entry: MethodEntry,
        method: Method,
        limit: float,
        answer: Answer | None,
        load: float = math.nan,
        **names: Any,
    ) -> Row:
        suite, choice = self.suite, self.choice
        found = {} if answer is None else asdict(answer)
        for name in ("seconds", "elapsed", "cpu_seconds"):
            if name in found:
                found[name] = round(found[name], 6)
        return Row(
            suite=suite.name,
            method=entry.name,
            kind=kind_of(entry),
            settings=method.settings,
            limit=limit,
            seed=suite.seed if choice.seed is None else choice.seed,
            turn=choice.turn,
            commit=environment.commit(),
            versions=environment.versions(),
            machine=environment.machine(),
            load=load,
            time=environment.now(),
            **(names | found),
        )


def _in_turns(
    willing: list[tuple[MethodEntry, Method, float, list[Sample]]], question: Question
) -> Iterator[tuple[MethodEntry, Method, float, list[Sample]]]:
    """Calls in the order of the samples, methods one after the other for each part of them.

    Each part begins with another method: the first call pays for what is loaded late.
    """
    last = max(len(samples) for *_, samples in willing)
    alone = len(willing) == 1
    length = max(TURN, willing[0][1].together(question)) if alone else TURN
    for turn, first in enumerate(range(0, last, length)):
        start = turn % len(willing)
        for entry, method, limit, samples in willing[start:] + willing[:start]:
            size = method.together(question)
            if size == 0:
                if first == 0 and samples:
                    yield entry, method, limit, samples
                continue
            part = samples[first : first + length]
            for k in range(0, len(part), size):
                yield entry, method, limit, part[k : k + size]


def question_text(question: Question) -> str:
    """A question in a few words."""
    if question.eps is not None:
        return f"{question.norm} {question.eps:g}"
    end = "" if math.isinf(question.radius) else f" up to {question.radius:g}"
    return f"{question.norm} distance{end}"


def run_suite(suite: Suite, choice: Choice, file: RowFile, notice: Notice = tell) -> Runner:
    """Run it; what was asked, rows of earlier runs included, is in the runner."""
    runner = Runner(suite, choice, file, notice)
    began = time.perf_counter()
    runner.run()
    notice(f"{suite.name}: {len(runner.asked)} rows in {time.perf_counter() - began:.1f} s")
    return runner
