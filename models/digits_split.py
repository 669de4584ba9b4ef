"""The fixed split of the digits, and the script that embeds its test part in the package.

`python models/digits_split.py` writes mipverify/frontend/data/digits_test.npz from scikit-learn's copy of
the UCI optical digits: `images` uint8 [360, 8, 8] in 0..16, `labels` uint8 [360], `index` uint16 [360], the
position in scikit-learn's order. Training uses every sample that `index` does not name, so that the embedded
file alone says what was held out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

EMBEDDED = Path(__file__).resolve().parents[1] / "mipverify" / "frontend" / "data" / "digits_test.npz"
HELD_OUT = 360
SEED = 2026


def embed_test_set(path: Path = EMBEDDED) -> None:
    """Write the held-out samples, in a shuffled order that mixes the classes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = np.random.default_rng(SEED).permutation(len(digits.target))[:HELD_OUT]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        images=digits.images[chosen].astype(np.uint8),
        labels=digits.target[chosen].astype(np.uint8),
        index=chosen.astype(np.uint16),
    )


def digits_training_set() -> tuple[torch.Tensor, torch.Tensor]:
    """The samples that are not held out: float32 [1437, 1, 8, 8] in [0, 1] and int64 [1437]."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    with np.load(EMBEDDED) as held_out:
        kept = np.setdiff1d(np.arange(len(digits.target)), held_out["index"])
    images = digits.images[kept, None].astype(np.float32) / np.float32(16)
    return torch.from_numpy(images), torch.from_numpy(digits.target[kept].astype(np.int64))


if __name__ == "__main__":
    embed_test_set()
    print(f"wrote {EMBEDDED}")
