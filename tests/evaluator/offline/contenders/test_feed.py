"""Contenders for feeds: what was bought together ranks high, and LambdaMART sees nothing of the future."""

import numpy as np
import pytest

from evaluator.offline.contenders.behaviour import Sales, with_candidates
from evaluator.offline.contenders.contender import ContenderError, make
from evaluator.offline.contenders.simple import DAY_MS
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.measures.measure import judged
from models.measures.ranking import ndcg

ITEMS = tuple(f"i{number}" for number in range(40))
"""In ten families of four, of which shoppers like one each."""


def shop(shoppers: int = 60, orders: int = 8) -> EvaluationData:
    """Shoppers who buy from their family, and again what they bought, and sometimes something else."""
    chance, train, cases = np.random.default_rng(0), [], []
    for shopper in range(shoppers):
        family, past = shopper % 10, list[str]()
        for order in range(orders):
            basket = [f"i{4 * family + place}" for place in chance.permutation(4)[:2]]
            basket += [past[0]] if past and chance.random() < 0.7 else []
            basket = list(dict.fromkeys([*basket, f"i{chance.integers(40)}"]))
            history, ts = tuple(reversed(past)), (order * 10 + shopper % 7 + 1) * DAY_MS
            if order == orders - 1:
                gains = np.isin(ITEMS, basket).astype(float)
                cases.append(Case(f"{shopper}", ITEMS, gains, history=history, shopper=f"u{shopper}", ts=ts))
            else:
                ones = np.ones(len(basket))
                id = f"{shopper}/{order}"
                train.append(Case(id, tuple(basket), ones, history=history, shopper=f"u{shopper}", ts=ts))
            past += basket
    items = {item: Document(item, price=1.0 + place, first_seen=DAY_MS) for place, item in enumerate(ITEMS)}
    return EvaluationData("shop", "feed", cases, sorted(train, key=lambda case: case.ts), items)


def quality(name: str, data: EvaluationData) -> float:
    contender = make(name)
    contender.fit(data)
    scores = contender.score(data.cases)
    return float(np.mean([ndcg(judged(c, s, 0.0).gains, 5) for c, s in zip(data.cases, scores, strict=True)]))


def test_what_reads_the_past_is_better_than_best_sellers() -> None:
    data = shop()
    found = {name: quality(name, data) for name in ("popularity", "own_history", "item_knn", "ease:10", "lambdamart")}
    assert all(found[name] > found["popularity"] + 0.2 for name in found if name != "popularity"), found
    assert found["lambdamart"] > found["own_history"] - 0.02, found


def test_neighbours_do_not_include_the_item_itself() -> None:
    cases = [Case(str(n), ("a", "b"), np.ones(2), shopper=str(n)) for n in range(3)]
    cases.append(Case("9", ("c",), np.ones(1), shopper="9"))
    items = {item: Document(item) for item in "abcd"}
    data = EvaluationData("d", "feed", [], cases, items)
    ranked = Case("x", tuple("abcd"), np.full(4, np.nan), history=("a", "a", "unknown"))
    nobody = Case("y", tuple("abcd"), np.full(4, np.nan))
    for name in ("item_knn", "ease:1"):
        contender = make(name)
        contender.fit(data)
        scores, none = contender.score([ranked, nobody])
        assert np.argmax(scores) == 1 and scores[0] <= 1e-6 and scores[3] == 0 and not none.any()


def test_ease_is_the_closed_form() -> None:
    chance = np.random.default_rng(1)
    rows = (chance.random((30, 5)) < 0.4).astype(float)
    rows[0] = 1
    names = tuple("abcde")
    cases = [
        Case(str(n), tuple(np.array(names)[row > 0].tolist()), np.ones(int(row.sum())), shopper=str(n))
        for n, row in enumerate(rows)
    ]
    contender = make("ease:3")
    contender.fit(EvaluationData("d", "feed", [], cases, {}))
    inverse = np.linalg.inv(rows.T @ rows + 3 * np.eye(5))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    [found] = contender.score([Case("x", names, np.full(5, np.nan), history=("a", "c"))])
    np.testing.assert_allclose(found, expected[0] + expected[2], rtol=1e-4, atol=1e-6)


def test_training_candidates_are_older_than_the_case() -> None:
    data = shop(20)
    sales, chance = Sales(data.train, 0.0), np.random.default_rng(0)
    for case in data.train:
        sold = {item for one in data.train if one.ts // DAY_MS < case.ts // DAY_MS for item in one.items}
        assert set(with_candidates(case, sales, chance).items) <= sold


@pytest.mark.parametrize("name", ["item_knn", "ease", "lambdamart"])
def test_without_a_training_part_the_failure_is_clear(name: str) -> None:
    with pytest.raises(ContenderError, match="needs"):
        make(name).fit(EvaluationData("d", "feed", [], [], {}))
