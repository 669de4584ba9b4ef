"""Suites: what is asked, in TOML. One file a suite, in `benchmarks/suites/` or anywhere else."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeVar

from mipverify.errors import InputError

FOLDER = Path(__file__).resolve().parent / "suites"
NORMS = ("linf", "l1", "l2", "l0")
T = TypeVar("T")


class SuiteError(InputError):
    """A suite is missing or malformed."""


@dataclass(frozen=True)
class MethodEntry:
    """Who answers.

    Attributes:
        name: in results and figures.
        kind: mipverify, textbook, omlt, marabou or command; the name if nothing is said.
        options: for mipverify those of `VerifyOptions`, and workers.
        command: words to run, with {network}, {property}, {timeout} and {results}.
        limit: seconds an instance, in place of the suite's.
        samples: at most so many a query.
    """

    name: str
    kind: str = ""
    options: dict[str, object] = field(default_factory=dict)
    command: str = ""
    limit: float | None = None
    samples: int | None = None


@dataclass(frozen=True)
class QueryEntry:
    """Questions about networks: each network, norm and radius with each sample.

    Attributes:
        networks: names in `models/` (patterns such as mnist_* are), paths, or names of `nets`.
        norms: linf, l1, l2, l0.
        eps: radii to decide.
        distance: whether distances are asked for.
        radius: where the search for a distance ends; None for the whole domain.
        samples, start: of the data set.
        correct: whether misclassified samples are passed over, and do not count among `samples`.
        limit: seconds an instance, in place of the suite's.
        methods: names of methods; None for all.
    """

    networks: tuple[str, ...]
    norms: tuple[str, ...] = ("linf",)
    eps: tuple[float, ...] = ()
    distance: bool = False
    radius: float | None = None
    samples: int | None = None
    start: int = 0
    correct: bool = False
    limit: float | None = None
    methods: tuple[str, ...] | None = None


@dataclass(frozen=True)
class SetEntry:
    """A folder of VNN-LIB instances with an `instances.csv`; `every`th of them from `offset` on."""

    folder: str
    every: int = 1
    offset: int = 0


@dataclass(frozen=True)
class NetEntry:
    """A perceptron made on the spot from a seed: trained for some steps on MNIST, or random without any."""

    name: str
    widths: tuple[int, ...]
    seed: int = 0
    steps: int = 300
    inputs: int = 784


@dataclass(frozen=True)
class Suite:
    """A suite.

    Attributes:
        name: of its file.
        title, about: for people; `reading` says what its figures mean, on the page.
        methods, queries, sets, nets: see there.
        samples, limit, batch, gap, seed, data: for all queries.
        expected: a file of results beside the suite that verdicts are compared with.
        curves: columns against which seconds are drawn: width, depth, unstable, eps, workers.
    """

    name: str
    title: str
    about: str = ""
    reading: str = ""
    methods: tuple[MethodEntry, ...] = (MethodEntry("mipverify", "mipverify"),)
    queries: tuple[QueryEntry, ...] = ()
    sets: tuple[SetEntry, ...] = ()
    nets: tuple[NetEntry, ...] = ()
    samples: int = 100
    limit: float = 60.0
    batch: int | None = None
    gap: float = 1e-4
    seed: int = 0
    data: str | None = None
    expected: str = ""
    curves: tuple[str, ...] = ()
    folder: Path = FOLDER


PARTS: dict[str, type] = {"methods": MethodEntry, "queries": QueryEntry, "sets": SetEntry, "nets": NetEntry}


def suite_names() -> list[str]:
    """Names of the suites that come with the benchmark."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_suite(name: str) -> Suite:
    """The suite of that name, or in that file.

    Raises:
        SuiteError: there is none, or it says what cannot be understood.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(suite_names())
        raise SuiteError(f"no suite {name!r}: known are {known}, or give the path of a .toml file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: {error}") from error
    values: dict[str, object] = {"name": path.stem, "folder": path.resolve().parent, "title": path.stem}
    for key, value in content.items():
        values[key] = [_entry(path, key, item) for item in value] if key in PARTS else value
    suite: Suite = _made(path, Suite, values)
    _check(path, suite)
    return suite


def _entry(path: Path, part: str, values: object) -> object:
    if not isinstance(values, dict):
        raise SuiteError(f"{path}: write [[{part}]], and its keys below it")
    return _made(path, PARTS[part], values)


def _made(path: Path, kind: type[T], values: dict[str, object]) -> T:
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise SuiteError(f"{path}: unknown key {unknown[0]!r}: known are {', '.join(sorted(known))}")
    try:
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
    except TypeError as error:
        raise SuiteError(f"{path}: {error}") from error


def _check(path: Path, suite: Suite) -> None:
    """Refuse what would fail only after hours."""
    names = [method.name for method in suite.methods]
    for name in names:
        if names.count(name) > 1:
            raise SuiteError(f"{path}: two methods are called {name!r}")
    if not suite.queries and not suite.sets:
        raise SuiteError(f"{path}: nothing is asked: give [[queries]] or [[sets]]")
    for query in suite.queries:
        strange = [norm for norm in query.norms if norm not in NORMS]
        if strange:
            raise SuiteError(f"{path}: unknown norm {strange[0]!r}: choose from {', '.join(NORMS)}")
        if not query.eps and not query.distance:
            raise SuiteError(f"{path}: a query of {', '.join(query.networks)} needs eps or distance = true")
        if any(not 0 <= eps < float("inf") for eps in query.eps):
            raise SuiteError(f"{path}: radii must be finite and not negative")
        unknown = sorted(set(query.methods or ()) - set(names))
        if unknown:
            raise SuiteError(f"{path}: there is no method {unknown[0]!r}: known are {', '.join(names)}")
    limits = [method.limit for method in suite.methods] + [query.limit for query in suite.queries]
    if not all(limit > 0 for limit in (suite.limit, *limits) if limit is not None):
        raise SuiteError(f"{path}: limits must be positive")
    if not all(entry.every >= 1 and entry.offset >= 0 for entry in suite.sets):
        raise SuiteError(f"{path}: every must be positive, offset not negative")
