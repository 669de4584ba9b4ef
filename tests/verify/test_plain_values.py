"""Records that come back from a file are records, or are refused by the name of a field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mipverify.verify.record import record_from

FOUND = {"file": "witnesses/000000.npy", "prediction": 3, "margin": 0.5, "distances": {"linf": 0.1}}
RECORD: dict[str, Any] = {
    "index": 0,
    "label": 1,
    "prediction": 1,
    "status": "falsified",
    "norm": "linf",
    "eps": 0.1,
    "criterion": {"reading": "label", "targets": None},
    "lower_bound": 0.0,
    "upper_bound": 0.1,
    "gap": 1,
    "target": 3,
    "decided_by": "attack",
    "evidence": "none",
    "num_relus": 64,
    "num_unstable": None,
    "num_binaries": None,
    "nodes": None,
    "seconds": {"total": 0.5},
    "counterexample": FOUND | {"replayed": True, "outputs": [0.5, 1], "parameters": {"angle": 1.0}},
    "certificate": None,
    "holds_in_float32": None,
    "margin": None,
    "error": None,
    "profile": {
        "layers": [{"name": "a", "size": 2, "unstable": {"lp": 1}}],
        **dict.fromkeys(("lps", "mips", "mip_nodes"), 1),
        **dict.fromkeys(("lp_seconds", "mip_seconds"), 0.5),
    },
    "region": {"lower": "0"},
    "instance": {"network": "n", "property": "p", "verdict": "sat", "time_limit": 5.0},
}
REFUSED = (TypeError, KeyError, ValueError)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lower_bound", "nan"),
        ("lower_bound", None),
        ("upper_bound", float("inf")),
        ("upper_bound", 10**400),
        ("eps", True),
        ("label", 1.0),
        ("nodes", 2**63),
        ("status", "proven"),
        ("evidence", "hearsay"),
        ("holds_in_float32", 0),
        ("seconds", {}),
        ("seconds", {"total": None}),
        ("counterexample", [1]),
        ("counterexample", FOUND | {"margin": float("nan")}),
        ("counterexample", FOUND | {"distances": {"linf": "0.1"}}),
        ("counterexample", FOUND | {"outputs": [None]}),
        ("profile", {"layers": 3}),
        ("profile", {"layers": [5]}),
        ("instance", {}),
        ("instance", "sat"),
        ("more", 1),
    ],
)
def test_what_is_no_record_is_refused(field: str, value: object) -> None:
    with pytest.raises(REFUSED):
        record_from(RECORD | {field: value})


@given(st.sampled_from(sorted(RECORD)), JSON)
@example("upper_bound", None)
def test_a_record_is_refused_or_written_as_it_was_read(field: str, value: object) -> None:
    values = RECORD | {field: value}
    try:
        record = record_from(values)
    except REFUSED:
        return
    again = json.loads(record.to_json())
    assert record_from(again) == record
    if field not in ("profile", "region", "instance", "counterexample"):  # which may leave out what is unset
        assert again[field] == value


def test_a_field_is_named() -> None:
    with pytest.raises(TypeError, match=r"^lower_bound must be float, got 'x'$"):
        record_from(RECORD | {"lower_bound": "x"})
    with pytest.raises(TypeError, match=r"^nodes must be int \| None, got \[\]$"):
        record_from(RECORD | {"nodes": []})
