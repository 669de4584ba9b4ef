"""The last stage: proofs for what has been answered, as far as the options ask for them."""

from __future__ import annotations

import logging
from functools import lru_cache

from mipverify.errors import ModelError, SoundnessError
from mipverify.verify.case import Case, timed
from mipverify.verify.certificate import Evidence, Stage
from mipverify.verify.deadline import Deadline
from mipverify.verify.engine import Engine
from mipverify.verify.proving import Prover

LOGGER = logging.getLogger(__name__)
LEAST_SECONDS = 0.2  # that a proof may take, however quick the answer was


def may_be_proven(engine: Engine, case: Case) -> bool:
    """Whether the options ask for a proof and there is something to prove."""
    return (
        engine.options.proof != "off"
        and _is_plain(case)
        and case.error is None
        and (case.evidence is not Evidence.NONE or case.witness is not None)
    )


def proof_limit(engine: Engine, case: Case) -> float:
    """Seconds that one attempt at a proof may take; there are two at most."""
    spent = sum(case.seconds.values())
    return seconds_for_proof(spent, case.remaining(), always=engine.options.proof == "always")


def add_proof(engine: Engine, case: Case) -> None:
    """Give a case its proof; what cannot be proven in time keeps the evidence that it has."""
    prover = _prover(engine)
    if prover is not None:
        with timed([case], Stage.PROOF):
            _try_to_prove(engine, prover, case)


def _try_to_prove(engine: Engine, prover: Prover, case: Case) -> None:
    """A proof that fails costs the case nothing that it has; a contradiction is an alarm as everywhere."""
    try:
        _prove(engine, prover, case)
    except SoundnessError:
        raise
    except Exception as error:
        LOGGER.warning("no certificate: %s: %s", type(error).__name__, error)


def _is_plain(case: Case) -> bool:
    """Whether the question is about real points of a ball: certificates know no grid and no parameters."""
    return case.query.region.grid is None and case.query.parametrised is None


@lru_cache(maxsize=1)
def _prover(engine: Engine) -> Prover | None:
    try:
        return Prover(engine)
    except ModelError as error:
        LOGGER.warning("no certificates: %s", error)
        return None


def _prove(engine: Engine, prover: Prover, case: Case) -> None:
    """The proof of both bounds, or of the witness alone."""
    proven = case.evidence is not Evidence.NONE
    limit = proof_limit(engine, case)
    if proven:
        found = prover.prove(case.query, case.lower, case.witness, Deadline(limit))
        if found is not None:
            case.proof, case.evidence = found, Evidence.CHECKED_PROOF
            return
    if case.witness is not None:
        case.proof = prover.prove(case.query, None, case.witness, Deadline(limit))


def seconds_for_proof(spent: float, left: float, *, always: bool) -> float:
    """What a proof may take after an answer that took `spent` seconds of a budget that has `left` more.

    As long as the answer, but within the budget; with `always` whichever of the two is longer.
    """
    return max(LEAST_SECONDS, spent, left) if always else max(LEAST_SECONDS, min(spent, left))
