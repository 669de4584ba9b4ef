"""`mipverify check` of a run over properties: witnesses are run again; there are no proofs of `unsat`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from mipverify.cli.instances import found_file
from mipverify.cli.property_plan import content_of
from mipverify.cli.property_witness import stored_point
from mipverify.errors import InputError, StoreError
from mipverify.frontend.file_digests import network_digest, property_digest
from mipverify.frontend.vnnlib.property import load_property
from mipverify.runs.property_outcome import Networks
from mipverify.store.reading import StoredRun, read_store
from mipverify.verify.property_record import STATUSES, witness_at
from mipverify.verify.record import InstanceRecord, Record, record_from

CHECKED_PROOF, NO_EVIDENCE = "checked proof", "none"


@dataclass(frozen=True)
class CheckedProperty:
    """What was found about one record.

    Attributes:
        index: of the record.
        verdict, evidence: as it has them.
        accepted: whether it says `sat`, and its witness was replayed.
        finding: what is wrong with it; None if nothing is.
    """

    index: int
    verdict: str
    evidence: str
    accepted: bool = False
    finding: str | None = None


def check_property_run(folder: Path, *, as_json: bool, quiet: bool) -> bool:
    """Check the records of a run over properties and say what was found; whether none was rejected.

    Raises:
        InputError: the run, or a network or property that it names, cannot be read.
    """
    run = read_store(folder)
    found = []
    for checked in _checked(run):
        found.append(checked)
        if as_json:
            typer.echo(json.dumps(_values(checked)))
        elif not quiet:
            typer.echo(_line(checked))
    if not as_json:
        typer.echo("\n".join([""] * (not quiet) + list(_summary(found))))
    return not any(checked.finding for checked in found)


def _checked(run: StoredRun) -> Iterator[CheckedProperty]:
    networks = Networks(_input_shape(run))
    contents = {sample.index: sample.content for sample in run.samples}
    for stored in run.records:
        try:
            record = record_from(stored.values)
            if record.index != stored.index or record.instance is None:
                raise KeyError("instance")
        except (TypeError, KeyError, ValueError) as error:
            raise StoreError(
                f"{run.path} holds something else than a record of property {stored.index}: {error}"
            ) from error
        yield _check(run, record, record.instance, contents[stored.index], networks)


def _check(
    run: StoredRun, record: Record, kept: InstanceRecord, content: str, networks: Networks
) -> CheckedProperty:
    checked = CheckedProperty(record.index, kept.verdict, record.evidence)
    finding: str | None = None
    if STATUSES.get(kept.verdict, "unknown") != record.status:
        finding = f"its status {record.status} is not that of {kept.verdict}"
    elif record.evidence == CHECKED_PROOF or record.certificate is not None:
        finding = "its proof is missing"
    elif kept.verdict == "unsat" and record.evidence == NO_EVIDENCE:
        finding = "nothing stands behind it"
    elif kept.verdict == "sat":
        finding = _replay(run, record, kept, content, networks)
    return CheckedProperty(
        checked.index,
        checked.verdict,
        checked.evidence,
        accepted=finding is None and kept.verdict == "sat",
        finding=finding,
    )


def _replay(
    run: StoredRun, record: Record, kept: InstanceRecord, content: str, networks: Networks
) -> str | None:
    """What speaks against a witness; None if it is one."""
    network, wanted = (_file(run, name) for name in (kept.network, kept.property))
    if content_of(network_digest(network), property_digest(wanted)) != content:
        return f"{kept.network} or {kept.property} is not the file that was asked about"
    loaded, text = networks.load(network), load_property(wanted)
    try:
        point = stored_point(run.path, record)
    except StoreError as error:
        return str(error)
    if point.size != loaded.graph.input_size or point.size != text.declarations.num_inputs:
        return "its witness does not have the network's inputs"
    if not np.array_equal(point, point.astype(np.float32)):
        return "its witness is made of numbers that a float32 input cannot hold"
    outputs = loaded.run(point.reshape(1, -1))[0]
    if not np.isfinite(outputs).all() or witness_at(text, point, outputs) is None:
        return "its witness does not make the property true when onnxruntime runs it"
    return None


def _file(run: StoredRun, name: str) -> Path:
    """A file that a record names, relative to the folder that the run was started for."""
    folder = run.manifest.get("folder")
    path = found_file(Path(folder if isinstance(folder, str) else ".") / name)
    if not path.is_file():
        raise InputError(f"{path}, which {run.path} names, is not there: put it back to check the run")
    return path


def _input_shape(run: StoredRun) -> tuple[int, ...] | None:
    shape = run.settings.get("input_shape")
    return tuple(int(size) for size in shape) if isinstance(shape, list) else None


def _values(checked: CheckedProperty) -> dict[str, Any]:
    return {
        "index": checked.index,
        "verdict": checked.verdict,
        "accepted": checked.accepted,
        "findings": [] if checked.finding is None else [checked.finding],
    }


def _line(checked: CheckedProperty) -> str:
    word = "REJECTED" if checked.finding else "accepted" if checked.accepted else "-"
    line = f"{checked.index:>6}  {checked.verdict:<13}  {checked.evidence:<17}  {word:<8}"
    return f"{line}  {checked.finding}" if checked.finding else line.rstrip()


def _summary(found: list[CheckedProperty]) -> Iterator[str]:
    yield f"records            {len(found)}"
    yield f"accepted           {sum(checked.accepted for checked in found)} sat, their witnesses replayed"
    yield f"rejected           {sum(checked.finding is not None for checked in found)}"
    unsat = sum(checked.verdict == "unsat" and not checked.finding for checked in found)
    yield f"without a proof    {unsat} unsat: proofs are not written for properties"
