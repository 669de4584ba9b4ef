"""A sha256 of a graph: equal digests mean the same function, operator for operator."""

from __future__ import annotations

import hashlib
from dataclasses import fields

import numpy as np

from mipverify.graph.graph import Graph


def digest(graph: Graph) -> str:
    """Hexadecimal sha256 over operators, wiring and float64 coefficients (names do not count)."""
    state = hashlib.sha256(b"mipverify graph 1\n")
    for node in graph.nodes:
        state.update(f"{type(node.op).__name__} {node.inputs} {node.shape}\n".encode())
        for field in fields(node.op):
            value = getattr(node.op, field.name)
            if isinstance(value, np.ndarray):
                little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
                state.update(f"{field.name} {little.dtype.str} {little.shape}\n".encode())
                state.update(little.tobytes())
            else:
                state.update(f"{field.name} {value!r}\n".encode())
    state.update(f"output {graph.output}\n".encode())
    return state.hexdigest()
