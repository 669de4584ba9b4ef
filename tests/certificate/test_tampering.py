"""No tampered certificate is accepted unless what it claims is still true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mipverify.certificate.check import check
from mipverify.certificate.format import CertificateFile
from mipverify.frontend.network import load_network
from mipverify.problem.region import Polytope
from tests.certificate.tiny import (
    TAMPERED,
    TinyQuestion,
    tiny_question,
    true_distance,
    with_arrays,
    with_header,
)

TOLERANCE = 1e-7
Tamper = Callable[[np.random.Generator, CertificateFile], CertificateFile]


def raise_the_bound(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    larger = (float.fromhex(file.header["lower"]) * (1 + 10.0 ** rng.uniform(-9, 1))).hex()
    return with_header(file, lower=larger, radius=larger)


def raise_the_claim_alone(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    return with_header(file, lower=(float.fromhex(file.header["lower"]) * (1 + rng.exponential())).hex())


def perturb_slopes(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    slopes = file.arrays["slopes"]
    return with_arrays(file, slopes=rng.integers(0, 256, size=slopes.shape).astype(np.uint8))


def perturb_multipliers(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    values = file.arrays["multipliers"]
    return with_arrays(file, multipliers=(values * rng.exponential(size=values.shape)).astype(np.float32))


def negate_numbers(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    name = str(rng.choice(["multipliers", "weights"]))
    return with_arrays(file, **{name: (-file.arrays[name] - 1).astype(np.float32)})


def drop_a_leaf(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    keep = np.arange(len(file.arrays["slopes"])) != rng.integers(len(file.arrays["slopes"]))
    names = ("slopes", "weights")
    return with_arrays(file, **{name: file.arrays[name][keep] for name in names})


def drop_a_leaf_and_its_node(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    leaves = np.flatnonzero(file.arrays["split_relu"] < 0)
    node = np.arange(len(file.arrays["split_relu"])) != rng.choice(leaves)
    splits = {name: file.arrays[name][node] for name in ("split_relu", "split_neuron")}
    return with_arrays(drop_a_leaf(rng, file), **splits)


def duplicate_a_leaf(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    leaf = int(rng.integers(len(file.arrays["slopes"])))
    names = ("slopes", "weights")
    more = {name: np.concatenate([file.arrays[name], file.arrays[name][leaf : leaf + 1]]) for name in names}
    splits = {
        "split_relu": np.append(file.arrays["split_relu"], -1).astype(np.int32),
        "split_neuron": np.append(file.arrays["split_neuron"], 0).astype(np.int32),
    }
    return with_arrays(file, **more, **splits)


def swap_halves(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    """Leaves in another order: each is used with the phases of another one."""
    order = rng.permutation(len(file.arrays["slopes"]))
    names = ("slopes", "weights")
    return with_arrays(file, **{name: file.arrays[name][order] for name in names})


def split_elsewhere(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    neuron = file.arrays["split_neuron"].copy()
    neuron[rng.integers(len(neuron))] += int(rng.integers(-1, 3))
    return with_arrays(file, split_neuron=neuron)


def turn_inner_nodes_into_leaves(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    relu = file.arrays["split_relu"].copy()
    relu[rng.integers(len(relu))] = int(rng.integers(-2, 3))
    return with_arrays(file, split_relu=relu)


def refine_less_or_elsewhere(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    names = ("refined_relu", "refined_neuron")
    keep = rng.random(len(file.arrays["refined_relu"])) < 0.5
    arrays = {name: file.arrays[name][keep] for name in names}
    if rng.random() < 0.3:
        arrays["refined_neuron"] = arrays["refined_neuron"] + 1
    return with_arrays(file, **arrays)


def halve_the_region(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    """A tree of boxes that lacks a half."""
    axis = np.array([rng.integers(len(file.arrays["center"])), -1], dtype=np.int32)
    return with_arrays(file, box_axis=axis, box_value=np.array([file.arrays["center"][axis[0]], 0.0]))


def move_the_witness(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    if "witness" not in file.arrays:
        return raise_the_bound(rng, file)
    toward = file.arrays["center"] + rng.uniform(0, 0.9) * (file.arrays["witness"] - file.arrays["center"])
    closer = (float.fromhex(file.header["upper"]) * 0.9).hex()
    return with_header(with_arrays(file, witness=toward.astype(np.float32).astype(np.float64)), upper=closer)


def claim_a_closer_witness(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    if "witness" not in file.arrays:
        return raise_the_claim_alone(rng, file)
    return with_header(file, upper=(float.fromhex(file.header["upper"]) * rng.uniform(0, 0.999)).hex())


def overwrite_with_strange_numbers(rng: np.random.Generator, file: CertificateFile) -> CertificateFile:
    names = [name for name in sorted(file.arrays) if file.arrays[name].size]
    name = str(rng.choice(names))
    array = file.arrays[name].copy()
    strange = [np.nan, np.inf, -np.inf, 1e308, -1e308, -1, 0, 2**31 - 1, 255]
    with np.errstate(all="ignore"):
        array.reshape(-1)[rng.integers(array.size)] = np.float64(rng.choice(strange)).astype(array.dtype)
    return with_arrays(file, **{name: array})


TAMPERS: tuple[Tamper, ...] = (
    raise_the_bound,
    raise_the_claim_alone,
    perturb_slopes,
    perturb_multipliers,
    negate_numbers,
    drop_a_leaf,
    drop_a_leaf_and_its_node,
    duplicate_a_leaf,
    swap_halves,
    split_elsewhere,
    turn_inner_nodes_into_leaves,
    refine_less_or_elsewhere,
    halve_the_region,
    move_the_witness,
    claim_a_closer_witness,
    overwrite_with_strange_numbers,
)
NEVER_ACCEPTED = (
    raise_the_claim_alone,
    drop_a_leaf,
    drop_a_leaf_and_its_node,
    duplicate_a_leaf,
    halve_the_region,
    claim_a_closer_witness,
)


def is_true(question: TinyQuestion, file: CertificateFile) -> bool:
    """Whether what a certificate claims of its own question is true, by enumeration."""
    arrays = file.arrays
    region = replace(
        question.query.region,
        center=arrays["center"],
        domain=replace(
            question.query.region.domain,
            lower=np.broadcast_to(arrays["domain"][0], arrays["center"].shape),
            upper=np.broadcast_to(arrays["domain"][1], arrays["center"].shape),
        ),
    )
    polytopes = tuple(
        Polytope(arrays["unsafe_matrix"][own], arrays["unsafe_offset"][own])
        for own in (arrays["unsafe_owner"] == k for k in range(int(arrays["unsafe_owner"].max()) + 1))
    )
    query = replace(question.query, region=region, unsafe=polytopes)
    distance = true_distance(question.network.graph, query)
    slack = TOLERANCE * (1 + (distance if np.isfinite(distance) else 0.0))
    lower, upper = file.header["lower"], file.header["upper"]
    proven = lower is None or float.fromhex(lower) <= distance + slack
    shown = upper is None or float.fromhex(upper) >= distance - 1e-5 * (1 + slack)
    return proven and shown


@pytest.fixture(scope="module")
def honest() -> list[TinyQuestion]:
    found: list[TinyQuestion] = []
    seed = 0
    while len(found) < 20:
        question = tiny_question(seed)
        seed += 1
        proof = question.answer.proof
        splits = len(proof.file.arrays.get("split_relu", ())) if proof is not None and proof.report else 0
        if (
            splits > 0
            and 0 < question.answer.lower < question.answer.upper < np.inf
            and (len(found) % 2 == 0 or splits > len(question.query.unsafe))
        ):
            found.append(question)
    return found


@pytest.mark.parametrize("tamper", TAMPERS, ids=lambda tamper: tamper.__name__)
def test_what_is_accepted_is_true(tamper: Tamper, honest: list[TinyQuestion], tmp_path: Path) -> None:
    rng = np.random.default_rng(TAMPERS.index(tamper))
    accepted = 0
    for k in range(max(1, TAMPERED // len(TAMPERS))):
        question = honest[k % len(honest)]
        assert question.answer.proof is not None
        file = tamper(rng, question.answer.proof.file)
        verdict = check(*question.save(tmp_path, file))
        if verdict.accepted:
            accepted += 1
            assert is_true(question, file), (k, file.header)
    assert tamper not in NEVER_ACCEPTED or not accepted


def test_another_network_is_refused(honest: list[TinyQuestion], tmp_path: Path) -> None:
    first, second = honest[:2]
    assert first.answer.proof is not None
    certificate, _ = first.save(tmp_path, first.answer.proof.file)
    (tmp_path / "network.onnx").write_bytes(second.model.SerializeToString())
    verdict = check(certificate, tmp_path / "network.onnx")
    assert "another network" in verdict.findings[0]


def test_a_changed_weight_changes_what_is_true(honest: list[TinyQuestion], tmp_path: Path) -> None:
    """Even with the digest of the changed network, a certificate holds only if its claim does."""
    import hashlib

    rng = np.random.default_rng(3)
    rejected = 0
    for question in honest:
        assert question.answer.proof is not None
        model = onnx.ModelProto()
        model.CopyFrom(question.model)
        tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
        array = numpy_helper.to_array(tensor).copy()
        if array.dtype.kind != "f" or not array.size:
            continue
        array.reshape(-1)[rng.integers(array.size)] += np.float32(rng.normal())
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        file = with_header(
            question.answer.proof.file, network=hashlib.sha256(model.SerializeToString()).hexdigest()
        )
        changed = replace(question, model=model, network=load_network(model))
        verdict = check(*changed.save(tmp_path, file))
        rejected += not verdict.accepted
        if verdict.accepted:
            assert is_true(changed, file)
    assert rejected


def test_a_file_that_was_changed_without_its_digest_is_refused(
    honest: list[TinyQuestion], tmp_path: Path
) -> None:
    question = honest[0]
    assert question.answer.proof is not None
    paths = question.save(tmp_path, question.answer.proof.file)
    import io
    import zipfile

    with zipfile.ZipFile(paths[0]) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    array = np.load(io.BytesIO(entries["center.npy"])) + 1e-9
    buffer = io.BytesIO()
    np.save(buffer, array)
    with zipfile.ZipFile(paths[0], "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, buffer.getvalue() if name == "center.npy" else data)
    verdict = check(*paths)
    assert "digest" in verdict.findings[0]
