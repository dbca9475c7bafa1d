"""Segments: head, middle and tail, cold items, price bands, languages, new and known shoppers."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.segments import language, thirds, with_segments


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 50), min_size=1))
def test_thirds_go_from_frequent_to_rare(counts: dict[str, int]) -> None:
    found = thirds(counts)
    order = [found[query] for query, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
    assert order == sorted(order, key=["head", "middle", "tail"].index) and order[0] == "head"


def test_clicks() -> None:
    items = {f"i{n}": Document(f"item {n}", price=float(n)) for n in range(6)}
    gains = np.array([1.0, 0.0])
    train = [Case(f"t{n}", ("i0", "i1"), gains, "tv", shopper="ann") for n in range(9)]
    cases = [
        Case("1", ("i0", "i5"), gains, "tv", shopper="ann"),
        Case("2", ("i3", "i0"), gains, "tap", shopper="bob"),
        Case("3", ("i5", "i0"), gains, "水龙头", shopper="bob"),
    ]
    found = with_segments(EvaluationData("d", "clicks", cases, train, items)).cases
    assert [case.segments["query"] for case in found] == ["head", "tail", "tail"]
    assert [case.segments["shopper"] for case in found] == ["known", "new", "new"]
    assert [case.segments["items"] for case in found] == ["none of them is cold", *2 * ["one of them is cold"]]
    assert [case.segments["price"] for case in found] == ["low", "middle", "high"]
    assert [case.segments["language"] for case in found] == [*2 * ["English letters"], "Chinese"]
    assert "query length" not in found[0].segments, "one group only says nothing"


def test_feed() -> None:
    items = {f"i{n}": Document(f"item {n}") for n in range(4)}
    train = [Case(f"t{n}", ("i0",), np.ones(1), shopper="ann") for n in range(9)]
    universe = tuple(items)
    pasts = [("i0",) * 5, ("i1",) * 30]
    cases = [Case(f"{n}", universe, np.array([1.0, 0, 0, 0]), history=past) for n, past in enumerate(pasts)]
    found = with_segments(EvaluationData("d", "feed", cases, train, items)).cases
    assert Counter(by for case in found for by in case.segments) == {"orders": 2, "past": 2}
    assert found[0].segments["orders"] == "some bought before" and found[1].segments["orders"] != "some bought before"


def test_a_feed_has_new_and_known_shoppers() -> None:
    items = {f"i{n}": Document(f"item {n}") for n in range(4)}
    train = [Case("t", ("i0",), np.ones(1), shopper="ann")]
    gains = np.array([1.0, 0, 0, 0])
    cases = [Case(name, tuple(items), gains, history=("i1",) * 5, shopper=name) for name in ("ann", "bob")]
    found = with_segments(EvaluationData("d", "feed", cases, train, items)).cases
    assert [case.segments["shopper"] for case in found] == ["known", "new"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("园艺 软管 20m", "Chinese"),
        ("ガーデン ホース", "Japanese"),
        ("정원 호스", "Korean"),
        ("садовый шланг", "Cyrillic letters"),
        ("خرطوم الحديقة", "Arabic letters"),
        ("λάστιχο κήπου", "Greek letters"),
        ("צינור גינה", "Hebrew letters"),
        ("สายยาง", "Thai letters"),
        ("बगीचे की नली", "Indian letters"),
        ("tuyau d'arrosage à dévidoir", "accented Latin letters"),
        ("DEWALT шуруповёрт", "Cyrillic letters"),
        ("garden hose", "English letters"),
        ("100 %", ""),
    ],
)
def test_scripts_are_told_apart(text: str, name: str) -> None:
    assert language(text) == name
