"""The pages in a real browser, on a trained home with its scoring server: as an officer uses them.

Chromium is Debian's (`apt install chromium`), driven by Playwright; without it these tests skip. Each test fails on an
error in the console, a violation of the content policy, or a request to anywhere else, and axe looks at every page.
`make screenshots` has them keep the pictures that the docs show.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import polars as pl
import pytest
from PIL import Image

from loan_default.settings import Settings
from loan_default_tests.homes import environment_of, own_environment
from loan_default_tests.packages import applications
from loan_default_tests.stores import free_port
from loan_default_tests.waiting import within
from loan_default_tests.web.home import pages_home

CHROMIUM = shutil.which("chromium")
PICTURES = os.environ.get("LOAN_DEFAULT_SCREENSHOTS")  # the folder that they are kept in
COLOURS = 256  # of a picture, which has hardly more, and is a third as large then
TOUR = (Path(__file__).parents[1] / "docs" / "tour.md").read_text(encoding="utf-8")
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
RISKY = {"loan_amnt": "30000", "term": "60", "int_rate": "24", "annual_inc": "35000", "dti": "35"}
RISKY |= {"fico_range_low": "660", "revol_util": "95", "grade": "F", "inq_last_6mths": "4", "id": "A-17"}


@dataclass(frozen=True)
class Pages:
    """The pages of a home, and a browser that looks at them."""

    url: str
    settings: Settings
    browser: Any

    @contextmanager
    def opened(self, path: str, expected: str = "", **options: Any) -> Iterator[Any]:
        """Open a page as somebody new; fail at the end on what no page may do, but for an `expected` message."""
        context = self.browser.new_context(base_url=self.url, viewport=WIDE, **options)
        context.set_default_timeout(120_000)  # of a busy machine; the first pages load libraries
        page, troubles = context.new_page(), list[str]()
        page.on(
            "console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: _note_foreign(request.url, self.url, troubles))
        try:
            page.goto(path)
            yield page
        finally:
            context.close()
        assert [trouble for trouble in troubles if not expected or expected not in trouble] == []


def _note_foreign(address: str, own: str, troubles: list[str]) -> None:
    if not address.startswith((own, "data:", "file:")):
        troubles.append(f"a request to {urlsplit(address).netloc}")


@contextmanager
def running(settings: Settings, folder: Path, ready: str, *command: str) -> Iterator[None]:
    """Run a command of the home until its address answers."""
    environment = environment_of(settings) | {"MLFLOW_TRACKING_URI": settings.tracking_uri}
    with (folder / f"{command[0]}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "loan_default.cli", *command], env=environment, cwd=folder, stdout=log, stderr=log
        )
    try:
        assert within(120, lambda: process.poll() is not None or _answers(ready)), (folder / log.name).read_text()
        assert process.poll() is None, (folder / log.name).read_text()
        yield
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    with suppress(URLError, OSError), urlopen(url, timeout=5):
        return True
    return False


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """A trained home's pages, its scoring server and a browser, one of each for all tests."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; Debian's package chromium is enough")
    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("pages")
    settings = pages_home(folder / "home")
    serving, web = free_port(), free_port()
    settings = Settings(**{**vars(settings), "serving_url": f"http://127.0.0.1:{serving}"})
    with ExitStack() as stack:
        health = f"http://127.0.0.1:{serving}/health"
        stack.enter_context(running(settings, folder, health, "serve", "--port", str(serving)))
        stack.enter_context(running(settings, folder, f"http://127.0.0.1:{web}/ping", "web", "--port", str(web)))
        playwright = stack.enter_context(sync_playwright())
        # Root, as in a container, has no sandbox of its own; the pages are ours.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield Pages(f"http://127.0.0.1:{web}", settings, browser)
        browser.close()


def picture(page: Any, name: str) -> None:
    """Keep a picture of the page, where pictures are asked for and the docs show it."""
    if PICTURES and f"(images/{name}.png)" in TOUR:
        picture = Image.open(BytesIO(page.screenshot()))
        picture.quantize(COLOURS).save(Path(PICTURES, f"{name}.png"), optimize=True)


def assert_accessible(page: Any) -> None:
    """Fail on whatever axe finds."""
    from axe_playwright_python.sync_playwright import Axe

    violations = Axe().run(page).response["violations"]
    findings = [f"{each['id']}: {node['html'][:120]}" for each in violations for node in each["nodes"]]
    assert findings == []


