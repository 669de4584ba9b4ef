"""One answer a sample, whatever happens to the others."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from mipverify.cli.arguments import Question
from mipverify.cli.samples import Samples
from mipverify.errors import InputError, SoundnessError
from mipverify.runs.api import certify_batch, distance_batch
from mipverify.verify.certificate import Certificate
from mipverify.verify.options import VerifyOptions

if TYPE_CHECKING:
    from mipverify.frontend.network import Network

LOGGER = logging.getLogger(__name__)
Ask = Callable[[int, int], Generator[Certificate]]


def answers(
    network: Network, samples: Samples, question: Question, options: VerifyOptions, workers: int
) -> Generator[Certificate | Exception]:
    """Certificate of each sample in order, or the exception that kept it from one.

    Raises:
        InputError: the question cannot be asked of these samples at all.
        SoundnessError: two claims contradict each other; nothing after it can be trusted.
    """

    def ask(start: int, stop: int) -> Generator[Certificate]:
        return _batch(network, samples, range(start, stop), question, options, workers)

    return one_each(ask, len(samples))


def one_each(ask: Ask, count: int) -> Generator[Certificate | Exception]:
    """Exactly `count` answers of `ask(start, stop)`, an iterator over the certificates of that range.

    When it fails, the next sample is asked alone; only if that fails too does the exception become its
    answer, so that a neighbour in a batch does not suffer for it. A KeyboardInterrupt goes on to `ask`,
    whose last answers are yielded before it is raised again.
    """
    position, alone = 0, False
    while position < count:
        stop = position + 1 if alone else count
        try:
            found = ask(position, stop)
            try:
                for certificate in found:
                    position += 1
                    yield certificate
            except KeyboardInterrupt:
                yield found.throw(KeyboardInterrupt)  # which raises it, once nothing is left
                yield from found
            if position < stop:
                raise RuntimeError(f"{stop - position} samples were left without an answer")
            alone = False
        except (InputError, SoundnessError):
            raise
        except Exception as error:
            LOGGER.info("sample at position %d: %s", position, error, exc_info=True)
            if alone:
                position += 1
                yield error
            alone = not alone


def _batch(
    network: Network,
    samples: Samples,
    positions: range,
    question: Question,
    options: VerifyOptions,
    workers: int,
) -> Generator[Certificate]:
    points = samples.points[positions.start : positions.stop]
    labels = None if samples.labels is None else samples.labels[positions.start : positions.stop]
    criterion = question.criterion
    region = samples.region.part(positions)
    if question.eps is None:
        return distance_batch(
            network,
            points,
            labels,
            norm=question.norm,
            radius=question.radius,
            targets=criterion.targets,
            alpha=criterion.alpha,
            reading=criterion.reading,
            output=criterion.output,
            domain=question.domain,
            **region,
            options=options,
            workers=workers,
        )
    return certify_batch(
        network,
        points,
        labels,
        eps=question.eps if math.isfinite(question.eps) else None,
        norm=question.norm,
        targets=criterion.targets,
        alpha=criterion.alpha,
        reading=criterion.reading,
        output=criterion.output,
        domain=question.domain,
        **region,
        options=options,
        workers=workers,
    )
