"""One property from start to end: a first look in numpy, then the ladder, and the verdict on all regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mipverify.errors import QueryError
from mipverify.frontend.network import Network
from mipverify.frontend.vnnlib.property import Property
from mipverify.verify.deadline import Deadline
from mipverify.verify.extended import with_inputs
from mipverify.verify.first_look import look
from mipverify.verify.options import VerifyOptions
from mipverify.verify.property_answer import PropertyAnswer
from mipverify.verify.property_run import PropertyRun

if TYPE_CHECKING:
    from mipverify.verify.engine import Engine

MakeEngine = Callable[[Network, VerifyOptions], "Engine"]


def make_engine(network: Network, options: VerifyOptions) -> Engine:
    """The network made ready for the ladder; this is where PyTorch is first imported."""
    from mipverify.verify.engine import Engine

    return Engine(network, options)


def decide_property(
    network: Network,
    wanted: Property,
    options: VerifyOptions,
    deadline: Deadline,
    *,
    engine: MakeEngine = make_engine,
) -> PropertyAnswer:
    """Is some region's box connected to one of its polytopes by the network?

    Small networks are often done after the first look, which needs numpy alone. Else the cheap stages go
    over all boxes in batches, the dear ones over one open box after the other; the first witness ends it.

    Args:
        network: the network.
        wanted: the property.
        options: effort and solver.
        deadline: for everything.
        engine: makes the network ready for the ladder, if it is needed.

    Raises:
        QueryError: the property does not fit the network.
        SoundnessError: two claims contradict each other.
    """
    wanted.check_fits(network.graph)
    if network.softmax_dropped:
        raise QueryError(
            "the network ends in a softmax, which has no exact encoding: "
            "remove it from the file and state the property on the logits"
        )
    if wanted.relates_inputs:
        network = with_inputs(network)
    run = PropertyRun(network, wanted, deadline, gap=options.gap)
    look(run, options)
    if run.open:
        ready = engine(network, options)
        # An import of a second and a half, for those who need it.
        from mipverify.verify.property_ladder import climb_ladder

        climb_ladder(run, ready)
    return run.answer()
