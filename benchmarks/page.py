"""The page: tables and figures of results, as one HTML file, or as Markdown with figures beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.agreement import contradictions
from benchmarks.figures import figures
from benchmarks.rows import Row
from benchmarks.suite import Suite, SuiteError, read_suite
from benchmarks.tables import Table, grouped, tables
from mipverify.errors import InputError
from mipverify.report.figures.figure import Figure

BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
TEMPLATES = Path(__file__).parent / "templates"
STYLE = Path(__file__).resolve().parents[1] / "mipverify" / "report" / "templates" / "style.css"


@dataclass(frozen=True)
class Chapter:
    """The results of one suite.

    Attributes:
        suite: it, or what is known of it.
        command: that reproduces them.
        facts: where and with what they were measured, by name.
        tables, figures: of them.
    """

    suite: Suite
    command: str
    facts: list[tuple[str, str]]
    tables: list[Table]
    figures: list[Figure]


def write_page(rows: Sequence[Row], path: Path) -> None:
    """Write `path`; Markdown goes between the marks of a page that is there, its figures into a folder.

    Raises:
        InputError: neither .html nor .md, or a page without marks.
    """
    if path.suffix not in (".html", ".md"):
        raise InputError(f"a page is .html or .md, not {path.name}")
    made = [_chapter(name, some) for name, some in grouped(rows, lambda row: row.suite).items()]
    if path.suffix == ".md":
        filled(path, "")
    path.parent.mkdir(parents=True, exist_ok=True)
    against = contradictions(rows)
    if path.suffix == ".html":
        path.write_text(_rendered("page.html.j2", made, against), encoding="utf-8")
        return
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    for chapter in made:
        for number, figure in enumerate(chapter.figures):
            (folder / figure_file(chapter, number)).write_text(alone(figure), encoding="utf-8")
    text = _rendered("page.md.j2", made, against, folder=folder.name, figure_file=figure_file)
    path.write_text(filled(path, text), encoding="utf-8")


def filled(path: Path, text: str) -> str:
    """The page with the text between its marks; a new page where there is none.

    Raises:
        InputError: there is a page without marks, which nobody wants to lose.
    """
    if not path.exists():
        return f"# Results\n\n{BEGIN}\n\n{text}\n{END}\n"
    old = path.read_text(encoding="utf-8")
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{path} is there, and has no lines {BEGIN} and {END} to write between")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def figure_file(chapter: Chapter, number: int) -> str:
    """The name of the file of a figure."""
    return f"{chapter.suite.name}-{number + 1}.svg"


def alone(figure: Figure) -> str:
    """A drawing as a file: with its own colours, light and dark."""
    style = STYLE.read_text(encoding="utf-8")
    colours = style[: style.index("@media print")]
    opening = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    start, rest = figure.svg.replace("<svg ", opening, 1).split(">", 1)
    return f"{start}>\n<style>{colours}</style>{rest}\n"


def _chapter(name: str, rows: Sequence[Row]) -> Chapter:
    try:
        suite = read_suite(name)
    except SuiteError:  # it is somebody's own, or it is gone
        suite = Suite(name, name)
    word = "".join(letter for letter in name if letter.isalnum())
    return Chapter(
        suite,
        f"python -m benchmarks run {name}",
        facts(rows),
        tables(rows),
        list(figures(rows, suite.curves, word)),
    )


def facts(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Commits, machines, versions, loads, seeds and days of rows."""

    def all_of(values: Sequence[str]) -> str:
        return ", ".join(dict.fromkeys(value for value in values if value))

    loads = [row.load for row in rows if row.load >= 0]
    told = [
        ("Rows", str(len(rows))),
        ("Commit", all_of([row.commit for row in rows])),
        ("Machine", all_of([row.machine for row in rows])),
        ("Versions", all_of([row.versions for row in rows])),
        ("Load average", f"{min(loads):g} to {max(loads):g}" if loads else ""),
        ("Limits", all_of([f"{row.limit:g} s" for row in rows])),
        ("Seeds", all_of([str(row.seed) for row in rows])),
        ("Measured", all_of(sorted(row.time[:10] for row in rows))),
    ]
    return [(name, text) for name, text in told if text]


def _rendered(template: str, chapters: Sequence[Chapter], against: Sequence[str], **more: object) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["drawing"] = Markup
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace(" %", "\u00a0%")
    style = Markup(STYLE.read_text(encoding="utf-8"))
    return environment.get_template(template).render(
        chapters=chapters, contradictions=against, style=style, **more
    )
