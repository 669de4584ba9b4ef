"""Properties shared out: each is answered once, whatever becomes of those who answer."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mipverify.cli.main import app
from mipverify.errors import QueryError, SoundnessError
from mipverify.runs.cluster import Cluster
from mipverify.runs.duty import AskedProperty, Duty, Properties
from mipverify.runs.limits import Limits
from mipverify.runs.memory import MEASURABLE, resident
from mipverify.runs.messages import Done, Failed, Heard, Task
from mipverify.runs.processes import Processes
from mipverify.runs.property_outcome import Answered, Outcome
from mipverify.runs.property_sharing import answered_by, answered_here
from mipverify.runs.sharing import Crew
from mipverify.verify.options import VerifyOptions
from tests.runs.planted import PlantedProperties
from tests.runs.test_processes import MODEL, children

OPTIONS = VerifyOptions(time_limit=30.0)
EPS = {"p0": "0.03", "p1": "0.5", "p2": "0.04"}
VERDICTS = {"p0": "unsat", "p1": "sat", "p2": "unsat"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Properties of one network, also by names that `PlantedProperties` takes for tricks."""
    folder = tmp_path_factory.mktemp("properties")
    for name, eps in EPS.items():
        command = [
            "export",
            str(MODEL),
            "--eps",
            eps,
            "--index",
            "3",
            "--vnnlib",
            str(folder / f"{name}.vnnlib"),
        ]
        assert CliRunner().invoke(app, command).exit_code == 0
    for name in ("crash", "hang", "private", "shared"):
        shutil.copy(folder / "p0.vnnlib", folder / f"{name}.vnnlib")
    return folder


def asked(home: Path, *names: str, time_limit: float = 30.0) -> list[AskedProperty]:
    return [AskedProperty(MODEL, home / f"{name}.vnnlib", time_limit) for name in names]


class Scripted:
    """A crew of so many, and its employer: says of each property what it is told to, in turn."""

    def __init__(self, size: int, says: Callable[[AskedProperty], list[Heard]]) -> None:
        self._size, self._says = size, says
        self._saying: deque[tuple[int, deque[Heard]]] = deque()
        self.given: list[AskedProperty] = []

    def crew(self, _duty: Duty, _options: VerifyOptions, _tasks: int) -> AbstractContextManager[Crew]:
        return nullcontext(self)

    @property
    def busy(self) -> bool:
        return bool(self._saying)

    def give(self, number: int, task: Task) -> bool:
        if len(self._saying) == self._size:
            return False
        assert isinstance(task.content, AskedProperty)
        assert task.time_limit == task.content.time_limit
        self.given.append(task.content)
        self._saying.append((number, deque(self._says(task.content))))
        return True

    def wait(self, seconds: float = float("inf")) -> tuple[int, Heard] | None:
        assert seconds > 0
        if not self._saying:
            return None
        number, messages = self._saying.popleft()
        message = messages.popleft()
        if messages:
            self._saying.append((number, messages))
        return number, message

    def interrupt(self) -> None:
        raise AssertionError("nobody asks for this")


ANSWER = Answered(Outcome("unsat", 1.0), None, 1.0)
WAYS: dict[str, list[Heard]] = {
    "answers": [ANSWER, Done()],
    "answers, then dies": [ANSWER, Failed("its worker ended")],
    "dies": [Failed("its worker ended")],
    "says nothing": [Done()],
    "hangs": [Failed("took too long", hopeless=0)],
}


@given(st.lists(st.sampled_from(sorted(WAYS)), max_size=12), st.sets(st.integers(0, 11)), st.integers(1, 4))
def test_each_is_answered_once(ways: list[str], once: set[int], size: int) -> None:
    """Those of `once` go wrong the first time only."""
    crew = Scripted(size, lambda one: WAYS[way(one)])

    def way(one: AskedProperty) -> str:
        number = int(one.property.stem)
        return "answers" if number in once and crew.given.count(one) > 1 else ways[number]

    properties = [AskedProperty(MODEL, Path(f"{k}.vnnlib"), 1.0 + k) for k in range(len(ways))]
    found = list(answered_by(crew, properties, Properties(OPTIONS)))
    assert sorted(number for number, _ in found) == list(range(len(ways)))
    for number, answer in found:
        tries = crew.given.count(properties[number])
        if ways[number].startswith("answers"):
            assert (answer, tries) == (ANSWER, 1)
        elif ways[number] == "hangs":
            assert (answer.error, tries) == ("took too long", 1)
        else:
            assert tries == 2
            assert (answer is ANSWER) == (number in once)
            assert answer.error in (None, "its worker ended", "it was left without an answer")


