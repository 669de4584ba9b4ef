"""The page in a real browser, where there is one: `apt-get install chromium`, or Chrome."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.chromium import FOUND, Chromium
from tests.report.conftest import invoke

pytestmark = pytest.mark.skipif(FOUND is None, reason="no Chromium or Chrome on this machine")

ROWS = "Array.from(document.querySelectorAll('#samples tbody tr'))"
SHOWN = f"{ROWS}.filter(row => !row.hidden && row.getClientRects().length).length"


def column(name: str) -> str:
    """The texts of a column, by its head, in the order shown."""
    return (
        "(() => { const k = Array.from(document.querySelectorAll('#samples thead th'))"
        f".findIndex(head => head.textContent.trim() === {name!r});"
        f" return {ROWS}.map(row => row.cells[k].textContent.trim()); }})()"
    )


def click(name: str) -> str:
    return (
        "Array.from(document.querySelectorAll('#samples thead button'))"
        f".find(button => button.textContent === {name!r}).click()"
    )


@pytest.fixture(scope="module")
def browser(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    home = tmp_path_factory.mktemp("browser")
    code, output = invoke("report", runs["distance"], runs["certify"], "-o", home / "report.html")
    assert code == 0, output
    with Chromium(home / "profile") as found:
        found.open(home / "report.html")
        yield found


def test_the_page_opens_without_complaints_or_requests(browser: Chromium) -> None:
    assert browser.complaints() == []
    [only] = browser.requests()
    assert only.startswith("file://")
    assert only.endswith("/report.html")
    assert browser.value("document.querySelectorAll('img').length") > 0
    assert browser.value("Array.from(document.images).every(image => image.complete && image.naturalWidth)")


def test_columns_sort_both_ways_as_numbers(browser: Chromium) -> None:
    browser.value(click("Seconds"))
    rising = [float(text) for text in browser.value(column("Seconds"))]
    browser.value(click("Seconds"))
    falling = [float(text) for text in browser.value(column("Seconds"))]
    assert rising == sorted(rising)
    assert falling == sorted(rising, reverse=True)
    assert browser.value("document.querySelectorAll('#samples th[aria-sort=descending]').length") == 1


def test_what_has_no_value_comes_last(browser: Chromium) -> None:
    for _ in range(2):
        browser.value(click("Upper bound"))
        texts = browser.value(column("Upper bound"))
        known = [text for text in texts if text != "–"]
        assert texts[: len(known)] == known


def test_rows_are_filtered_by_status_run_and_text(browser: Chromium) -> None:
    def choose(control: str, value: str) -> int:
        browser.value(
            f"(() => {{ const e = document.getElementById('{control}'); e.value = '{value}';"
            " e.dispatchEvent(new Event('input')); })()"
        )
        return int(browser.value(SHOWN))

    everything = int(browser.value(SHOWN))
    assert everything == 10
    assert choose("filter-run", "1") == 4
    assert choose("filter-run", "") == everything
    falsified = choose("filter-status", "falsified")
    assert falsified == browser.value(f"{ROWS}.filter(row => row.dataset.status === 'falsified').length")
    assert browser.value("document.getElementById('filter-count').textContent").startswith(
        f"{falsified} of 10"
    )
    assert choose("filter-status", "") == everything
    assert choose("filter-text", "no such thing") == 0
    assert choose("filter-text", "") == everything


def test_a_picture_of_the_page_is_not_blank(browser: Chromium, tmp_path: Path) -> None:
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000
    browser.print_pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
