"""Samples as flat rows: what tables in files hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from mipverify.report.run_data import RunData, Sample

Value = str | int | float | bool | None

NORMS = ("linf", "l2", "l1", "l0")
COLUMNS: dict[str, type] = {
    "run": str,
    "index": int,
    "label": int,
    "prediction": int,
    "status": str,
    "norm": str,
    "eps": float,
    "lower_bound": float,
    "upper_bound": float,
    "gap": float,
    "target": int,
    "decided_by": str,
    "evidence": str,
    "num_relus": int,
    "num_unstable": int,
    "num_binaries": int,
    "nodes": int,
    "seconds": float,
    "counterexample": str,
    "counterexample_prediction": int,
    "counterexample_margin": float,
    **{f"counterexample_{norm}": float for norm in NORMS},
    "certificate": str,
    "holds_in_float32": bool,
    "margin": float,
    "error": str,
    "network": str,
    "property": str,
}


def rows(runs: Sequence[RunData]) -> Iterator[dict[str, Value]]:
    """One row a sample of each run, with the keys of `COLUMNS`."""
    for run in runs:
        for sample in run.samples:
            yield _row(run, sample)


def _row(run: RunData, sample: Sample) -> dict[str, Value]:
    found = sample.counterexample
    return {
        "run": run.name,
        "index": sample.index,
        "label": sample.label,
        "prediction": sample.prediction,
        "status": sample.status,
        "norm": sample.norm,
        "eps": sample.eps,
        "lower_bound": sample.lower,
        "upper_bound": sample.upper if math.isfinite(sample.upper) else None,
        "gap": sample.gap,
        "target": sample.target,
        "decided_by": sample.decided_by,
        "evidence": sample.evidence,
        "num_relus": sample.num_relus,
        "num_unstable": sample.num_unstable,
        "num_binaries": sample.num_binaries,
        "nodes": sample.nodes,
        "seconds": sample.seconds,
        "counterexample": None if found is None else found.file,
        "counterexample_prediction": None if found is None else found.prediction,
        "counterexample_margin": None if found is None else found.margin,
        **{f"counterexample_{norm}": None if found is None else found.distances.get(norm) for norm in NORMS},
        "certificate": sample.certificate,
        "holds_in_float32": sample.holds_in_float32,
        "margin": sample.margin,
        "error": sample.error,
        "network": None if sample.instance is None else sample.instance.network,
        "property": None if sample.instance is None else sample.instance.property,
    }
