"""mipverify: certified minimal distortions of ReLU networks by mixed-integer programming.

    net = mipverify.load("net.onnx")
    cert = mipverify.certify(net, x, label, eps=0.05)
    cert.status, cert.lower, cert.upper, cert.witness

The names below are imported on first use, so that `import mipverify` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mipverify import testing
    from mipverify.encoding.encode import Encoding
    from mipverify.frontend.dataset import Dataset
    from mipverify.frontend.datasets import load_dataset
    from mipverify.frontend.network import Network
    from mipverify.frontend.network import load_network as load
    from mipverify.frontend.vnnlib.property import Property, load_property, read_property
    from mipverify.problem import families as perturbations
    from mipverify.problem.output import output
    from mipverify.results.certificates import Certificates
    from mipverify.results.run import Run, open_run
    from mipverify.runs.answers import Answers
    from mipverify.runs.api import certify, certify_batch, distance_batch, minimal_distortion
    from mipverify.runs.cluster import Cluster
    from mipverify.runs.encodings import encode
    from mipverify.runs.limits import Limits
    from mipverify.runs.processes import Processes
    from mipverify.runs.properties import verify_property
    from mipverify.runs.universal import universal_perturbation
    from mipverify.verify.certificate import Certificate, Evidence, Status
    from mipverify.verify.options import VerifyOptions
    from mipverify.verify.property_answer import PropertyAnswer, PropertyWitness, Verdict
    from mipverify.verify.record import Record, record_of
    from mipverify.verify.universal_answer import UniversalAnswer

__version__ = "0.1.0"

__all__ = [
    "Answers",
    "Certificate",
    "Certificates",
    "Cluster",
    "Dataset",
    "Encoding",
    "Evidence",
    "Limits",
    "Network",
    "Processes",
    "Property",
    "PropertyAnswer",
    "PropertyWitness",
    "Record",
    "Run",
    "Status",
    "UniversalAnswer",
    "Verdict",
    "VerifyOptions",
    "__version__",
    "certify",
    "certify_batch",
    "distance_batch",
    "encode",
    "load",
    "load_dataset",
    "load_property",
    "minimal_distortion",
    "open_run",
    "output",
    "perturbations",
    "read_property",
    "record_of",
    "testing",
    "universal_perturbation",
    "verify_property",
]

_HOMES = {
    "Answers": ("mipverify.runs.answers", "Answers"),
    "Certificate": ("mipverify.verify.certificate", "Certificate"),
    "Certificates": ("mipverify.results.certificates", "Certificates"),
    "Cluster": ("mipverify.runs.cluster", "Cluster"),
    "Dataset": ("mipverify.frontend.dataset", "Dataset"),
    "Encoding": ("mipverify.encoding.encode", "Encoding"),
    "Evidence": ("mipverify.verify.certificate", "Evidence"),
    "Limits": ("mipverify.runs.limits", "Limits"),
    "Network": ("mipverify.frontend.network", "Network"),
    "Processes": ("mipverify.runs.processes", "Processes"),
    "Property": ("mipverify.frontend.vnnlib.property", "Property"),
    "PropertyAnswer": ("mipverify.verify.property_answer", "PropertyAnswer"),
    "PropertyWitness": ("mipverify.verify.property_answer", "PropertyWitness"),
    "Record": ("mipverify.verify.record", "Record"),
    "Run": ("mipverify.results.run", "Run"),
    "Status": ("mipverify.verify.certificate", "Status"),
    "UniversalAnswer": ("mipverify.verify.universal_answer", "UniversalAnswer"),
    "Verdict": ("mipverify.verify.property_answer", "Verdict"),
    "VerifyOptions": ("mipverify.verify.options", "VerifyOptions"),
    "certify": ("mipverify.runs.api", "certify"),
    "certify_batch": ("mipverify.runs.api", "certify_batch"),
    "distance_batch": ("mipverify.runs.api", "distance_batch"),
    "encode": ("mipverify.runs.encodings", "encode"),
    "load": ("mipverify.frontend.network", "load_network"),
    "load_dataset": ("mipverify.frontend.datasets", "load_dataset"),
    "load_property": ("mipverify.frontend.vnnlib.property", "load_property"),
    "minimal_distortion": ("mipverify.runs.api", "minimal_distortion"),
    "open_run": ("mipverify.results.run", "open_run"),
    "output": ("mipverify.problem.output", "output"),
    "perturbations": ("mipverify.problem.families", ""),
    "read_property": ("mipverify.frontend.vnnlib.property", "read_property"),
    "record_of": ("mipverify.verify.record", "record_of"),
    "testing": ("mipverify.testing", ""),
    "universal_perturbation": ("mipverify.runs.universal", "universal_perturbation"),
    "verify_property": ("mipverify.runs.properties", "verify_property"),
}


if not TYPE_CHECKING:  # for a type checker, a name that is not imported above does not exist

    def __getattr__(name: str) -> object:
        """Import a public name on first use (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module 'mipverify' has no attribute {name!r}")
        module, attribute = _HOMES[name]
        value: object = import_module(module)
        value = getattr(value, attribute) if attribute else value
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted(__all__)
