"""A run as a report needs it: the only place that knows the files of a run's folder."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import InputError

RECORDS, MANIFEST, SUMMARY, UNIVERSAL = "records.jsonl", "run.json", "summary.json", "universal.json"
INPUTS = "inputs"
STATUSES = ("verified", "falsified", "unknown", "misclassified", "error")
NO_EVIDENCE = "none"


@dataclass(frozen=True)
class Counterexample:
    """A replayed adversarial point.

    Attributes:
        file: where it is stored, relative to the run; None when it was not kept or the path leads elsewhere.
        prediction: its class; None where classes play no role.
        margin: by how much the unsafe set is reached.
        distances: from the input, by norm.
        outputs: of the network; only for conditions on outputs.
        parameters: theta by name; only where the question has parameters.
    """

    file: str | None
    prediction: int | None
    margin: float | None
    distances: dict[str, float]
    outputs: tuple[float, ...] = ()
    parameters: dict[str, float] | None = None


@dataclass(frozen=True)
class Layer:
    """Neurons of a ReLU layer, and how many of them each rung of bounds left open."""

    name: str
    size: int
    unstable: dict[str, int]


@dataclass(frozen=True)
class Sample:
    """What is known of one sample; see `mipverify.verify.record.Record` for the fields.

    Attributes:
        lower: no adversarial point has a distance <= lower.
        upper: distance of the counterexample; infinite without one.
        seconds: of all stages together.
        stages: seconds by stage.
        layers: unstable neurons; only with `--profile`.
    """

    index: int
    label: int | None
    prediction: int | None
    status: str
    norm: str
    eps: float | None
    lower: float
    upper: float
    gap: float | None
    target: int | None
    decided_by: str | None
    evidence: str
    num_relus: int | None
    num_unstable: int | None
    num_binaries: int | None
    nodes: int | None
    seconds: float
    stages: dict[str, float]
    counterexample: Counterexample | None
    certificate: str | None
    holds_in_float32: bool | None
    margin: float | None
    error: str | None
    layers: tuple[Layer, ...]
    region: dict[str, str]

    @property
    def least_distance(self) -> float:
        """The smallest distance that is not excluded: in l0 the next whole number after `lower`."""
        if self.norm == "l0" and self.evidence != NO_EVIDENCE:
            return math.floor(self.lower) + 1.0
        return self.lower

    @property
    def correct(self) -> bool:
        """Whether there was something to verify."""
        return self.status not in ("misclassified", "error")


@dataclass(frozen=True)
class RunData:
    """One run: what was asked, and what is known of every sample that is finished.

    Attributes:
        path: of the run.
        name: last part of the path.
        manifest: what was asked, of which network and data.
        summary: written at the end; empty for a run that is still going on, or was killed.
        samples: in the order of their index.
        truncated: whether the last record was cut off by a crash.
    """

    path: Path
    name: str
    manifest: dict[str, Any]
    summary: dict[str, Any]
    samples: tuple[Sample, ...]
    truncated: bool = False

    @property
    def norm(self) -> str:
        """The norm of the question."""
        return self.samples[0].norm

    @property
    def is_distance(self) -> bool:
        """Whether minimal distances were asked for, rather than verdicts."""
        query = self.manifest.get("query")
        return query == "distance" if isinstance(query, str) else self.samples[0].eps is None

    @property
    def planned(self) -> int:
        """Number of samples that the run was to answer."""
        return max(len(self.section("indices", list)), len(self.samples))

    def section(self, name: str, kind: type[Any] = dict) -> Any:
        """A part of the manifest, empty where it is missing or of another kind."""
        value = self.manifest.get(name)
        return value if isinstance(value, kind) else kind()

    @property
    def has_inputs(self) -> bool:
        """Whether the inputs of counterexamples are stored."""
        return (self.path / INPUTS).is_dir()

    def adversarial(self, sample: Sample) -> NDArray[np.float32] | None:
        """The counterexample in the network's input shape; None where there is no readable one."""
        found = sample.counterexample
        return None if found is None or found.file is None else _array(self.path / found.file)

    def original(self, sample: Sample) -> NDArray[np.float32] | None:
        """The unperturbed input of a sample with a counterexample, likewise."""
        return _array(self.path / INPUTS / f"{sample.index:06d}.npy")


