"""Queries that end badly where they are answered: importable by workers."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from mipverify.errors import SoundnessError
from mipverify.frontend.network import Network
from mipverify.problem.query import Query
from mipverify.problem.region import Ball


class Deadly(Query):
    """Ends the process that receives it."""

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return os._exit, (3,)


class Contradiction(Query):
    """Raises a soundness error where it is answered."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return Raising, ("lower bound 2 exceeds upper bound 1",)


class Raising:
    """Stands where a query should, until somebody asks for its region."""

    parametrised = None

    def __init__(self, message: str) -> None:
        self.message = message

    @property
    def region(self) -> Ball:
        raise SoundnessError(self.message)


class Parent(Query):
    """Starts a process that would outlive the one that receives it, then ends that."""

    def __init__(self, query: Query, child: Path) -> None:
        super().__init__(query.region, query.unsafe, query.label)
        object.__setattr__(self, "child", child)

    def __reduce__(self) -> tuple[Callable[[Path], object], tuple[Path]]:
        return _orphan, (self.child,)  # type: ignore[attr-defined]


def _orphan(child: Path) -> None:
    child.write_text(str(subprocess.Popen(["sleep", "600"]).pid))
    os.kill(os.getpid(), signal.SIGSEGV)


class Unreadable(Query):
    """Cannot be unpickled."""

    def __reduce__(self) -> tuple[Callable[[int, int], object], tuple[int, int]]:
        return divmod, (1, 0)


class Heavy(Network):
    """Ends processes that receive it, until so many have ended: as the kernel does where memory is short."""

    @classmethod
    def of(cls, network: Network, count: int, tally: Path) -> Heavy:
        found = cls(**{field.name: getattr(network, field.name) for field in fields(network) if field.init})
        object.__setattr__(found, "told", (network, count, tally))
        return found

    def __reduce__(self) -> tuple[Callable[..., Network], tuple[object, ...]]:
        return _received, self.told  # type: ignore[attr-defined]


def _received(network: Network, count: int, tally: Path) -> Network:
    with tally.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        ended = len(file.read())
        if ended < count:
            file.write("x")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    return network
