"""Pieces of HTML from templates; whatever they are given is escaped."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
# White text is legible on each, and each on a light and on a dark page.
COLOURS = {
    "verified": "#1d7a46",
    "falsified": "#c02f2a",
    "unknown": "#8f6a00",
    "misclassified": "#6f42a8",
    "error": "#59636e",
}


def rendered(template: str, **values: object) -> str:
    """The template of this name with its values."""
    return _environment().get_template(template).render(colours=COLOURS, **values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
