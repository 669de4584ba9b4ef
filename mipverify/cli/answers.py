"""The question of a command, asked of its samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mipverify.cli.arguments import Question
from mipverify.cli.samples import Samples
from mipverify.runs.api import certify_batch, distance_batch
from mipverify.runs.executor import Executor
from mipverify.verify.options import VerifyOptions

if TYPE_CHECKING:
    from collections.abc import Generator

    from mipverify.frontend.network import Network
    from mipverify.verify.news import News


def answers(
    network: Network, samples: Samples, question: Question, options: VerifyOptions, workers: int | Executor
) -> Generator[News]:
    """What is found about each sample, by its position among them: one final certificate each, in any order.

    Raises:
        InputError: the question cannot be asked of these samples at all.
        SoundnessError: two claims contradict each other; nothing after it can be trusted.
    """
    criterion = question.criterion
    region = samples.region.part(range(len(samples)))
    if question.eps is None:
        return distance_batch(
            network,
            samples.points,
            samples.labels,
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
        ).as_completed()
    return certify_batch(
        network,
        samples.points,
        samples.labels,
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
    ).as_completed()
