"""Guard: a network that needs normalised pixels must not be verified on plain ones."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import DataError
from mipverify.graph.operators import Float64Array

if TYPE_CHECKING:
    from mipverify.frontend.network import Network

LOGGER = logging.getLogger(__name__)

SAMPLES = 1000
CANDIDATE_SAMPLES = 300
# A normalisation is missing when it lifts the accuracy by this much on this many samples; a smaller
# lift, or fewer samples, is only worth a warning.
DECISIVE_GAIN, DECISIVE_SAMPLES = 0.2, 20
NOTABLE_GAIN = 0.05


@dataclass(frozen=True)
class Normalisation:
    """(x - mean) / std, one value a channel; a single value stands for every channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    origin: str

    @property
    def options(self) -> str:
        """The command-line options that fold it into the network."""
        return f"--mean {_listed(self.mean)} --std {_listed(self.std)}"


USUAL = (
    Normalisation((0.1307,), (0.3081,), "MNIST"),
    Normalisation((0.5,), (0.5,), "networks that read pixels in [-1, 1]"),
    Normalisation((0.2860,), (0.3530,), "Fashion-MNIST"),
    Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), "CIFAR-10"),
    Normalisation((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616), "CIFAR-10"),
    Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "ImageNet"),
    Normalisation((0.0,), (1 / 255,), "networks that read pixels in [0, 255]"),
    Normalisation((0.0,), (255.0,), "data stored in [0, 255]"),
)


@dataclass(frozen=True)
class CleanAccuracy:
    """Share `correct / total` of samples whose class in onnxruntime is the label."""

    correct: int
    total: int

    @property
    def share(self) -> float:
        """Accuracy in [0, 1]."""
        return self.correct / self.total


def clean_accuracy(network: Network, points: Float64Array, labels: NDArray[np.int64]) -> CleanAccuracy:
    """Accuracy in onnxruntime over points [N, n] with labels [N], N >= 1."""
    predictions = np.asarray(network.run(points)).argmax(axis=1)
    return CleanAccuracy(int((predictions == labels).sum()), len(labels))


def check_clean_accuracy(
    network: Network, points: Float64Array, labels: NDArray[np.int64], *, normalised: bool
) -> CleanAccuracy:
    """Accuracy on an even sample of the data, if no usual normalisation does much better.

    Args:
        network: the network to be verified.
        points: inputs [N, n] in raw units.
        labels: classes [N].
        normalised: whether a mean or std was given, which settles the matter.

    Raises:
        DataError: plain pixels classify badly and a usual normalisation does not.
    """
    chosen = _spread(len(points), SAMPLES)
    plain = clean_accuracy(network, points[chosen], labels[chosen])
    if normalised or plain.share > 1 - NOTABLE_GAIN:
        return plain
    chosen = _spread(len(points), CANDIDATE_SAMPLES)
    best, found = _best_normalisation(network, points[chosen], labels[chosen])
    here = clean_accuracy(network, points[chosen], labels[chosen])
    gain = best.share - here.share
    compared = (
        f"the network classifies {here.share:.1%} of {here.total} samples correctly on plain inputs, "
        f"but {best.share:.1%} with the normalisation usual for {found.origin}"
    )
    if gain >= DECISIVE_GAIN and here.total >= DECISIVE_SAMPLES:
        raise DataError(f"{compared}: add {found.options} (or --mean 0 --std 1 if plain inputs are meant)")
    if gain >= NOTABLE_GAIN:
        LOGGER.warning("%s: is %s missing?", compared, found.options)
    return plain


def _best_normalisation(
    network: Network, points: Float64Array, labels: NDArray[np.int64]
) -> tuple[CleanAccuracy, Normalisation]:
    channels = _channel_of_feature(network.graph.input_shape)
    colour = int(channels.max()) + 1 == 3
    tried = []
    for candidate in USUAL:
        if len(candidate.mean) == 1 or colour:
            mean, std = (
                np.resize(np.asarray(values), 3)[channels] for values in (candidate.mean, candidate.std)
            )
            tried.append((clean_accuracy(network, (points - mean) / std, labels), candidate))
    most = max(accuracy.correct for accuracy, _ in tried)
    # Neighbouring normalisations differ by a sample or two: name the better known one.
    return next(pair for pair in tried if pair[0].correct >= 0.99 * most)


def _channel_of_feature(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Channel of each flat feature: the axis of extent 3 of an image, else one channel."""
    size = int(np.prod(shape, dtype=np.int64))
    if len(shape) == 3 and shape[-1] == 3 and shape[0] != 3:
        return np.arange(size) % 3
    if len(shape) == 3 and shape[0] == 3:
        return np.repeat(np.arange(3), size // 3)
    return np.zeros(size, dtype=np.int64)


def _spread(count: int, limit: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, limit)).astype(np.int64))


def _listed(values: tuple[float, ...]) -> str:
    return ",".join("1/255" if value == 1 / 255 else f"{value:g}" for value in values)
