"""Figure: a drawing with its words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A part of the page.

    Attributes:
        title: its heading.
        svg: the drawing, an element that can be put on a page.
        caption: what it shows, and what it leaves out.
    """

    title: str
    svg: str
    caption: str
