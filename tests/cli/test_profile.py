from __future__ import annotations

from tests.cli.conftest import MLP, Invoke, json_lines


def test_the_profile_stands_below_the_summary(invoke: Invoke) -> None:
    result = invoke("certify", MLP, "--eps", "0.1", "-n", "6", "--profile", "--engine", "mip")
    assert "seconds a sample" in result.stdout
    below = result.stdout.split("seconds a sample")[1].splitlines()[2:]
    assert below[0].split() == ["stage", "seconds", "share", "decided"]
    stages = {line.split()[0]: line.split() for line in below[1 : below.index("")]}
    assert stages["total"][2] == "6"
    assert sum(int(cells[-1]) for name, cells in stages.items() if name != "total") == 6
    header = next(line for line in below if line.startswith("unstable after"))
    assert header.split()[2:4] == ["neurons", "interval"]
    layers = below[below.index(header) + 1 :]
    assert [line.split()[1] for line in layers[:3]] == ["32", "32", "64"]
    # The samples that came to a rung are the ones that its means speak of.
    assert layers[-1].split()[:5] == ["samples", "that", "came", "so", "far"]
    assert layers[-1].split()[5] == "6"


def test_json_records_carry_their_profile_only_on_demand(invoke: Invoke) -> None:
    asked = invoke("certify", MLP, "--eps", "0.01", "-n", "2", "--json", "--profile")
    for record in json_lines(asked.stdout):
        assert [layer["size"] for layer in record["profile"]["layers"]] == [32, 32]
        assert set(record["profile"]["layers"][0]["unstable"]) == {"interval"}
    assert "unstable after" in asked.stderr
    plain = invoke("certify", MLP, "--eps", "0.01", "-n", "2", "--json")
    assert all("profile" not in record for record in json_lines(plain.stdout))