def assert_fits(page: Any) -> None:
    """Fail where the page, once it is laid out, is wider than its window."""
    page.wait_for_load_state()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def fill(page: Any, **values: str) -> None:
    for name, value in values.items():
        control = page.locator(f"main form.application [name={name}], main form.override [name={name}]")
        if control.evaluate("each => each.tagName") == "SELECT":
            control.select_option(value)
        else:
            control.fill(value)


def score(page: Any, **changes: str) -> None:
    fill(page, **{**RISKY, **changes})
    page.get_by_role("button", name="Score", exact=True).click()


@pytest.mark.integration
def test_an_officer_scores_a_declined_applicant_prints_the_notice_and_a_reviewer_decides_otherwise(
    pages: Pages,
) -> None:
    with pages.opened("/score") as page:
        assert_accessible(page)
        picture(page, "score-form")
        score(page)
        page.get_by_role("heading", name="Declined").wait_for()
        assert page.locator(".reasons li").count() >= 1
        assert page.get_by_role("img", name="Probability of default").count() == 1
        assert page.get_by_role("heading", name="What would have to change").count() == 1
        assert_accessible(page)
        page.get_by_role("link", name="Decision on file").click()
        page.get_by_role("heading", name="Declined").wait_for()
        assert "says the same to the bit" in page.content()
        assert_accessible(page)
        fill(page, decision="approve", reason="documents", by="Ann Bell", words="Payslips of twelve months were shown.")
        page.get_by_role("button", name="Record this decision").click()
        page.get_by_text("Ann Bell decided otherwise").wait_for()
        assert_accessible(page)
        picture(page, "decision")
        page.goto("/decisions")
        assert page.get_by_role("cell", name="Ann Bell").count() >= 1
        assert_accessible(page)
        picture(page, "decisions")


@pytest.mark.integration
def test_the_notice_is_one_page_of_paper_without_the_frame(pages: Pages) -> None:
    with pages.opened("/score") as page:
        score(page, id="A-18")
        page.get_by_role("link", name="Notice of the decision").click()
        page.get_by_role("heading", name="The principal reasons for this decision").wait_for()
        assert_accessible(page)
        page.emulate_media(media="print")
        page.get_by_role("navigation").wait_for(state="hidden")
        assert page.get_by_text("Number of this decision:").is_visible()
        pdf = page.pdf(format="A4")
        assert pdf.count(b"/Type /Page\n") == 1
        page.evaluate("document.body.style.padding = '2cm'")  # as a page of paper has a margin
        page.set_viewport_size({"width": 900, "height": 760})
        picture(page, "notice")


@pytest.mark.integration
def test_an_applicant_of_a_batch_is_answered_as_the_batch_was_and_told_what_would_have_to_change(pages: Pages) -> None:
    predictions = pl.read_parquet(str(pages.settings.layout.batch_table("predictions", "2014-09")))
    row = predictions.filter(pl.col("decision") == "decline").sort("pd").row(0, named=True)  # hardly declined
    with pages.opened(f"/score?batch=2014-09&id={row['id']}") as page:
        page.get_by_role("button", name="Score", exact=True).click()
        page.get_by_role("heading", name="Declined").wait_for()
        assert page.locator(".figure").first.inner_text() == f"{100 * row['pd']:.1f}%"
        assert page.locator(".offers li").count() >= 1
        assert page.locator(".offers").get_by_text("instead of").first.is_visible()
        assert_accessible(page)
        picture(page, "score-declined")
        page.set_viewport_size(NARROW)
        assert_fits(page)
        assert_accessible(page)


@pytest.mark.integration
def test_all_of_it_works_by_the_keyboard_alone(pages: Pages) -> None:
    with pages.opened("/score") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        for name in ("loan_amnt", "term", "annual_inc"):
            reach(page, name)
            page.keyboard.type(RISKY[name])
        reach(page, "int_rate")
        page.keyboard.type(RISKY["int_rate"])
        page.keyboard.press("Enter")
        page.locator(".figure").first.wait_for()


def reach(page: Any, name: str) -> None:
    """Press the tab key until the field of this name has the focus."""
    for _ in range(120):
        if page.evaluate("document.activeElement.name") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the tab key never reaches {name}")


