"""The folder of real data that MIPVERIFY_DATA names, as tests find it at their start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("MIPVERIFY_DATA") or "no-data-folder")
HAS_MNIST = (DATA / "mnist" / "t10k-images-idx3-ubyte.gz").is_file()
needs_mnist = pytest.mark.skipif(not HAS_MNIST, reason="MIPVERIFY_DATA names no folder with mnist/")
