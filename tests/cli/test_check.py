"""`mipverify check` on certificates and runs, honest and not."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mipverify.certificate.format import CertificateFile, read_certificate, write_certificate
from mipverify.cli.main import app
from tests.cli.conftest import CONV, MLP, Invoke
from tests.stored import change, change_manifest, records


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Verified and falsified samples."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["certify", MLP, "--eps", "0.12", "-n", "8", "--proof", "always", "--out", str(folder)]
    CliRunner().invoke(app, arguments)
    return folder


@pytest.fixture
def run(honest: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(honest, tmp_path / "run"))


def first(run: Path, status: str) -> dict[str, object]:
    return next(record for record in records(run) if record["status"] == status)


def test_an_honest_run_is_accepted(run: Path, invoke: Invoke) -> None:
    statuses = {record["status"] for record in records(run)}
    assert {"verified", "falsified"} <= statuses
    result = invoke("check", run)
    assert result.exit_code == 0, result.output
    assert "rejected           0" in result.output
    assert f"accepted           {len(records(run))}" in result.output


def test_one_certificate_in_both_arithmetics(run: Path, invoke: Invoke) -> None:
    path = run / str(first(run, "verified")["certificate"])
    for arithmetic in ("exact", "float"):
        result = invoke("check", path, "--arithmetic", arithmetic)
        assert result.exit_code == 0, result.output
        assert arithmetic in result.output
        assert "0.12" in result.output
    values = json.loads(invoke("check", path, "--json").output)
    assert values["accepted"]
    assert values["lower"] == 0.12
    assert values["margin"] > 0


@pytest.mark.parametrize(
    ("status", "values", "word"),
    [
        ("verified", {"lower_bound": 0.2}, "larger lower bound"),
        ("verified", {"label": 11}, "every other class"),
        ("verified", {"norm": "l1"}, "another norm"),
        ("verified", {"certificate": None}, "proof is missing"),
        ("verified", {"certificate": "../elsewhere.npz"}, "outside"),
        ("verified", {"certificate": "certificates/999999.npz"}, "cannot be read"),
        ("falsified", {"eps": 0.01}, "within eps"),
        ("falsified", {"upper_bound": 0.001}, "smaller upper bound"),
        ("falsified", {"status": "misclassified"}, "input itself"),
        ("verified", {"eps": 0.05}, "another question"),
        ("verified", {"criterion": None}, "does not say which outputs"),
        ("verified", {"criterion": {"reading": "label", "targets": [1, 2], "alpha": 0.0}}, "other targets"),
        (
            "verified",
            {"criterion": {"reading": "argmax", "targets": None, "alpha": 0.5}},
            "every other class",
        ),
        ("verified", {"lower_bound": "0.1"}, "no number as lower_bound"),
        ("verified", {"certificate": "certificates/\0.npz"}, "cannot be read"),
    ],
)
def test_records_that_say_more_than_their_certificates(
    run: Path, invoke: Invoke, status: str, values: dict[str, object], word: str
) -> None:
    index = first(run, status)["index"]
    assert isinstance(index, int)
    change(run, index, **values)
    result = invoke("check", run)
    assert result.exit_code == 1
    assert word in result.output


def test_verified_within_more_than_the_certificate_shows(run: Path, invoke: Invoke) -> None:
    """A record without any lower bound, in a run that asks for more."""
    change_manifest(run, "question", eps=0.2)
    for record in records(run):
        change(run, int(str(record["index"])), eps=0.2, lower_bound=None)
    result = invoke("check", run)
    assert result.exit_code == 1
    assert "within eps" in result.output


def test_verified_without_a_proof_is_not_accepted(run: Path, invoke: Invoke) -> None:
    index = first(run, "verified")["index"]
    assert isinstance(index, int)
    change(run, index, evidence="solver claim")
    result = invoke("check", run)
    assert f"accepted           {len(records(run)) - 1}" in result.output
    assert "1 verified on: solver claim" in result.output


def test_certificates_about_another_normalisation(run: Path, invoke: Invoke) -> None:
    """Large standard deviations make any network constant: those of the run count, be they ever so plain."""
    path = run / str(first(run, "verified")["certificate"])
    file = read_certificate(path)
    size = file.arrays["center"].shape
    arrays = file.arrays | {"mean": np.zeros(size), "std": np.ones(size)}
    write_certificate(path, CertificateFile(file.header, arrays))
    assert "another normalisation" in invoke("check", run).output


def test_offsets_that_differ(run: Path, invoke: Invoke) -> None:
    """A margin that one class alone has to reach is not the margin of the question."""
    record = first(run, "falsified")
    path = run / str(record["certificate"])
    change(run, int(str(record["index"])), evidence="none", lower_bound=0.0)
    file = read_certificate(path)
    offset = file.arrays["unsafe_offset"].copy()
    offset[0] = -100.0
    header = file.header | {"lower": None}
    write_certificate(path, CertificateFile(header, file.arrays | {"unsafe_offset": offset}))
    assert "every other class" in invoke("check", run).output


@pytest.mark.parametrize("index", [math.inf, 7, None, "0"])
def test_a_record_of_another_sample(run: Path, invoke: Invoke, index: object) -> None:
    change(run, 0, index=index)
    result = invoke("check", run)
    assert result.exit_code == 2
    assert "no record" in result.output


def test_certificates_about_less_than_the_domain(run: Path, invoke: Invoke) -> None:
    change_manifest(run, "question", domain=[-1.0, 1.0])
    result = invoke("check", run)
    assert result.exit_code == 1
    assert "smaller domain" in result.output


def test_masks_are_not_compared_and_it_says_so(tmp_path: Path, invoke: Invoke) -> None:
    out = tmp_path / "run"
    invoke("certify", CONV, "--eps", "0.1", "--mask", "0:3,0:3", "-n", "2", "--out", out)
    result = invoke("check", out)
    assert result.exit_code == 0, result.output
    assert "limits of the inputs of the run are not compared" in result.output


def test_a_certificate_of_another_sample(run: Path, invoke: Invoke) -> None:
    verified = [record for record in records(run) if record["status"] == "verified"]
    index = verified[0]["index"]
    assert isinstance(index, int)
    change(run, index, certificate=verified[1]["certificate"])
    result = invoke("check", run)
    assert result.exit_code == 1
    assert "another input" in result.output or "every other class" in result.output


def test_a_witness_that_was_moved(run: Path, invoke: Invoke) -> None:
    path = run / str(first(run, "falsified")["certificate"])
    file = read_certificate(path)
    moved = {**file.arrays, "witness": file.arrays["center"].astype(np.float32).astype(np.float64)}
    write_certificate(path, CertificateFile(file.header, moved))
    result = invoke("check", path)
    assert result.exit_code == 1
    assert "not unsafe" in result.output


def test_a_witness_that_no_float32_input_holds(run: Path, invoke: Invoke) -> None:
    path = run / str(first(run, "falsified")["certificate"])
    file = read_certificate(path)
    nudged = np.nextafter(file.arrays["witness"], file.arrays["center"])
    write_certificate(path, CertificateFile(file.header, {**file.arrays, "witness": nudged}))
    result = invoke("check", path)
    assert result.exit_code == 1
    assert "cannot hold" in result.output


def test_bad_input(run: Path, invoke: Invoke, tmp_path: Path) -> None:
    path = run / str(first(run, "verified")["certificate"])
    assert invoke("check", path, "--network", CONV).exit_code == 1
    for arguments, word in (
        ((path, "--arithmetic", "quantum"), "choose auto"),
        ((path, "--network", tmp_path / "none.onnx"), "cannot be read"),
        ((tmp_path / "none",), "--network"),
        ((tmp_path,), "is not a run"),
    ):
        result = invoke("check", *arguments)
        assert result.exit_code == 2, result.output
        assert word in result.output


def test_proofs_are_off_without_a_folder_and_unknown_choices_are_refused(invoke: Invoke) -> None:
    result = invoke("certify", MLP, "--eps", "0.02", "-n", "1", "--json")
    assert json.loads(result.stdout.splitlines()[0])["evidence"] == "bound propagation"
    result = invoke("certify", MLP, "--eps", "0.02", "-n", "1", "--json", "--proof", "always")
    assert json.loads(result.stdout.splitlines()[0])["evidence"] == "checked proof"
    assert invoke("certify", MLP, "--eps", "0.02", "--proof", "maybe").exit_code == 2
