"""VNN-LIB text to nested forms; every token knows where it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from mipverify.errors import PropertyError

DEEPEST = 200  # nesting; the readers of forms are recursive

_SPACE = re.compile(r"\s+")
# A name with the index of version 2 behind it (`X [0, 1]`) is one token.
_LEXEME = re.compile(
    r"""(?P<space>\s+|;[^\n]*)
      | (?P<parenthesis>[()])
      | (?P<quoted>"[^"]*"|\|[^|]*\|)
      | (?P<word>[^\s();"|\[\]]+(?:\s*\[[^\[\]();]*\])?)
      | (?P<stray>.)""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """One word: a keyword, name, number or string, and its position in the text."""

    text: str
    offset: int


class Form(NamedTuple):
    """`( ... )`: tokens and forms, and the position of the opening parenthesis."""

    items: tuple[Token | Form, ...]
    offset: int

    @property
    def head(self) -> str:
        """Its first word; empty where there is none."""
        first = self.items[0] if self.items else None
        return first.text if isinstance(first, Token) else ""


Expression = Token | Form


@dataclass(frozen=True)
class Source:
    """A property as text.

    Attributes:
        text: what the file holds.
        name: what messages call it.
    """

    text: str
    name: str

    def error(self, at: Expression | int, reason: str) -> PropertyError:
        """What is wrong there, with its line; `{}` in the reason becomes the token or the form."""
        offset = at if isinstance(at, int) else at.offset
        if "{}" in reason:
            reason = reason.replace("{}", repr(at.text if isinstance(at, Token) else self._form_at(offset)))
        return PropertyError(self.name, self.text.count("\n", 0, offset) + 1, reason)

    def _form_at(self, offset: int) -> str:
        """The form that begins there, or the beginning of it, on one line."""
        depth, text = 0, self.text[offset : offset + 200]
        for end, letter in enumerate(text):
            depth += (letter == "(") - (letter == ")")
            if depth == 0:
                text = text[: end + 1]
                break
        line = _SPACE.sub(" ", text)
        return line if len(line) <= 60 else line[:59] + "…"


def read_forms(source: Source) -> tuple[Form, ...]:
    """The forms of a text, in order.

    Raises:
        PropertyError: parentheses that do not match, words outside of any, a character that has no meaning.
    """
    forms: list[Form] = []
    open_forms: list[tuple[int, list[Expression]]] = []
    for match in _LEXEME.finditer(source.text):
        kind = match.lastgroup
        if kind == "space":
            continue
        offset, text = match.start(), match.group()
        if text == "(":
            if len(open_forms) == DEEPEST:
                raise source.error(offset, f"more than {DEEPEST} parentheses within each other at '('")
            open_forms.append((offset, []))
        elif text == ")":
            if not open_forms:
                raise source.error(offset, "')' closes nothing: a '(' is missing before it")
            start, items = open_forms.pop()
            (open_forms[-1][1] if open_forms else forms).append(Form(tuple(items), start))
        elif kind == "stray":
            raise source.error(offset, f"unexpected character {text!r}")
        elif not open_forms:
            raise source.error(Token(text, offset), "expected '(' instead of {}")
        else:
            open_forms[-1][1].append(Token(_SPACE.sub("", text) if text[-1] == "]" else text, offset))
    if open_forms:
        raise source.error(open_forms[-1][0], "'(' is never closed: a ')' is missing, or the file is cut off")
    return tuple(forms)
