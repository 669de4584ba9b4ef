"""From the entry of a suite to a method."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.methods.command import CommandMethod
from benchmarks.methods.marabou import marabou_method
from benchmarks.methods.method import Method
from benchmarks.methods.mipverify_method import MipverifyMethod, TextbookMethod
from benchmarks.methods.omlt import omlt_method
from benchmarks.suite import MethodEntry, SuiteError

PLAIN: dict[str, Callable[[], Method]] = {
    "textbook": TextbookMethod,
    "omlt": omlt_method,
    "marabou": marabou_method,
}
KINDS = ("mipverify", *PLAIN, "command")


def kind_of(entry: MethodEntry) -> str:
    """The kind that an entry names, or its name."""
    return entry.kind or ("command" if entry.command else entry.name)


def make_method(entry: MethodEntry, batch: int | None = None) -> Method:
    """The method of an entry.

    Raises:
        SuiteError: there is no such kind, or it takes no such options.
        QueryError: options or a command that make no sense.
    """
    kind = kind_of(entry)
    if kind == "mipverify":
        return MipverifyMethod(dict(entry.options), batch)
    if entry.options:
        raise SuiteError(f"method {entry.name!r}: only mipverify takes options, not {kind}")
    if kind == "command":
        return CommandMethod(entry.command)
    if kind in PLAIN:
        return PLAIN[kind]()
    raise SuiteError(f"method {entry.name!r}: unknown kind {kind!r}, choose from {', '.join(KINDS)}")
