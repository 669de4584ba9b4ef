from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from mipverify.cli.exit_codes import ExitCode, FailOn, exit_code
from mipverify.cli.main import Program
from mipverify.errors import DataError, MissingBoundError, QueryError, SolverError, SoundnessError
from mipverify.verify.summary import Summary


def summary(
    verified: int = 0, falsified: int = 0, unknown: int = 0, wrong: int = 0, errors: int = 0
) -> Summary:
    total = verified + falsified + unknown + wrong + errors
    return Summary(total, verified, falsified, unknown, wrong, errors, {}, {}, 0.0, 0.0, None, None)


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({"verified": 3}, 0),
        ({"verified": 3, "wrong": 2}, 0),
        ({"verified": 3, "falsified": 1}, 1),
        ({"falsified": 1, "unknown": 1, "errors": 1}, 1),
        ({"verified": 3, "unknown": 1}, 3),
        ({"verified": 3, "errors": 1}, 3),
        ({"wrong": 4}, 3),
    ],
)
def test_the_worst_finding_decides(counts: dict[str, int], code: int) -> None:
    assert exit_code(summary(**counts)) == code


@pytest.mark.parametrize(
    ("error", "code", "first"),
    [
        (DataError("no samples"), 2, "error: no samples"),
        (SoundnessError("bounds cross"), 4, "soundness alarm: bounds cross"),
        (SolverError("gave up"), 70, "error: gave up"),
        (MissingBoundError(3, 5), 70, "error: neuron 5 of node 3: no finite bound"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_expected_failures_are_one_line(error: BaseException, code: int, first: str) -> None:
    result = CliRunner().invoke(failing_program(error), ["fail"])
    assert result.exit_code == code
    assert result.stderr == first + "\n"


def test_a_defect_shows_its_traceback_and_is_no_verdict() -> None:
    result = CliRunner().invoke(failing_program(ZeroDivisionError("oops")), ["fail"])
    assert result.exit_code == ExitCode.INTERNAL
    assert "Traceback" in result.stderr
    assert "internal error: ZeroDivisionError" in result.stderr


def failing_program(error: BaseException) -> typer.Typer:
    program = typer.Typer(cls=Program)

    @program.command()
    def fail() -> None:
        raise error

    @program.callback()
    def group() -> None:
        pass

    return program


@pytest.mark.parametrize(
    ("fail_on", "falsified", "undecided", "nothing"),
    [("unknown", 1, 3, 3), ("falsified", 1, 0, 0), ("never", 0, 0, 0)],
)
def test_findings_fail_as_far_as_they_are_asked_to(
    fail_on: str, falsified: int, undecided: int, nothing: int
) -> None:
    how = FailOn.parse(fail_on)
    assert exit_code(summary(verified=1, falsified=1, unknown=1), how) == falsified
    assert exit_code(summary(verified=1, unknown=1), how) == undecided
    assert exit_code(summary(verified=1, errors=1), how) == undecided
    assert exit_code(summary(wrong=2), how) == nothing
    assert exit_code(summary(verified=1), how) == 0


def test_other_findings_to_fail_on_are_refused() -> None:
    with pytest.raises(QueryError, match="--fail-on must be one of unknown, falsified, never, got 'open'"):
        FailOn.parse("open")
