"""Many answers as a notebook shows them: a bar of verdicts, and the head of a table."""

from __future__ import annotations

from dataclasses import dataclass

from mipverify.display.page_parts import rendered

MOST_ROWS = 10
COLUMNS = ("index", "label", "status", "interval", "becomes", "decided by", "evidence", "seconds")


@dataclass(frozen=True)
class Line:
    """One sample of the table; texts in the order of `COLUMNS`, the status apart for its colour."""

    status: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Collection:
    """What is shown of many answers.

    Attributes:
        title: what they are about.
        result: the outcome, in a sentence.
        notes: what a reader must know before reading on.
        counts: number of samples by status; those of 0 are left out.
        words: what a status is called for this question.
        lines: the first samples, at most `MOST_ROWS`.
        total: number of all samples.
    """

    title: str
    result: str
    notes: tuple[str, ...]
    counts: dict[str, int]
    words: dict[str, str]
    lines: tuple[Line, ...]
    total: int


def collection_html(collection: Collection) -> str:
    """The answers as a piece of HTML that needs nothing else."""
    return rendered("collection.html.j2", all=collection, columns=COLUMNS)
