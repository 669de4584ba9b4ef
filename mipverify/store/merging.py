"""Several runs about the same question as one."""

from __future__ import annotations

import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from mipverify.errors import SoundnessError, StoreError
from mipverify.store.artefacts import synchronise_folder
from mipverify.store.contradictions import NO_EVIDENCE, Claim, contradict
from mipverify.store.failures import told
from mipverify.store.reading import PlannedSample, StoredRecord, StoredRun, read_store
from mipverify.store.schema import ARTEFACTS, INPUTS
from mipverify.store.settings import MIXED, differences, told_differences
from mipverify.store.writing import Finished, RunStore, files_of, refuse_what_is_there

AT_ONCE = 256  # records of a commit
DECIDED = ("verified", "falsified", "misclassified")
MOST_NAMED = 10  # samples in a message


def merge(
    folders: Sequence[Path], into: Path, manifest: Mapping[str, Any], *, may_differ: Collection[str]
) -> StoredRun:
    """Write one run with the samples of all `folders`; where several answered one, the better answer.

    Better is an answer that stands over one that does not, a verdict over none, then the narrower interval.

    Args:
        folders: of the runs; at least one.
        into: a new folder.
        manifest: of the command that merges; the question and all else is taken from the last run.
        may_differ: settings of effort, in which runs about one question may differ. The merged run can then
            not be resumed.

    Raises:
        StoreError: the runs are about different questions or inputs, or cannot be read or written.
        SoundnessError: one run proves what another refutes; nothing is written.
    """
    runs = [read_store(folder) for folder in folders]
    settings = _common_settings(runs, may_differ)
    samples = _samples(runs)
    chosen = _records(runs)
    with told(into), _complete_or_nothing(into) as folder:
        _write(folder, runs, settings, manifest, _planned(samples, chosen), list(chosen.values()))
    return read_store(into)


def _write(
    folder: Path,
    runs: Sequence[StoredRun],
    settings: Mapping[str, Any],
    manifest: Mapping[str, Any],
    planned: Sequence[PlannedSample],
    found: Sequence[tuple[StoredRun, StoredRecord]],
) -> None:
    with closing(RunStore(folder, settings)) as store:
        store.begin(_manifest(runs, manifest), planned)
        for first in range(0, len(found), AT_ONCE):
            store.commit([_copied(store, run, record) for run, record in found[first : first + AT_ONCE]])
        store.end({"total": len(found)})


@contextmanager
def _complete_or_nothing(into: Path) -> Iterator[Path]:
    """A folder to write to that becomes `into` at the end, and is removed when that is not reached."""
    refuse_what_is_there(into, resume=False)
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise StoreError(f"{into} is not empty: choose a new folder for the merged run")
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{into.name}-", dir=into.parent) as spare:
        folder = Path(spare) / into.name
        yield folder
        folder.replace(into)
        synchronise_folder(into.parent)


def _common_settings(runs: Sequence[StoredRun], may_differ: Collection[str]) -> dict[str, Any]:
    """The settings of all runs; in place of those that differ, their names."""
    first, mixed = runs[0], set[str]()
    for run in runs:
        mixed |= set(run.settings.get(MIXED, ()))
    for run in runs[1:]:
        found = differences(_plain(first), _plain(run))
        if other := {name: pair for name, pair in found.items() if name not in {*may_differ, *mixed}}:
            raise StoreError(
                f"{run.path} asks another question than {first.path}: {told_differences(other)}: "
                "merge runs about one question, or compare them"
            )
        mixed |= set(found)
    settings = {name: value for name, value in _plain(first).items() if name not in mixed}
    return settings | ({MIXED: sorted(mixed)} if mixed else {})


def _plain(run: StoredRun) -> dict[str, Any]:
    return {name: value for name, value in run.settings.items() if name != MIXED}


def _samples(runs: Sequence[StoredRun]) -> dict[int, PlannedSample]:
    found: dict[int, PlannedSample] = {}
    for run in runs:
        for sample in run.samples:
            known = found.setdefault(sample.index, sample)
            if known.content != sample.content:
                raise StoreError(
                    f"sample {sample.index} of {run.path} is another one than that of the runs before: its "
                    "input, label or region differs (of a property: its files); only runs over the same data "
                    "can be merged"
                )
    return found


