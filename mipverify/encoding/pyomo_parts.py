"""What the columns of a Pyomo model stand for, as parts of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mipverify.encoding.variables import InputBlock, PartBlock, PhaseBlock
from mipverify.milp.pyomo_model import Model, add_expressions, add_references, pyomo_model

if TYPE_CHECKING:
    from mipverify.encoding.encode import Encoding


def extended_model(encoding: Encoding) -> Model:
    """The program of an encoding as a Pyomo model, with `a`, `z` and `phase` (see `Encoding.to_pyomo`)."""
    program = encoding.named_program()
    model = pyomo_model(program, readable=True)
    names = program.column_names()
    center = encoding.query.region.center.tolist()
    terms: dict[Any, list[tuple[float, str]]] = {i: [] for i in range(len(center))}
    values: dict[Any, list[tuple[float, str]]] = {}
    phases: dict[Any, str] = {}
    for block in encoding.variables.blocks:
        columns = [names[j] for j in block.columns.tolist()]
        match block:
            case InputBlock():
                for i, name in zip(block.features.tolist(), columns, strict=True):
                    terms[i].append(((block.sign or 1) * block.unit, name))
            case PartBlock() if block.sign > 0:
                for i, unit, name in zip(block.neurons.tolist(), block.unit.tolist(), columns, strict=True):
                    values[block.relu, i] = [(unit, name)]
            case PhaseBlock():
                keys = [(block.relu, i) for i in block.neurons.tolist()]
                phases.update(zip(keys, columns, strict=True))
            case _:
                pass
    add_expressions(model, "a", {i: (center[i], of) for i, of in terms.items()})
    add_expressions(model, "z", {key: (0.0, of) for key, of in values.items()})
    add_references(model, "phase", phases)
    return model
