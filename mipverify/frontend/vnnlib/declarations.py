"""Declarations: which names stand for which inputs and outputs of the network."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mipverify.frontend.vnnlib.syntax import Expression, Form, Source, Token

LARGEST_TENSOR = 10_000_000
# What SMT-LIB files carry around their assertions, and what says nothing about the property.
IGNORED = frozenset({"set-logic", "set-info", "set-option", "check-sat", "get-model", "get-value", "exit"})
_ELEMENT = re.compile(r"([XY])_(\d+)", re.ASCII)
_DEFINITION = re.compile(r"([A-Za-z]\w*)\[([\d,]*)\]", re.ASCII)
_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_VERSION = re.compile(r"<(\d+)\.(\d+)>")
REAL_TYPES = frozenset({"real", "float16", "bfloat16", "float32", "float64", "f16", "bf16", "f32", "f64"})

Variable = int  # input i is i, output j is -1 - j


def output_variable(position: int) -> Variable:
    """The variable of output `position`; that of an input is its own position."""
    return -1 - position


@dataclass(frozen=True)
class Tensor:
    """A declared input or output of version 2: its name, element type as written, and shape."""

    name: str
    element_type: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def elements(self) -> list[str]:
        """The names of its elements in C order: `X[0,0]`, `X[0,1]`, ..."""
        if not self.shape:
            return [self.name]
        indices = [""]
        for extent in self.shape:
            indices = [f"{left},{k}" if left else str(k) for left in indices for k in range(extent)]
        return [f"{self.name}[{index}]" for index in indices]


@dataclass(frozen=True)
class Declarations:
    """What a property speaks of.

    Attributes:
        version: 1 or 2, of the language.
        names: every name that may stand in an assertion.
        num_inputs, num_outputs: n and m.
        tensors: of version 2, the input and the output.
    """

    version: int
    names: dict[str, Variable]
    num_inputs: int
    num_outputs: int
    tensors: tuple[Tensor, Tensor] | None = None


def read_declarations(source: Source, forms: Sequence[Form]) -> Declarations:
    """The declarations among the forms of a property of either version.

    Raises:
        PropertyError: a malformed or unsupported declaration; none at all; gaps in X_0, X_1, ...
    """
    if any(form.head in ("vnnlib-version", "declare-network") for form in forms):
        return _read_network(source, forms)
    return _read_constants(source, forms)


def _read_constants(source: Source, forms: Sequence[Form]) -> Declarations:
    """Version 1: `(declare-const X_0 Real)`, or `(declare-fun X_0 () Real)`."""
    names: dict[str, Variable] = {}
    highest = {"X": -1, "Y": -1}
    for form in forms:
        if form.head not in ("declare-const", "declare-fun"):
            continue
        name = _declared_constant(source, form)
        match = _ELEMENT.fullmatch(name.text)
        if match is None:
            raise source.error(name, "unknown variable {}: inputs are X_0, X_1, ..., outputs Y_0, Y_1, ...")
        position = int(match[2])
        if position > LARGEST_TENSOR or match[2] != str(position):
            raise source.error(name, "{} is no variable: its number is malformed or too large")
        if name.text in names:
            raise source.error(name, "{} is declared twice")
        names[name.text] = position if match[1] == "X" else output_variable(position)
        highest[match[1]] = max(highest[match[1]], position)
    for kind in ("X", "Y"):
        missing = next((k for k in range(highest[kind] + 1) if f"{kind}_{k}" not in names), None)
        if missing is not None or highest[kind] < 0:
            raise source.error(0, f"{kind}_{missing or 0} is not declared: declare every input and output")
    return Declarations(1, names, highest["X"] + 1, highest["Y"] + 1)


def _declared_constant(source: Source, form: Form) -> Token:
    items = form.items
    is_function = form.head == "declare-fun"
    name = items[1] if len(items) > 1 else form
    if not isinstance(name, Token) or len(items) != 3 + is_function:
        raise source.error(form, "malformed declaration {}: write (declare-const X_0 Real)")
    if is_function and not (isinstance(items[2], Form) and not items[2].items):
        raise source.error(items[2], "only functions without arguments stand for inputs and outputs: {}")
    kind = items[-1]
    if not (isinstance(kind, Token) and kind.text.lower() in REAL_TYPES):
        raise source.error(kind, "unsupported type {}: inputs and outputs are of type Real")
    return name


def _read_network(source: Source, forms: Sequence[Form]) -> Declarations:
    """Version 2: `(declare-network f (declare-input X Real [1,2]) (declare-output Y Real [1,3]))`."""
    networks = []
    for form in forms:
        if form.head == "vnnlib-version":
            _check_version(source, form)
        elif form.head == "declare-network":
            networks.append(form)
        elif form.head in ("declare-const", "declare-fun"):
            raise source.error(form, "{} belongs to version 1: version 2 declares tensors in a network")
    if len(networks) != 1:
        at = networks[1] if networks else 0
        raise source.error(at, f"{len(networks)} networks are declared: exactly one is supported")
    given = [_definition(source, item) for item in networks[0].items[2:]]
    tensors = {kind: [_tensor(source, form) for form in given if form.head == kind] for kind in _KINDS}
    for kind, role in _KINDS.items():
        if len(tensors[kind]) != 1:
            raise source.error(
                networks[0], f"{len(tensors[kind])} {role}s are declared: one {role} tensor is supported"
            )
    x, y = tensors["declare-input"][0], tensors["declare-output"][0]
    if x.name == y.name:
        raise source.error(networks[0], f"{x.name!r} is declared twice")
    names = dict(zip(x.elements, range(x.size), strict=True))
    names |= {name: output_variable(k) for k, name in enumerate(y.elements)}
    for tensor, first in ((x, 0), (y, output_variable(0))):
        if not tensor.shape:
            names[f"{tensor.name}[0]"] = names[f"{tensor.name}[]"] = first
    return Declarations(2, names, x.size, y.size, (x, y))


_KINDS = {"declare-input": "input", "declare-output": "output"}


def _check_version(source: Source, form: Form) -> None:
    number = form.items[1] if len(form.items) == 2 else form
    match = _VERSION.fullmatch(number.text) if isinstance(number, Token) else None
    if match is None:
        raise source.error(number, "malformed version {}: write (vnnlib-version <2.0>)")
    if int(match[1]) != 2:
        raise source.error(number, "unsupported version {}: 1.0 (which has no such line) and 2.x can be read")


def _definition(source: Source, item: Expression) -> Form:
    head = item.head if isinstance(item, Form) else ""
    if head == "declare-hidden":
        raise source.error(item, "constraints on hidden values are not supported: {}")
    if head in ("equal-to", "isomorphic-to"):
        raise source.error(item, "properties of several networks are not supported: {}")
    if not isinstance(item, Form) or head not in _KINDS:
        raise source.error(item, "expected (declare-input ...) or (declare-output ...) instead of {}")
    return item


def _tensor(source: Source, form: Form) -> Tensor:
    """`(declare-input X float32 [1,5])`; the lexer has joined the type with its shape."""
    words = form.items[1:]
    name = words[0] if words else form
    kind = words[1] if len(words) in (2, 3) else form
    match = _DEFINITION.fullmatch(kind.text) if isinstance(kind, Token) else None
    if not (isinstance(name, Token) and _NAME.fullmatch(name.text)) or match is None:
        raise source.error(form, "malformed declaration {}: write (declare-input X float32 [1,5])")
    if match[1].lower() not in REAL_TYPES:
        raise source.error(kind, "unsupported element type in {}: inputs and outputs are real numbers")
    shape = tuple(int(extent) for extent in match[2].split(",")) if match[2] else ()
    tensor = Tensor(name.text, match[1], shape)
    if not 0 < tensor.size <= LARGEST_TENSOR:
        raise source.error(kind, "the shape in {} is empty or too large")
    return tensor
