"""Property: what a VNN-LIB file asks of a network."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mipverify.errors import DataError, QueryError
from mipverify.frontend.vnnlib.declarations import IGNORED, Declarations, read_declarations
from mipverify.frontend.vnnlib.evaluator import holds_at
from mipverify.frontend.vnnlib.formula import FormulaReader
from mipverify.frontend.vnnlib.normal_form import PropertyRegion, property_regions
from mipverify.frontend.vnnlib.syntax import Form, Source, read_forms
from mipverify.graph.graph import Graph

DECLARING = frozenset({"declare-const", "declare-fun", "vnnlib-version", "declare-network"})


@dataclass(frozen=True, eq=False)
class Property:
    """Is there an input a with (a, f(a)) as the assertions say? If there is, the property is `sat`.

    Attributes:
        name: of the file.
        declarations: inputs and outputs.
        regions: a closed union that holds every such (a, f(a)); see `normal_form`.
        assertions: the formulas as they were written.
    """

    name: str
    declarations: Declarations
    regions: tuple[PropertyRegion, ...]
    assertions: tuple[Form, ...]

    @property
    def relates_inputs(self) -> bool:
        """Whether some constraint relates an input to other variables: then polytopes speak of (f(a), a)."""
        width = self.declarations.num_outputs
        return any(part.matrix.shape[1] > width for region in self.regions[:1] for part in region.unsafe[:1])

    def holds(self, inputs: Sequence[Fraction], outputs: Sequence[Fraction]) -> bool:
        """Whether the text is true of these numbers, in exact arithmetic and by an evaluation of its own."""
        return holds_at(self.declarations, self.assertions, inputs, outputs)

    def check_fits(self, graph: Graph) -> None:
        """Raise QueryError unless the network has as many inputs and outputs as are declared."""
        for count, size, what in (
            (self.declarations.num_inputs, graph.input_size, "inputs"),
            (self.declarations.num_outputs, graph.output_size, "outputs"),
        ):
            if count != size:
                raise QueryError(
                    f"{self.name} declares {count} {what}, the network has {size}: "
                    "was the property written for another network?"
                )


def load_property(path: str | Path) -> Property:
    """Read a .vnnlib or .vnnlib.gz file of version 1 or 2.

    Raises:
        DataError: the file cannot be read.
        PropertyError: its text is malformed or asks what cannot be decided; the error names line and token.
    """
    file = Path(path)
    try:
        content = file.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        text = content.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the property {file}: {error}") from error
    return read_property(text, name=file.name)


def read_property(text: str, *, name: str = "property") -> Property:
    """Read a property from its text; `name` is what messages call it.

    Raises:
        PropertyError: like `load_property`.
    """
    source = Source(text, name)
    forms = read_forms(source)
    declarations = read_declarations(source, forms)
    reader = FormulaReader(source, declarations)
    assertions = []
    for form in forms:
        if form.head == "assert":
            assertions.append(form)
        elif form.head not in IGNORED and form.head not in DECLARING:
            raise source.error(form, "unknown command {}: expected a declaration or (assert ...)")
    formulas = [reader.assertion(form) for form in assertions]
    regions = property_regions(formulas, declarations, source.error)
    return Property(name, declarations, regions, tuple(assertions))
