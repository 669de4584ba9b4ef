"""Properties answered into a run: what is known is taken from it, what is new is put there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mipverify.cli.console import Terminal
from mipverify.cli.instances import Instance
from mipverify.cli.interrupts import held_back
from mipverify.cli.property_output import PropertyOutput, open_output
from mipverify.cli.property_text import Row
from mipverify.errors import InputError, SoundnessError
from mipverify.runs.property_outcome import Outcome

if TYPE_CHECKING:
    from mipverify.cli.vnnlib import PropertyArguments


@contextmanager
def opened(
    arguments: PropertyArguments,
    instances: Sequence[Instance],
    limits: Sequence[float],
    table: Path | None = None,
) -> Iterator[PropertyOutput | None]:
    """The run that a command names, see `open_output`; removed again if its first property is refused."""
    output = open_output(arguments, instances, limits, table)
    if output is None:
        yield None
        return
    try:
        yield output
    except InputError:
        output.discard()
        raise
    finally:
        output.close()


def answer_kept(
    arguments: PropertyArguments,
    instance: Instance,
    limit: float,
    answer: Callable[[], Outcome],
    terminal: Terminal,
) -> Outcome:
    """The outcome of one property: from the run, if it has one that stands, else `answer()`, kept there.

    Raises:
        InputError: the run or the property cannot be used; a new run is removed again.
    """
    with opened(arguments, [instance], [limit]) as output:
        if output is None:
            return answer()
        known = output.answered().get(0)
        if known is not None and known.outcome is not None:
            terminal.note("run: the property is answered")
            outcome = output.with_witness(0) if known.verdict == "sat" else known.outcome
        else:
            outcome = _answered(answer, output, instance)
        with held_back():
            output.end([Row(instance, outcome)])
        return outcome


def _answered(answer: Callable[[], Outcome], output: PropertyOutput, instance: Instance) -> Outcome:
    try:
        outcome = answer()
    except (InputError, SoundnessError):
        raise
    except Exception as error:  # a defect, which the run remembers
        output.put(0, Row(instance, None, f"{type(error).__name__}: {error}"))
        raise
    with held_back():
        output.put(0, Row(instance, outcome))
    return outcome
