"""The answers of a run: in the order of the samples, or as they are found."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import overload

from mipverify.verify.certificate import Certificate
from mipverify.verify.news import News, in_order


class Answers(Generator[Certificate, None, None]):
    """One certificate a sample, in order, each as soon as those before it are known.

    Args:
        found: the same, as they are found.
    """

    def __init__(self, found: Generator[News]) -> None:
        self._found = found
        self._in_order = in_order(found)

    def as_completed(self) -> Generator[News]:
        """What is found about the samples, at once: final ones in any order, and others before them.

        In between, who is worked on.

        To be used instead of the order, not besides.
        """
        return self._found

    def send(self, value: None) -> Certificate:
        """The next certificate."""
        return self._in_order.send(value)

    @overload
    def throw(
        self, typ: type[BaseException], val: object = None, tb: TracebackType | None = None, /
    ) -> Certificate: ...

    @overload
    def throw(
        self, typ: BaseException, val: None = None, tb: TracebackType | None = None, /
    ) -> Certificate: ...

    def throw(
        self, typ: type[BaseException] | BaseException, val: object = None, tb: TracebackType | None = None, /
    ) -> Certificate:
        """Raise an exception where the run stands; KeyboardInterrupt ends it with what is known."""
        if isinstance(typ, BaseException):
            return self._in_order.throw(typ)
        return self._in_order.throw(typ, val, tb)

    def close(self) -> None:
        """End the run, whatever it is doing."""
        self._in_order.close()
        self._found.close()
