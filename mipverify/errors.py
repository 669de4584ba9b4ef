"""The exceptions of mipverify: each names the thing, the reason and the way out."""

from __future__ import annotations


class MipverifyError(Exception):
    """Base of every error that mipverify raises on purpose."""


class InputError(MipverifyError):
    """The user's model, data or query cannot be used as given (exit code 2)."""


class ModelError(InputError):
    """The network file is unreadable, inconsistent, or outside what can be verified."""


class UnsupportedOperatorError(ModelError):
    """An operator of the network has no exact piecewise-linear encoding here.

    Args:
        operator: ONNX operator type.
        node: name of the node in the file.
        remedy: what the user can do about it.
    """

    def __init__(self, operator: str, node: str, remedy: str) -> None:
        super().__init__(f"unsupported operator {operator} at node {node!r}: {remedy}")
        self.operator = operator
        self.node = node


class DataError(InputError):
    """A data source is missing, malformed, or does not fit the network."""


class QueryError(InputError):
    """A query is malformed: a negative radius, a label out of range, an empty region."""


class StoreError(InputError):
    """The folder of a run cannot be read, written or gone on with."""


class PropertyError(InputError):
    """A VNN-LIB property is malformed, or says what cannot be decided.

    Args:
        file: name of the property.
        line: where in it, counted from 1.
        reason: what is wrong, the token and the way out included.
    """

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(file, line, reason)
        self.file = file
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        """`file:line: reason`, as compilers say it."""
        return f"{self.file}:{self.line}: {self.reason}"


class MissingBoundError(MipverifyError):
    """A neuron has no finite bound where one is required; no default big-M is ever assumed."""

    def __init__(self, node: int, neuron: int, reason: str = "no finite bound") -> None:
        super().__init__(f"neuron {neuron} of node {node}: {reason}")
        self.node = node
        self.neuron = neuron


class SolverError(MipverifyError):
    """A solver failed in a way that allows no conclusion."""


class SoundnessError(MipverifyError):
    """Two claims contradict each other: a defect in mipverify or in a solver (exit code 4)."""


def reason(error: Exception) -> str:
    """What an exception says, in a line."""
    if isinstance(error, MemoryError):
        return "out of memory"
    return f"{type(error).__name__}: {error}"
