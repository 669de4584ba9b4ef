"""What a watcher is told of a run."""

from __future__ import annotations

import io
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from mipverify.cli.board import Board
from mipverify.cli.watch import Watch


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board(8, clock)


def bracket(lower: float, upper: float = float("inf")) -> Any:
    return SimpleNamespace(lower=lower, upper=upper)


def record(status: str) -> Any:
    return SimpleNamespace(status=status)


def at_work(board: Board) -> dict[tuple[int, ...], float]:
    return {work.positions: seconds for work, seconds in board.snapshot().slow}


def drawn(watch: Watch, width: int = 100, height: int = 24) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(watch.table(height, width))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_samples_of_a_batch_take_turns(board: Board, clock: Clock) -> None:
    board.working((0, 1, 2))
    clock.time += 2
    board.working((1,))
    clock.time += 3
    assert at_work(board) == {(1,): 5.0}
    board.working((4, 5))  # of another worker
    board.finished(1, record("verified"))
    board.working((2,))
    clock.time += 1
    assert at_work(board) == {(2,): 3.0, (4, 5): 1.0}
    board.finished(4, record("unknown"))
    assert at_work(board) == {(2,): 3.0, (5,): 1.0}


def test_brackets_are_those_of_single_samples(board: Board) -> None:
    board.working((0, 1))
    board.heard(0, bracket(0.1, 0.2))
    assert board.snapshot().slow[0][0].lower is None
    board.working((0,))
    assert (board.snapshot().slow[0][0].lower, board.snapshot().slow[0][0].upper) == (0.1, 0.2)
    board.heard(0, bracket(0.15, 0.2))
    assert board.snapshot().slow[0][0].lower == 0.15


def test_finished_samples_are_worked_on_no_more(board: Board) -> None:
    board.working((0,))
    board.finished(0, record("falsified"))
    board.working((0,))  # heard late
    board.working(())
    assert at_work(board) == {}
    assert board.snapshot().done == 1
    assert board.snapshot().counts == {"falsified": 1}


def test_the_rest_takes_as_long_as_what_is_done(board: Board, clock: Clock) -> None:
    clock.time += 10
    board.finished(0, record("verified"))
    assert board.snapshot().left is None  # one sample says little
    board.finished(1, record("verified"))
    assert board.snapshot().left == 30.0


def test_the_table_shows_counts_and_the_slow_ones(board: Board, clock: Clock) -> None:
    watch = Watch(board, [10, 11, 12, 15, 16, 17, 18, 19], distance=False)
    board.working((2, 3))
    board.working((4, 5))
    board.working((0, 1))
    board.finished(1, record("verified"))
    clock.time += 65
    board.heard(0, bracket(0.0625))
    board.working((0,))
    assert drawn(watch)[0].split() == ["━━╸", "1/8", "1", "verified", "0:01:05"]
    assert drawn(watch)[1:] == [
        "  2 samples from 12  0:01:05",
        "  samples 16 to 17   0:01:05",
        "  sample 10          0:01:05  [0.0625, inf)",
    ]
    assert len(drawn(watch, height=4)) == 2
    assert all(len(line) <= 30 for line in drawn(watch, width=30))


def test_a_line_says_the_same(board: Board, clock: Clock) -> None:
    watch = Watch(board, range(8), distance=True)
    board.working((3,))
    board.heard(3, bracket(0.0, 0.5))
    board.finished(0, record("verified"))
    board.finished(1, record("unknown"))
    clock.time += 60
    assert watch.line() == (
        "progress: 2 of 8 done: 1 closed, 1 open; 0:01:00, about 0:03:00 left; "
        "sample 3 for 0:01:00 in [0, 0.5]"
    )


def test_lines_come_until_the_block_ends(board: Board) -> None:
    lines: list[str] = []
    came = threading.Event()

    def write(line: str) -> None:
        lines.append(line)
        came.set()

    with Watch(board, range(8), distance=False).in_lines(write, every=0.01):
        assert came.wait(60)
    count = len(lines)
    assert lines[0].startswith("progress: 0 of 8 done; 0:00:00")
    assert not any(thread.name == "progress" for thread in threading.enumerate())
    assert len(lines) == count


def test_nothing_is_drawn_for_a_run_of_no_samples(clock: Clock) -> None:
    assert drawn(Watch(Board(0, clock), [], distance=False))[0].endswith("0/0  0:00:00")
