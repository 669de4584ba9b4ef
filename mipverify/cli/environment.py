"""What a run was started with: command line, versions, machine and time."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib import metadata

PACKAGES = ("numpy", "scipy", "torch", "onnx", "onnxruntime", "highspy", "pulp", "pyomo")


def command_line() -> str:
    """The command as a shell would take it again, in the same directory."""
    return shlex.join(["mipverify", *sys.argv[1:]])


def environment() -> dict[str, object]:
    """Interpreter, system, number of processors and versions of what answers rest on; nothing personal."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": {name: version for name in PACKAGES if (version := _version(name)) is not None},
    }


def utc_now() -> str:
    """The time, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
