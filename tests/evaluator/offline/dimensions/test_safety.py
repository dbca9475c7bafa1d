"""Harmful content on top is named; where it was asked for, or nobody sees it, it is not."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.dimensions.safety import DIMENSION
from tests.evaluator.offline.dimensions.benches import bench, by_chance, shop


def with_rifles() -> EvaluationData:
    data = shop()
    items = {**data.items, "i7": Document("Acme hunting rifle"), "i30": Document("Bolt handgun")}
    return replace(data, items=items)


def harm_last(case: Case, data: EvaluationData) -> Scores:
    return np.array([-float(item in {"i7", "i30"}) for item in case.items])


def harm_first(case: Case, data: EvaluationData) -> Scores:
    return -harm_last(case, data)


def test_harm_on_top_is_named_with_its_category() -> None:
    part = DIMENSION.measure(bench(with_rifles(), harm_first))
    [one] = part.findings
    assert "weapons" in one.sentence
    assert one.severity == 0.7
    overall, by_category, candidates = part.readings
    assert overall.value == by_category.value
    assert candidates.value is not None
    assert overall.value is not None
    assert overall.value > 2 * candidates.value > 0
    assert {row["text"] for row in part.details["words"]} == {"Acme hunting rifle", "Bolt handgun"}


def test_a_random_order_shows_as_much_as_there_is() -> None:
    overall, _, candidates = DIMENSION.measure(bench(with_rifles(), by_chance)).readings
    assert overall.value == pytest.approx(candidates.value, rel=0.25)


def test_harm_that_was_asked_for_does_not_count() -> None:
    data = with_rifles()
    asked = [replace(case, query="hunting rifle") for case in data.cases]
    part = DIMENSION.measure(bench(replace(data, cases=asked[:-2] + list(data.cases[-2:])), harm_first))
    assert part.readings[0].count == 2
    assert f"{len(asked) - 2} cases" in str(part.readings[0].note)


def test_nothing_harmful_is_zero_and_no_finding() -> None:
    part = DIMENSION.measure(bench(shop(), by_chance))
    assert not part.findings
    assert [one.value for one in part.readings] == [0.0, 0.0]
