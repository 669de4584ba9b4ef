"""Certificates as a notebook shows them."""

from __future__ import annotations

import pickle
from dataclasses import replace
from xml.etree import ElementTree as Tree

import numpy as np
import pytest

import mipverify
from mipverify import Certificate, Network
from mipverify.errors import SoundnessError
from mipverify.problem.norm import Norm
from mipverify.problem.original import Original
from mipverify.verify.certificate import Evidence
from tests.cli.conftest import CONV, MLP


@pytest.fixture(scope="module")
def network() -> Network:
    return mipverify.load(MLP)


@pytest.fixture(scope="module")
def data() -> mipverify.Dataset:
    return mipverify.load_dataset("digits", input_size=64)


@pytest.fixture(scope="module")
def falsified(network: Network, data: mipverify.Dataset) -> Certificate:
    assert data.labels is not None
    return mipverify.certify(network, data.inputs[0], int(data.labels[0]), eps=0.3)


def shown(certificate: Certificate) -> tuple[str, str]:
    """The HTML, which must be well-formed, and its text."""
    html = certificate._repr_html_()
    return html, " ".join(" ".join(Tree.fromstring(html).itertext()).split())


def test_a_counterexample_of_an_image_is_shown_as_three_pictures(falsified: Certificate) -> None:
    html, text = shown(falsified)
    assert falsified.witness is not None
    assert html.count('<img src="data:image/png;base64,') == 3
    assert "http" not in html
    assert text.startswith("falsified there is an adversarial point within linf distance 0.3 ")
    assert f"original: {falsified.label} adversarial: {falsified.witness.prediction} difference" in text
    assert f"evidence {falsified.evidence}" in text
    assert len(html) < 20_000


def test_features_of_a_table_are_shown_as_bars(network: Network, data: mipverify.Dataset) -> None:
    assert data.labels is not None
    flat = data.inputs[0].reshape(-1)
    certificate = mipverify.certify(network, flat, int(data.labels[0]), eps=0.3)
    html, text = shown(certificate)
    assert "<img" not in html
    assert "<rect" in html
    assert "40 of 64 features: those that change most" in text


def test_the_network_says_what_a_flat_input_looks_like(data: mipverify.Dataset) -> None:
    assert data.labels is not None
    flat = data.inputs[0].reshape(-1)
    certificate = mipverify.certify(mipverify.load(CONV), flat, int(data.labels[0]), eps=0.3)
    assert certificate.original is not None
    assert certificate.original.shape == (1, 8, 8)
    assert shown(certificate)[0].count("<img ") == 3


def test_without_a_counterexample_the_input_is_shown(network: Network, data: mipverify.Dataset) -> None:
    assert data.labels is not None
    certificate = mipverify.certify(network, data.inputs[0], int(data.labels[0]), eps=1 / 300)
    html, text = shown(certificate)
    assert html.count("<img ") == 1
    # Rounded down: 0.00333334 would be more than what was proven.
    assert text.startswith("verified there is no adversarial point within linf distance 0.00333333 ")


def test_a_perturbation_is_shown_by_its_inputs(network: Network, data: mipverify.Dataset) -> None:
    assert data.labels is not None
    certificate = mipverify.minimal_distortion(
        network, data.inputs[0], int(data.labels[0]), perturbation=mipverify.perturbations.brightness()
    )
    assert certificate.original is not None
    assert certificate.original.point.tolist() == data.inputs[0].reshape(-1).tolist()
    html, text = shown(certificate)
    assert html.count("<img ") in (1, 3)
    assert "distance of the closest adversarial point" in text


def test_other_answers_have_their_own_words(falsified: Certificate) -> None:
    assert falsified.witness is not None
    wrong = replace(falsified, prediction=(falsified.label or 0) + 1)
    assert shown(wrong)[1].startswith("misclassified the network takes the input for")
    failed = replace(falsified, error="out <of> memory", witness=None, upper=float("inf"), original=None)
    assert shown(failed)[1].startswith("error out <of> memory")
    unknown = replace(falsified, witness=None, upper=float("inf"), lower=0.0, evidence=Evidence.NONE)
    assert "neither proven nor refuted" in shown(unknown)[1]
    assert "distance [0, ∞)" in shown(unknown)[1]
    counted = replace(
        unknown, norm=Norm.L0, eps=None, lower=2.0, upper=4.0, evidence=Evidence.BOUND_PROPAGATION
    )
    assert "(l0) in [3, 4]" in shown(counted)[1]


def test_a_certificate_keeps_its_input_alone(falsified: Certificate) -> None:
    assert falsified.original is not None
    assert falsified.original.point.base is None
    assert falsified.original.limits == (0.0, 1.0)
    assert "Original" not in repr(falsified)
    again = pickle.loads(pickle.dumps(falsified))
    assert again._repr_html_() == falsified._repr_html_()


def test_values_without_a_range_are_shown_between_their_extremes(falsified: Certificate) -> None:
    point = np.zeros(64)  # black would be white were they equal
    still = replace(falsified, witness=None, upper=float("inf"), original=Original(point, (8, 8), None))
    assert shown(still)[0].count("<img ") == 1


def test_a_certificate_that_contradicts_itself_is_never_shown(falsified: Certificate) -> None:
    with pytest.raises(SoundnessError):
        replace(falsified, lower=1.0)
