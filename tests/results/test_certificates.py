"""Certificates as one list: sums, tables, notebooks."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree as Tree

import numpy as np
import pytest

import mipverify
from mipverify import Certificate, Certificates
from mipverify.errors import InputError
from mipverify.problem.norm import Norm
from tests.cli.conftest import MLP


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    network = mipverify.load(MLP)
    data = mipverify.load_dataset("digits", input_size=64)
    assert data.labels is not None
    labels = data.labels[:6].copy()
    labels[1] = (labels[1] + 1) % 10
    return Certificates(mipverify.certify_batch(network, data.inputs[:6], labels, eps=0.1))


def text(html: str) -> str:
    return " ".join(" ".join(Tree.fromstring(html).itertext()).split())


def test_they_are_a_list_and_stay_one(certificates: Certificates) -> None:
    assert isinstance(certificates, list)
    assert isinstance(certificates[1:3], Certificates)
    assert isinstance(certificates[0], Certificate)
    assert [record.index for record in certificates[1:3].records] == [0, 1]


def test_what_was_answered_before_an_interrupt_is_kept(certificates: Certificates) -> None:
    def interrupted() -> Iterator[Certificate]:
        yield from certificates[:2]
        raise KeyboardInterrupt

    kept = Certificates()
    with pytest.raises(KeyboardInterrupt):
        kept.extend(interrupted())
    assert len(kept) == 2


def test_the_sum_and_the_notebook_agree(certificates: Certificates) -> None:
    summary = certificates.summary
    assert (summary.verified, summary.falsified, summary.misclassified) == (3, 2, 1)
    shown = text(certificates._repr_html_())
    assert shown.startswith("6 certificates at linf radius 0.1 : certified 50.0 % 3 verified")
    assert "2 falsified" in shown
    assert "1 misclassified" in shown


def test_the_distance_is_measured_from_the_input(certificates: Certificates) -> None:
    found = [record.counterexample for record in certificates.records if record.status == "falsified"]
    for certificate, record in zip(certificates, certificates.records, strict=True):
        if record.status == "falsified":
            assert certificate.original is not None
            assert certificate.witness is not None
            assert record.counterexample is not None
            moved = Norm.L1.distance(certificate.original.point, certificate.witness.point)
            assert record.counterexample.distances["l1"] == pytest.approx(float(moved))
    assert len(found) == 2


def test_without_its_input_a_counterexample_has_the_distance_asked_for(certificates: Certificates) -> None:
    found = next(certificate for certificate in certificates if certificate.status == "falsified")
    assert found.witness is not None
    (record,) = Certificates([replace(found, original=None)]).records
    assert record.counterexample is not None
    assert len(record.counterexample.distances) == 4
    bare = replace(found, original=None, witness=replace(found.witness, distances={}))
    (record,) = Certificates([bare]).records
    assert record.counterexample is not None
    assert record.counterexample.distances == {"linf": record.upper_bound}


def test_a_long_list_is_cut_and_an_empty_one_is_shown(certificates: Certificates) -> None:
    assert "and 8 more" in text(Certificates(list(certificates) * 3)._repr_html_())
    assert text(Certificates()._repr_html_()) == "0 certificates"


def test_distances_are_closed_or_open_and_texts_are_escaped(certificates: Certificates) -> None:
    failed = replace(certificates[0], eps=None, error="<b>out of memory</b>")
    unknown = replace(certificates[0], eps=None, lower=0.05)
    shown = text(Certificates([failed, unknown])._repr_html_())
    assert shown.startswith(
        "2 certificates, minimal distortion in linf : mean distance [0.05, ∞), 0 of 1 closed"
    )
    assert "1 open" in shown
    assert "<b>out of memory</b>" in shown
    mixed = Certificates([failed, certificates[0]])
    assert text(mixed._repr_html_()).startswith("2 certificates :")


def test_the_table_has_typed_columns(certificates: Certificates) -> None:
    table = certificates.to_pandas()
    assert table.shape == (6, 30)
    assert table["status"].tolist() == [record.status for record in certificates.records]
    assert str(table["label"].dtype) == "Int64"
    assert np.isnan(table["upper_bound"]).sum() == 3
    assert table[table.status == "falsified"].counterexample_linf.le(0.1).all()
    assert Certificates().to_pandas().shape == (0, 30)


def test_pandas_is_asked_for_by_name(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: object) -> object:
        if name == "pandas":
            raise ImportError(name)
        return original(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'mipverify\[pandas\]'"):
        certificates.to_pandas()
