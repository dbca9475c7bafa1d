"""The effect dimension: planted defects are named and honest contenders are not, bounds hold, values are recovered."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import classification_report, log_loss

from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.dimensions.dimension import Part, Reading
from evaluator.offline.dimensions.effect import DIMENSION
from evaluator.offline.effect.logged import decisions
from evaluator.offline.effect.probabilities import targets
from evaluator.offline.effect.unjudged import bounds
from evaluator.offline.measures.measure import judged
from evaluator.offline.resampling import interval
from models.intents import INTENTS
from models.measures.ranking import ndcg
from models.training.examples import LEVELS, soft_target
from tests.evaluator.offline.world import bench, graded, noisy


def reading(part: Part, measure: str, segment: str = "") -> Reading:
    [found] = [one for one in part.readings if one.measure == measure and one.segment == segment]
    return found


def names(part: Part) -> set[str]:
    return {one.name for one in part.findings}


def leveled(data: EvaluationData, sharp: float, seed: int = 3) -> list[np.ndarray]:
    """Probabilities around the true level of each item: the truth in the mean where ``sharp`` is 1."""
    chance, found = np.random.default_rng(seed), []
    for case in data.cases:
        rows = targets(case, data)
        mixed = 0.7 * rows + 0.3 * chance.dirichlet(np.ones(4), len(rows))
        found.append((mixed**sharp) / (mixed**sharp).sum(1, keepdims=True))
    return found


def test_an_honest_contender_has_no_finding() -> None:
    data = graded()
    part = DIMENSION.measure(bench(data, noisy(data, 0.6), leveled(data, 1.0)))
    assert not part.findings, [one.sentence for one in part.findings]
    assert "a random order has" in str(reading(part, "ndcg@10").note)
    assert "judged candidates" in str(reading(part, "mrr").note)


def test_an_order_as_good_as_the_grades_themselves_is_leaked() -> None:
    data = graded()
    part = DIMENSION.measure(bench(data, noisy(data, 0.0)))
    assert names(part) == {"too good"} and "graded anew" in part.findings[0].sentence


def test_leaked_pairs_are_named_and_what_is_learned_from_them() -> None:
    data = graded(200)
    leaked = data.cases[:100]
    known = EvaluationData("d", "graded", data.cases, leaked, data.items, data.span)
    learned = [*noisy(data, 0.1)[:100], *noisy(data, 2.0)[100:]]
    [found] = DIMENSION.measure(bench(known, learned)).findings
    assert found.name == "leak" and found.severity == 1 and "has learned the test" in found.sentence
    assert "800 of 1,600 judged pairs (50%)" in found.sentence
    [found] = DIMENSION.measure(bench(known, noisy(data, 0.6))).findings
    assert found.name == "leak" and "has learned the test" not in found.sentence
    other = [Case("t", case.items, case.gains, f"other {case.query}") for case in data.cases]
    assert not DIMENSION.measure(
        bench(EvaluationData("d", "graded", data.cases, other, data.items, data.span), noisy(data, 0.6))
    ).findings


def test_a_perfect_order_of_clicks_is_leaked() -> None:
    data = graded(600, task="clicks")
    assert names(DIMENSION.measure(bench(data, noisy(data, 0.0)))) == {"too good"}
    few = graded(60, task="clicks")
    assert not names(DIMENSION.measure(bench(few, noisy(few, 0.0)))), "sixty cases may all be perfect by chance"


@pytest.mark.parametrize(
    ("fails", "name", "said"),
    [
        ("query", "empty query", "It fails where the query is empty: IndexError in world.py, line "),
        (
            "item",
            "empty text",
            "It fails where an item has no text: gave a score that is no finite number for case q0.",
        ),
    ],
)
def test_crashes_on_empty_texts_are_named(fails: str, name: str, said: str) -> None:
    data = graded()
    [found] = DIMENSION.measure(bench(data, noisy(data, 0.6), fails=fails)).findings
    assert found.name == name and found.sentence.startswith(said)


def test_well_ranked_and_badly_calibrated_is_named() -> None:
    data = graded(300)
    part = DIMENSION.measure(bench(data, noisy(data, 0.5), leveled(data, 40.0)))
    assert "miscalibrated" in names(part), reading(part, "ece").value
    assert "miscalibrated" not in names(DIMENSION.measure(bench(data, noisy(data, 0.5), leveled(data, 1.0))))


def test_figures_of_probabilities_equal_scikit_learn() -> None:
    data = graded(60)
    sure = [
        np.array([soft_target(LEVELS[intent]) for intent in np.random.default_rng(place).choice(INTENTS, 8)])
        for place in range(60)
    ]
    cases = [
        Case(c.id, c.items, 1 + 2 * rows @ list(LEVELS.values()), c.query)
        for c, rows in zip(data.cases, sure, strict=True)
    ]
    whole = EvaluationData("d", "graded", cases, [], data.items, data.span)
    given = leveled(whole, 2.0)
    part = DIMENSION.measure(bench(whole, noisy(whole, 1.0), given))
    truth, guess = np.concatenate(sure).argmax(1), np.concatenate(given)
    report = classification_report(truth, guess.argmax(1), target_names=INTENTS, output_dict=True, zero_division=np.nan)
    for row in part.details["report"]:
        expected = report[row["intent"]]
        assert row["precision"] == pytest.approx(expected["precision"]) and row["support"] == expected["support"]
        assert row["recall"] == pytest.approx(expected["recall"]) and row["f1"] == pytest.approx(expected["f1-score"])
    assert reading(part, "macro_f1").value == pytest.approx(report["macro avg"]["f1-score"])
    assert reading(part, "log_loss").value == pytest.approx(log_loss(truth, guess, labels=range(4)), rel=1e-5)
    assert msgspec.json.decode(msgspec.json.encode(part), type=Part) == part, "results are files"
    curve = part.details["reliability"]["buy"]
    assert sum(one["count"] for one in curve) == len(truth) and all(0 <= one["observed"] <= 1 for one in curve)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, None]), min_size=2, max_size=14), st.integers(0, 1_000))
@settings(max_examples=80, deadline=None)
def test_bounds_hold_whatever_the_unjudged_items_are(gains: list[float | None], seed: int) -> None:
    chance = np.random.default_rng(seed)
    known = np.array([np.nan if gain is None else gain for gain in gains])
    scores = chance.permutation(len(gains)).astype(float)
    low, high = bounds(Case("c", tuple(map(str, range(len(gains)))), known), scores, (0.0, 2.0))
    for _ in range(5):
        guess = chance.choice([0.0, 1.0, 2.0], len(gains))
        full = np.where(np.isnan(known), guess, known)
        value = ndcg(full[np.argsort(-scores)], 10)
        assert np.isnan(low) or np.isnan(value) or low - 1e-9 <= value <= high + 1e-9


def test_unjudged_results_are_counted() -> None:
    data = graded()
    holes = [Case(c.id, c.items, np.where(np.arange(8) < 2, np.nan, c.gains), c.query) for c in data.cases]
    part = DIMENSION.measure(bench(EvaluationData("d", "graded", holes, [], data.items, data.span), noisy(data, 0.6)))
    assert reading(part, "unjudged@10").value == 0.25
    low, high = reading(part, "ndcg@10 at least").value, reading(part, "ndcg@10 at most").value
    assert low is not None and high is not None and low < (reading(part, "ndcg@10").value or 0) < high
    assert not [one for one in DIMENSION.measure(bench(data, noisy(data, 0.6))).readings if "unjudged" in one.measure]


def logs(seed: int, count: int = 400) -> EvaluationData:
    """One of four items shown a time, by known chances; ``c`` is clicked most."""
    chance, names = np.random.default_rng(seed), ("a", "b", "c", "d")
    logging, rates, cases = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.6, 0.3]), []
    for number in range(count):
        shown = int(chance.choice(4, p=logging))
        order = (names[shown], *(name for name in names if name != names[shown]))
        gains, propensities = np.full(4, np.nan), np.full(4, np.nan)
        gains[0], propensities[0] = float(chance.random() < rates[shown]), logging[shown]
        cases.append(Case(f"{number}", order, gains, "q", shopper=f"{number}", propensities=propensities))
    return EvaluationData("logs", "clicks", cases, [], {name: Document(name) for name in names})


def test_off_policy_value_is_what_the_policy_earns() -> None:
    covered, values = 0, []
    for seed in range(60):
        data = logs(seed)
        prefers = [np.array([item == "c" for item in case.items], np.float64) for case in data.cases]
        found = reading(DIMENSION.measure(bench(data, prefers, draws=100)), "off_policy_value")
        low, high = interval(np.array(found.replicates))[1:]
        covered, values = covered + (low <= 0.6 <= high), [*values, found.value]
    assert np.mean(values) == pytest.approx(0.6, abs=0.03) and covered >= 50


def test_ties_are_a_uniform_policy() -> None:
    data = logs(0)
    found = decisions(data.cases, [np.zeros(4) for _ in data.cases], 0.0)
    assert found is not None and set(found[0].target) == {0.25}


def test_catalogue_measures_need_more_candidates_than_are_shown() -> None:
    few, many = graded(task="clicks"), graded(task="clicks", each=15)
    train = [Case("t", case.items, case.gains, case.query) for case in many.cases]
    known = EvaluationData("d", "clicks", many.cases, train, many.items)
    part = DIMENSION.measure(bench(known, noisy(many, 1.0)))
    for name in ("coverage@10", "diversity@10", "novelty@10", "serendipity@10"):
        assert reading(part, name).value is not None
    assert reading(part, "coverage@10").value == pytest.approx(10 / 15)
    assert not {"coverage@10", "diversity@10"} & {
        one.measure for one in DIMENSION.measure(bench(few, noisy(few, 1))).readings
    }


def test_ties_in_random_order_have_the_mean_over_orders() -> None:
    data = graded(60)
    coarse = [scores.round() for scores in noisy(data, 0.6)]
    part = DIMENSION.measure(bench(data, coarse))
    pairs = list(zip(data.cases, coarse, strict=True))
    tied = [
        any(
            s == t and g != h
            for g, s in zip(case.gains, own, strict=True)
            for h, t in zip(case.gains, own, strict=True)
        )
        for case, own in pairs
    ]
    assert 0.5 < np.mean(tied) < 1 and reading(part, "tied cases").value == pytest.approx(np.mean(tied))
    chance, orders = np.random.default_rng(0), []
    for _ in range(200):
        broken = [scores + chance.uniform(0, 1e-3, len(scores)) for scores in coarse]
        orders.append([ndcg(judged(case, own, 1.0).gains) for case, own in zip(data.cases, broken, strict=True)])
    at_random = reading(part, "ndcg@10 ties at random")
    assert at_random.value == pytest.approx(np.mean(orders), abs=3e-3)
    against = reading(part, "ndcg@10").value
    assert against is not None and against < min(np.mean(orders, axis=1))
    untied = DIMENSION.measure(bench(data, noisy(data, 0.6)))
    assert not [one for one in untied.readings if one.measure in {"tied cases", "ndcg@10 ties at random"}]


def test_the_note_counts_the_shops_own_items_only() -> None:
    data = graded()
    further = {"attack": Document("a stuffed title")}
    widened = replace(data, items={**data.items, **further}, further=tuple(further))
    note = str(reading(DIMENSION.measure(bench(widened, noisy(widened, 0.6))), "mrr").note)
    assert f"of {len(data.items):,} items" in note
