"""A run as a report needs it: its records as numbers, checked one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mipverify.errors import InputError
from mipverify.store.contradictions import NO_EVIDENCE
from mipverify.store.reading import StoredRun, read_store
from mipverify.store.schema import INPUTS

LARGEST = 2**63  # of whole numbers, as tables hold them
STATUSES = ("verified", "falsified", "unknown", "misclassified", "error")


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
class Instance:
    """A VNN-LIB property: names of its files, and the verdict in its words."""

    network: str
    property: str
    verdict: str


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
    instance: Instance | None = None

    @property
    def word(self) -> str:
        """The status; for a property the verdict."""
        return self.status if self.instance is None else self.instance.verdict

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
        summary: counts of the last command and when it `ended`; empty while it runs, or if it was killed.
        samples: in the order of their index.
        unfinished: indices of samples that a resumed run asks for: without answer, failed, or cut short.
        contents: digest of input, label and region of every sample, by index.
    """

    path: Path
    name: str
    manifest: dict[str, Any]
    summary: dict[str, Any]
    samples: tuple[Sample, ...]
    unfinished: tuple[int, ...] = ()
    contents: dict[int, str] = field(default_factory=dict)

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
    def is_property(self) -> bool:
        """Whether VNN-LIB properties were asked about, rather than samples."""
        return self.manifest.get("query") == "vnnlib"

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
        InputError: there is no such run, it has no records, or they are not those of a run (`StoreError` for
            what is wrong with its file).
    """
    stored = read_store(path)
    if not stored.records:
        raise InputError(f"{path} holds no records yet: there is nothing to report")
    return RunData(
        path=path,
        name=path.resolve().name or str(path),
        manifest=stored.manifest,
        summary=_summary(stored),
        samples=tuple(sorted(_samples(path, stored), key=lambda sample: sample.index)),
        unfinished=stored.missing,
        contents={sample.index: sample.content for sample in stored.samples},
    )


def _summary(stored: StoredRun) -> dict[str, Any]:
    last = stored.starts[-1] if stored.starts else None
    return {} if last is None or last.summary is None else last.summary | {"ended": last.ended}


def _samples(run: Path, stored: StoredRun) -> Iterator[Sample]:
    for record in stored.records:
        try:
            sample = _sample(run, record.values)
            if sample.index != record.index:
                raise ValueError(f"it is about sample {sample.index}")
            yield sample
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise InputError(
                f"{run} holds something else than a record for sample {record.index} "
                f"({type(error).__name__}: {error}): was it changed by another program?"
            ) from error


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
        holds_in_float32=_flag(record.get("holds_in_float32")),
        margin=_number(record.get("margin")),
        error=_text(record.get("error")),
        layers=_layers(record.get("profile")),
        region={str(key): str(value) for key, value in (record.get("region") or {}).items()},
        instance=_instance(record.get("instance")),
    )


def _instance(found: dict[str, Any] | None) -> Instance | None:
    if found is None:
        return None
    return Instance(str(found["network"]), str(found["property"]), str(found["verdict"]))


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
    found = int(value) if isinstance(value, (int, float)) else None
    if found is not None and abs(found) >= LARGEST:
        raise ValueError(f"{found} is no count")
    return found


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is no bound")
    return value


def _text(value: object) -> str | None:
    return None if value is None else str(value)