@pytest.mark.parametrize(
    "scheme", [pytest.param("light", marks=pytest.mark.long), pytest.param("dark", marks=pytest.mark.integration)]
)
def test_each_page_fits_a_telephone_in_both_schemes(pages: Pages, scheme: str) -> None:
    with pages.opened("/score", color_scheme=scheme) as page:
        page.set_viewport_size(NARROW)
        assert_fits(page)
        assert_accessible(page)
        score(page, id=f"phone-{scheme}")
        page.locator(".figure").first.wait_for()
        assert_fits(page)
        assert_accessible(page)
        picture(page, f"score-narrow-{scheme}")
        page.get_by_role("link", name="Decision on file").click()
        page.get_by_role("heading", name="What was asked").wait_for()
        assert_fits(page)
        assert_accessible(page)
        page.set_viewport_size(WIDE)
        picture(page, f"decision-{scheme}")


@pytest.mark.integration
def test_mistakes_are_said_at_their_fields_and_what_was_written_stays(pages: Pages) -> None:
    with pages.opened("/score", expected="a status of 400") as page:
        score(page, annual_inc="5", term="")
        assert page.get_by_text("5 is not allowed; it must be 100 to 100,000,000 dollars a year.").is_visible()
        assert page.get_by_text("This is needed.").is_visible()
        assert page.locator("#f-loan_amnt").input_value() == "30000"
        assert_accessible(page)


@pytest.mark.integration
def test_a_pasted_application_fills_the_form(pages: Pages) -> None:
    sent = {name: value for name, value in applications()[0][0].items() if value is not None}
    with pages.opened("/score") as page:
        page.get_by_text("Fill the form with pasted values or from a stored batch").click()
        page.get_by_label("One application, pasted").fill("\t".join(sent) + "\n" + "\t".join(map(str, sent.values())))
        page.get_by_role("button", name="Fill the form").first.click()
        assert float(page.locator("#f-loan_amnt").input_value()) == sent["loan_amnt"]
        page.get_by_role("button", name="Score", exact=True).click()
        page.locator(".figure").first.wait_for()


VIEWS = {
    "overview": "/",
    "batches": "/batches",
    "batch": "/batches/2014-09",
    "rejected": "/batches/2014-08",
    "versions": "/versions",
    "version": "/versions/2",
    "compare": "/versions/compare?a=1&b=2&batch=2014-07",
    "promised": "/promised",
    "strategy": "/strategy",
    "history": "/history",
}
SAMPLE = {"overview", "batches"}  # the others are long


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.integration if name in SAMPLE else pytest.mark.long) for name in VIEWS],
)
def test_what_an_analyst_looks_at_is_readable_wide_and_light_narrow_and_dark(pages: Pages, name: str) -> None:
    with pages.opened(VIEWS[name]) as page:
        picture(page, name)
        assert_fits(page)
        page.set_viewport_size(NARROW)
        page.emulate_media(color_scheme="dark")
        assert_fits(page)
        assert_accessible(page)
        if name in ("batches", "version"):  # which have all colours
            page.emulate_media(color_scheme="light")
            assert_accessible(page)


@pytest.mark.long
def test_figures_of_a_chart_open_by_the_keyboard_and_a_wide_table_can_be_scrolled(pages: Pages) -> None:
    with pages.opened("/batches") as page:
        summary = page.locator("figure summary").first
        summary.focus()
        page.keyboard.press("Enter")
        assert page.locator("figure td").first.is_visible()
        page.set_viewport_size(NARROW)
        page.locator(".table:has(.heatmap)").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("document.activeElement.scrollLeft > 0")


@pytest.mark.integration
def test_two_versions_are_compared_and_the_result_is_a_csv(pages: Pages) -> None:
    with pages.opened("/versions") as page:
        page.get_by_label("on the applications of batch").select_option("2014-07")
        page.get_by_role("button", name="Compare").click()
        page.get_by_text("0 decisions would change").wait_for()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download as CSV").first.click()
        assert download.value.suggested_filename == "versions-compare-changes.csv"


@pytest.mark.long
def test_the_report_is_read_without_a_server(pages: Pages, tmp_path: Path) -> None:
    from loan_default.web.report import write_report

    with own_environment():
        os.environ |= environment_of(pages.settings)
        write_report(pages.settings, tmp_path / "report.html")
    with pages.opened("/ping") as page:
        page.goto(f"file://{tmp_path / 'report.html'}")
        assert_accessible(page)
        picture(page, "report")
