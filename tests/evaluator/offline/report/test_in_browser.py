"""The reports in a real browser: readable by everyone, on a phone, on paper, and without anything from elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from evaluator.offline import history
from evaluator.offline.report.render import write_comparison, write_report
from evaluator.offline.summary import summarise
from models.store import ModelStore
from tests.evaluator.offline.report import made
from tests.evaluator.offline.test_history import finished
from tests.evaluator.offline.test_prediction import filled

PAGES = ("report.html", "report.zh.html", "compare.html", "compare.zh.html")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report and a comparison of two runs."""
    folder = tmp_path_factory.mktemp("report")
    spec, data, results = made.run(folder)
    past = filled(ModelStore("memory://in-browser"), 14)
    write_report(spec, folder, data, results, summarise(results, spec.task), past)
    runs = [
        finished(folder / "one", "2026-01-01T00:00:00+00:00"),
        finished(folder / "two", "2026-02-01T00:00:00+00:00", 0.6),
    ]
    write_comparison(history.history(history.read(runs)), folder)
    return folder


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page; at the end it has complained of nothing and asked nobody for anything."""
    told, asked = list[str](), set[str]()
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("dialog", lambda dialog: told.append(dialog.message))
    page.on("request", lambda request: asked.add(request.url))
    yield page
    context.close()
    assert told == []
    assert {url for url in asked if not url.startswith(("file:", "data:"))} == set()


@pytest.mark.parametrize(
    ("name", "scheme"), [*((name, "light") for name in PAGES), ("report.html", "dark"), ("compare.html", "dark")]
)
def test_it_can_be_read_by_everyone(page: Page, folder: Path, name: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto((folder / name).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    violations = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in violations] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_does_not_scroll_sideways(page: Page, folder: Path, name: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto((folder / name).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_verdict_findings_and_failures_are_in_the_first_screen(page: Page, folder: Path) -> None:
    page.goto((folder / "report.html").as_uri())
    failed = ".findings li:has-text('failed')"
    for seen in ("#verdict-title", "#findings-title", f"{failed} >> text=no finite number for case 12"):
        box = page.locator(seen).first.bounding_box()
        assert box is not None and box["y"] < 800, seen


def test_both_languages_lead_to_each_other(page: Page, folder: Path) -> None:
    page.goto((folder / "report.html").as_uri())
    page.get_by_role("link", name="中文").click()
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    page.get_by_role("link", name="English").click()
    assert page.evaluate("document.documentElement.lang") == "en"


def test_paper_shows_what_is_folded_on_the_screen(page: Page, folder: Path) -> None:
    page.goto((folder / "report.html").as_uri())
    folded = page.locator("#effect .folded details:not([open]) table").first
    rest = page.locator(".findings details li").last
    assert not folded.is_visible() and not rest.is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    assert folded.bounding_box() is not None and folded.evaluate("e => e.checkVisibility()")
    assert page.evaluate("getComputedStyle(document.querySelector('h2')).color") != "rgb(232, 234, 236)", (
        "dark on white"
    )
    assert rest.bounding_box() is not None and page.locator("nav").is_hidden()
    assert page.locator(".findings > li:has(details) > ul").first.is_hidden(), "nothing is printed twice"
    page.set_viewport_size({"width": 720, "height": 1000})
    assert page.evaluate("document.documentElement.scrollWidth") <= 720, "nothing is cut off"
    assert page.pdf(format="A4")[:4] == b"%PDF"
