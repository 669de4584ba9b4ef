"""Certificates: a list of answers that sums itself up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, SupportsIndex, overload

import numpy as np

from mipverify.display.collection import Collection, collection_html
from mipverify.results.records import DISTANCE_WORDS, counts, first_lines, record_frame, result_text
from mipverify.verify.certificate import Certificate
from mipverify.verify.record import Record, record_of
from mipverify.verify.summary import Summary, summarise

if TYPE_CHECKING:
    import pandas


class Certificates(list[Certificate]):
    """A list of certificates, made as `list` is made:

        certs = mipverify.Certificates(mipverify.certify_batch(net, xs, labels, eps=0.05))

    A notebook shows it as a bar of verdicts and the head of a table. `certs.extend(...)` keeps what was
    answered before an interrupt.
    """

    @property
    def records(self) -> tuple[Record, ...]:
        """The answers as plain values; the index of each is its position here."""
        return tuple(_record(k, certificate) for k, certificate in enumerate(self))

    @property
    def summary(self) -> Summary:
        """Counts over all of them."""
        return summarise(self.records)

    def to_pandas(self) -> pandas.DataFrame:
        """One row a certificate, with the columns of `mipverify report --csv`.

        Raises:
            InputError: the package pandas is not installed.
        """
        return record_frame(self.records)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Certificate: ...

    @overload
    def __getitem__(self, place: slice) -> Certificates: ...

    def __getitem__(self, place: SupportsIndex | slice) -> Certificate | Certificates:
        """One certificate; of a slice, a list of the same kind."""
        if isinstance(place, slice):
            return Certificates(super().__getitem__(place))
        return super().__getitem__(place)

    def _repr_html_(self) -> str:
        """The answers as a notebook shows them."""
        records = self.records
        summary = summarise(records)
        distance = bool(records) and all(record.eps is None for record in records)
        return collection_html(
            Collection(
                title=_title(records),
                result=result_text(summary, distance=distance),
                notes=(),
                counts=counts(summary),
                words=DISTANCE_WORDS if distance else {},
                lines=first_lines(records),
                total=len(records),
            )
        )


def _record(index: int, certificate: Certificate) -> Record:
    shown, found = certificate.original, certificate.witness
    if shown is None and found is not None and not found.distances:
        # Without the input, its distance in other norms is not known.
        known = {certificate.norm.value: found.distance}
        certificate = replace(certificate, witness=replace(found, distances=known))
    return record_of(certificate, index, np.zeros(0) if shown is None else shown.point)


def _title(records: tuple[Record, ...]) -> str:
    number = f"{len(records)} certificate{'s' if len(records) != 1 else ''}"
    asked = {(record.norm, record.eps) for record in records}
    if len(asked) != 1:
        return number
    ((norm, eps),) = asked
    return f"{number}, minimal distortion in {norm}" if eps is None else f"{number} at {norm} radius {eps:g}"
