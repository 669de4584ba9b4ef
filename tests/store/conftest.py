"""Small runs, written without any network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mipverify.store.keys import digest_of, sample_key
from mipverify.store.reading import PlannedSample
from mipverify.store.schema import CERTIFICATES, WITNESSES
from mipverify.store.writing import Finished, RunStore

SETTINGS: dict[str, Any] = {
    "network": "d",
    "eps": 0.1,
    "norm": "linf",
    "domain": (0.0, 1.0),
    "time_limit": 60.0,
}


def planned(indices: range | list[int], settings: dict[str, Any] = SETTINGS) -> list[PlannedSample]:
    common = digest_of(settings)
    contents = [(index, digest_of({"input": index})) for index in indices]
    return [PlannedSample(sample_key(common, content, index), index, content) for index, content in contents]


def opened(
    folder: Path, indices: range | list[int] = range(4), *, resume: bool = False, **changed: Any
) -> tuple[RunStore, list[PlannedSample]]:
    """A store with a command begun."""
    settings = SETTINGS | changed
    samples = planned(indices, settings)
    store = RunStore(folder, settings, resume=resume)
    try:
        store.begin({"command": "mipverify certify"}, samples)
    except BaseException:
        store.close()
        raise
    return store, samples


def answer(store: RunStore, sample: PlannedSample, *, final: bool = True, **changed: Any) -> Finished:
    """A falsified sample, with its files."""
    witness = store.artefacts.write_array(
        store.name(WITNESSES, sample.index, ".npy"), np.full(8, sample.index, np.float32)
    )
    proof = store.artefacts.write(
        store.name(CERTIFICATES, sample.index, ".npz"),
        lambda path: path.write_text(f"proof {sample.index}") and None,
    )
    record = {
        "index": sample.index,
        "status": "falsified",
        "counterexample": {"file": witness},
        "certificate": proof,
    } | changed
    return Finished(sample.key, sample.index, json.dumps(record), 0.5, final)


def files(folder: Path) -> set[str]:
    """All files of a run, by their path in it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
