"""What a run over properties is about: its settings, its properties with their keys, and its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mipverify import __version__
from mipverify.cli.environment import command_line, environment, utc_now
from mipverify.cli.instances import Instance
from mipverify.cli.run_output import NO_SETTINGS
from mipverify.frontend.file_digests import network_digest, property_digest
from mipverify.store.keys import digest_of, sample_key
from mipverify.store.reading import PlannedSample

if TYPE_CHECKING:
    from mipverify.verify.options import VerifyOptions

QUERY = "vnnlib"


def settings_of(
    options: VerifyOptions, time_limit: float | None, input_shape: Sequence[int] | None
) -> dict[str, object]:
    """What all properties of a run share, by the names that users know.

    Args:
        options: how they are answered; their own limit does not count.
        time_limit: the one of the command line; None without one.
        input_shape: likewise.
    """
    effort = {name: value for name, value in asdict(options).items() if name not in NO_SETTINGS}
    return {
        "mipverify": __version__,
        "query": QUERY,
        "input_shape": None if input_shape is None else list(input_shape),
        **effort,
        "time_limit": time_limit,
    }


def planned_properties(
    instances: Sequence[Instance], limits: Sequence[float], settings: Mapping[str, object]
) -> list[PlannedSample]:
    """The properties with their keys: digests of the settings, of both files, and the limit of each."""
    networks = {path: network_digest(path) for path in {instance.network for instance in instances}}
    found = []
    for index, (instance, limit) in enumerate(zip(instances, limits, strict=True)):
        content = content_of(networks[instance.network], property_digest(instance.property))
        common = digest_of([settings, float(limit)])
        found.append(PlannedSample(sample_key(common, content, index), index, content))
    return found


def content_of(network: str | None, wanted: str | None) -> str:
    """Digest of the digests of an instance's files; None for one that cannot be read."""
    return digest_of({"network": network, "property": wanted})


def property_manifest(
    instances: Sequence[Instance], options: VerifyOptions, time_limit: float | None, table: Path | None
) -> dict[str, object]:
    """The command, its environment, and what it asks; JSON values.

    Args:
        instances: the properties.
        options: how they are answered.
        time_limit: see `settings_of`.
        table: the file that lists them; None for a single property.
    """
    networks = dict.fromkeys(instance.network_name for instance in instances)
    source = instances[0].property if table is None else table
    count = len(instances)
    return {
        "mipverify": __version__,
        "command": command_line(),
        "environment": environment(),
        "started": utc_now(),
        "query": QUERY,
        "network": {"name": next(iter(networks)) if len(networks) == 1 else f"{len(networks)} networks"},
        "data": {
            "name": source.name,
            "source": str(source.resolve()),
            "description": "1 property" if count == 1 else f"{count} properties",
        },
        "folder": str(Path.cwd() if table is None else table.resolve().parent),
        "indices": list(range(count)),
        "question": {},
        "options": asdict(options) | {"time_limit": time_limit},
    }
