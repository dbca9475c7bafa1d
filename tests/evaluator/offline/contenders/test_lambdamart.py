"""LambdaMART learns from texts, and not from its own labels through the popularity."""

import numpy as np

from evaluator.offline.contenders.lambdamart import LambdaMART
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.measures.measure import judged
from models.measures.ranking import ndcg

WORDS, OTHERS = ("red", "garden", "hose", "long"), ("old", "blue", "tap", "short", "house")


def test_items_that_are_judged_once_are_ranked_by_what_their_texts_say() -> None:
    chance, cases, items = np.random.default_rng(0), [], {}
    for number in range(400):
        shared = chance.integers(0, 5, 6)
        names = tuple(f"{number}/{place}" for place in range(6))
        for name, count in zip(names, shared, strict=True):
            items[name] = Document(" ".join([*WORDS[:count], *chance.choice(OTHERS, 6 - count)]))
        gains = shared / 4 + 0.8 * chance.random(6)
        cases.append(Case(f"q{number}", names, gains, " ".join(WORDS)))
    data = EvaluationData("d", "graded", cases[300:], cases[:300], items, (0.0, 1.8))
    contender = LambdaMART()
    contender.fit(data)
    found = zip(data.cases, contender.score(data.cases), strict=True)
    assert np.nanmean([ndcg(judged(case, scores, 0.0).gains) for case, scores in found]) > 0.92


def test_items_that_are_shown_again_and_again_are_ranked_by_how_often_they_are_clicked() -> None:
    chance, names = np.random.default_rng(0), tuple("abcdefgh")
    rates = np.linspace(0.05, 0.6, len(names))
    items = {name: Document("garden hose") for name in names}
    cases = [
        Case(f"list {number}", names, (chance.random(len(names)) < rates).astype(float), "hose")
        for number in range(1_000)
    ]
    data = EvaluationData("d", "clicks", cases[800:], cases[:800], items)
    contender = LambdaMART()
    contender.fit(data)
    [scores] = contender.score(data.cases[:1])
    assert np.corrcoef(np.argsort(np.argsort(scores)), np.arange(len(names)))[0, 1] > 0.9
