from __future__ import annotations

import pytest

from tests.cli.conftest import CONV, MLP, Invoke, json_lines


@pytest.mark.parametrize(
    ("network", "count"),
    [(MLP, 2), pytest.param(MLP, 10, marks=pytest.mark.slow), pytest.param(CONV, 1, marks=pytest.mark.slow)],
)
def test_distances_of_digits_close(invoke: Invoke, network: str, count: int) -> None:
    result = invoke("distance", network, "-n", count, "--time-limit", "600", "--json")
    records = json_lines(result.stdout)
    assert result.exit_code == 0
    for record in records:
        assert record["status"] == "verified"
        assert record["eps"] is None
        assert 0 < record["lower_bound"] <= record["upper_bound"]
        assert record["gap"] <= 1e-4
        assert record["counterexample"]["distances"]["linf"] == record["upper_bound"]
        assert record["counterexample"]["prediction"] != record["label"]


def test_verdicts_agree_with_distances(invoke: Invoke) -> None:
    [found] = json_lines(invoke("distance", MLP, "--index", "1", "--json").stdout)
    below, above = found["lower_bound"] * 0.999, found["upper_bound"] * 1.001
    assert invoke("certify", MLP, "--index", "1", "--eps", below).exit_code == 0
    assert invoke("certify", MLP, "--index", "1", "--eps", above).exit_code == 1


def test_the_gap_says_when_a_distance_is_closed(invoke: Invoke) -> None:
    ask = ("distance", MLP, "-n", "2", "--json", "--gap")
    exact, rough = (json_lines(invoke(*ask, gap).stdout) for gap in ("1e-4", "0.1"))
    for tight, loose in zip(exact, rough, strict=True):
        assert (tight["status"], loose["status"]) == ("verified", "verified")
        assert tight["gap"] <= 1e-4 < loose["gap"] <= 0.1
        for found in (tight, loose):
            assert abs(found["gap"] - (1 - found["lower_bound"] / found["upper_bound"])) < 1e-12
        # Both enclose the same distance.
        assert max(tight["lower_bound"], loose["lower_bound"]) < min(
            tight["upper_bound"], loose["upper_bound"]
        )


def test_l1_distances_are_at_least_the_linf_ones(invoke: Invoke) -> None:
    [l1] = json_lines(invoke("distance", MLP, "--index", "0", "--norm", "l1", "--json").stdout)
    [linf] = json_lines(invoke("distance", MLP, "--index", "0", "--json").stdout)
    assert l1["upper_bound"] >= linf["lower_bound"]
    assert l1["counterexample"]["distances"]["l1"] == l1["upper_bound"]


def test_no_time_leaves_the_interval_open(invoke: Invoke) -> None:
    result = invoke("distance", MLP, "-n", "2", "--time-limit", "1e-9")
    assert result.exit_code == 3
    assert [line.split()[2] for line in result.stdout.splitlines()[1:3]] == ["open", "open"]


def test_a_search_radius_without_adversary_closes_the_question(invoke: Invoke) -> None:
    result = invoke("distance", MLP, "--index", "0", "--radius", "0.001", "--json")
    [record] = json_lines(result.stdout)
    assert record["upper_bound"] is None
    assert record["lower_bound"] >= 0.001
    assert result.exit_code == 0
