"""The pages of decisions: a list of them, and their place in the navigation, from what the folder holds."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

FOLDER = "decisions"
SECTION = "Decisions"
INTRODUCTION = """\
# Decisions

Choices that could have gone another way: what was chosen, why, and what it costs. The newest is last.

"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the section of decisions with the pages that are there."""
    entries = [f"{FOLDER}/index.md", *(f"{FOLDER}/{page.name}" for page in _pages(config))]
    assert config.nav is not None
    config.nav = [{SECTION: entries} if entry == SECTION else entry for entry in config.nav]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the list."""
    lines = [f"- [{_title(page)}]({page.name})\n" for page in _pages(config)]
    files.append(File.generated(config, f"{FOLDER}/index.md", content=INTRODUCTION + "".join(lines)))
    return files


def _pages(config: MkDocsConfig) -> list[Path]:
    return sorted(Path(config.docs_dir, FOLDER).glob("[0-9]*.md"))


def _title(page: Path) -> str:
    with page.open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip().replace(". ", "\\. ", 1)
