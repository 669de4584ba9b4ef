"""The run that `mipverify vnnlib --out` names: how verdicts get into it, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mipverify.cli import parsing
from mipverify.cli.instances import Instance
from mipverify.cli.property_plan import planned_properties, property_manifest, settings_of
from mipverify.cli.property_text import Row
from mipverify.errors import QueryError, StoreError
from mipverify.runs.property_outcome import Outcome
from mipverify.store.reading import PlannedSample, read_store
from mipverify.store.schema import WITNESSES
from mipverify.store.writing import Finished, RunStore, refuse_what_is_there
from mipverify.verify.certificate import Status
from mipverify.verify.property_record import AskedProperty, answer_from, margin_of, property_record
from mipverify.verify.record import Record, record_from

if TYPE_CHECKING:
    from mipverify.cli.vnnlib import PropertyArguments


def open_output(
    arguments: PropertyArguments,
    instances: Sequence[Instance],
    limits: Sequence[float],
    table: Path | None = None,
) -> PropertyOutput | None:
    """The run that a command names, begun; None without one.

    Args:
        arguments: of the command.
        instances: the properties that it asks about.
        limits: seconds, one for each.
        table: the file that lists them; None for a single property.

    Raises:
        QueryError: --resume without --out.
        StoreError: the run cannot be begun or gone on with; the error names what differs.
    """
    if arguments.out is None:
        if arguments.resume:
            raise QueryError("which run is to be resumed? Name its folder with --out")
        return None
    folder = parsing.folder(arguments.out, "--out")
    refuse_what_is_there(folder, resume=arguments.resume)
    options = arguments.verify_options(max(limits))
    given = limits[0] if table is None else arguments.time_limit
    settings = settings_of(options, given, arguments.shape())
    output = PropertyOutput(folder, instances, limits, settings, resume=arguments.resume)
    try:
        output.begin(property_manifest(instances, options, given, table))
    except BaseException:
        output.discard()
        raise
    return output


class PropertyOutput:
    """A run over properties that is being written.

    Args:
        folder: of the run.
        instances: the properties; their places are the indices of their records.
        limits: seconds, one for each.
        settings: see `settings_of`.
        resume: go on with a run that is there.

    Raises:
        StoreError: see `RunStore`.
    """

    def __init__(
        self,
        folder: Path,
        instances: Sequence[Instance],
        limits: Sequence[float],
        settings: Mapping[str, object],
        *,
        resume: bool,
    ) -> None:
        self._instances = instances
        self._asked = [
            AskedProperty(index, one.network_name, one.property_name, limit, one.expected)
            for index, (one, limit) in enumerate(zip(instances, limits, strict=True))
        ]
        self._planned = planned_properties(instances, limits, settings)
        self._store = RunStore(folder, settings, resume=resume)
        self.resumed = self._store.resumed

    def begin(self, manifest: Mapping[str, object]) -> None:
        """Note a command.

        Raises:
            StoreError: a property that is answered is another one than before, or has another limit.
        """
        before = {sample.index: sample for sample in read_store(self._store.path).samples}
        changed = [sample for sample in self._planned if before.get(sample.index, sample) != sample]
        for sample in changed:
            if sample.index in self._store.answered:
                self._refuse(sample, before[sample.index])
        self._store.replan(changed)
        self._store.begin(manifest, self._planned)

    def answered(self) -> dict[int, Row]:
        """The properties that need not be asked again, by index; their witnesses stay in their files."""
        rows = {}
        for index in sorted(self._store.answered.keys() & range(len(self._instances))):
            record = self._record(index)
            verdict = "unknown" if record.instance is None else record.instance.verdict
            outcome = Outcome(verdict, record.seconds["total"], answer_from(record))
            rows[index] = Row(self._instances[index], outcome)
        return rows

    def with_witness(self, index: int) -> Outcome:
        """The outcome of a property that is answered with `sat`, its witness read.

        Raises:
            StoreError: that cannot be read, or is none of the property.
            InputError: the property cannot be read any more.
        """
        from mipverify.cli.property_witness import stored_witness
        from mipverify.frontend.vnnlib.property import load_property

        record, wanted = self._record(index), load_property(self._instances[index].property)
        answer = answer_from(record, stored_witness(self._store.path, record, wanted))
        return Outcome("sat", record.seconds["total"], answer, wanted)

    def put(self, index: int, row: Row) -> None:
        """Make a verdict durable, with its witness."""
        record, key = self._save(self._asked[index], row), self._planned[index].key
        final = record.status != Status.ERROR
        self._store.commit([Finished(key, index, record.to_json(), record.seconds["total"], final)])

    def end(self, rows: Sequence[Row]) -> None:
        """Note that the command has ended, and its counts."""
        verdicts = Counter(row.verdict for row in rows)
        self._store.end({"total": len(rows), "planned": len(self._asked), "verdicts": dict(verdicts)})

    def discard(self) -> None:
        """Close; remove a run that was begun by this command and has no record."""
        self._store.discard()

    def close(self) -> None:
        """Close the run."""
        self._store.close()

    def _refuse(self, sample: PlannedSample, before: PlannedSample) -> None:
        asked = self._asked[sample.index]
        what = "time limit" if before.content == sample.content else "network or property"
        raise StoreError(
            f"instance {sample.index} ({asked.network} {asked.property}) has another {what} than when "
            f"{self._store.path} answered it: repeat the instances of the run, or choose a new folder"
        )

    def _record(self, index: int) -> Record:
        try:
            record = record_from(self._store.answered[index].values)
            if record.index != index or answer_from(record) is None or record.seconds["total"] < 0:
                raise KeyError("instance")
            return record
        except (TypeError, KeyError, ValueError) as error:
            raise StoreError(
                f"{self._store.path} holds a record that this version does not know ({error}): "
                "choose a new folder, or use the version that wrote it"
            ) from error

    def _save(self, asked: AskedProperty, row: Row) -> Record:
        outcome = row.outcome
        if outcome is None:
            return property_record(asked, "error", row.spent, None, error=row.error)
        answer, file, margin = outcome.answer, None, 0.0
        if answer is not None and answer.witness is not None and outcome.property is not None:
            point = answer.witness.point.astype(np.float32).reshape(outcome.input_shape or -1)
            name = self._store.name(WITNESSES, asked.index, ".npy")
            file = self._store.artefacts.write_array(name, point)
            margin = margin_of(outcome.property, answer.witness)
        return property_record(asked, outcome.verdict, outcome.seconds, answer, margin=margin, file=file)
