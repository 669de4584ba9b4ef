"""Networks and certificates written by hand, whatever they claim."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mipverify.certificate.format import CertificateFile, write_certificate


def model(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Any], shape: Sequence[int]
) -> onnx.ModelProto:
    """A file with the input x of a shape and the output y."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def products(factors: Sequence[float], size: int = 1) -> onnx.ModelProto:
    """y = x times all factors, one operator each."""
    names = ["x", *(f"v{k}" for k in range(len(factors) - 1)), "y"]
    nodes = [helper.make_node("Mul", [names[k], f"w{k}"], [names[k + 1]]) for k in range(len(factors))]
    return model(nodes, {f"w{k}": np.float32(factor) for k, factor in enumerate(factors)}, [1, size])


@dataclass(frozen=True, eq=False)
class Forged:
    """A certificate of single leaves without ReLUs, to be changed at will.

    Attributes:
        model: the network.
        center, domain, radius, norm: the region.
        matrix, offset: rows of the unsafe set, a polytope each.
        lower, upper, witness: what is claimed.
        weight: of each row.
        arrays: more, or others.
    """

    model: onnx.ModelProto
    center: Any
    domain: Any
    matrix: Any
    offset: Any
    radius: float = 1.0
    norm: str = "linf"
    lower: float | None = None
    upper: float | None = None
    witness: Any = None
    weight: float = 1.0
    arrays: dict[str, Any] = field(default_factory=dict)

    def file(self) -> CertificateFile:
        rows = len(self.offset)
        empty = np.zeros(0, dtype=np.int32)
        arrays: dict[str, Any] = {
            "center": np.asarray(self.center, dtype=np.float64),
            "domain": np.asarray(self.domain, dtype=np.float64),
            "unsafe_matrix": np.asarray(self.matrix, dtype=np.float64),
            "unsafe_offset": np.asarray(self.offset, dtype=np.float64),
            "unsafe_owner": np.arange(rows, dtype=np.int32),
        }
        if self.lower is not None:
            arrays |= {
                f"{kind}_{what}": empty for kind in ("refined", "slope") for what in ("relu", "neuron")
            }
            arrays |= {"box_axis": np.array([-1], dtype=np.int32), "box_value": np.zeros(1)}
            arrays |= {
                "split_relu": np.full(rows, -1, dtype=np.int32),
                "split_neuron": np.zeros(rows, np.int32),
            }
            arrays |= {"slopes": np.zeros((rows, 0), dtype=np.uint8), "multipliers": np.zeros(0, np.float32)}
            arrays["weights"] = np.full((rows, 1), self.weight, dtype=np.float32)
        if self.witness is not None:
            arrays["witness"] = np.asarray(self.witness, dtype=np.float64)
        numbers = {"radius": self.radius, "lower": self.lower, "upper": self.upper}
        header = {
            "format": "mipverify certificate",
            "version": 1,
            "network": hashlib.sha256(self.model.SerializeToString()).hexdigest(),
            "name": "forged",
            "norm": self.norm,
            **{name: None if value is None else float(value).hex() for name, value in numbers.items()},
        }
        return CertificateFile(header, arrays | self.arrays)

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Files of the certificate and of the network."""
        certificate, network = folder / "certificate.npz", folder / "network.onnx"
        network.write_bytes(self.model.SerializeToString())
        write_certificate(certificate, self.file())
        return certificate, network
