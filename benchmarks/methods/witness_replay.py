"""The witness of a `sat`, replayed: the file in onnxruntime, the property's text in exact arithmetic.

Nothing that decides a property is trusted here: neither the importer, nor boxes and polytopes, nor the
outputs that the witness claims. There is no tolerance: a point beside its box by a rounding error is refuted.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from mipverify.errors import MipverifyError
from mipverify.frontend.vnnlib.declarations import Declarations
from mipverify.frontend.vnnlib.numerals import rational
from mipverify.frontend.vnnlib.property import load_property

CONFIRMED = "confirmed"
REFUTED = "refuted"
MISSING = "missing"  # or it cannot be read, or cannot be run
DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"}
_PAIR = re.compile(r"\(\s*X_(\d+)\s+([^()\s]+)\s*\)", re.ASCII)


def replay(network: Path, wanted: Path, results: str) -> tuple[str, str]:
    """Whether the witness in a results file makes the property's text true, and why not."""
    try:
        prop = load_property(wanted)
        inputs = witness_inputs(prop.declarations, results)
        outputs = run_network(network, inputs)
    except (MipverifyError, ValueError, OSError) as error:
        return MISSING, str(error).strip().partition("\n")[0]
    if len(outputs) != prop.declarations.num_outputs:
        return MISSING, f"{len(outputs)} outputs, {prop.declarations.num_outputs} are declared"
    if not np.isfinite(outputs).all():
        return REFUTED, "onnxruntime's outputs at the witness are not finite"
    if prop.holds(inputs, [Fraction(y) for y in outputs]):
        return CONFIRMED, ""
    return REFUTED, "the property is false of the witness and onnxruntime's outputs there"


def witness_inputs(declarations: Declarations, results: str) -> list[Fraction]:
    """The inputs of a witness in the form of its version (see `mipverify.frontend.vnnlib.writing`), exactly.

    Raises:
        ValueError: some input is not there, is there twice, or is no number.
    """
    body = results.partition("\n")[2]
    if declarations.tensors is None:
        texts = {int(position): text for position, text in _PAIR.findall(body)}
        if len(texts) != len(_PAIR.findall(body)):
            raise ValueError("the witness gives an input twice")
        missing = next((k for k in range(declarations.num_inputs) if k not in texts), None)
        if missing is not None:
            raise ValueError(f"the witness does not give X_{missing}")
        return [_number(texts[k]) for k in range(declarations.num_inputs)]
    tensor, lines = declarations.tensors[0], [line.strip() for line in body.splitlines()]
    heads = [place for place, line in enumerate(lines) if line.split()[:1] == [tensor.name]]
    if len(heads) != 1:
        raise ValueError(f"the witness gives {tensor.name} {len(heads)} times")
    elements = lines[heads[0] + 1 :][: tensor.size]
    if len(elements) != tensor.size:
        raise ValueError(f"the witness does not give all elements of {tensor.name}")
    return [_number(text) for text in elements]


def run_network(network: Path, inputs: Sequence[Fraction]) -> list[float]:
    """Outputs of the file at a point, flat, with onnxruntime on one thread of the CPU.

    Raises:
        ValueError: onnxruntime cannot run it, or it has not one input and one output of real numbers.
    """
    import onnxruntime

    content = network.read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content,
            options,
            providers=["CPUExecutionProvider"],
        )
        (given,) = session.get_inputs()
        shape = [extent if isinstance(extent, int) and extent > 0 else 1 for extent in given.shape]
        point = np.array([float(number) for number in inputs])
        with np.errstate(over="ignore"):
            point = point.astype(DTYPES[given.type]).reshape(shape)
        (outputs,) = session.run(None, {given.name: point})
    except Exception as error:  # onnxruntime raises classes of its own extension module
        raise ValueError(f"onnxruntime cannot run {network.name}: {error}") from error
    return [float(y) for y in np.asarray(outputs, dtype=np.float64).ravel()]


def _number(text: str) -> Fraction:
    try:
        number = rational(text)
    except OverflowError:
        number = None
    if number is None:
        raise ValueError(f"{text[:40]!r} in the witness is no number")
    return number
