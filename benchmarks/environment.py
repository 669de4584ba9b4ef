"""Where and with what a figure was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import mipverify

PACKAGES = ("numpy", "torch", "onnxruntime", "highspy", "pyomo", "omlt", "maraboupy")


@cache
def commit() -> str:
    """The commit of the mipverify that is imported, with a + for changes; empty outside of a repository."""
    folder = Path(mipverify.__file__).resolve().parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(folder))
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


@cache
def versions() -> str:
    """Python, mipverify and the packages that do the work."""
    found = [f"python {platform.python_version()}", f"mipverify {mipverify.__version__}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return "; ".join(found)


@cache
def machine() -> str:
    """Processor, logical cores, memory, system."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (OSError, ValueError, AttributeError):
        memory = ""
    return f"{name}, {os.cpu_count()} cores{memory}, {platform.system()}"


def load() -> float:
    """The load average of the last minute; NaN where there is none."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return float("nan")


def now() -> str:
    """Date and time, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
