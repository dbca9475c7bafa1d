"""Fairness: planted unfairness is named, fair contenders are not blamed, swapped words count."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, EvaluationData
from evaluator.offline.dimensions.dimension import Part
from evaluator.offline.dimensions.fairness import DIMENSION
from evaluator.offline.fairness.swaps import plan
from tests.evaluator.offline.dimensions.benches import BRANDS, Rank, bench, by_chance, by_gain, shop


def measured(rank: Rank, data: EvaluationData | None = None) -> Part:
    data = data or shop()
    further = plan(data, 0)[1]
    return DIMENSION.measure(bench(replace(data, items={**data.items, **further}, further=tuple(further)), rank))


def found(part: Part) -> dict[str, str]:
    return {one.name: one.sentence for one in part.findings}


def value(part: Part, measure: str, segment: str = "") -> float:
    [one] = [one for one in part.readings if one.measure == measure and one.segment == segment]
    assert one.value is not None
    return one.value


def against_new(case: Case, data: EvaluationData) -> Scores:
    """Good, but items that appeared last come after all others."""
    new = np.array([(data.items[item].first_seen or 0) >= 96 for item in case.items])
    return np.nan_to_num(case.gains) - 5.0 * new


def brand_only(case: Case, data: EvaluationData) -> Scores:
    """Reads the brand and nothing else."""
    return np.array([-float(BRANDS.index(data.items[item].text.split()[0])) for item in case.items])


def test_unfair_to_new_items_is_named_with_its_figures() -> None:
    part = measured(against_new)
    said = found(part)["unfair_to_new"]
    assert said.startswith("It is unfair to new items: they get ")
    assert "of the exposure for" in said
    assert value(part, "exposure over merit", "age: new") < 0.7
    assert value(part, "exposure over merit", "age: old") > 1.05


@pytest.mark.parametrize("rank", [by_gain, by_chance])
def test_fair_contenders_are_not_blamed(rank: Rank) -> None:
    part = measured(rank)
    assert not part.findings
    assert value(part, "exposure over merit", "age: new") == pytest.approx(1.0, abs=0.15)


def test_a_model_that_reads_only_the_brand_is_named() -> None:
    part = measured(brand_only)
    assert "reads_brand" in found(part)
    assert "favours_brand" in found(part)
    assert "acme" in found(part)["favours_brand"]
    assert value(part, "brand swap") > 0.4
    assert value(measured(by_chance), "brand swap") == 0.0


def test_the_best_order_excuses_what_no_order_could_give() -> None:
    """New items with little merit get more exposure than merit in any order, old ones less: nobody is to blame."""
    data = shop()
    rare = [
        replace(case, gains=np.where([int(item[1:]) >= 96 for item in case.items], 0.0, np.minimum(case.gains, 1.0)))
        for case in data.cases
    ]
    part = measured(by_gain, replace(data, cases=rare))
    assert not [name for name in found(part) if name.startswith("unfair")]


def test_amplified_popularity_is_named() -> None:
    data = shop()
    train = [Case("t", (f"i{at}",), np.ones(1)) for at in range(20) for _ in range(20 - at)]
    data = replace(data, train=train)

    def popular(case: Case, _: EvaluationData) -> Scores:
        return np.array([-float(item.rpartition("i")[2]) for item in case.items])

    part = measured(popular, data)
    assert value(part, "popularity amplification") > 1.5
    assert "amplifies_popularity" in found(part)
    assert value(part, "popularity lift") == pytest.approx(1.0)  # lists of ten: all are among the first ten
    assert "amplifies_popularity" not in found(measured(by_gain, data))


def test_a_gap_between_segments_is_named_and_one_of_chance_is_not() -> None:
    def half(case: Case, data: EvaluationData) -> Scores:
        return by_gain(case, data) if case.segments["query"] == "head" else by_chance(case, data)

    if_half = measured(half)
    assert value(if_half, "ndcg@10 gap", "query") > 0.15
    assert "query “tail” has an nDCG@10 lower by " in found(if_half)["quality_gap"]
    assert "quality_gap" not in found(measured(by_chance))


def test_all_readings_have_replicates_of_one_length_and_finite() -> None:
    for one in measured(against_new).readings:
        assert len(one.replicates) == 401
        assert np.isfinite(one.replicates).all()
