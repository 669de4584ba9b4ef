"""The reference of the command line, read off the program itself whenever the site is built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGE = "reference/command-line.md"
ARGUMENT, PLAIN = "Argument", "Option"
INTRODUCTION = """\
# Command line

Taken from the program: `mipverify COMMAND --help` says the same. Results go to stdout, notes and progress to
stderr. What the [exit codes](../records.md) mean is the same for all commands.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to those of the site."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """The page in Markdown: a section a command, a table a group of options."""
    from mipverify.cli.main import app

    program: Any = typer.main.get_command(app)
    parts = [INTRODUCTION, *_options(program.params)]
    for name, command in program.commands.items():
        if not command.hidden:
            parts.extend(_command(name, command))
    return "\n".join(parts)


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [p.metavar or p.name.upper() for p in command.params if p.param_type_name == "argument"]
    yield f"\n## {name}\n"
    yield f"```\nmipverify {' '.join([name, '[OPTIONS]', *arguments])}\n```\n"
    yield _escaped(command.help) + "\n"
    yield from _options(command.params)


def _options(parameters: list[Any]) -> Iterator[str]:
    panels: dict[str, list[Any]] = {}
    for parameter in parameters:
        if not parameter.hidden:
            plain = ARGUMENT if parameter.param_type_name == "argument" else PLAIN
            panels.setdefault(parameter.rich_help_panel or plain, []).append(parameter)
    for panel in sorted(panels, key=lambda name: (name != ARGUMENT, name == PLAIN)):
        yield f"\n| {panel} | |\n| --- | --- |"
        yield from (f"| {_names(p)} | {_meaning(p)} |" for p in panels[panel])


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    names = sorted([*parameter.opts, *parameter.secondary_opts], key=len, reverse=True)
    takes_value = not (parameter.is_flag or parameter.count)
    value = f" {parameter.metavar or parameter.name.upper()}" if takes_value else ""
    return ", ".join(f"`{name}{value if name == names[0] else ''}`" for name in names)


def _meaning(parameter: Any) -> str:
    text = _escaped(" ".join((parameter.help or "").split()))
    if isinstance(parameter.show_default, str):
        return f"{text} Default: {_escaped(parameter.show_default)}."
    shown = parameter.show_default and not getattr(parameter, "is_flag", False)
    if shown and parameter.default not in (None, ""):
        return f"{text} Default: `{parameter.default}`."
    return text


def _escaped(text: str) -> str:
    """The text with what Markdown would take for markup escaped, outside of code."""
    parts = text.split("`")
    plain = [re.sub(r"([*_|\[\]])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    return "`".join(
        piece for pair in zip(plain, [*parts[1::2], None], strict=True) for piece in pair if piece is not None
    )
