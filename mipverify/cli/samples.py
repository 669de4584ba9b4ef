"""The samples of a run: chosen, laid out for the network, labelled and checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mipverify.cli import parsing
from mipverify.cli.arguments import Question, SampleArguments
from mipverify.cli.console import Terminal
from mipverify.cli.numerals import percent
from mipverify.cli.region_texts import Region
from mipverify.errors import DataError, QueryError
from mipverify.frontend.clean_accuracy import check_clean_accuracy
from mipverify.frontend.dataset import Dataset
from mipverify.frontend.datasets import load_dataset
from mipverify.frontend.layout import flat_inputs
from mipverify.graph.operators import Float64Array

if TYPE_CHECKING:
    from mipverify.frontend.network import Network


@dataclass(frozen=True, eq=False)
class Samples:
    """k inputs with the classes to be kept.

    Attributes:
        dataset: where they come from.
        indices: their positions in it, [k].
        points: the inputs in raw units, float64 [k, n].
        labels: [k]; None where they play no role.
        labelled: whether the labels are the data's or the user's, not the network's own predictions.
        region: what narrows the ball around each of them.
    """

    dataset: Dataset
    indices: tuple[int, ...]
    points: Float64Array
    labels: NDArray[np.int64] | None
    labelled: bool
    region: Region = field(default_factory=lambda: Region({}))

    def __len__(self) -> int:
        return len(self.indices)

    def only(self, kept: NDArray[np.int64]) -> Samples:
        """Some of them, by their positions."""
        return replace(
            self,
            indices=tuple(self.indices[position] for position in kept),
            points=self.points[kept],
            labels=None if self.labels is None else self.labels[kept],
            region=self.region.only(kept),
        )


def choose_samples(
    network: Network, arguments: SampleArguments, question: Question, terminal: Terminal
) -> Samples:
    """The samples that the arguments name.

    Raises:
        InputError: no such data or samples, labels or values out of range, a missing normalisation.
    """
    wanted = question.criterion.needs_label
    dataset = load_dataset(arguments.data, input_size=network.graph.input_size, labelled=wanted)
    chosen_by = f" (chosen for {network.graph.input_size} inputs)" if arguments.data is None else ""
    terminal.note(f"data: {dataset.name}{chosen_by}: {dataset.description}")
    points, notice = flat_inputs(dataset, network.graph.input_shape)
    if notice:
        terminal.note(f"data: {notice}")
    if dataset.labels is not None and wanted:
        _check_accuracy(network, dataset.labels, points, arguments, terminal)
    indices = _indices(arguments, len(dataset))
    chosen = points[list(indices)]
    labels = _labels(network, dataset, indices, chosen, arguments, terminal) if wanted else None
    labelled = wanted and (dataset.labels is not None or arguments.label is not None)
    region = question.region.read(network.graph.input_shape, indices, len(dataset))
    samples = Samples(dataset, indices, chosen, labels, labelled, region)
    _check_labels(samples, network.graph.output_size)
    _check_domain(samples, question)
    return _without_own_target(samples, question, terminal)


def _check_accuracy(
    network: Network,
    labels: NDArray[np.int64],
    points: Float64Array,
    arguments: SampleArguments,
    terminal: Terminal,
) -> None:
    normalised = arguments.mean is not None or arguments.std is not None
    accuracy = check_clean_accuracy(network, points, labels, normalised=normalised)
    terminal.note(f"clean accuracy: {percent(accuracy.share)} of {accuracy.total} samples")


def _indices(arguments: SampleArguments, available: int) -> tuple[int, ...]:
    if arguments.index is not None:
        indices = parsing.indices(arguments.index, "--index")
    else:
        count = parsing.count(arguments.num, "--num")
        if not 0 <= arguments.start < available:
            raise DataError(f"--start {arguments.start} is out of range: samples are 0 to {available - 1}")
        stop = available if count is None else min(arguments.start + count, available)
        indices = tuple(range(arguments.start, stop))
    if max(indices) >= available:
        raise DataError(f"--index {max(indices)} is out of range: samples are 0 to {available - 1}")
    return indices


def _labels(
    network: Network,
    dataset: Dataset,
    indices: tuple[int, ...],
    points: Float64Array,
    arguments: SampleArguments,
    terminal: Terminal,
) -> NDArray[np.int64]:
    if arguments.label is not None:
        if abs(arguments.label) > np.iinfo(np.int64).max:
            raise QueryError(f"--label must be a class of the network, got {arguments.label}")
        return np.full(len(indices), arguments.label, dtype=np.int64)
    if dataset.labels is not None:
        return dataset.labels[list(indices)]
    terminal.note("data: no labels: the class to keep is what the network predicts (--label K names another)")
    return np.asarray(network.run(points).argmax(axis=1), dtype=np.int64)


def _check_labels(samples: Samples, classes: int) -> None:
    if samples.labels is None:
        return
    wrong = np.flatnonzero((samples.labels < 0) | (samples.labels >= classes))
    if wrong.size:
        first = int(wrong[0])
        raise QueryError(
            f"label {samples.labels[first]} of sample {samples.indices[first]} is out of range: "
            f"the network has classes 0 to {classes - 1}"
        )


def _check_domain(samples: Samples, question: Question) -> None:
    if question.domain is None:
        return
    low, high = question.domain
    outside = np.argwhere((samples.points < low) | (samples.points > high))
    if outside.size:
        row, feature = (int(i) for i in outside[0])
        raise DataError(
            f"feature {feature} of sample {samples.indices[row]} is {samples.points[row, feature]:g}, "
            f"outside the domain [{low:g}, {high:g}]: give the range of the data with --domain LO,HI"
        )


def _without_own_target(samples: Samples, question: Question, terminal: Terminal) -> Samples:
    """Leave out samples whose label is the only target: there is nothing to ask of them."""
    targets = question.criterion.targets
    if targets is None or len(targets) > 1 or samples.labels is None:
        return samples
    kept = np.flatnonzero(samples.labels != targets[0])
    if not kept.size:
        raise QueryError(f"every sample has the label {targets[0]}, which is the only target: choose others")
    if len(kept) < len(samples):
        terminal.note(
            f"{len(samples) - len(kept)} samples left out: their label {targets[0]} is the only target"
        )
    return samples.only(kept)
