"""`mipverify check`: are the claims of a certificate, or of a whole run, true?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mipverify.cli import options as cli
from mipverify.cli.exit_codes import ExitCode
from mipverify.errors import InputError, StoreError
from mipverify.store.reading import read_manifest

if TYPE_CHECKING:
    from mipverify.certificate.check import ArithmeticChoice, Verdict
    from mipverify.certificate.run_check import CheckedRecord
    from mipverify.graph.operators import Float64Array


def check(
    target: Annotated[
        Path, typer.Argument(metavar="RUN|CERTIFICATE", help="Folder of a run, or one .npz file of it.")
    ],
    network: Annotated[
        Path | None,
        typer.Option(
            "--network",
            metavar="FILE",
            help="The ONNX file; by default the one that the run names.",
            show_default=False,
        ),
    ] = None,
    arithmetic: Annotated[
        str,
        typer.Option(
            "--arithmetic",
            metavar="auto|exact|float",
            help="Exact rationals, floats rounded outward, or exact where that is quick.",
        ),
    ] = "auto",
    as_json: cli.JsonOption = False,
    quiet: cli.QuietOption = False,
) -> None:
    """Check every claim that can be checked, with neither solver nor search.

    Exit codes: 0 all accepted; 1 something was rejected; 2 bad usage or unreadable files.
    """
    from mipverify.certificate.check import ArithmeticChoice

    try:
        choice = ArithmeticChoice(arithmetic)
    except ValueError:
        raise InputError(f"unknown arithmetic {arithmetic!r}: choose auto, exact or float") from None
    try:
        accepted = (
            _run(target, network, choice, as_json, quiet)
            if target.is_dir()
            else _one(target, network, choice, as_json, quiet)
        )
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error
    raise typer.Exit(ExitCode.VERIFIED if accepted else ExitCode.FALSIFIED)


def _one(target: Path, network: Path | None, choice: ArithmeticChoice, as_json: bool, quiet: bool) -> bool:
    from mipverify.certificate.check import check as check_certificate
    from mipverify.certificate.format import read_certificate

    named = network or _network_of(target.parent.parent)
    verdict = check_certificate(target, named, arithmetic=choice)
    if as_json:
        typer.echo(json.dumps({"certificate": str(target), **_values(verdict)}))
    elif not quiet:
        header = read_certificate(target).header if verdict.accepted else {}
        typer.echo("\n".join(_lines(target, verdict, str(header.get("norm")))))
    return verdict.accepted


def _network_of(run: Path) -> Path:
    """The network file that a run names."""
    try:
        found = read_manifest(run)["network"]["file"]
    except (StoreError, KeyError, TypeError):
        raise InputError(f"{run} does not name its network: give it with --network FILE") from None
    if not isinstance(found, str) or not Path(found).exists():
        raise InputError(f"the network {found} of {run} is not there: give it with --network FILE")
    return Path(found)


def _run(run: Path, network: Path | None, choice: ArithmeticChoice, as_json: bool, quiet: bool) -> bool:
    from mipverify.certificate.record_claims import Asked
    from mipverify.certificate.run_check import check_run

    manifest = read_manifest(run)
    if manifest.get("query") == "vnnlib":
        if network is not None:
            raise InputError(
                f"{run} is about properties, each of which names its network: leave out --network"
            )
        from mipverify.cli.property_check import check_property_run

        return check_property_run(run, as_json=as_json, quiet=quiet)
    named = network or _network_of(run)
    asked = Asked(_inputs(manifest), _domain(manifest), _question(manifest), _normalisation(manifest))
    if asked.inputs is None:
        typer.echo("note: the data of the run cannot be read: inputs are not compared with it", err=True)
    if asked.domain is None:
        typer.echo("note: the limits of the inputs of the run are not compared", err=True)
    if asked.question is None:
        typer.echo("note: the run does not say what it asks: records are not compared with it", err=True)
    elif (asked.question.get("criterion") or {}).get("output") is not None:
        typer.echo("note: conditions on outputs are not compared with the certificates", err=True)
    if asked.normalisation is None:
        typer.echo("note: the run does not name its normalisation: it is not compared", err=True)
    found: list[CheckedRecord] = []
    for record in check_run(run, named, asked=asked, arithmetic=choice):
        found.append(record)
        if as_json:
            values = {} if record.verdict is None else _values(record.verdict)
            findings = [*values.pop("findings", []), *record.findings]
            typer.echo(json.dumps({"index": record.index, **values, "findings": findings}))
        elif not quiet:
            typer.echo(_record_line(record))
    if not as_json:
        typer.echo("\n".join([""] * (not quiet) + list(_summary(found))))
    return not any(record.rejected for record in found)


def _inputs(manifest: dict[str, Any]) -> Float64Array | None:
    """The samples of the data that the run was about, [samples, n]; None where they cannot be had."""
    from mipverify.frontend.datasets import load_dataset
    from mipverify.frontend.layout import flat_inputs

    try:
        shape = tuple(int(size) for size in manifest["network"]["input_shape"])
        source = manifest["data"]["argument"]
        size = 1
        for extent in shape:
            size *= extent
        return flat_inputs(load_dataset(source, input_size=size), shape)[0]
    except (InputError, OSError, ValueError, KeyError, TypeError):
        return None


def _domain(manifest: dict[str, Any]) -> tuple[float, float] | None:
    """The range of every input; None where the question narrows it sample by sample, or does not say."""
    try:
        question = manifest["question"]
        if question["region"] is not None:
            return None
        low, high = question["domain"] or ("-inf", "inf")
        return float(low), float(high)
    except (ValueError, KeyError, TypeError):
        return None


def _question(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """What is the same for all samples; None where the run does not say."""
    try:
        question = manifest["question"]
        eps = {"eps": question["eps"]} if question["region"] is None else {}
        return {"norm": question["norm"], "criterion": dict(question["criterion"]), **eps}
    except (ValueError, KeyError, TypeError):
        return None


def _normalisation(manifest: dict[str, Any]) -> str | None:
    """The digest of the mean and standard deviation of the run; None where it does not say."""
    try:
        digest = manifest["network"]["normalisation"]
        return str(digest)
    except (ValueError, KeyError, TypeError):
        return None


def _values(verdict: Verdict) -> dict[str, Any]:
    proof = verdict.proof
    return {
        "accepted": verdict.accepted,
        "lower": verdict.lower,
        "upper": verdict.upper,
        "holds_in_float32": verdict.deployed if verdict.lower is not None else None,
        "leaves": None if proof is None else proof.leaves,
        "margin": None if proof is None or proof.margin == float("inf") else proof.margin,
        "arithmetic": verdict.arithmetic,
        "seconds": round(verdict.seconds, 6),
        "findings": verdict.findings,
        "notes": verdict.notes,
    }


def _lines(target: Path, verdict: Verdict, norm: str) -> Iterator[str]:
    yield f"certificate  {target}"
    if verdict.lower is not None:
        yield f"proven       no unsafe point within {norm} distance {verdict.lower:.9g}"
    if verdict.upper is not None:
        yield f"shown        an unsafe point at {norm} distance {verdict.upper:.9g}, replayed"
    if verdict.lower is not None and verdict.proof is not None:
        yield f"proof        {verdict.proof.leaves} leaves, smallest margin {verdict.proof.margin:.4g}"
        yield f"float32      {'holds as well' if verdict.deployed else 'not shown'}"
    if verdict.arithmetic:
        yield f"arithmetic   {verdict.arithmetic}"
    yield from (f"note         {note}" for note in verdict.notes)
    yield from (f"finding      {finding}" for finding in verdict.findings)
    yield f"{'accepted' if verdict.accepted else 'REJECTED'} in {verdict.seconds:.3f} s"


def _record_line(record: CheckedRecord) -> str:
    verdict = record.verdict
    findings = [*record.findings, *(verdict.findings if verdict else [])]
    word = "REJECTED" if record.rejected else "accepted" if record.accepted else "-"
    line = f"{record.index:>6}  {record.status:<13}  {record.evidence:<17}  {word:<8}"
    if record.accepted and verdict is not None and verdict.lower is not None:
        line += f"  {'real and float32' if verdict.deployed else 'real'}"
    return "  ".join([line, *findings[:1]])


def _summary(found: list[CheckedRecord]) -> Iterator[str]:
    yield f"records            {len(found)}"
    yield f"accepted           {sum(record.accepted for record in found)}"
    yield f"rejected           {sum(record.rejected for record in found)}"
    without = Counter(
        r.evidence for r in found if not r.accepted and not r.rejected and r.status == "verified"
    )
    for evidence, count in without.most_common():
        yield f"without a proof    {count} verified on: {evidence}"
    shown = [r.verdict for r in found if r.accepted and r.verdict is not None and r.verdict.lower is not None]
    yield f"proven             {len(shown)}, of these {sum(v.deployed for v in shown)} in float32 as well"
    yield f"seconds            {sum(r.verdict.seconds for r in found if r.verdict is not None):.3f}"
