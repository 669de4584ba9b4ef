"""Boxes of a search over inputs with what was proven of each, compact: what a proof can be made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mipverify.graph.operators import Float64Array
from mipverify.search.box_frontier import BoolArray

MOST_BYTES = 1 << 26


@dataclass(eq=False)
class BoxLeaves:
    """Boxes that were bounded, what was proven of each, and what was left of it.

    Boxes stand in the order in which they were bounded, parents before their halves. A polytope that was open
    before and is not after misses the box; one open after is reached, if at all, within `left`.

    Attributes:
        most_bytes: memory from which boxes are only counted.
        dropped: number of boxes that found no room.
        by_program: number of pairs of a box and a polytope that a program excluded: what was left of these
            boxes has no halves.
    """

    most_bytes: int = MOST_BYTES
    dropped: int = 0
    by_program: int = 0
    num_bytes: int = 0
    _blocks: list[tuple[Float64Array, Float64Array, BoolArray, BoolArray]] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of boxes kept."""
        return sum(len(block[0]) for block in self._blocks)

    @property
    def complete(self) -> bool:
        """Whether every box is kept."""
        return not self.dropped

    def add(self, sides: Float64Array, left: Float64Array, before: BoolArray, after: BoolArray) -> None:
        """Keep boxes while there is room.

        Args:
            sides: lower and upper ones, [boxes, 2, n].
            left: of the part where the polytopes open after may be reached; NaN where none is, [boxes, 2, n].
            before: polytopes that were open, bool [boxes, polytopes].
            after: polytopes that are open, bool [boxes, polytopes].
        """
        block = (sides, left, before, after)
        size = sum(int(column.nbytes) for column in block)
        if self.dropped or self.num_bytes + size > self.most_bytes:
            self.dropped += len(sides)
            return
        self._blocks.append(block)
        self.num_bytes += size

    def boxes(self) -> tuple[Float64Array, Float64Array, BoolArray, BoolArray]:
        """Sides, what was left, polytopes open before and after, as in `add`; ValueError if none is kept."""
        sides, left, before, after = zip(*self._blocks, strict=True)
        return np.concatenate(sides), np.concatenate(left), np.concatenate(before), np.concatenate(after)
