"""Robustness as an assertion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import mipverify
from mipverify import Certificate, VerifyOptions
from mipverify.errors import InputError, QueryError
from mipverify.testing import assert_robust, assert_verified
from tests.cli.conftest import MLP

EASY = 0.01  # the first samples are verified here, and refuted at 0.3
BOUNDS = VerifyOptions(engine="none")


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    data = mipverify.load_dataset("digits", input_size=64)
    assert data.labels is not None
    return data.inputs[:3], data.labels[:3]


@pytest.fixture(scope="module")
def certificates(digits: tuple[np.ndarray, np.ndarray]) -> list[Certificate]:
    return mipverify.testing.assert_robust(MLP, *digits, eps=EASY)


def test_robust_samples_pass_and_their_certificates_are_returned(certificates: list[Certificate]) -> None:
    assert [certificate.status for certificate in certificates] == ["verified"] * 3


def test_every_form_of_a_network_and_of_samples_will_do(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    assert len(assert_robust(mipverify.load(MLP), x, y.tolist(), eps=EASY)) == 3
    assert len(assert_robust(onnx.load(MLP), x[0], y[0], eps=EASY)) == 1
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10)).eval()
    tensor = torch.tensor(x, requires_grad=True)
    own = module(tensor).argmax(1)
    assert len(assert_robust(module, tensor, own, eps=1e-6)) == 3
    assert len(assert_robust(module, tensor[0], own[0], eps=1e-6)) == 1
    assert len(assert_robust(MLP, x[0], None, eps=EASY, output="y0 - y1 <= 1000")) == 1


def test_the_message_names_every_sample_that_is_not_verified(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    with pytest.raises(AssertionError) as raised:
        assert_robust(MLP, x, [y[0], (y[1] + 1) % 10, y[2]], eps=0.3, options=BOUNDS)
    lines = str(raised.value).splitlines()
    assert lines[0] == "0 of 3 samples are verified at linf radius 0.3; these are not:"
    assert lines[1].startswith(f"  sample 0: falsified: {y[0]} becomes ")
    assert " at distance 0." in lines[1]
    assert lines[2] == f"  sample 1: misclassified: label {(y[1] + 1) % 10}, predicted {y[1]}"


def test_undecided_and_failed_samples_are_told_apart(certificates: list[Certificate]) -> None:
    open_ = replace(certificates[0], lower=0.004999999, decided_by=None, seconds={"bounds": 2.0})
    failed = replace(certificates[0], error="out of memory")
    with pytest.raises(AssertionError) as raised:
        assert_verified([open_, failed])
    assert str(raised.value).splitlines()[1:] == [
        "  sample 0: unknown: proven up to distance 0.00499999, after 2 s",
        "  sample 1: error: out of memory",
    ]


def test_a_share_of_the_samples_may_be_enough(certificates: list[Certificate]) -> None:
    failed = replace(certificates[0], error="out of memory")
    answers = certificates[:1] * 7 + [failed] * 3
    assert len(assert_verified(answers, share=0.7)) == 10
    with pytest.raises(AssertionError, match=r"7 of 10 samples are verified .*at least 70\.1 % must be"):
        assert_verified(answers, share=0.701)


def test_a_long_list_is_cut(certificates: list[Certificate]) -> None:
    failed = replace(certificates[0], error="out of memory")
    with pytest.raises(AssertionError, match="and 30 more"):
        assert_verified([failed] * 50)


def test_what_cannot_be_judged_is_refused(
    digits: tuple[np.ndarray, np.ndarray], certificates: list[Certificate]
) -> None:
    with pytest.raises(QueryError, match="there is no sample"):
        assert_robust(MLP, np.zeros((0, 64)), np.zeros(0), eps=EASY)
    with pytest.raises(QueryError, match="share must be a number between 0 and 1"):
        assert_verified(certificates, share=90)
    distances = [replace(certificate, eps=None) for certificate in certificates]
    with pytest.raises(QueryError, match="a distance is no verdict"):
        assert_verified(distances)
    for labels in ([0.5, 1.0, 2.0], [np.nan] * 3):
        with pytest.raises(QueryError, match="a label is the number of a class"):
            assert_robust(MLP, digits[0], labels, eps=EASY)
    with pytest.raises(QueryError, match="loaded already"):
        assert_robust(mipverify.load(MLP), *digits, eps=EASY, mean=0.5)
    with pytest.raises(QueryError, match="one label for outputs of shape"):
        assert_robust(nn.Linear(64, 10), digits[0].reshape(3, 64), 3, eps=EASY)
    with pytest.raises(InputError, match=r"no_such\.onnx"):
        assert_robust("no_such.onnx", *digits, eps=EASY)


def test_pytest_shows_the_message_without_the_machinery(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        import mipverify
        data = mipverify.load_dataset("digits", input_size=64)

        def test_robust():
            mipverify.testing.assert_robust({MLP!r}, data.inputs[0], data.labels[0], eps=0.3)
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *AssertionError: 0 of 1 samples are verified at linf radius 0.3*"])
    assert "_message(" not in result.stdout.str()
