"""A certificate as a notebook shows it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mipverify.display.answer import Answer, answer_html
from mipverify.display.change import Change, change
from mipverify.display.numerals import lower_text, seconds_text, upper_text
from mipverify.display.picture import data_uri, image_of, planes, shaded
from mipverify.problem.original import Original

if TYPE_CHECKING:
    from mipverify.verify.certificate import Certificate


def certificate_html(certificate: Certificate) -> str:
    """Verdict, original beside counterexample and their difference, interval and evidence."""
    found, input_ = certificate.witness, certificate.original
    moved = None
    if found is not None and found.distance > 0 and input_ is not None and input_.point.size:
        moved = _change(certificate, input_)
    classes = certificate.keeps_class
    return answer_html(
        Answer(
            status=certificate.status.value,
            word=_word(certificate),
            claim=_claim(certificate),
            label="" if certificate.label is None else str(certificate.label),
            becomes=str(found.prediction) if found is not None and classes else "",
            change=moved,
            picture=None if input_ is None else _picture(input_),
            facts=tuple(_facts(certificate)),
        )
    )


def _change(certificate: Certificate, input_: Original) -> Change | None:
    found = certificate.witness
    if found is None:
        return None
    return change(input_.point, found.point, image_of(input_.shape), input_.limits)


def _picture(input_: Original) -> str | None:
    image = image_of(input_.shape)
    if image is None or math.prod(image[:3]) != input_.point.size:
        return None
    low, high = input_.limits or (float(input_.point.min()), float(input_.point.max()))
    return data_uri(shaded(planes(input_.point, image), low, high))


def _word(certificate: Certificate) -> str:
    status = certificate.status.value
    if certificate.eps is None:
        return {"verified": "closed", "unknown": "open"}.get(status, status)
    return status


def _claim(certificate: Certificate) -> str:
    status, norm = certificate.status.value, certificate.norm.value
    if status == "error":
        return certificate.error or "verification failed"
    if status == "misclassified":
        return f"the network takes the input for {certificate.prediction}, its label is {certificate.label}"
    what = "adversarial point" if certificate.keeps_class else "point that violates the condition"
    if certificate.eps is None:
        return f"distance of the closest {what} ({norm}) in {interval_text(certificate)}"
    if status == "verified":
        return f"there is no {what} within {norm} distance {lower_text(certificate.eps)}"
    where = f"within {norm} distance {upper_text(certificate.eps)}"
    if status == "falsified":
        return f"there is an {what} {where}" if certificate.keeps_class else f"there is a {what} {where}"
    return f"neither proven nor refuted {where}"


def interval_text(certificate: Certificate) -> str:
    """[lower, upper] around the minimal distance, never narrower than what is known."""
    least = certificate.lower
    if certificate.norm.counts and certificate.evidence.value != "none":
        least = math.floor(least) + 1.0 if math.isfinite(least) else least
    top = f"{upper_text(certificate.upper)}]" if math.isfinite(certificate.upper) else "∞)"
    return f"[{lower_text(least)}, {top}"


def _facts(certificate: Certificate) -> list[tuple[str, str]]:
    found, facts = certificate.witness, []
    if certificate.status.value not in ("error", "misclassified"):
        facts.append(("distance", interval_text(certificate)))
        facts.append(("evidence", certificate.evidence.value))
        if certificate.decided_by is not None:
            facts.append(("decided by", certificate.decided_by.value))
    if found is not None and found.distance > 0:
        replayed = f"{certificate.norm.value} distance {upper_text(found.distance)}, replayed in onnxruntime"
        facts.append(("counterexample", replayed))
        if found.parameters is not None:
            values = (f"{name} {value:.4g}" for name, value in list(found.parameters.items())[:4])
            facts.append(("parameters", ", ".join(values)))
    spent = certificate.seconds.get("total", sum(certificate.seconds.values()))
    return [*facts, ("seconds", seconds_text(spent))]
