"""The Python interface to VNN-LIB: one property of one network."""

from __future__ import annotations

from pathlib import Path

from mipverify.frontend.network import Network
from mipverify.frontend.vnnlib.property import Property, load_property
from mipverify.verify.deadline import Deadline
from mipverify.verify.options import VerifyOptions
from mipverify.verify.property import decide_property
from mipverify.verify.property_answer import PropertyAnswer


def verify_property(
    network: Network, wanted: Property | str | Path, *, options: VerifyOptions | None = None
) -> PropertyAnswer:
    """Is there an input a with (a, f(a)) as the property says: `sat` with a witness, or `unsat`?

    Args:
        network: from `mipverify.load`; the property speaks of its inputs in raw units.
        wanted: from `mipverify.load_property`, or the path of a .vnnlib or .vnnlib.gz file.
        options: effort, solver, and the time limit for the whole property, reading included.

    Raises:
        DataError: the file cannot be read.
        PropertyError: its text is malformed or asks what cannot be decided.
        QueryError: the property does not fit the network, or there is no such solver.
        SoundnessError: two claims contradict each other.
    """
    settings = options or VerifyOptions()
    if settings.solver != VerifyOptions().solver:
        from mipverify.solvers.registry import check_solver

        check_solver(settings.solver)
    deadline = Deadline(settings.time_limit)
    read = wanted if isinstance(wanted, Property) else load_property(wanted)
    return decide_property(network, read, settings, deadline)
