"""``liveshelf evaluate`` on contenders with one planted defect each: the report's first screen names all of them.

A person sees the page in a browser as wide as a laptop, and on a phone. The defects are planted in
``tests.evaluator.offline.planted``.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, Locator, Page

from evaluator.offline.summary import Summary
from tests.evaluator.offline import planted

pytestmark = pytest.mark.e2e

FILES = {"en": "report.html", "zh": "report.zh.html"}

SCREENS = {(1280, 800): 1, (390, 844): 2}
"""Sizes of windows, and the screens in which all defects have to be told."""

TOLD = {
    planted.IgnoresTheQuery: (r"ignores the query: in none of \d+ cases", r"忽略查询：在 \d+ 个样例中"),
    planted.ReadsTheBrand: (r"reads only the brand: \d+% \(\d+% to \d+%\)", r"只看品牌：.*占 \d+%（\d+% 至 \d+%）"),
    planted.SawTheTest: (
        r"nDCG@10 of 1\.000 is too good: .* trained on the test data",
        r"高达 1\.000.*用测试数据训练过",
    ),
    planted.CrashesOnEmptyText: (
        r"on an item without a text: IndexError in planted\.py, line \d+",
        r"遇到无文本的商品时崩溃：planted\.py 第 \d+ 行抛出 IndexError",
    ),
    planted.Overconfident: (
        r"probabilities are wrong: those of buy are off by 0\.\d\d",
        r"概率校准差：“购买”的概率平均偏差 0\.\d\d",
    ),
    planted.CountsWords: (
        r"A stuffed title fools it: an item rises \d+\.\d places",
        r"堆砌关键词的标题欺骗：商品上升 \d+\.\d 位",
    ),
    planted.DistrustsTheNew: (
        r"unfair to new items: they get \d+\.\d% of the exposure for \d+\.\d% of the merit",
        r"对新商品不公平：价值占 \d+\.\d%，曝光只占 \d+\.\d%",
    ),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of all of them, made by the command."""
    folder = tmp_path_factory.mktemp("planted")
    data, train = planted.write(folder)
    names = [planted.name(kind) for kind in (planted.Honest, *planted.DEFECTS)]
    options = ["--data", data, "--train", train, "--out", folder / "run", "--draws", "300"]
    options += [word for name in planted.COLUMNS for word in ("--column", name)]
    words = [sys.executable, "-m", "liveshelf", "evaluate", *names, *map(str, options)]
    env = os.environ | {planted.LEAKED: str(data), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=Path(__file__).parents[2], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


@pytest.fixture(params=[(size, language) for size in SCREENS for language in FILES], ids=str)
def seen(request: pytest.FixtureRequest, browser: Browser, run: Path) -> tuple[Page, str, float]:
    """A report's page as it opens, its language, and how far down its first screen goes."""
    (width, height), language = request.param
    page = browser.new_page(viewport={"width": width, "height": height})
    request.addfinalizer(page.close)
    page.goto((run / FILES[language]).as_uri())
    return page, language, height * SCREENS[width, height]


def row(page: Page, kind: type[planted.Honest]) -> Locator:
    """What the list of findings tells of a contender."""
    return page.locator(".findings > li").filter(has=page.locator("h3", has_text=kind.__name__))


def test_the_first_screen_names_each_defect_with_contender_and_figure(seen: tuple[Page, str, float]) -> None:
    page, language, end = seen
    for kind, told in TOLD.items():
        one = row(page, kind).locator(".tagged", has_text=re.compile(told[language == "zh"])).first
        box = one.bounding_box()
        assert box is not None, (kind.__name__, row(page, kind).inner_text())
        assert box["y"] + box["height"] <= end, (kind.__name__, box)
        assert re.match("grave|严重", one.inner_text()), "its severity stands before it in a word"


def test_the_honest_one_is_accused_of_nothing(seen: tuple[Page, str, float], run: Path) -> None:
    page, _, end = seen
    assert row(page, planted.Honest).count() == 0
    clear = page.locator(".clear")
    box = clear.bounding_box()
    assert planted.Honest.__name__ in clear.inner_text() and box is not None and box["y"] + box["height"] <= end
    assert page.locator(".against strong").inner_text() == planted.Honest.__name__, "the best without a grave finding"
    summary = msgspec.json.decode((run / "summary.json").read_bytes(), type=Summary)
    honest = [one.finding.sentence for one in summary.findings if one.contender == planted.name(planted.Honest)]
    assert honest == [] and summary.failures == {}


def test_the_verdict_stands_first_and_says_what_it_costs(seen: tuple[Page, str, float]) -> None:
    page, language, _ = seen
    verdict = page.locator("#verdict")
    assert verdict.locator(".said").inner_text().startswith(planted.SawTheTest.__name__)
    for said in ("1.0000", "+0.0", *(("a case", "memory") if language == "en" else ("每个样例", "内存"))):
        assert said in verdict.inner_text()
    top = [page.locator(name).bounding_box() for name in ("#verdict", "#findings", "#overview")]
    heights = [box["y"] for box in top if box is not None]
    assert len(heights) == 3 and heights == sorted(heights)


ENGLISH = re.compile(r"[a-z]{3,} [a-z]{2,}")

VISIBLE = """() => {
  document.querySelectorAll('details').forEach(one => one.open = true)
  document.querySelectorAll('.language, .data, .item, .id, code, .query h3').forEach(one => one.remove())
  const labels = [...document.querySelectorAll('[aria-label], [title]')].map(
    one => (one.getAttribute('aria-label') || '') + ' ' + (one.getAttribute('title') || ''))
  return [...document.body.innerText.split('\\n'), ...labels]
}"""


def test_no_english_sentence_is_left_in_the_chinese_report(browser: Browser, run: Path) -> None:
    page = browser.new_page()
    page.goto((run / FILES["zh"]).as_uri())
    unknown = page.locator('main [lang="en"]').all_text_contents()
    lines = page.evaluate(VISIBLE)
    page.close()
    assert sorted(set(unknown)) == []
    assert sorted({line for line in lines if ENGLISH.search(line)}) == []
    assert sum(bool(re.search(r"[\u4e00-\u9fff]", line)) for line in lines) > 200
