"""The pages in real Chromium: they are drawn, in either colour scheme, and call nobody else."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from services.common.db import Database
from tests.conftest import free_port
from tests.services.evaluator.dashboard import samples
from tests.services.evaluator.dashboard.conftest import Wired, insert_experiment

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--no-first-run",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH"),
]


@pytest.fixture
def address(wired: Wired) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(wired.app(), host="127.0.0.1", port=port, log_config=None)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the application did not start"
        time.sleep(0.05)
    database = Database(wired.settings.database_url, pool_size=1)
    insert_experiment(database, "exp_1")
    database.close()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=20)


@pytest.fixture(params=["light", "dark"])
def context(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrowserContext]:
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=CHROMIUM,
            args=QUIET,
            color_scheme=request.param,
            viewport={"width": 390, "height": 844},
        )
        yield context
        context.close()


def test_the_pages_are_drawn_without_an_error_and_without_another_origin(
    context: BrowserContext, address: str
) -> None:
    page = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))

    page.goto(address)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    _fits(page)
    page.get_by_role("link", name="Handbook", exact=True).click()

    expect(page.get_by_text(samples.HEADLINE)).to_be_visible()
    forest = page.get_by_role("figure", name="Forest plot: Contains the answer")
    expect(forest).to_be_visible()
    marks = forest.locator(".bar").all()
    assert len(marks) == 2
    assert all((box := mark.bounding_box()) and box["width"] > 5 for mark in marks)
    _fits(page)

    page.get_by_role("link", name="Read the answers").click()
    expect(page.get_by_role("heading", name="Question 3?")).to_be_visible()
    expect(page.get_by_text("<script>alert('answer')</script>")).to_be_visible()
    _fits(page)
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("Page 2 of 3")).to_be_visible()

    page.goto(f"{address}/jobs/ftjob_1")
    expect(page.locator("polyline")).to_be_visible()
    with page.expect_response(f"{address}/jobs/ftjob_1"):  # it is running: the page looks again
        pass
    _fits(page)
    page.goto(f"{address}/adapters/{samples.QA}")
    expect(page.get_by_text("Is it what was trained?")).to_be_visible()
    _fits(page)

    assert complaints == []
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(address).netloc}


def _fits(page: Page) -> None:
    """Nothing makes a phone scroll sideways."""
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.evaluate("window.innerWidth")
