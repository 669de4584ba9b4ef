"""Criterion: when outputs count as unsafe, before a label and a network are known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mipverify.errors import QueryError
from mipverify.problem.expression import read_condition
from mipverify.problem.output_condition import AllOf, OutputCondition
from mipverify.problem.query import Reading, misclassification
from mipverify.problem.region import Polytope

Output = OutputCondition | str | Iterable[OutputCondition | str] | None


@dataclass(frozen=True)
class Criterion:
    """Another class wins; or a condition on the outputs fails.

    Attributes:
        targets: classes that count as wrong, the label never; None for all but the label.
        alpha: margin by which a target must win.
        reading: whether it must beat the label or every other class.
        output: what must hold of the outputs, instead of the class; nothing else counts then.
    """

    targets: tuple[int, ...] | None = None
    alpha: float = 0.0
    reading: Reading = Reading.LABEL
    output: OutputCondition | None = None

    @classmethod
    def of(
        cls,
        *,
        targets: Iterable[int] | None = None,
        alpha: float = 0.0,
        reading: str | Reading = Reading.LABEL,
        output: Output = None,
    ) -> Criterion:
        """The criterion that the arguments of a call describe.

        Raises:
            QueryError: a condition that cannot be read, or one besides targets, a margin or a reading.
        """
        wanted = None if targets is None else tuple(int(target) for target in targets)
        criterion = cls(wanted, float(alpha), Reading.parse(reading), _one_condition(output))
        if criterion.output is not None and (
            wanted is not None or alpha or criterion.reading != Reading.LABEL
        ):
            raise QueryError(
                "targets, alpha and reading are about classes: a condition on outputs states its own margins"
            )
        return criterion

    @property
    def needs_label(self) -> bool:
        """Whether samples need a label."""
        return self.output is None or self.output.needs_label

    def unsafe(self, num_outputs: int, label: int | None) -> tuple[Polytope, ...]:
        """The unsafe set of a sample.

        Raises:
            QueryError: it makes no sense for this label or number of outputs.
        """
        if self.output is not None:
            return self.output.unsafe(num_outputs, label)
        if label is None:
            raise QueryError("which class is to be kept? Give a label, or a condition on the outputs")
        others = None if self.targets is None else [target for target in self.targets if target != label]
        return misclassification(num_outputs, label, targets=others, alpha=self.alpha, reading=self.reading)

    def values(self) -> dict[str, object]:
        """Plain values for a record: `reading`, `targets` and `alpha`, or the condition `output`."""
        if self.output is not None:
            return {"output": str(self.output)}
        targets = None if self.targets is None else list(self.targets)
        return {"reading": self.reading.value, "targets": targets, "alpha": self.alpha}


def _one_condition(output: Output) -> OutputCondition | None:
    """The conjunction of all conditions given."""
    if output is None or isinstance(output, OutputCondition):
        return output
    if isinstance(output, str):
        return read_condition(output)
    if not isinstance(output, Iterable):
        raise QueryError(f"{type(output).__name__} is no condition on outputs: write 'y0 - y3 <= 0.5'")
    parts = tuple(part for part in map(_one_condition, output) if part is not None)
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else AllOf(parts)
