"""The page in both languages: which one is chosen, and that its catalogue has all it can show, and nothing else."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest
from starlette.requests import Request

from evaluator.dashboard.language import COOKIE, language_of, page
from evaluator.metrics.cardinality import OURS
from evaluator.monitoring import detectors
from evaluator.monitoring.alerts import system
from evaluator.monitoring.registry import KINDS
from evaluator.translations import Language, read
from models.intents import INTENTS
from tests.evaluator.dashboard.test_app import dashboard, get

STATIC = files("evaluator.dashboard").joinpath("static")

SAME = {"Liveshelf", "English", "中文", "liveshelf status", "MRR", "nDCG@10", "p50", "p90", "p99"}
"""Texts of the page that are the same in both languages."""

CALL = re.compile(r"""(?<![\w.])t\((?:[^"'`()]*\? )?"((?:[^"\\]|\\.)*)"(?: : "([^"]*)")?""")


class Texts(HTMLParser):
    """Texts of HTML, and of its attributes that people read."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.found |= {
            value for name, value in attrs if name in {"title", "aria-label", "placeholder", "alt"} and value
        }

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside != "script" and any(letter.isalpha() for letter in data):
            self.found.add(data.strip())


def scripts() -> dict[str, str]:
    folder = Path(str(STATIC))
    own = [file for file in sorted(folder.rglob("*.js")) if "uplot" not in file.parts]
    return {str(file.relative_to(folder)): file.read_text() for file in own}


def calls() -> Iterator[str]:
    """What the scripts say."""
    for script in scripts().values():
        for one, other in CALL.findall(script):
            yield from filter(None, (one, other))


def test_everything_the_page_says_has_its_chinese_and_nothing_is_stale() -> None:
    html = STATIC.joinpath("index.html").read_text()
    said = (Texts(html).found | set(calls())) - SAME
    assert len(said) > 200
    assert said == read("evaluator", "sentences.toml")["page"].keys()


def test_every_call_is_read_here() -> None:
    """A call whose sentence is composed would be missed above."""
    for name, script in scripts().items():
        made = re.findall(r"(?<![\w.])t\((?!sentence)", script)
        assert len(made) == len(CALL.findall(script)), name


def test_names_of_the_code_are_known_and_none_is_stale() -> None:
    names = read("evaluator", "sentences.toml")["names"]
    wanted = {*KINDS, *INTENTS, *(one for values in OURS.values() for one in values if one)}
    known = {one.replace("_", " ") for one in wanted} - {"click rate"}
    assert known - names.keys() == set()
    root = Path(__file__).parents[3]
    own = (
        file for part in ("evaluator", "streams", "models", "liveshelf") for file in sorted((root / part).rglob("*.py"))
    )
    code = "".join((*(file.read_text() for file in own), *scripts().values()))
    written = {name: re.escape(name.removesuffix("s")).replace(r"\ ", "[ _]") for name in names}
    spelled = {name for name, form in written.items() if re.search(rf"""["'`.]{form}s?["'`.=]""", code)}
    assert names.keys() - spelled == set()


def test_evidence_of_alerts_is_named_in_chinese() -> None:
    names = read("evaluator", "sentences.toml")["names"]
    folder = Path(detectors.__path__[0])
    texts = [*(file.read_text() for file in folder.glob("*.py")), Path(system.__file__).read_text()]
    told = {name for text in texts for name in re.findall(r'[{ (]"([a-z][a-z _]*)": ', text)}
    assert {"reference", "psi", "offset"} <= told
    assert told - names.keys() - {"host", "last_words"} == set()


@pytest.mark.parametrize(
    ("query", "cookie", "header", "wanted"),
    [
        ("", "", "", "en"),
        ("", "", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "", "de,en;q=0.5,zh;q=0.2", "en"),
        ("", "en", "zh-CN", "en"),
        ("lang=zh", "en", "en", "zh"),
        ("lang=xx", "zh", "en", "zh"),
        ("lang=zh-Hans", "", "", "zh"),
    ],
)
def test_the_address_comes_before_the_choice_and_that_before_the_header(
    query: str, cookie: str, header: str, wanted: Language
) -> None:
    headers = [(b"accept-language", header.encode()), (b"cookie", f"{COOKIE}={cookie}".encode() if cookie else b"")]
    assert language_of(Request({"type": "http", "query_string": query.encode(), "headers": headers})) == wanted


def test_the_page_and_its_answers_are_in_the_readers_language() -> None:
    board = dashboard(currency="CNY")
    answer = get(board, "/", headers={"Accept-Language": "zh-CN"})
    assert answer.headers["content-language"] == "zh-Hans" and "Accept-Language" in answer.headers["vary"]
    assert '<html lang="zh-Hans" data-currency="CNY">' in answer.text and "点击率" in answer.text
    left = {text for text in Texts(answer.text).found - SAME if re.search("[A-Za-z]{2}", text)}
    allowed = "Wilson|DDSketch|Hoeffding|log|Redis|JavaScript"
    assert {text for text in left if re.search("[A-Za-z]{2}", re.sub(allowed, "", text))} == set()
    english = get(board, "/").text
    assert '<html lang="en" data-currency="CNY">' in english and ">{}</script>" in english
    assert "没有任何进程上报" in get(board, "/api/state", params={"lang": "zh"}).json()["page"]["health"]["sentence"]
    assert "Nothing has reported" in get(board, "/api/state").json()["page"]["health"]["sentence"]
    refused = get(board, "/api/shelf", params={"kind": "feed", "lang": "zh"})
    assert refused.status_code == 400 and refused.json() == {"error": "缺少查询内容：顾客、查询或商品"}


def test_both_pages_are_small_and_have_the_same_elements() -> None:
    pages = [page(language, None).decode() for language in ("en", "zh")]
    assert max(map(len, pages)) < 60_000
    english, chinese = (re.findall(r"<(\w+)", re.sub("<script.*?</script>", "", html)) for html in pages)
    assert english == chinese
