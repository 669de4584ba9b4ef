"""The site builds without a warning, and its pages ask for nothing from elsewhere, search included."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import mipverify
from tests.docs.pages import ROOT
from tests.report.chromium import FOUND, Chromium

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
pytest.importorskip("material")

# Scripts, styles, pictures and frames; links that a reader may follow are none of these.
FETCHED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if FOUND is None:
        pytest.skip("no Chromium or Chrome on this machine")
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


def test_no_page_fetches_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        assert FETCHED.findall(page.read_text(encoding="utf-8")) == [], page.name
    for style in site.rglob("*.css"):
        assert not re.search(
            r"@import|url\((?![\"']?data:)[\"']?(?:https?:)?//", style.read_text(encoding="utf-8")
        )


def test_every_public_name_has_a_place(site: Path) -> None:
    page = (site / "reference" / "python.html").read_text(encoding="utf-8")
    modules = {"testing"}  # its functions are there
    missing = [name for name in mipverify.__all__ if f'id="mipverify.{name}"' not in page]
    assert set(missing) <= modules | {"__version__"}


def test_every_command_and_option_is_there(site: Path) -> None:
    import typer

    from mipverify.cli.main import app

    page = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    for name, command in typer.main.get_command(app).commands.items():
        assert f'id="{name}"' in page
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden:
                assert max(parameter.opts, key=len) in page


@pytest.mark.parametrize("name", ["index.html", "tutorial.html", "reference/python.html", "mathematics.html"])
def test_a_page_opens_without_complaints_or_requests(name: str, site: Path, browser: Chromium) -> None:
    for width in (1280, 390):
        browser.events.clear()
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        browser.open(site / name)
        assert browser.complaints() == []
        assert all(address.startswith(site.as_uri()) for address in browser.requests())
        assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")


def test_search_works_from_a_disk(site: Path, browser: Chromium) -> None:
    browser.events.clear()
    browser.open(site / "soundness.html")
    browser.value("document.querySelector('[data-md-toggle=search]').click()")
    browser.value(
        "(() => { const field = document.querySelector('[data-md-component=search-query]');"
        " field.focus(); field.value = 'brightness';"
        " field.dispatchEvent(new Event('input', {bubbles: true}));"
        " field.dispatchEvent(new Event('keyup', {bubbles: true})); })()"
    )
    until = time.monotonic() + 60
    while not browser.value("document.querySelectorAll('.md-search-result__item').length"):
        assert time.monotonic() < until, "nothing was found"
        time.sleep(0.2)
    assert browser.complaints() == []
    assert all(address.startswith(site.as_uri()) for address in browser.requests())