def read_run(path: Path) -> RunData:
    """Read the run in folder `path`.

    Raises:
        InputError: there is no such run, it has no records, or they are not those of a run.
    """
    if not path.exists():
        raise InputError(f"no such run: {path}: give the folder that --out named")
    if (path / UNIVERSAL).exists() and not (path / RECORDS).exists():
        raise InputError(f"{path} is the answer of `mipverify universal`: reports are about runs of samples")
    if not (path / RECORDS).is_file() or not (path / MANIFEST).is_file():
        raise InputError(f"{path} is not a run: it lacks {RECORDS} or {MANIFEST}; give the folder of --out")
    samples, truncated = _records(path)
    if not samples:
        raise InputError(f"{path} holds no records yet: there is nothing to report")
    return RunData(
        path=path,
        name=path.resolve().name or str(path),
        manifest=_json(path / MANIFEST),
        summary=_json(path / SUMMARY) if (path / SUMMARY).is_file() else {},
        samples=tuple(sorted(samples, key=lambda sample: sample.index)),
        truncated=truncated,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): is it the folder of a run?") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not what a run writes: an object is expected")
    return content


def _records(run: Path) -> tuple[list[Sample], bool]:
    try:
        lines = (run / RECORDS).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise InputError(f"{run / RECORDS} cannot be read: {error.strerror}") from error
    samples: list[Sample] = []
    last = len(lines) - 1
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            samples.append(_sample(run, json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == last:  # no line end: a crash cut it off
                return samples, True
            raise InputError(
                f"{run / RECORDS}, line {number + 1}: not the record of a sample "
                f"({type(error).__name__}: {error})"
            ) from error
    return samples, False


def _sample(run: Path, record: dict[str, Any]) -> Sample:
    if record["status"] not in STATUSES:
        raise ValueError(f"unknown status {record['status']!r}")
    upper, found = record["upper_bound"], record.get("counterexample")
    seconds = {str(stage): _finite(float(value)) for stage, value in record["seconds"].items()}
    return Sample(
        index=int(record["index"]),
        label=_whole(record.get("label")),
        prediction=_whole(record.get("prediction")),
        status=record["status"],
        norm=str(record["norm"]),
        eps=_number(record.get("eps")),
        lower=_finite(float(record["lower_bound"])),
        upper=math.inf if upper is None else _finite(float(upper)),
        gap=_number(record.get("gap")),
        target=_whole(record.get("target")),
        decided_by=_text(record.get("decided_by")),
        evidence=str(record["evidence"]),
        num_relus=_whole(record.get("num_relus")),
        num_unstable=_whole(record.get("num_unstable")),
        num_binaries=_whole(record.get("num_binaries")),
        nodes=_whole(record.get("nodes")),
        seconds=seconds.get("total", 0.0),
        stages={stage: value for stage, value in seconds.items() if stage != "total"},
        counterexample=None if found is None else _counterexample(run, found),
        certificate=_inside(run, record.get("certificate")),
        holds_in_float32=record.get("holds_in_float32"),
        margin=_number(record.get("margin")),
        error=_text(record.get("error")),
        layers=_layers(record.get("profile")),
        region={str(key): str(value) for key, value in (record.get("region") or {}).items()},
    )


def _counterexample(run: Path, found: dict[str, Any]) -> Counterexample:
    parameters = found.get("parameters")
    return Counterexample(
        file=_inside(run, found.get("file")),
        prediction=_whole(found.get("prediction")),
        margin=_number(found.get("margin")),
        distances={
            str(norm): _finite(float(value)) for norm, value in (found.get("distances") or {}).items()
        },
        outputs=tuple(float(value) for value in found.get("outputs") or ()),
        parameters=None if parameters is None else {str(k): float(v) for k, v in parameters.items()},
    )


def _layers(profile: dict[str, Any] | None) -> tuple[Layer, ...]:
    return tuple(
        Layer(
            str(layer["name"]),
            int(layer["size"]),
            {str(rung): int(count) for rung, count in layer["unstable"].items()},
        )
        for layer in (profile or {}).get("layers", ())
    )


def _inside(run: Path, name: object) -> str | None:
    """A file of the run; a record may not point anywhere else."""
    if not isinstance(name, str):
        return None
    home = run.resolve()
    return name if (home / name).resolve().is_relative_to(home) else None


def _array(path: Path) -> NDArray[np.float32] | None:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or not np.isfinite(values).all():
        return None
    return np.asarray(values, dtype=np.float32)


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is no bound")
    return value


def _text(value: object) -> str | None:
    return None if value is None else str(value)
