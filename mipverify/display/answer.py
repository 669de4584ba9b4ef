"""One answer as a notebook shows it: verdict, pictures or bars, interval and evidence."""

from __future__ import annotations

from dataclasses import dataclass

from mipverify.display.change import Change
from mipverify.display.page_parts import rendered


@dataclass(frozen=True)
class Answer:
    """What is shown of one answer.

    Attributes:
        status: verified, falsified, unknown, misclassified or error; chooses the colour.
        word: what the status is called for this question.
        claim: the answer, in a sentence.
        label: the class of the input, as text; empty where there is none.
        becomes: the class of the counterexample, likewise.
        change: from the input to the counterexample; None without one.
        picture: of the input, as an address, where there is no counterexample to show it beside.
        facts: names and values.
    """

    status: str
    word: str
    claim: str
    label: str
    becomes: str
    change: Change | None
    picture: str | None
    facts: tuple[tuple[str, str], ...]


def answer_html(answer: Answer) -> str:
    """The answer as a piece of HTML that needs nothing else."""
    return rendered("answer.html.j2", answer=answer)