def _records(runs: Sequence[StoredRun]) -> dict[int, tuple[StoredRun, StoredRecord]]:
    """The best record of every sample, and the run that has it."""
    found: dict[int, list[tuple[StoredRun, StoredRecord]]] = {}
    for run in runs:
        for record in run.records:
            found.setdefault(record.index, []).append((run, record))
    against = [index for index, some in found.items() if contradict(_claim(*one) for one in some)]
    if against:
        named = ", ".join(str(index) for index in sorted(against)[:MOST_NAMED])
        more = " and more" if len(against) > MOST_NAMED else ""
        raise SoundnessError(
            f"the runs contradict each other on samples {named}{more}: one proves what another refutes; "
            "look at them with `mipverify compare`, nothing was merged"
        )
    return {index: min(some, key=lambda one: _rank(*one)) for index, some in sorted(found.items())}


def _claim(run: StoredRun, record: StoredRecord) -> Claim:
    values = record.values
    label = values.get("label")
    return Claim(
        label=label if isinstance(label, int) else None,
        status=str(values.get("status")),
        evidence=str(values.get("evidence", NO_EVIDENCE)),
        lower=_bound(run, record, "lower_bound", 0.0),
        upper=_bound(run, record, "upper_bound", math.inf),
        whole=values.get("norm") == "l0",
    )


def _rank(run: StoredRun, record: StoredRecord) -> tuple[bool, bool, bool, float, float]:
    claim = _claim(run, record)
    return (
        not record.final,
        claim.status == "error",
        claim.status not in DECIDED,
        claim.upper - claim.lower,
        -claim.lower,  # without a counterexample all intervals are as wide
    )


def _bound(run: StoredRun, record: StoredRecord, name: str, otherwise: float) -> float:
    found = record.values.get(name)
    if found is None:
        return otherwise
    if isinstance(found, (int, float)) and abs(found) <= sys.float_info.max:
        return float(found)
    raise StoreError(
        f"{run.path} has {found!r:.40} as {name} of sample {record.index}, which is no bound: "
        "was it changed by another program?"
    )


def _planned(
    samples: Mapping[int, PlannedSample], chosen: Mapping[int, tuple[StoredRun, StoredRecord]]
) -> list[PlannedSample]:
    """The samples, each with the key under which it was answered."""
    return [
        PlannedSample(chosen[index][1].key if index in chosen else sample.key, index, sample.content)
        for index, sample in samples.items()
    ]


def _manifest(runs: Sequence[StoredRun], manifest: Mapping[str, Any]) -> dict[str, Any]:
    told = ("command", "environment", "started")
    merged = [
        {"run": str(run.path)} | {name: start.manifest.get(name) for name in told}
        for run in runs
        for start in run.starts
    ]
    return {**runs[-1].manifest, **manifest, "merged": merged}


def _copied(store: RunStore, run: StoredRun, record: StoredRecord) -> Finished:
    """The record, with copies of its files written."""
    inputs = f"{INPUTS}/{record.index:06d}.npy"
    named = sorted(files_of(record.values))
    with told(run.path):
        for name in [*named, *([inputs] if (run.path / inputs).is_file() else [])]:
            store.artefacts.write(_checked(run, name), _copy_of(run.path / name))
    return Finished(
        record.key,
        record.index,
        json.dumps(record.values),
        record.seconds,
        record.final,
        record.finished,
    )


def _checked(run: StoredRun, name: str) -> str:
    """The name of a file of a run; a record may not point anywhere else."""
    parts = PurePosixPath(name).parts
    inside = len(parts) == 2 and parts[0] in ARTEFACTS and parts[1] != ".."
    if not inside or not (run.path / name).resolve().is_relative_to(run.path.resolve()):
        raise StoreError(f"{run.path} has a record that names {name}, which is no file of a run")
    return name


def _copy_of(source: Path) -> Callable[[Path], None]:
    def copy(target: Path) -> None:
        shutil.copyfile(source, target)

    return copy
