from __future__ import annotations

import pytest

from mipverify.cli.parsing import size
from mipverify.errors import QueryError
from mipverify.runs import cluster
from tests.cli.conftest import MLP, Invoke, json_lines


def test_limits_on_the_command_line(invoke: Invoke) -> None:
    command = ("certify", MLP, "--eps", "0.02", "-n", "2", "--json")
    result = invoke(*command, "--hard-limit", "300", "--memory-limit", "20GB")
    assert [record["status"] for record in json_lines(result.stdout)] == ["verified"] * 2
    for arguments, message in (
        (("--hard-limit", "30"), "the hard limit must be finite and at least the time limit of 120 s"),
        (("--memory-limit", "much"), "--memory-limit must be a size such as 4GB or 500MB, got 'much'"),
        (("--memory-limit", "1MB"), "a worker needs"),
    ):
        result = invoke(*command, *arguments)
        assert result.exit_code == 2
        assert message in result.stderr


def test_a_cluster_on_the_command_line(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    command = ("certify", MLP, "--eps", "0.02", "-n", "3", "--json")
    here = [record["lower_bound"] for record in json_lines(invoke(*command).stdout)]
    result = invoke(*command, "--scheduler", "local:1")
    assert [record["lower_bound"] for record in json_lines(result.stdout)] == here
    assert result.exit_code == 0
    monkeypatch.setattr(cluster, "SECONDS_TO_CONNECT", 0.5)
    for arguments, message in (
        (("--scheduler", "machine"), "'machine' is no scheduler: give its address"),
        (("--scheduler", "tcp://127.0.0.1:9"), "no Dask scheduler answers at tcp://127.0.0.1:9"),
        (("--scheduler", "local", "--workers", "2"), "--workers is for processes of this machine"),
    ):
        result = invoke(*command, *arguments)
        assert result.exit_code == 2
        assert len([line for line in result.stderr.splitlines() if line.startswith("error: ")]) == 1
        assert message in result.stderr


def test_sizes() -> None:
    read = [size(text, "--memory-limit") for text in ("4GB", "500 mb", "1.5GiB", "2k", "123")]
    assert read == [4_000_000_000, 500_000_000, 3 * 2**29, 2000, 123]
    for text in ("", "GB", "-1GB", "0", "nan", "1.2.3GB", "4XB"):
        with pytest.raises(QueryError, match="must be a size"):
            size(text, "--memory-limit")
