"""The witness of a property as a run has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mipverify.errors import StoreError
from mipverify.frontend.vnnlib.property import Property
from mipverify.graph.operators import Float64Array
from mipverify.verify.property_answer import PropertyWitness
from mipverify.verify.property_record import witness_at
from mipverify.verify.record import Record


def stored_point(run: Path, record: Record) -> Float64Array:
    """The float32 numbers of the inputs, [n].

    Raises:
        StoreError: there are none that can be read.
    """
    file = None if record.counterexample is None else record.counterexample.file
    if file is None:
        raise StoreError(f"{run} has no witness for record {record.index}: answer its property again")
    path = run / file
    try:
        if not path.resolve().is_relative_to(run.resolve()):
            raise ValueError("it lies outside of the run")
        values = np.load(path, allow_pickle=False)
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            raise ValueError("it holds no numbers")
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise StoreError(f"the witness {path} cannot be read: {error}: answer its property again") from error
    return np.asarray(values, dtype=np.float64).reshape(-1)


def stored_witness(run: Path, record: Record, wanted: Property) -> PropertyWitness:
    """The witness with the outputs that were recorded.

    Raises:
        StoreError: it cannot be read, or the text of the property is not true there.
    """
    point = stored_point(run, record)
    kept = None if record.counterexample is None else record.counterexample.outputs
    found = None
    if kept and point.size == wanted.declarations.num_inputs:
        found = witness_at(wanted, point, np.array(kept, dtype=np.float64))
    if found is None:
        raise StoreError(
            f"the witness of record {record.index} in {run} does not make {wanted.name} true: was it changed?"
        )
    return found
