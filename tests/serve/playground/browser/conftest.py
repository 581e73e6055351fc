"""Chromium through Playwright, and the server in a process of its own: skipped where there is no browser, unless ``TURNOUT_BROWSER=required``."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="needs Playwright: `make test-browser` installs it")

from playwright.sync_api import Browser, Page, sync_playwright

from turnout.router import DEFAULT_ARTIFACT

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


_spec = importlib.util.spec_from_file_location("playground_site", Path(__file__).parents[1] / "site.py")
assert _spec is not None
assert _spec.loader is not None
site_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(site_module)


def chromium() -> str | None:
    """The browser: ``CHROMIUM``, the system's, or ``None`` for Playwright's own."""
    return os.environ.get("CHROMIUM") or next((path for name in _NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    with sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(
                executable_path=chromium(), args=["--no-sandbox", "--no-proxy-server", "--disable-dev-shm-usage"]
            )
        except Exception as error:
            if os.environ.get("TURNOUT_BROWSER") == "required":
                raise
            first = str(error).strip().splitlines()[0]
            pytest.skip(f"no browser (apt-get install chromium, or CHROMIUM=path): {first}")
        yield found
        found.close()


@pytest.fixture
def start_site(upstream: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts the server before a scripted upstream, with the shipped router or another artifact."""
    sites = []

    def begin(artifact: Path = DEFAULT_ARTIFACT, **options: Any) -> Any:
        found = site_module.Site(tmp_path, upstream.base_url, artifact, **options)
        sites.append(found)
        found.start()
        return found

    yield begin
    for one in sites:
        one.stop()


@pytest.fixture
def site(start_site: Callable[..., Any]) -> Any:
    """The server with the shipped router."""
    return start_site()


@pytest.fixture
def open_page(browser: Browser, start_site: Callable[..., Any]) -> Iterator[Callable[..., Page]]:
    """Opens pages, and closes them before the server ends; the test fails if one logs a warning or error that was not expected."""
    contexts, complaints = [], []

    def begin(url: str, *, expects_errors: bool = False, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
        if not expects_errors:
            page.on(
                "console",
                lambda line: (
                    complaints.append(f"{line.type}: {line.text}") if line.type in ("error", "warning") else None
                ),
            )
        page.goto(url)
        return page

    yield begin
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_page: Callable[..., Page], site: Any) -> Page:
    """The page, connected."""
    found = open_page(site.url)
    found.wait_for_selector("#status[data-state=here]")
    return found
