"""Certificate: the answer to a query, an interval with graded evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import floor
from typing import TYPE_CHECKING

from mipverify.errors import SoundnessError
from mipverify.problem.criterion import Criterion
from mipverify.problem.norm import Norm
from mipverify.problem.original import Original
from mipverify.problem.witness import Witness
from mipverify.verify.profile import Profile

if TYPE_CHECKING:
    from mipverify.verify.proof import Proof


class Status(StrEnum):
    """What can be read off a certificate.

    Attributes:
        VERIFIED: no adversarial point within eps; or the distance is closed.
        FALSIFIED: a replayed adversarial point within eps.
        UNKNOWN: neither; the interval holds all the same.
        MISCLASSIFIED: the input itself is already in the unsafe set.
        ERROR: the sample failed; nothing is claimed.
    """

    VERIFIED = "verified"
    FALSIFIED = "falsified"
    UNKNOWN = "unknown"
    MISCLASSIFIED = "misclassified"
    ERROR = "error"


class Evidence(StrEnum):
    """What stands behind the lower bound, strongest first.

    Attributes:
        CHECKED_PROOF: a certificate that the checker has accepted.
        BOUND_PROPAGATION: bounds with all rounding errors covered, also at every node of a search.
        SOLVER_CLAIM: the word of a mixed-integer solver, true within its tolerances.
        NONE: nothing; the lower bound is 0.
    """

    CHECKED_PROOF = "checked proof"
    BOUND_PROPAGATION = "bound propagation"
    SOLVER_CLAIM = "solver claim"
    NONE = "none"


class Stage(StrEnum):
    """The stages of a query, in the order in which they run."""

    BOUNDS = "bounds"
    ATTACK = "attack"
    TIGHTENING = "tightening"
    MIP = "mip"
    SEARCH = "search"
    PROOF = "proof"


@dataclass(frozen=True, eq=False)
class Certificate:
    """[lower, upper] encloses the minimal distortion of one input.

    Attributes:
        label: the class of the input; None where it plays no role.
        prediction: class of the unperturbed input in onnxruntime; None where classes play no role, -1
            where it has none.
        norm: the distance.
        eps: radius asked about, None for a distance query.
        lower: no adversarial point has a distance <= lower (closed ball); 0 also when nothing is known:
            then `evidence` is none.
        upper: distance of `witness`, infinity without one.
        gap: relative gap at which a distance counts as closed.
        evidence: what stands behind `lower`.
        witness: the closest replayed adversarial point found.
        target: class of the witness, or the class that limits `lower`.
        decided_by: stage that gave the verdict, None while it is open.
        num_relus: ReLU neurons of the network.
        num_unstable: those whose phase the bounds left open, at the last stage; None where not computed.
        num_binaries: binary variables of the program at the last stage; None without one.
        nodes: nodes of search or program at the last stage; None without one.
        seconds: wall time of each stage, in seconds; `total` is their sum.
        search_radius: for a distance query, the radius beyond which nothing was searched.
        error: what went wrong, for status `error`.
        profile: what the stages left open, if the options asked for it.
        proof: of the bounds, as a file that `mipverify check` accepts, if the options asked for one.
        criterion: when outputs count as unsafe; None where nobody said.
        original: the input, for people to see; None where verification failed before it was looked at.

    A notebook shows it as a verdict with pictures (or bars for features of a table).
    """

    label: int | None
    prediction: int | None
    norm: Norm
    eps: float | None
    lower: float
    upper: float
    gap: float = 1e-4
    evidence: Evidence = Evidence.NONE
    witness: Witness | None = None
    target: int | None = None
    decided_by: Stage | None = None
    num_relus: int = 0
    num_unstable: int | None = None
    num_binaries: int | None = None
    nodes: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    search_radius: float = float("inf")
    error: str | None = None
    profile: Profile | None = None
    proof: Proof | None = None
    criterion: Criterion | None = None
    original: Original | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse an interval that contradicts itself."""
        if not self.lower <= self.upper or (self.upper < float("inf") and self.excludes(self.upper)):
            raise SoundnessError(
                f"lower bound {self.lower} reaches the distance {self.upper} of a replayed counterexample: "
                "please report this query"
            )

    @property
    def status(self) -> Status:
        """The verdict: at radius `eps`, or for a distance query whether the interval is closed."""
        if self.error is not None:
            return Status.ERROR
        if self.keeps_class and self.prediction != self.label:
            return Status.MISCLASSIFIED
        if self.eps is not None:
            if self.excludes(self.eps):
                return Status.VERIFIED
            return Status.FALSIFIED if self.upper <= self.eps else Status.UNKNOWN
        return Status.VERIFIED if self.closed else Status.UNKNOWN

    @property
    def keeps_class(self) -> bool:
        """Whether the question is about the class of the input, and not about a condition on outputs."""
        return self.criterion is None or self.criterion.output is None

    def excludes(self, radius: float) -> bool:
        """Whether no adversarial point has distance <= radius; a lower end of 0 needs evidence to say so."""
        return self.lower >= radius and (self.lower > 0 or self.evidence is not Evidence.NONE)

    @property
    def closed(self) -> bool:
        """Whether the interval is closed to the relative gap, or proven empty up to the search radius."""
        return self.relative_gap <= self.gap or self.excludes(self.search_radius)

    @property
    def closed_for_query(self) -> bool:
        """Whether the question asked is answered: at radius `eps`, or for the distance."""
        if self.eps is None:
            return self.closed
        return self.excludes(self.eps) or self.upper <= self.eps

    @property
    def relative_gap(self) -> float:
        """(upper - lower) / upper; 1 without a witness.

        Distances in l0 are whole numbers: none at `lower` means none below the next of them.
        """
        if self.upper == float("inf"):
            return 1.0
        if self.norm.counts:
            least = floor(self.lower) + 1 if self.excludes(floor(self.lower)) else 0
            return max(0.0, (self.upper - least) / self.upper) if self.upper > 0 else 0.0
        return (self.upper - self.lower) / self.upper if self.upper > 0 else 0.0

    def _repr_html_(self) -> str:
        """The answer as a notebook shows it."""
        from mipverify.verify.showing import certificate_html

        return certificate_html(self)
