"""What a run says of itself: command, environment, network, data, question and options."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from mipverify import __version__
from mipverify.cli.environment import command_line, environment, utc_now
from mipverify.cli.run_output import domain_of, json_number, normalisation_of, query_name

if TYPE_CHECKING:
    from mipverify.cli.arguments import Question
    from mipverify.cli.samples import Samples
    from mipverify.frontend.network import Network
    from mipverify.verify.options import VerifyOptions


def manifest_of(
    network: Network,
    samples: Samples,
    question: Question,
    options: VerifyOptions,
    *,
    file: str,
    data: str | None,
) -> dict[str, object]:
    """The command, its environment, and what it asks of which network and data; JSON values.

    Args:
        network: as it was loaded.
        samples: all that are asked about.
        question: that is asked of each.
        options: how it is answered.
        file: absolute path of the network.
        data: the source of the data as it was given.
    """
    source = samples.dataset
    return {
        "mipverify": __version__,
        "command": command_line(),
        "environment": environment(),
        "started": utc_now(),
        "query": query_name(question),
        "network": {
            "name": network.name,
            "digest": network.digest,
            "file": file,
            "input_shape": network.graph.input_shape,
            "normalisation": normalisation_of(network),
        },
        "data": {
            "name": source.name,
            "source": source.source,
            "description": source.description,
            "shape": source.inputs.shape[1:],
            "argument": data,
        },
        "labelled": samples.labelled,
        "indices": samples.indices,
        "question": {
            "norm": question.norm.value,
            "eps": _finite(question.eps),
            "region": question.region.given() or None,
            "radius": json_number(question.radius),
            "criterion": question.criterion.values(),
            "domain": domain_of(question),
        },
        "options": asdict(options),
    }


def _finite(eps: float | None) -> float | None:
    """The radius asked about, if there is one: all of a region has its own for each sample."""
    return None if eps is None or eps == float("inf") else eps
