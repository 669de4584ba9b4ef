"""What mipverify itself proves and refutes of a bundled network, at the radius of its recipe."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from recipes import Recipe
from torch import Tensor

import mipverify

MOST_SAMPLES = {"plain": 20, "pgd": 20, "certified": 200}  # the first of the test set
SECONDS_PER_SAMPLE = 5.0


def verified_figures(path: Path, recipe: Recipe, x: Tensor, labels: Tensor) -> dict[str, Any]:
    """Verdicts on the first test samples x [N, *shape] in [0, 1] with labels [N], at `recipe.eps` in Linf.

    Undecided samples are counted apart: the true share lies between `certified_accuracy` and that plus
    `undecided` / `samples`. How many are undecided depends on the machine; the other verdicts do not.
    """
    samples = len(x) if recipe.data == "digits" else min(len(x), MOST_SAMPLES[recipe.method])
    network = mipverify.load(path)
    answers = mipverify.certify_batch(
        network,
        x[:samples].flatten(1).numpy(),
        labels[:samples].numpy(),
        eps=recipe.eps,
        options=mipverify.VerifyOptions(time_limit=SECONDS_PER_SAMPLE, device="cpu"),
    )
    counts = Counter(certificate.status.value for certificate in answers)
    return {
        "version": mipverify.__version__,
        "samples": samples,
        "seconds_per_sample": SECONDS_PER_SAMPLE,
        "certified_accuracy": round(counts["verified"] / samples, 6),
        "verified": counts["verified"],
        "falsified": counts["falsified"],
        "misclassified": counts["misclassified"],
        "undecided": counts["unknown"] + counts["error"],
    }
