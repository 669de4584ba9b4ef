from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mipverify import __version__
from tests.cli.conftest import ROOT, Invoke, start

HEAVY = ("numpy", "scipy", "torch", "onnx", "onnxruntime", "highspy", "pulp", "pyomo", "jinja2", "matplotlib")

LOADED = """
import sys
from mipverify.cli.entry import main
try:
    main()
except SystemExit as stop:
    loaded = [name for name in {heavy!r} if name in sys.modules]
    print("code", stop.code, "loaded", *loaded, file=sys.stderr)
"""


def loaded_by(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(heavy=HEAVY), *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["certify", "--help"],
        ["distance", "--help"],
        ["inspect", "--help"],
        ["report", "--help"],
        ["--version"],
    ],
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_by(*arguments) == "code 0 loaded"


def test_bad_numbers_are_refused_before_torch_is_loaded() -> None:
    line = loaded_by("certify", "net.onnx", "--eps", "-1")
    assert line.startswith("code 2 loaded")
    assert not {"torch", "onnx", "onnxruntime", "highspy"} & set(line.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, mipverify; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_public_names_resolve() -> None:
    import mipverify

    for name in mipverify.__all__:
        assert getattr(mipverify, name) is not None
    assert set(mipverify.__all__) <= set(dir(mipverify))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = mipverify.no_such_name  # type: ignore[attr-defined]


def test_version_and_missing_command(invoke: Invoke) -> None:
    assert invoke("--version").stdout == f"mipverify {__version__}\n"
    assert invoke("nonsense").exit_code == 2
    assert invoke("certify").exit_code == 2


def test_the_package_runs_as_a_module() -> None:
    out, _ = (process := start("--help")).communicate()
    assert process.returncode == 0
    assert "certify" in out
