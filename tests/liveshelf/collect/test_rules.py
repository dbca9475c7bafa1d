"""Who may, how much, and which shelf: the collector's rules."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveshelf.collect.config import CollectConfig
from liveshelf.collect.limits import MOST_BUCKETS, Buckets, Budget, FullError
from liveshelf.collect.openapi import document
from liveshelf.collect.script import compressed, minified
from liveshelf.collect.shelves import Question, chain, filter_key
from liveshelf.settings import BadSettingsError, load

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "liveshelf" / "collect" / "static" / "liveshelf.js"

pytestmark = pytest.mark.usefixtures("no_settings")


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 50)), max_size=60))
def test_no_more_is_let_in_than_the_rate_the_burst_and_the_last_request(visits: list[tuple[float, int]]) -> None:
    buckets, now, taken = Buckets(per_s=5.0, burst_s=2.0), 0.0, 0
    for pause, count in visits:
        now += pause
        wait = buckets.wait_s("a", now)
        assert (buckets.wait_s("a", now + wait + 1e-6) == 0) and buckets.wait_s("b", now) == 0
        if wait == 0:
            buckets.take("a", count, now)
            taken += count
            assert taken <= 10 + 5 * now + 50 + 1e-6


def test_buckets_of_many_addresses_are_bounded() -> None:
    buckets = Buckets(1.0, 1.0)
    for number in range(MOST_BUCKETS + 10):
        buckets.take(str(number), 1, 0.0)
    assert len(buckets._tokens) == MOST_BUCKETS


def test_a_budget_that_is_full_refuses_and_is_given_back() -> None:
    budget = Budget(10)
    with pytest.raises(FullError), budget.share() as share:
        share.add(6)
        share.add(5)
    assert budget.held == 0


@pytest.mark.parametrize("given", json.loads((ROOT / "docs" / "filter-keys.json").read_text()), ids=str)
def test_a_canonical_filter_names_the_same_shelf(given: dict[str, object]) -> None:
    assert filter_key(str(given["key"])) == given["key"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("brand", "no term"),
        ("=x", "no term"),
        ("brand=", "no term"),
        ("price<=cheap", "no number"),
        ("price<=nan", "no filter can ask"),
        ("price=3", "no filter can ask"),
        ("in_stock=perhaps", "no filter can ask"),
        ("brand=a&brand=b", "twice"),
        ("price<=1&price<=2", "twice"),
        ("brand=%ff", "UTF-8"),
        ("brand=a&&size=2", "no term"),
    ],
)
def test_a_filter_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        filter_key(text)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_any_text_is_a_filter_s_key_or_is_refused(text: str) -> None:
    try:
        found = filter_key(text)
    except ValueError:
        return
    assert found == filter_key(found) and len(found) <= 256


@pytest.mark.parametrize(
    "question",
    [
        Question("feed", "u", user="v"),
        Question("popular", "all", segment="x"),
        Question("similar", "i", filter="brand=a"),
        Question("popular", "Mice", filter="brand=a"),
        Question("feed", "u", segment="x", filter="brand=a"),
    ],
    ids=repr,
)
def test_parameters_that_would_be_ignored_are_refused(question: Question) -> None:
    with pytest.raises(ValueError, match="is for"):
        chain(question)


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"HOST": "0.0.0.0"}, "set LIVESHELF_COLLECT__WRITE_KEY"),
        ({"PAGE_KEY": "p" * 16}, "without a write_key"),
        ({"WRITE_KEY": "short"}, "at least 16"),
        ({"WRITE_KEY": "w" * 16, "PAGE_KEY": "w" * 16}, "none of the other keys"),
        ({"ORIGINS": '["*"]'}, "no origin"),
        ({"ORIGINS": '["https://shop.example/"]'}, "no origin"),
    ],
)
def test_settings_that_would_leave_it_open_are_refused(
    env: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(f"LIVESHELF_COLLECT__{name}", value)
    with pytest.raises(BadSettingsError, match=why):
        load()


def test_keys_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESHELF_COLLECT__WRITE_KEY", "a hidden key of letters")
    assert "hidden" not in load().dump() and "hidden" not in repr(load())


def test_the_script_stays_small() -> None:
    script = minified(SCRIPT.read_text("utf-8"))
    assert len(compressed(script)) <= 2_048 and b"//" not in script.replace(b"://", b"")


def test_every_reference_of_the_document_leads_somewhere() -> None:
    described = document(CollectConfig(write_key="w" * 16))  # type: ignore[arg-type]
    text = json.dumps(described)
    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= described["components"]["schemas"].keys()
    assert described["security"] == [{"bearer": []}, {"header": []}, {"query": []}]
