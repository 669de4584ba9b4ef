"""Run: what `--out` has stored, for Python and for notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipverify.display.collection import Collection, collection_html
from mipverify.errors import StoreError
from mipverify.report.overview import question_text
from mipverify.report.run_data import read_run
from mipverify.results.records import DISTANCE_WORDS, counts, first_lines, record_frame, result_text
from mipverify.store.reading import read_store
from mipverify.verify.record import Record, record_from
from mipverify.verify.summary import Summary, summarise

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Run:
    """The samples of a run that are answered, as they were when it was opened.

    A notebook shows it as a bar of verdicts and the head of a table.

    Attributes:
        path: of its folder.
        question: what was asked of every sample, in words.
        manifest: command, environment, network, data, question and options.
        records: what is known of each sample, in the order of asking.
        planned: number of samples that it is to answer.
    """

    path: Path
    question: str
    manifest: dict[str, Any]
    records: tuple[Record, ...]
    planned: int

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, position: int) -> Record:
        """The record at a position; the index of its sample is `run[position].index`."""
        return self.records[position]

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.question}, {self.told_counts})"

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.resolve().name

    @property
    def is_distance(self) -> bool:
        """Whether minimal distances were asked for, rather than verdicts."""
        return self.manifest.get("query") == "distance"

    @property
    def complete(self) -> bool:
        """Whether every sample has an answer."""
        return len(self.records) >= self.planned

    @property
    def summary(self) -> Summary:
        """Counts over all records."""
        return summarise(self.records)

    @property
    def told_counts(self) -> str:
        """Number of samples, and how many have which status."""
        words = DISTANCE_WORDS if self.is_distance else {}
        found = [f"{count} {words.get(status, status)}" for status, count in counts(self.summary).items()]
        number = f"{len(self)} samples" if self.complete else f"{len(self)} of {self.planned} samples"
        return ", ".join([number, *found])

    def to_pandas(self) -> pandas.DataFrame:
        """One row a sample, with the columns of `mipverify report --csv`.

        Raises:
            InputError: the package pandas is not installed.
        """
        return record_frame(self.records, self.name)

    def _repr_html_(self) -> str:
        """The run as a notebook shows it."""
        summary = self.summary
        incomplete = f"The run is not complete: {len(self)} of {self.planned} samples have a record."
        return collection_html(
            Collection(
                title=f"{self.name}, {self.question}",
                result=result_text(summary, distance=self.is_distance),
                notes=() if self.complete else (incomplete,),
                counts=counts(summary),
                words=DISTANCE_WORDS if self.is_distance else {},
                lines=first_lines(self.records),
                total=len(self),
            )
        )


def open_run(path: str | Path) -> Run:
    """Read the run in a folder that `--out` named; one that is still going on is read as far as it is.

    Raises:
        InputError: there is no such run, or it has no records yet.
    """
    folder = Path(path)
    stored = read_store(folder)
    question = question_text(read_run(folder))
    try:
        records = tuple(record_from(record.values) for record in stored.records)
    except (TypeError, KeyError, ValueError) as error:
        raise StoreError(
            f"{folder} holds a record that this version does not know ({error}): "
            "use the version that wrote it"
        ) from error
    return Run(
        path=folder,
        question=question,
        manifest=stored.manifest,
        records=records,
        planned=len(stored.samples),
    )
