"""Runs as JUnit results, for continuous integration: a suite a run, a case a sample."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as Tree

from mipverify.display.numerals import lower_text, upper_text
from mipverify.report.accuracy import tally
from mipverify.report.run_data import Instance, RunData, Sample

# What XML 1.0 cannot hold, not even escaped.
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_text(runs: Sequence[RunData]) -> str:
    """Falsified samples fail, failed ones are errors; unknown and misclassified ones are skipped."""
    root = Tree.Element("testsuites", name="mipverify")
    for run in runs:
        counts = tally(run.samples).counts
        suite = Tree.SubElement(
            root,
            "testsuite",
            name=_clean(run.name),
            tests=str(len(run.samples)),
            failures=str(counts["falsified"]),
            errors=str(counts["error"]),
            skipped=str(counts["unknown"] + counts["misclassified"]),
            time=f"{sum(sample.seconds for sample in run.samples):.3f}",
        )
        for sample in run.samples:
            _add_case(suite, run, sample)
    Tree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Tree.tostring(root, encoding="unicode") + "\n"


def _add_case(suite: Tree.Element, run: RunData, sample: Sample) -> None:
    network = run.section("network").get("name", "network")
    if sample.instance is not None:
        _add_property(suite, sample, sample.instance)
        return
    question = f"{sample.norm} distance" if sample.eps is None else f"{sample.norm} {sample.eps:g}"
    case = Tree.SubElement(
        suite,
        "testcase",
        classname=_clean(f"{network}.{question}"),
        name=f"sample {sample.index}",
        time=f"{sample.seconds:.3f}",
    )
    interval = f"[{lower_text(sample.least_distance)}, {upper_text(sample.upper)}]"
    if sample.status == "falsified":
        words = f"counterexample of class {sample.target} at {sample.norm} {upper_text(sample.upper)}"
        if sample.target is None:
            words = f"counterexample at {sample.norm} {upper_text(sample.upper)}"
        Tree.SubElement(case, "failure", type="falsified", message=words)
    elif sample.status == "error":
        Tree.SubElement(case, "error", type="error", message=_clean(sample.error or "failed"))
    elif sample.status == "unknown":
        Tree.SubElement(case, "skipped", message=f"undecided: distance in {interval}")
    elif sample.status == "misclassified":
        words = f"misclassified: {sample.prediction} in place of {sample.label}"
        Tree.SubElement(case, "skipped", message=words)


def _add_property(suite: Tree.Element, sample: Sample, instance: Instance) -> None:
    case = Tree.SubElement(
        suite,
        "testcase",
        classname=_clean(instance.network),
        name=_clean(f"{sample.index} {instance.property}"),
        time=f"{sample.seconds:.3f}",
    )
    if sample.status == "falsified":
        Tree.SubElement(case, "failure", type="falsified", message="sat: a witness was replayed")
    elif sample.status == "error":
        Tree.SubElement(case, "error", type="error", message=_clean(sample.error or "failed"))
    elif sample.status == "unknown":
        Tree.SubElement(case, "skipped", message=f"undecided: {instance.verdict}")


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
