"""The clients' keys, the server's and the documented ones are the same."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveshelf_client import keys
from liveshelf_client.reading import Question
from streams.events.filters import Filter
from streams.redis import chains
from tests.streams.events.test_filters import FILTERS

DOCS = Path(__file__).parents[2] / "docs"
CASES = json.loads((DOCS / "shelf-keys.json").read_text("utf-8"))
FILTER_CASES = json.loads((DOCS / "filter-keys.json").read_text("utf-8"))


def ours(case: dict[str, Any]) -> list[str]:
    """The server's keys of a case."""
    filtered, segment = Filter.of(case.get("filters")).key, case.get("segment", "all")
    if case["surface"] == "feed":
        return chains.feed(case["id"], segment, filtered)
    if case["surface"] == "search":
        return chains.search(case["id"], case.get("user"), filtered)
    return chains.similar(case["id"], segment) if case["surface"] == "similar" else chains.popular(case["id"], filtered)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["about"])
def test_documented_keys_are_the_servers_and_the_clients(case: dict[str, Any]) -> None:
    given = {name: case[name] for name in ("surface", "id", "user", "segment") if name in case}
    question = Question(**given, filtered=keys.filter_key(case.get("filters")))
    assert ours(case) == case["keys"] == question.chain()


@pytest.mark.parametrize("case", FILTER_CASES, ids=lambda case: case["about"])
def test_documented_filters_have_the_documented_keys(case: dict[str, Any]) -> None:
    assert keys.filter_key(case["filters"]) == case["key"]


@given(FILTERS)
def test_any_filter_has_the_servers_key(filters: dict[str, Any]) -> None:
    assert keys.filter_key(filters) == Filter.of(filters).key


@given(st.text(), st.text(), st.text())
def test_any_ids_and_queries_have_the_servers_keys(name: str, query: str, segment: str) -> None:
    assert keys.feed(name, segment) == chains.feed(name, segment)
    assert keys.search(query, name) == chains.search(query, name)
    assert keys.similar(name, segment) == chains.similar(name, segment)
    assert keys.popular(segment, "brand=a") == chains.popular(segment, "brand=a")
