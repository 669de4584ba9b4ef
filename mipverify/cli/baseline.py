"""The run that a new one must not fall behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from mipverify.cli.table import interval_text, status_text
from mipverify.errors import QueryError, StoreError
from mipverify.store.reading import PlannedSample, StoredRun, read_store
from mipverify.store.settings import MIXED, as_stored, differences, told_differences
from mipverify.verify.certificate import Evidence, Status
from mipverify.verify.options import VerifyOptions
from mipverify.verify.record import Record, record_from

# What may differ: the network is what has changed, and effort is no part of the question. Of the data, the
# samples are compared.
NOT_ASKED = frozenset(
    {"mipverify", "network", "normalisation", "data", "data_digest", MIXED}
    | {option.name for option in fields(VerifyOptions)}
)
MOST_NAMED = 5  # samples in a message


@dataclass(frozen=True)
class Baseline:
    """What a run has proven of samples that are asked about again.

    Attributes:
        path: of the run.
        records: of the samples in common, by index.
        distance: whether distances were asked for, rather than verdicts.
        tolerance: relative fall of the lower bound of a distance that is let pass.
    """

    path: Path
    records: Mapping[int, Record]
    distance: bool
    tolerance: float

    def lost(self, records: Sequence[Record]) -> list[str]:
        """A line for each of the new records that says less than this run did, in words."""
        pairs = [(self.records[record.index], record) for record in records if record.index in self.records]
        return [_told(old, new) for old, new in pairs if self._is_lost(old, new)]

    def lines(self, records: Sequence[Record]) -> list[str]:
        """What a summary says of it."""
        shared = sum(record.index in self.records for record in records)
        lost = self.lost(records)
        count = f"{len(lost)} of {shared} samples in common lost their certificate"
        return [f"baseline           {count}", *(f"  {line}" for line in lost)]

    def _is_lost(self, old: Record, new: Record) -> bool:
        if self.distance:
            return _proven(new) < (1 - self.tolerance) * _proven(old)
        return old.status == Status.VERIFIED and new.status != Status.VERIFIED


def open_baseline(
    path: Path, settings: Mapping[str, object], samples: Sequence[PlannedSample], tolerance: float
) -> Baseline:
    """The run in `path`, if it was asked the same question about some of the same samples.

    Args:
        path: folder of the run.
        settings: of the new run.
        samples: likewise.
        tolerance: see `Baseline`.

    Raises:
        StoreError: it cannot be read.
        QueryError: it was asked something else, or about other samples; or the tolerance is none.
    """
    if not 0 <= tolerance < 1:
        raise QueryError(f"--baseline-tolerance must be a number >= 0 and < 1, got {tolerance}")
    run = read_store(path)
    _refuse_other_question(run, settings)
    contents = {sample.index: sample.content for sample in run.samples}
    shared = [sample for sample in samples if sample.index in contents]
    if not shared:
        raise QueryError(f"the baseline {path} has none of these samples: choose another run, or its samples")
    other = [sample.index for sample in shared if contents[sample.index] != sample.content]
    if other:
        named = ", ".join(map(str, other[:MOST_NAMED])) + (", ..." if len(other) > MOST_NAMED else "")
        raise QueryError(
            f"the baseline {path} has another input, label or region for {len(other)} of {len(shared)} "
            f"samples in common ({named}): answer it again with these data"
        )
    wanted = {sample.index for sample in shared}
    try:
        found = [record_from(stored.values) for stored in run.records if stored.index in wanted]
    except (TypeError, KeyError, ValueError) as error:
        raise StoreError(
            f"the baseline {path} holds a record that this version does not know ({error}): "
            "give one that this version wrote"
        ) from error
    distance = settings["query"] == "distance"
    return Baseline(path, {record.index: record for record in found}, distance, tolerance)


def _refuse_other_question(run: StoredRun, settings: Mapping[str, object]) -> None:
    old, new = (
        {name: value for name, value in side.items() if name not in NOT_ASKED}
        for side in (run.settings, as_stored(settings))
    )
    if found := differences(old, new):
        raise QueryError(
            f"the baseline {run.path} was asked something else: {told_differences(found)}: "
            "give a run of the same question"
        )


def _proven(record: Record) -> float:
    """The lower bound of a distance; 0 where nothing was proven."""
    settled = record.status not in (Status.MISCLASSIFIED, Status.ERROR)
    return record.lower_bound if settled and record.evidence != Evidence.NONE else 0.0


def _told(old: Record, new: Record) -> str:
    return f"sample {new.index}: {_state(old)} -> {_state(new)}"


def _state(record: Record) -> str:
    interval = interval_text(record)
    return status_text(record) if interval == "-" else f"{status_text(record)} {interval}"