def test_a_contradiction_ends_it() -> None:
    crew = Scripted(1, lambda _: [Failed("crossed", unsound=True)])
    with pytest.raises(SoundnessError, match="crossed"):
        list(answered_by(crew, [AskedProperty(MODEL, Path("a"), 1.0)], Properties(OPTIONS)))


def test_the_same_answers_wherever_they_are_found(home: Path) -> None:
    properties = [*asked(home, *VERDICTS), AskedProperty(MODEL, home / "none.vnnlib", 30.0)]
    duty = Properties(OPTIONS)
    everywhere = [
        dict(answered_here(properties, duty)),
        dict(answered_by(Processes(2), properties, duty)),
        dict(answered_by(Cluster("local:2"), properties, duty)),
    ]
    for found in everywhere:
        assert [_verdict(found[k]) for k in range(3)] == list(VERDICTS.values())
        assert "cannot read the property" in (found[3].error or "")
        assert all(answer.seconds > 0 for answer in found.values())
    texts = [found[1].outcome.text() for found in everywhere if found[1].outcome is not None]
    assert texts[0].startswith("sat\n((X_0 ")
    assert texts == texts[:1] * 3  # the witness, digit by digit
    assert children(os.getpid()) == []


def _verdict(answer: Answered) -> str:
    assert answer.outcome is not None
    return answer.outcome.verdict


@pytest.mark.skipif(not MEASURABLE, reason="memory is watched on Linux")
def test_a_solver_that_fails_costs_its_own_property_and_no_other(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("p0", "hang", "p1", "crash", "private", "p2", "shared", "p0")
    limits = Limits(seconds=15.0, memory=resident(os.getpid()) + 400_000_000)
    duty = PlantedProperties(OPTIONS)
    logger = logging.getLogger("mipverify")
    logger.addHandler(caplog.handler)
    try:
        found = dict(answered_by(Processes(2, limits), asked(home, *names, time_limit=10.0), duty))
    finally:
        logger.removeHandler(caplog.handler)
    assert sorted(found) == list(range(len(names)))
    errors = {}
    for number, name in enumerate(names):
        if name in VERDICTS:
            assert _verdict(found[number]) == VERDICTS[name]
        else:
            errors[name] = found[number].error or ""
            assert found[number].seconds > 0
    assert errors["hang"].startswith("its worker was ended after ")
    assert errors["hang"].endswith(" s beyond its time limit")
    assert errors["crash"] == "its worker ended (signal SIGSEGV)"
    occupied = "its worker was ended when it occupied "
    assert errors["shared"].startswith(occupied)
    # The allocation that fails may be one of a library that ends the process then.
    assert errors["private"].startswith(("out of memory", "its worker ended (signal SIGABRT)", occupied))
    assert "crash.vnnlib failed, its worker ended (signal SIGSEGV): asked once more" in caplog.text
    assert "hang.vnnlib failed" not in caplog.text
    assert children(os.getpid()) == []


def test_workers_that_refuse_the_options_end_it(home: Path) -> None:
    limits = Limits(memory=1_000_000)
    with pytest.raises(QueryError, match="before it begins, more than its limit of 1 MB"):
        list(answered_by(Processes(1, limits), asked(home, "p0"), Properties(OPTIONS)))
    assert children(os.getpid()) == []


def test_leaving_it_ends_the_workers(home: Path) -> None:
    found = answered_by(Processes(2), asked(home, "p0", "p2", "hang", "hang"), PlantedProperties(OPTIONS))
    next(found)
    assert len(children(os.getpid())) == 2
    found.close()
    assert children(os.getpid()) == []


def test_there_are_no_more_workers_than_properties(home: Path) -> None:
    found = answered_by(Processes(8), asked(home, "p0", "hang"), PlantedProperties(OPTIONS))
    next(found)
    assert len(children(os.getpid())) == 2
    found.close()


def test_a_cluster_for_properties_needs_dask(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(QueryError, match=r"pip install 'mipverify\[cluster\]'"):
        list(answered_by(Cluster("local"), asked(home, "p0"), Properties(OPTIONS)))
