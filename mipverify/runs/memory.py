"""How much memory a process has, and how it is kept from taking more."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

PROCESSES = Path("/proc")
MEASURABLE = sys.platform == "linux"


def resident(pid: int) -> int:
    """Bytes of memory that a process and its descendants occupy; 0 where that cannot be told."""
    own = _status(pid).get("VmRSS", 0)
    children: list[int] = []
    with suppress(OSError, ValueError):
        for listed in (PROCESSES / str(pid) / "task").glob("*/children"):
            children += map(int, listed.read_text().split())
    return own + sum(map(resident, children))


def limit_growth(limit: int) -> bool:
    """Let allocations of this process fail that would make it occupy more than `limit` bytes.

    What fails raises MemoryError, where libraries know how to; where the system has no such limit, nothing
    fails. False if it occupies more already.
    """
    if not MEASURABLE:
        return True
    import os
    import resource

    now = _status(os.getpid())
    if (left := limit - now.get("VmRSS", 0)) <= 0:
        return False
    allowed = now.get("VmData", 0) + left
    _, highest = resource.getrlimit(resource.RLIMIT_DATA)
    if highest != resource.RLIM_INFINITY:
        allowed = min(allowed, highest)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, highest))
    return True


def memory_text(count: float) -> str:
    """`4.0 GB`, `250 MB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _status(pid: int) -> dict[str, int]:
    """The sizes of /proc/PID/status in bytes, by name."""
    try:
        lines = (PROCESSES / str(pid) / "status").read_text().splitlines()
    except OSError:
        return {}
    sizes = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): 1024 * int(value) for name, value, *_ in sizes}
