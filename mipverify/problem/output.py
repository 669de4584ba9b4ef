"""`output`: the outputs of a network, for conditions on them written in Python.

from mipverify import output

condition = (output[0] - output[3] <= 0.5) & (output[1] >= 0)
mipverify.certify(net, x, eps=0.1, output=condition)
"""

from __future__ import annotations

from mipverify.errors import QueryError
from mipverify.problem.output_form import LABEL, OutputForm, output_number


class Outputs:
    """The outputs y of a network: `output[0]` is y0; `output.label` that of the sample's class."""

    def __getitem__(self, index: int) -> OutputForm:
        """y_index, counted from 0."""
        try:
            return output_number(index.__index__())
        except AttributeError:
            raise QueryError(f"output[{index!r}]: outputs are numbered 0, 1, ...") from None

    @property
    def label(self) -> OutputForm:
        """The output of the sample's class."""
        return OutputForm({LABEL: output_number(0).terms[0]})

    def __repr__(self) -> str:
        return "output"


output = Outputs()
"""The outputs y of the network: `output[0] - output[3] <= 0.5`, `output.label`; joined by `&`, `|`, `~`."""
