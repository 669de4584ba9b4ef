"""Any verifier as a command line that reads ONNX and VNN-LIB; its witness is replayed by other code."""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.methods.method import Answer, Question, Sample, Target
from benchmarks.methods.verifier_process import command_line, run_verifier
from benchmarks.methods.witness_replay import CONFIRMED, MISSING, replay
from mipverify.cli.instances import Instance
from mipverify.errors import QueryError
from mipverify.frontend.vnnlib.writing import classification_text
from mipverify.verify.questions import questions

GRACE = 10.0  # seconds from the limit to the kill
CLAIMS = {"sat": "falsified", "unsat": "verified"}


class CommandMethod:
    """A process an instance, start-up included, killed with its children some seconds after the limit.

    Args:
        template: words with {network}, {property}, {timeout} and {results}; {python} is this interpreter.
    """

    def __init__(self, template: str) -> None:
        self.settings = template
        try:
            self._program = self._words(Path(), Path(), 1.0, Path())[0]
        except ValueError as error:
            raise QueryError(str(error)) from error
        if "{results}" not in template:
            raise QueryError("the command must name {results}: verdicts are read from that file")

    def _words(self, network: Path, wanted: Path, limit: float, results: Path) -> list[str]:
        return command_line(
            self.settings,
            python=sys.executable,
            network=network,
            property=wanted,
            timeout=f"{limit:g}",
            results=results,
        )

    def together(self, question: Question) -> int:  # noqa: ARG002
        """One."""
        return 1

    def missing(self) -> str:
        """The program."""
        return "" if shutil.which(self._program) else f"{self._program} is no program that can be run"

    def declines(self, question: Question | None) -> str:
        """Balls in linf, to be decided, can be written as properties."""
        if question is None or (question.norm == "linf" and question.eps is not None):
            return ""
        return "VNN-LIB has boxes only: it is asked for decisions in linf"

    def answer(
        self, target: Target, samples: Sequence[Sample], question: Question, limit: float
    ) -> list[Answer]:
        """Answers, each about a property written for its sample."""
        assert question.eps is not None
        answers = []
        for sample in samples:
            (query,) = questions(
                target.network.graph,
                sample.x[None],
                [sample.label],
                radius=question.eps,
                norm=question.norm,
                domain=(0.0, 1.0),
            )
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "property.vnnlib"
                file.write_text(classification_text(target.network, query, title=f"sample {sample.index}"))
                answers.append(self._run(target.path, file, limit, question.eps))
        return answers

    def answer_property(self, instance: Instance, limit: float) -> Answer:
        """The answer to one instance of a set."""
        return self._run(instance.network.resolve(), instance.property.resolve(), limit, None)

    def _run(self, network: Path, wanted: Path, limit: float, eps: float | None) -> Answer:
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder) / "results.txt"
            words = self._words(network, wanted, limit, results)
            ended = run_verifier(words, results, seconds=limit + GRACE)
        verdict, error = ended.verdict()
        claim, witness = CLAIMS.get(verdict, ""), ""
        if verdict == "sat":
            witness, reason = replay(network, wanted, ended.results)
            error = "; ".join(filter(None, (error, reason)))
        late = ended.wall_seconds > limit
        counts = bool(claim) and not late and witness in ("", CONFIRMED)
        if claim and late:
            error = "; ".join(filter(None, (f"{ended.wall_seconds:.1f} s of {limit:g} s", error)))
        status = claim if counts else "error" if verdict == "error" else "unknown"
        return Answer(
            status=status,
            claim=claim,
            lower=eps or 0.0 if claim == "verified" else 0.0,
            upper=(math.inf if eps is None else eps)
            if claim == "falsified" and witness != MISSING
            else math.inf,
            evidence="solver claim" if claim == "verified" else "none",
            witness=witness,
            decided_by="tool" if counts else "",
            seconds=ended.wall_seconds,
            elapsed=ended.wall_seconds,
            cpu_seconds=ended.cpu_seconds,
            error=" ".join(error.split()),
        )

    def close(self) -> None:
        """Nothing is held."""
