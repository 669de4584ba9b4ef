"""Which two samples can no perturbation fool together? What the answers say of larger sets.

Every set of samples that one perturbation fools has only pairs that can be fooled together. So the number
fooled is at most the size of a largest set without an excluded pair, and the joint program gets a row a pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from mipverify.verify.certificate import Evidence, Status
from mipverify.verify.deadline import Deadline
from mipverify.verify.problem import OpenProblem
from mipverify.verify.universal_stack import ask_stack
from mipverify.verify.universal_state import UniversalState

Pairs = frozenset[tuple[int, int]]
MOST_SAMPLES = 12  # of whose pairs the largest set is found


def excluded_pairs(
    state: UniversalState, problems: Mapping[int, OpenProblem], seconds: float
) -> tuple[Pairs, Evidence]:
    """Pairs of samples that are proven not to be fooled together, and what stands behind that.

    Perturbations that fool two go to the state. Pairs with few combinations of targets are asked first, each
    with an equal part of the time left.
    """
    deadline = Deadline(seconds)
    pairs = sorted(
        combinations(sorted(problems), 2),
        key=lambda pair: len(problems[pair[0]].polytopes) * len(problems[pair[1]].polytopes),
    )
    excluded, evidence = set(), Evidence.BOUND_PROPAGATION
    for number, pair in enumerate(pairs):
        if not state.is_open() or deadline.expired():
            break
        if state.witness is not None and set(pair) <= set(state.witness.fooled):
            continue
        targets = {k: problems[k].polytopes for k in pair}
        part = deadline.remaining() / (len(pairs) - number)
        radius = state.query.region.radius
        found = ask_stack(state, state.query, targets, 2, eps=radius, seconds=part)
        if found.status is Status.VERIFIED:
            excluded.add(pair)
            evidence = found.evidence if found.evidence is Evidence.SOLVER_CLAIM else evidence
    return frozenset(excluded), evidence


def largest_set(samples: Mapping[int, object], excluded: Pairs) -> int:
    """The largest number of samples without an excluded pair among them (by trying all sets)."""
    names = sorted(samples)
    if len(names) > MOST_SAMPLES:
        return len(names)
    for count in range(len(names), 0, -1):
        for chosen in combinations(names, count):
            if not any(pair in excluded for pair in combinations(chosen, 2)):
                return count
    return 0
