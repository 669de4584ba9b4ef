"""Random tiny questions with their exact answers, and honest certificates for them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from mipverify.certificate.format import CertificateFile, write_certificate
from mipverify.frontend.network import Network, load_network
from mipverify.graph.graph import Graph
from mipverify.problem.norm import Norm
from mipverify.problem.query import Query, misclassification
from mipverify.problem.region import Ball, Box
from mipverify.verify.batch import answer
from mipverify.verify.certificate import Certificate
from mipverify.verify.engine import Engine
from mipverify.verify.options import VerifyOptions
from tests.oracles.enumeration import closest, linear_regions
from tests.random_networks import random_graph, to_onnx

QUERIES = int(os.environ.get("MIPVERIFY_TINY_CERTIFICATES", "100"))
TAMPERED = int(os.environ.get("MIPVERIFY_TAMPERED_CERTIFICATES", "400"))
KINDS = ("dense", "conv", "residual", "maxpool", "scale")


@dataclass(frozen=True, eq=False)
class TinyQuestion:
    """A question, what the program answers, and the truth.

    Attributes:
        model: the file.
        network: the same, loaded.
        query: without a radius.
        distance: to the closest unsafe point, by enumeration; infinity if there is none.
        answer: the distance, with a proof where one was found.
    """

    model: onnx.ModelProto
    network: Network
    query: Query
    distance: float
    answer: Certificate

    def save(self, folder: Path, file: CertificateFile) -> tuple[Path, Path]:
        """Files of a certificate and of the network."""
        certificate, network = folder / "certificate.npz", folder / "network.onnx"
        network.write_bytes(self.model.SerializeToString())
        write_certificate(certificate, file)
        return certificate, network


def tiny_question(seed: int, *, proof: str = "always") -> TinyQuestion:
    """A random question about a random network of at most 6 ReLUs."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kinds=KINDS, max_relus=6, max_blocks=3)
    model = to_onnx(graph, batch=1)
    network = load_network(model)
    size = network.graph.input_size
    domain = (
        Box(np.zeros(size), np.ones(size))
        if rng.random() < 0.7
        else Box(np.full(size, -2.0), np.full(size, 3.0))
    )
    center = rng.random(size).astype(np.float32).astype(np.float64)
    label = int(np.argmax(network.run(center[None])[0]))
    unsafe = misclassification(network.graph.output_size, label, alpha=float(rng.choice([0.0, 0.1])))
    norm = Norm.LINF if rng.random() < 0.6 else Norm.L1
    query = Query(Ball(center, float("inf"), norm, domain), unsafe, label)
    engine = Engine(network, VerifyOptions(time_limit=30, proof=proof))
    (found,) = answer(engine, [query], eps=None)
    return TinyQuestion(model, network, query, true_distance(graph, query), found)


def true_distance(graph: Graph, query: Query) -> float:
    """By visiting all linear regions."""
    return closest(linear_regions(graph, query.region), query.region, query.unsafe)


def with_arrays(file: CertificateFile, **arrays: np.ndarray) -> CertificateFile:
    """The certificate with other arrays."""
    return replace(file, arrays={**file.arrays, **arrays})


def with_header(file: CertificateFile, **values: object) -> CertificateFile:
    """The certificate with other entries of its header."""
    return replace(file, header={**file.header, **values})
