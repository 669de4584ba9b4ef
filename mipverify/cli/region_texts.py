"""The region of a question as it stands on the command line, and as the Python interface takes it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from mipverify.cli import parsing
from mipverify.errors import QueryError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mipverify.graph.operators import Float64Array
    from mipverify.problem.families import AnyFamily


class RegionArguments(TypedDict, total=False):
    """Keyword arguments of `certify_batch` and `distance_batch` for some of the samples."""

    mask: Float64Array
    fixed: tuple[int, ...]
    lower: Float64Array
    upper: Float64Array
    radii: Float64Array
    perturbation: AnyFamily
    outside: str
    distance_in: str
    levels: Float64Array
    integers: tuple[int, ...]


@dataclass(frozen=True)
class RegionTexts:
    """What narrows the ball around every sample; None for nothing.

    Attributes:
        mask: a file, or a rectangle R0:R1,C0:C1 of what may move.
        fixed: positions of features that may not move.
        lower, upper: a number or a file each.
        radii: a number or a file.
        perturb: families of perturbations.
        outside: what becomes of perturbed inputs outside of the domain.
        distance_in: theta or input.
        levels: steps a unit that features take values in, a number or a file.
        integer: positions of features that are whole numbers.
    """

    mask: str | None = None
    fixed: str | None = None
    lower: str | None = None
    upper: str | None = None
    radii: str | None = None
    perturb: str | None = None
    outside: str | None = None
    distance_in: str | None = None
    levels: str | None = None
    integer: str | None = None

    @property
    def bounded(self) -> bool:
        """Whether there is a region without any radius."""
        return any(text is not None for text in (self.mask, self.fixed, self.lower, self.upper, self.perturb))

    def given(self) -> dict[str, str]:
        """The texts that were given, by option."""
        return {
            field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None
        }

    def read(self, shape: tuple[int, ...], indices: tuple[int, ...], available: int) -> Region:
        """The numbers that the texts stand for.

        Args:
            shape: of one input, without batch axis.
            indices: the samples that are asked about.
            available: how many samples the data have: a file may hold an array for each of them.

        Raises:
            InputError: a file or a text that cannot be read, or of another shape.
        """
        from mipverify.cli.perturbation_text import read_perturbation
        from mipverify.problem.limits import spread

        arrays = {}
        for name in ("mask", "lower", "upper", "radii", "levels"):
            text = getattr(self, name)
            if text is None:
                continue
            array = spread(f"--{name}", _numbers(name, text, shape), shape, available, number=name != "mask")
            if name == "levels" and array.ndim > 1:
                raise QueryError("--levels are the same for all samples: give one number, or one a feature")
            arrays[name] = array if array.ndim == 1 else array[list(indices)]
        return Region(
            arrays,
            None if self.fixed is None else parsing.indices(self.fixed, "--fixed"),
            None if self.perturb is None else read_perturbation(self.perturb),
            self.outside,
            self.distance_in,
            None if self.integer is None else parsing.indices(self.integer, "--integer"),
        )


@dataclass(frozen=True, eq=False)
class Region:
    """The numbers of a `RegionTexts`, for the samples of a run.

    Attributes:
        arrays: mask, lower, upper, radii and levels as far as given, [n] or [samples, n].
        fixed: positions of features that may not move.
        perturbation: families of perturbations.
        outside: what becomes of perturbed inputs outside of the domain.
        distance_in: theta or input.
        integers: positions of features that are whole numbers.
    """

    arrays: dict[str, Float64Array]
    fixed: tuple[int, ...] | None = None
    perturbation: AnyFamily | None = None
    outside: str | None = None
    distance_in: str | None = None
    integers: tuple[int, ...] | None = None

    def only(self, kept: NDArray[np.int64]) -> Region:
        """The same for some of the samples, by their positions."""
        arrays = {name: array if array.ndim == 1 else array[kept] for name, array in self.arrays.items()}
        return replace(self, arrays=arrays)

    def part(self, positions: range) -> RegionArguments:
        """The arguments for the samples at these positions of the run."""
        result: RegionArguments = {}
        rows = slice(positions.start, positions.stop)
        for name, array in self.arrays.items():
            result[name] = array if array.ndim == 1 else array[rows]  # type: ignore[literal-required]
        for name in ("fixed", "perturbation", "outside", "distance_in", "integers"):
            if (value := getattr(self, name)) is not None:
                result[name] = value  # type: ignore[literal-required]
        return result


def _numbers(name: str, text: str, shape: tuple[int, ...]) -> Float64Array | float:
    from mipverify.frontend.feature_arrays import read_features

    if name == "mask":
        rectangle = _rectangle(text, shape)
        if rectangle is not None:
            return rectangle
    elif _is_number(text):
        return parsing.number(text, f"--{name}")
    return read_features(Path(text))


def _is_number(text: str) -> bool:
    try:
        parsing.number(text, "")
    except QueryError:
        return False
    return True


def _rectangle(text: str, shape: tuple[int, ...]) -> Float64Array | None:
    """The mask of a rectangle of rows R0 to R1 - 1 and columns C0 to C1 - 1, [n]; None for another text."""
    import numpy as np

    from mipverify.problem.families import channel_axis, image_shape

    ends = [part.split(":") for part in text.split(",")]
    if [len(pair) for pair in ends] != [2, 2] or not all(end.strip().isdecimal() for e in ends for end in e):
        return None
    image = image_shape(shape)
    axis = channel_axis(shape)
    mask = np.zeros(image)
    window = [slice(None)] * 3
    for k, (first, last) in zip([k for k in range(3) if k != axis], ends, strict=True):
        start, stop = int(first), int(last)
        if not 0 <= start < stop <= image[k]:
            raise QueryError(
                f"--mask {text}: {start}:{stop} is no part of the {image[k]} rows or columns of an input"
            )
        window[k] = slice(start, stop)
    mask[tuple(window)] = 1.0
    return mask.reshape(-1)
