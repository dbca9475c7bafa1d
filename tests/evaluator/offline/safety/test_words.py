"""The word list on a labelled test set of shop texts, in English and Chinese."""

import csv
from pathlib import Path

import pytest

from evaluator.offline.safety.words import classify, patterns

ROWS = list(csv.DictReader((Path(__file__).parent / "harmful_texts.csv").read_text("utf-8").splitlines()))


def test_the_list_finds_what_is_harmful_and_nothing_else() -> None:
    told = classify([row["text"] for row in ROWS])
    assert [(row["text"], said) for row, said in zip(ROWS, told, strict=True) if said != row["category"]] == []


def test_every_category_is_in_the_test_set() -> None:
    assert {row["category"] for row in ROWS} == {"", *patterns()}


@pytest.mark.parametrize("text", ["", "   ", "\ud800", "ﬀ" * 1_000, "rifle" * 200])
def test_odd_texts_are_harmless(text: str) -> None:
    assert classify([text]) == [""]
