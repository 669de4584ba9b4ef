"""CSV tables as data sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipverify.errors import DataError
from mipverify.frontend.datasets import load_dataset


def written(folder: Path, text: str) -> str:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "text",
    [
        "7,0.5,-1.25\n2,0.0,1e-3\n",
        "label,a,b\n7,0.5,-1.25\n2,0.0,1e-3\n",
        "a, Label ,b\n0.5,7,-1.25\n0.0,2,1e-3\n",
        '"a","b","label"\r\n0.5,-1.25,7\r\n0.0,1e-3,2\r\n',
        "\ufefflabel,a,b\n7,0.5,-1.25\n\n2,0.0,1e-3",
    ],
)
def test_layouts_with_labels(tmp_path: Path, text: str) -> None:
    loaded = load_dataset(written(tmp_path, text), input_size=2)
    assert np.array_equal(loaded.inputs, np.array([[0.5, -1.25], [0.0, 1e-3]], dtype=np.float32))
    assert loaded.labels is not None
    assert loaded.labels.tolist() == [7, 2]
    assert loaded.name == "table"


@pytest.mark.parametrize("text", ["0.5,1.5\n", "a,b\n0.5,1.5\n"])
def test_layouts_without_labels(tmp_path: Path, text: str) -> None:
    loaded = load_dataset(written(tmp_path, text), input_size=2)
    assert loaded.labels is None
    assert np.array_equal(loaded.inputs, np.array([[0.5, 1.5]], dtype=np.float32))


def test_whole_numbers_up_to_255_are_pixel_bytes(tmp_path: Path) -> None:
    loaded = load_dataset(written(tmp_path, "5,0,51\n1,255,102\n"), input_size=2)
    assert np.array_equal(loaded.inputs, np.array([[0, 0.2], [1, 0.4]], dtype=np.float32))
    assert "divided by 255" in loaded.description


@pytest.mark.parametrize(
    ("rows", "values"),
    [
        ("5,0.0,51", [0, 51]),
        ("5,0,256", [0, 256]),
        ("5,-1,51", [-1, 51]),
        ("5,0,1", [0, 1]),
        ("5,0,2e0", [0, 2]),
    ],
)
def test_other_numbers_are_taken_as_they_are(tmp_path: Path, rows: str, values: list[float]) -> None:
    loaded = load_dataset(written(tmp_path, rows), input_size=2)
    assert loaded.inputs.tolist() == [values]
    assert "as stored" in loaded.description


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 9),
            st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_floats_survive_a_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    text = "\n".join(",".join([str(label), *(repr(value) for value in values)]) for label, values in rows)
    loaded = load_dataset(written(tmp_path_factory.mktemp("csv"), text), input_size=3)
    assert loaded.inputs.tolist() == [values for _, values in rows]
    assert loaded.labels is not None
    assert loaded.labels.tolist() == [label for label, _ in rows]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no samples"),
        ("label,a,b\n", "no samples"),
        ("1,2.0\n", "2 columns, but the network takes 2 inputs|takes 3"),
        ("1,0.5,0.5\n1,0.5\n", "columns changed|same number"),
        ("1,0.5,0.5\n1,zero,0.5\n", "zero"),
        ("1,0.5,0.5\n1,,0.5\n", "every row needs"),
        ("1;0.5;0.5\n1;0.5;0.5\n", "no number|every row needs|column names"),
        ("1,0.5,nan\n", "not finite"),
        ("1,0.5,inf\n", "not finite"),
        ("1.5,0.5,0.5\n", "not whole numbers"),
        ("-1,0.5,0.5\n", "labels reach from -1"),
        ("label,label,b\n1,0.5,0.5\n", "2 columns named 'label'"),
        ("label,a\n1,0.5,0.5\n", "2 column names but 3 columns"),
    ],
)
def test_malformed_tables_are_named(tmp_path: Path, text: str, message: str) -> None:
    size = 3 if text == "1,2.0\n" else 2
    with pytest.raises(DataError, match=rf"table\.csv.*({message})"):
        load_dataset(written(tmp_path, text), input_size=size)


def test_a_table_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match=r"table\.csv: cannot be read as a text table"):
        load_dataset(str(path), input_size=2)


def test_columns_with_a_header_must_fit_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"3 values a sample .* takes 2"):
        load_dataset(written(tmp_path, "label,a,b,c\n1,0.5,0.5,0.5\n"), input_size=2)
