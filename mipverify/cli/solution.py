"""What a solver found for an exported program: the input it stands for, and whether it is what it seems."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mipverify.cli.exit_codes import ExitCode
from mipverify.errors import DataError

if TYPE_CHECKING:
    from mipverify.attack.confirm import Replayable
    from mipverify.cli.console import Terminal
    from mipverify.encoding.encode import Encoding
    from mipverify.graph.operators import Float64Array
    from mipverify.problem.query import Query
    from mipverify.problem.witness import Witness


def show_solution(file: str, encoding: Encoding, network: Replayable, terminal: Terminal) -> ExitCode:
    """Print what the solution in a file says of the network, and replay it in onnxruntime.

    Raises:
        DataError: the file cannot be read, or holds no solution of the program.
    """
    from mipverify.attack.replay import replay
    from mipverify.milp.check import violation
    from mipverify.milp.solution_file import read_solution

    program, query = encoding.named_program(), encoding.query
    solution = read_solution(_text(file), program, file=file)
    terminal.note(f"{file}: {solution.named} of {program.num_columns} variables")
    a = encoding.decode(solution.point)
    outputs = network(a[None])[0]
    _say(terminal, "objective", f"{program.cost_at(solution.point):.8g}")
    _say(terminal, "violation", f"{violation(program, solution.point):.3g} (of rows, bounds, integrality)")
    _say(terminal, "prediction", f"{int(np.argmax(outputs))}, label {query.label}")
    _say(terminal, "distance", f"{float(query.region.distance(a)):.8g}")
    _say_parameters(terminal, network, a)
    _say(terminal, "margin", f"{float(query.margin(outputs)):.6g} (>= 0: a counterexample, in float64)")
    witness = replay(network, query, a, repair=False)
    if witness is not None:
        return _confirmed(terminal, "confirmed", witness)
    witness = replay(network, query, a)
    if witness is not None:
        moved = float(np.abs(witness.point - a).max())
        return _confirmed(terminal, f"confirmed after moving it by {moved:.3g}", witness)
    _say(terminal, "onnxruntime", f"not confirmed: {_why_not(network, query, a)}")
    return ExitCode.UNDECIDED


def _say_parameters(terminal: Terminal, network: Replayable, point: Float64Array) -> None:
    from mipverify.frontend.perturbed import PerturbedNetwork

    if isinstance(network, PerturbedNetwork) and not network.parametrisation.perturbation.is_diagonal:
        named = network.parametrisation.named(point)
        _say(terminal, "parameters", ", ".join(f"{name} {value:.4g}" for name, value in named.items()))


def _confirmed(terminal: Terminal, how: str, witness: Witness) -> ExitCode:
    facts = f"distance {witness.distance:.8g}, margin {witness.margin:.3g}"
    _say(terminal, "onnxruntime", f"{how}: prediction {witness.prediction}, {facts}")
    return ExitCode.FALSIFIED


def _why_not(network: Replayable, query: Query, a: Float64Array) -> str:
    from mipverify.attack.rounding import round_all_into

    rounded, inside = round_all_into(a[None], query.region)
    if not inside[0]:
        return "no float32 point of the region is near"
    return f"margin {float(query.margin(network.run(rounded))[0]):.3g}"


def _say(terminal: Terminal, what: str, text: str) -> None:
    terminal.result(f"{what:<12} {text}")


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
