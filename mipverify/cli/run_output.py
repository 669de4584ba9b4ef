"""The run that `--out` names: what it is about, and how answers get into it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mipverify import __version__
from mipverify.errors import StoreError
from mipverify.store.background import Committer
from mipverify.store.keys import digest_of, sample_key
from mipverify.store.reading import PlannedSample
from mipverify.store.schema import CERTIFICATES, INPUTS, WITNESSES
from mipverify.store.writing import Finished, RunStore
from mipverify.verify.certificate import Status
from mipverify.verify.record import Record, record_from, record_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mipverify.cli.arguments import Question
    from mipverify.cli.samples import Samples
    from mipverify.frontend.dataset import Dataset
    from mipverify.frontend.network import Network
    from mipverify.verify.certificate import Certificate
    from mipverify.verify.options import VerifyOptions

NO_SETTINGS = frozenset({"profile"})  # options that change no answer
LOOKED_AT = 100  # inputs of a data set, for its digest
NOT_IN_KEY = frozenset({"data", "data_digest"})  # the input itself is


def settings_of(
    network: Network, samples: Samples, question: Question, options: VerifyOptions
) -> dict[str, object]:
    """What all samples of a run share and answers depend on: JSON values, by the names that users know."""
    effort = {name: value for name, value in asdict(options).items() if name not in NO_SETTINGS}
    return {
        "mipverify": __version__,
        "query": query_name(question),
        "network": network.digest,
        "normalisation": normalisation_of(network),
        "data": samples.dataset.name,
        "data_digest": _data_digest(samples.dataset),
        "norm": question.norm.value,
        "eps": json_number(question.eps),
        "radius": json_number(question.radius),
        **{f"criterion_{name}": value for name, value in question.criterion.values().items()},
        "domain": domain_of(question),
        **question.region.given(),
        **effort,
    }


def planned_samples(
    network: Network, samples: Samples, question: Question, settings: Mapping[str, object]
) -> list[PlannedSample]:
    """The samples with their keys: digests of the settings, and of what belongs to each."""
    common = digest_of({name: value for name, value in settings.items() if name not in NOT_IN_KEY})
    found = []
    for position, index in enumerate(samples.indices):
        content = digest_of(_content(network, samples, question, position))
        found.append(PlannedSample(sample_key(common, content, index), index, content))
    return found


class RunOutput:
    """A run that is being written by a session.

    Args:
        folder: of the run.
        network, samples, question, options: what it is about.
        resume: go on with a run that is there.

    Raises:
        StoreError: see `RunStore`.
    """

    def __init__(
        self,
        folder: Path,
        network: Network,
        samples: Samples,
        question: Question,
        options: VerifyOptions,
        *,
        resume: bool,
    ) -> None:
        self.folder = folder
        settings = settings_of(network, samples, question, options)
        self._planned = {
            sample.index: sample for sample in planned_samples(network, samples, question, settings)
        }
        self._shape = network.graph.input_shape
        self._region = question.region.given() or None
        self._store = RunStore(folder, settings, resume=resume)
        self.resumed = self._store.resumed
        self._committer: Committer | None = None

    def begin(self, manifest: Mapping[str, object]) -> None:
        """Note a command; StoreError if its samples are other ones than before."""
        self._store.begin(manifest, list(self._planned.values()))
        self._committer = Committer(self._store)

    def answered(self) -> dict[int, Record]:
        """The records of samples of this command that need not be asked again, by index."""
        found = self._store.answered
        try:
            known = {index: record_from(found[index].values) for index in self._planned if index in found}
            if wrong := [index for index, record in known.items() if record.index != index]:
                raise ValueError(f"that of sample {wrong[0]} is about sample {known[wrong[0]].index}")
            return known
        except (TypeError, KeyError, ValueError) as error:
            raise StoreError(
                f"{self._store.path} holds a record that this version does not know ({error}): "
                "choose a new folder, or use the version that wrote it"
            ) from error

    def save(self, answer: Certificate, index: int, x: np.ndarray[Any, np.dtype[np.float64]]) -> Record:
        """Write the files of an answer for input x [n]; its record."""
        files, store = self._store.artefacts, self._store
        witness = proof = None
        if answer.witness is not None:
            point = answer.witness.point.astype(np.float32).reshape(self._shape)
            witness = files.write_array(store.name(WITNESSES, index, ".npy"), point)
            files.write_array(f"{INPUTS}/{index:06d}.npy", x.astype(np.float32).reshape(self._shape))
        if answer.proof is not None:
            proof = files.write(store.name(CERTIFICATES, index, ".npz"), answer.proof.save)
        return record_of(
            answer, index, x, counterexample_file=witness, certificate_file=proof, region=self._region
        )

    def put(self, record: Record, *, unfinished: bool = False) -> None:
        """Keep a record whose files are written.

        Args:
            record: of a sample of this command.
            unfinished: whether more time would have said more, as after Ctrl-C.
        """
        if self._committer is None:
            raise RuntimeError("the run has not begun")
        final = record.status != Status.ERROR and not unfinished
        seconds = record.seconds.get("total", 0.0)
        key = self._planned[record.index].key
        self._committer.put(Finished(key, record.index, record.to_json(), seconds, final))

    def end(self, summary: Mapping[str, object]) -> None:
        """Make everything durable, and note that the command has ended."""
        if self._committer is not None:
            self._committer.close()
            self._store.end(summary)

    def discard(self) -> None:
        """Remove a run that was refused before its first record."""
        if self._committer is not None:
            self._committer.close()
        self._store.discard()

    def close(self) -> None:
        """Close the run; answers that were put are durable."""
        try:
            if self._committer is not None:
                self._committer.close()
        finally:
            self._store.close()


def query_name(question: Question) -> str:
    """The command that asks such a question."""
    return "distance" if question.eps is None else "certify"


def normalisation_of(network: Network) -> str:
    """Digest of the normalisation; empty without one."""
    from mipverify.certificate.record_claims import normalisation_digest

    given = network.normalization
    return "" if given is None else normalisation_digest(given.mean, given.std)


def domain_of(question: Question) -> list[float | str] | None:
    """The range of every input, infinities as texts; None without limits."""
    return None if question.domain is None else [float_or_text(side) for side in question.domain]


def json_number(value: float | None) -> float | str | None:
    """A number that JSON can hold."""
    return None if value is None else float_or_text(value)


def float_or_text(value: float) -> float | str:
    """The number, or `inf` and `-inf`."""
    return value if abs(value) != float("inf") else str(value)


def _data_digest(dataset: Dataset) -> str:
    """A digest of the labels and some of the inputs: tells other data apart, from wherever they are read."""
    step = max(1, len(dataset) // LOOKED_AT)
    return digest_of([list(dataset.inputs.shape), dataset.inputs[::step], dataset.labels])


def _content(network: Network, samples: Samples, question: Question, position: int) -> dict[str, object]:
    """What belongs to one sample, as plain values and arrays."""
    x = samples.points[position]
    label = None if samples.labels is None else int(samples.labels[position])
    region: dict[str, object] = dict(samples.region.part(range(position, position + 1)))
    family = samples.region.perturbation
    if family is not None:
        moved = family.at(x, network.graph.input_shape)
        region["perturbation"] = [list(moved.names), moved.matrix, moved.lower, moved.upper]
    content: dict[str, object] = {"input": x, "label": label, "region": region}
    if question.criterion.output is not None:
        unsafe = question.criterion.unsafe(network.graph.output_size, label)
        content["unsafe"] = [[polytope.matrix, polytope.offset] for polytope in unsafe]
    return content
