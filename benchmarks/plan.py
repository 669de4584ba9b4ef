"""From a suite to its blocks: a network, a question, and the samples it is asked about."""

from __future__ import annotations

import fnmatch
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import mipverify
from benchmarks.methods.method import Question, Sample, Target
from benchmarks.networks import paths_of
from benchmarks.suite import MethodEntry, QueryEntry, SetEntry, Suite, SuiteError
from mipverify.cli.instances import Instance, read_instances
from mipverify.frontend.clean_accuracy import check_clean_accuracy
from mipverify.frontend.layout import flat_inputs
from mipverify.graph.operators import Float64Array, IndexArray


@dataclass(frozen=True)
class Choice:
    """What of a suite is run.

    Attributes:
        limit: at most so many samples a query, and instances a set.
        seconds: for an instance, in place of the suite's; an instance of a set may have fewer.
        methods: their names; None for all.
        networks: patterns of names of files; None for all.
        sets: folders in place of the suite's.
        options: put on top of those of every mipverify method.
        seed: in place of the suite's.
        turn: number of the repetition.
        made: folder of generated networks.
    """

    limit: int | None = None
    seconds: float | None = None
    methods: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    sets: tuple[str, ...] = ()
    options: tuple[tuple[str, object], ...] = ()
    seed: int | None = None
    turn: int = 0
    made: Path = Path("out") / "networks"


@dataclass(frozen=True, eq=False)
class Block:
    """One question about some samples of a network, for some methods with their limits in seconds."""

    target: Target
    question: Question
    samples: list[Sample]
    wrong: list[Sample]
    methods: list[tuple[MethodEntry, float]]

    @property
    def kind(self) -> str:
        """decide or distance."""
        return "distance" if self.question.eps is None else "decide"


@dataclass(frozen=True)
class Job:
    """One instance of a set, for some methods with their limits."""

    set_name: str
    instance: Instance
    methods: list[tuple[MethodEntry, float]]


def blocks(suite: Suite, choice: Choice) -> Iterator[Block]:
    """The blocks of all queries, one after the other; networks are loaded as they come.

    Raises:
        InputError: a network, data set or method is missing or does not fit.
    """
    for query in suite.queries:
        for path in paths_of(query.networks, suite, choice.made):
            if choice.networks and not any(fnmatch.fnmatch(path.stem, name) for name in choice.networks):
                continue
            target = Target(path, mipverify.load(path))
            right, wrong = _samples(suite, query, target, choice)
            for question in _questions(suite, query, choice):
                methods = [
                    (entry, choice.seconds or entry.limit or query.limit or suite.limit)
                    for entry in entries(suite, choice)
                    if query.methods is None or entry.name in query.methods
                ]
                if methods:
                    yield Block(target, question, right, wrong, methods)


def jobs(suite: Suite, choice: Choice) -> Iterator[Job]:
    """The instances of all sets.

    Raises:
        InputError: a table cannot be read, or two folders have the same name.
    """
    sets = [SetEntry(folder) for folder in choice.sets] or list(suite.sets)
    folders = [_folder(suite, entry.folder) for entry in sets]
    names = [folder.name for folder in folders]
    for entry, folder in zip(sets, folders, strict=True):
        if names.count(folder.name) > 1:
            raise SuiteError(
                f"two folders are called {folder.name}: run them one at a time, into two folders"
            )
        for instance in read_instances(folder / "instances.csv")[entry.offset :: entry.every][: choice.limit]:
            methods = []
            for method in entries(suite, choice):
                cap = choice.seconds or method.limit or suite.limit
                methods.append((method, min(cap, instance.limit or cap)))
            yield Job(folder.name, instance, methods)


def entries(suite: Suite, choice: Choice) -> list[MethodEntry]:
    """The methods that are run, with the options put on top.

    Raises:
        SuiteError: there is none of a name asked for.
    """
    names = [entry.name for entry in suite.methods]
    for name in choice.methods or ():
        if name not in names:
            raise SuiteError(f"suite {suite.name} has no method {name!r}: known are {', '.join(names)}")
    chosen = [entry for entry in suite.methods if choice.methods is None or entry.name in choice.methods]
    return [
        replace(entry, options=entry.options | dict(choice.options))
        if (entry.kind or entry.name) == "mipverify" and not entry.command
        else entry
        for entry in chosen
    ]


def _folder(suite: Suite, text: str) -> Path:
    path = Path(os.path.expandvars(text)).expanduser()
    if "$" in str(path):
        raise SuiteError(f"{text}: set the variable, or give folders with --sets")
    for folder in (path, suite.folder / path):
        if folder.is_dir():
            return folder.resolve()
    raise SuiteError(f"there is no folder {path}: give others with --sets")


def _questions(suite: Suite, query: QueryEntry, choice: Choice) -> Iterator[Question]:
    seed = suite.seed if choice.seed is None else choice.seed
    radius = math.inf if query.radius is None else query.radius
    for norm in query.norms:
        for eps in query.eps:
            yield Question(norm, eps, seed=seed, gap=suite.gap)
        if query.distance:
            yield Question(norm, None, radius, suite.gap, seed)


def _samples(
    suite: Suite, query: QueryEntry, target: Target, choice: Choice
) -> tuple[list[Sample], list[Sample]]:
    """Samples that are classified correctly, and those that are not."""
    network = target.network
    dataset = mipverify.load_dataset(suite.data, input_size=network.graph.input_size)
    if dataset.labels is None:
        raise SuiteError(f"{dataset.source} has no labels")
    points, _ = flat_inputs(dataset, network.graph.input_shape)
    labels = dataset.labels
    check_clean_accuracy(network, points, labels, normalised=False)
    count = query.samples or suite.samples
    count = count if choice.limit is None else min(count, choice.limit)
    indices = np.arange(query.start, len(points))
    if not query.correct:
        indices = indices[:count]
    elif len(indices) > 20 * count:
        indices = indices[: 20 * count]
    right = _predictions(network, points[indices]) == labels[indices]

    def samples(some: IndexArray) -> list[Sample]:
        return [Sample(int(k), points[k], int(labels[k])) for k in some]

    return samples(indices[right][:count]), [] if query.correct else samples(indices[~right])


def _predictions(network: mipverify.Network, points: Float64Array, size: int = 500) -> IndexArray:
    parts: Sequence[Float64Array] = [points[k : k + size] for k in range(0, len(points), size)]
    return np.concatenate([network.run(part).argmax(axis=1) for part in parts])
