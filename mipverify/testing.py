"""Robustness as an assertion, for pytest or any other test runner.

def test_robust():
mipverify.testing.assert_robust("net.onnx", x, y, eps=0.05)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from mipverify.display.numerals import lower_text, percent, seconds_text, upper_text
from mipverify.errors import QueryError
from mipverify.frontend.network import Network, load_network
from mipverify.frontend.normalization import Numbers
from mipverify.problem.criterion import Output
from mipverify.problem.norm import Norm
from mipverify.runs.api import certify_batch
from mipverify.verify.certificate import Certificate, Status
from mipverify.verify.options import VerifyOptions
from mipverify.verify.questions import Domain

if TYPE_CHECKING:
    import onnx
    from torch import nn

MOST_LINES = 20


def assert_robust(
    network: Network | str | Path | onnx.ModelProto | nn.Module,
    x: ArrayLike,
    y: ArrayLike | None,
    *,
    eps: float,
    norm: str | Norm = Norm.LINF,
    share: float = 1.0,
    targets: Iterable[int] | None = None,
    alpha: float = 0.0,
    output: Output = None,
    domain: Domain = (0.0, 1.0),
    mean: Numbers | None = None,
    std: Numbers | None = None,
    options: VerifyOptions | None = None,
    workers: int = 1,
) -> list[Certificate]:
    """Fail unless at least `share` of the samples are verified at radius `eps`.

    Only proof counts: a sample that is falsified, undecided within the time limit, misclassified or failed
    is not verified.

    Args:
        network: from `mipverify.load`, or what `mipverify.load` takes.
        x: one input, or a batch [samples, ...], in raw units; arrays or torch tensors.
        y: the class to be kept: a number for one input, [samples] for a batch; None only with `output`.
        eps: radius of the closed ball, in raw input units.
        norm: linf, l2, l1 or l0.
        share: of all samples, between 0 and 1, that must be verified.
        targets: classes that count as wrong; None for all but the label.
        alpha: margin by which a target must win.
        output: what must hold of the outputs in place of the class, as in `mipverify.certify_batch`.
        domain: the range of every feature.
        mean: subtracted from inputs before the network, as in `mipverify.load`.
        std: inputs are divided by it after that.
        options: effort, limits and solver.
        workers: processes that share the samples.

    Returns:
        The certificates, one a sample.

    Raises:
        AssertionError: too few samples are verified; the message lists the others.
        InputError: network, samples or question cannot be used as given.
    """
    __tracebackhide__ = True
    points, labels = _array(x), None if y is None else _array(y)
    single = labels is not None and labels.ndim == 0
    if labels is not None and single:
        points, labels = points[None], labels[None]
    net = _loaded(network, points.shape[1:] if labels is not None else None, mean, std)
    if single and not isinstance(network, Network) and not _is_file(network):
        _check_one_class(net)
    if labels is None and points.size == net.graph.input_size:
        points = points[None]
    certificates = certify_batch(
        net,
        points,
        labels,
        eps=eps,
        norm=norm,
        targets=targets,
        alpha=alpha,
        output=output,
        domain=domain,
        options=options,
        workers=workers,
    )
    return assert_verified(certificates, share=share)


def assert_verified(certificates: Iterable[Certificate], *, share: float = 1.0) -> list[Certificate]:
    """Fail unless at least `share` of the certificates are verified; see `assert_robust`.

    For questions that `assert_robust` does not ask: hand in what `mipverify.certify_batch` returns.

    Raises:
        AssertionError: too few are verified; the message lists the others.
        QueryError: a share that is none, nothing to judge, or distances instead of verdicts.
    """
    __tracebackhide__ = True
    if not 0 <= share <= 1:
        raise QueryError(f"share must be a number between 0 and 1, got {share}")
    answers = list(certificates)
    if not answers:
        raise QueryError("there is no sample to verify: give at least one")
    if any(answer.eps is None for answer in answers):
        raise QueryError("a distance is no verdict: ask at a radius, or compare the lower bounds yourself")
    verified = sum(answer.status is Status.VERIFIED for answer in answers)
    # Of two whole numbers, the quotient is the float that the decimal is written as.
    if verified / len(answers) < share:
        raise AssertionError("\n".join(_message(answers, verified, share)))
    return answers


def _array(values: object) -> np.ndarray:
    """An array, also of a torch tensor that has a gradient or lies on another device."""
    detach = getattr(values, "detach", None)
    return np.asarray(values if detach is None else detach().cpu().numpy())


def _loaded(
    network: Network | str | Path | onnx.ModelProto | nn.Module,
    shape: tuple[int, ...] | None,
    mean: Numbers | None,
    std: Numbers | None,
) -> Network:
    if isinstance(network, Network):
        if mean is not None or std is not None:
            raise QueryError("the network is loaded already: give mean and std to mipverify.load")
        return network
    # A file knows its shape; that of samples may be another one with as many values.
    return load_network(network, mean=mean, std=std, input_shape=None if _is_file(network) else shape)


def _is_file(network: object) -> bool:
    return isinstance(network, (str, Path)) or hasattr(network, "SerializeToString")


def _check_one_class(net: Network) -> None:
    """Refuse a torch module that took a batch with one label for a single input."""
    graph = net.graph
    shape = graph.nodes[graph.output].shape
    if sum(extent > 1 for extent in shape) > 1:
        raise QueryError(
            f"one label for outputs of shape {list(shape)}: give a label for every sample of a batch"
        )


def _message(answers: Sequence[Certificate], verified: int, share: float) -> Iterator[str]:
    first = answers[0]
    where = "" if first.eps is None else f" at {first.norm} radius {upper_text(first.eps)}"
    wanted = "" if share == 1 else f", at least {percent(share)} must be"
    yield f"{verified} of {len(answers)} samples are verified{where}{wanted}; these are not:"
    others = [(k, answer) for k, answer in enumerate(answers) if answer.status is not Status.VERIFIED]
    for k, answer in others[:MOST_LINES]:
        yield f"  sample {k}: {_reason(answer)}"
    if len(others) > MOST_LINES:
        yield f"  and {len(others) - MOST_LINES} more"


def _reason(answer: Certificate) -> str:
    status = answer.status.value
    match answer.status:
        case Status.ERROR:
            return f"{status}: {answer.error}"
        case Status.MISCLASSIFIED:
            return f"{status}: label {answer.label}, predicted {answer.prediction}"
        case Status.FALSIFIED if answer.witness is not None:
            kept = answer.keeps_class
            becomes = f"{answer.label} becomes {answer.witness.prediction}" if kept else "condition violated"
            return f"{status}: {becomes} at distance {upper_text(answer.upper)}"
    seconds = seconds_text(answer.seconds.get("total", sum(answer.seconds.values())))
    nearest = "" if math.isinf(answer.upper) else f", counterexample at distance {upper_text(answer.upper)}"
    return f"{status}: proven up to distance {lower_text(answer.lower)}{nearest}, after {seconds} s"
