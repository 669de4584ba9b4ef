"""The folder of a run: `run.json`, `records.jsonl` and the counterexamples, on disk sample by sample."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from mipverify.errors import InputError
from mipverify.graph.operators import Float64Array
from mipverify.verify.proof import Proof
from mipverify.verify.record import Record

RECORDS = "records.jsonl"
MANIFEST = "run.json"
SUMMARY = "summary.json"
WITNESSES = "witnesses"
CERTIFICATES = "certificates"
INPUTS = "inputs"


class RunFolder:
    """A folder that always holds exactly the samples finished so far.

    A counterexample is in place before the record that names it; each record is one line, written and
    synchronised before the next sample is answered, so that a crash can lose or truncate only the last line.

    Args:
        path: the folder; created if need be, and refused when it already holds records.

    Raises:
        InputError: the folder cannot be written, or belongs to an earlier run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._existed = path.exists()
        if (path / RECORDS).exists():
            raise InputError(f"{path} already holds the records of a run: choose a new folder or remove it")
        try:
            (path / WITNESSES).mkdir(parents=True, exist_ok=True)
            self._records = (path / RECORDS).open("x", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}: choose another folder") from error

    def write_manifest(self, manifest: Mapping[str, object]) -> None:
        """What was asked, and of which network and data."""
        self._write_json(MANIFEST, manifest)

    def write_summary(self, summary: Mapping[str, object]) -> None:
        """The counts, at the end or when interrupted."""
        self._write_json(SUMMARY, summary)

    def save_witness(self, index: int, point: Float64Array, shape: tuple[int, ...]) -> str:
        """Store an adversarial point [n] as float32 of the network's input shape; its path in the folder."""
        return self._save_array(f"{WITNESSES}/{index:06d}.npy", point, shape)

    def save_input(self, index: int, point: Float64Array, shape: tuple[int, ...]) -> str:
        """Store the input [n] that a counterexample belongs to, likewise; its path in the folder."""
        return self._save_array(f"{INPUTS}/{index:06d}.npy", point, shape)

    def save_certificate(self, index: int, proof: Proof) -> str:
        """Store a certificate; its path in the folder."""
        name = f"{CERTIFICATES}/{index:06d}.npz"
        temporary = self.path / f"{name}.partial"
        temporary.parent.mkdir(exist_ok=True)
        proof.save(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(self.path / name)
        return name

    def append(self, record: Record) -> None:
        """Add one finished sample."""
        self._records.write(record.to_json() + "\n")
        self._records.flush()
        os.fsync(self._records.fileno())

    def discard(self) -> None:
        """Remove the folder of a run that was refused before its first record."""
        self.close()
        for name in (RECORDS, MANIFEST):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):  # not empty: something else lives there
            (self.path / WITNESSES).rmdir()
            if not self._existed:
                self.path.rmdir()

    def close(self) -> None:
        """Close the record file."""
        self._records.close()

    def _save_array(self, name: str, point: Float64Array, shape: tuple[int, ...]) -> str:
        temporary = self.path / f"{name}.partial"
        temporary.parent.mkdir(exist_ok=True)
        with temporary.open("wb") as file:
            np.save(file, point.astype(np.float32).reshape(shape), allow_pickle=False)
            os.fsync(file.fileno())
        temporary.replace(self.path / name)
        return name

    def _write_json(self, name: str, content: Mapping[str, object]) -> None:
        temporary = self.path / f"{name}.partial"
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.path / name)
