"""Every property of the data folder is read, and fits its network's declared sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mipverify.cli.instances import read_instances
from mipverify.frontend.vnnlib.property import load_property
from tests.data_folder import DATA

SETS = sorted((DATA / "vnncomp").glob("*/instances.csv"))

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not SETS, reason="MIPVERIFY_DATA names no folder with vnncomp/"),
]


@pytest.mark.parametrize("table", SETS, ids=lambda path: path.parent.name)
def test_every_property_is_read(table: Path) -> None:
    instances = read_instances(table)
    assert len(instances) >= 10
    for path in sorted({instance.property for instance in instances}):
        wanted = load_property(path)
        assert wanted.regions, "no box of these sets is empty"
        for region in wanted.regions:
            assert region.unsafe
            assert len(region.lower) == wanted.declarations.num_inputs
            assert all(low <= up for low, up in zip(region.lower, region.upper, strict=True))
            assert all(part.matrix.shape[1] == wanted.declarations.num_outputs for part in region.unsafe)
