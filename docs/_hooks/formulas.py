"""Formulas to MathML when the site is built: browsers draw it themselves, no script is needed."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

# What pymdownx.arithmatex makes of $...$ and $$...$$.
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', flags=re.DOTALL)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """The page with every formula converted."""

    def mathml(found: re.Match[str]) -> str:
        formula = html.unescape(found[3]).strip()
        try:
            written = convert(formula, display="block" if found[2] == "[" else "inline")
        except Exception as error:
            raise PluginError(f"{page.file.src_uri}: no MathML for {formula!r}: {error!r}") from error
        if "&amp;" in written or "<mi>\\" in written or "<mtext>\\" in written:
            raise PluginError(f"{page.file.src_uri}: MathML does not say {formula!r}: {written}")
        return f'<div class="formula">{written}</div>' if found[2] == "[" else written

    return FORMULA.sub(mathml, content)
