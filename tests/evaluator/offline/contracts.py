"""What every measure, perturbation, contender and dimension keeps to: checks of one, for suites that find them all."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from evaluator.offline.contenders.contender import Contender, PaidContender, TextContender, checked
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.dimensions.dimension import Bench, Dimension, Part
from evaluator.offline.measures.measure import Measure, judged
from evaluator.offline.perturbations.lexicon import Lexicon
from evaluator.offline.perturbations.perturbation import (
    STRENGTHS,
    Change,
    HistoryPerturbation,
    ListingPerturbation,
    Perturbation,
    QueryPerturbation,
)
from evaluator.offline.resampling import Resampling
from evaluator.offline.run import plain

LEXICON = Lexicon({"hose": "tube", "tap": "faucet"}, ("garden", "white"))
THINGS = ("garden hose", "desk lamp", "cordless drill", "brass tap", "circular saw")
COLOURS = ("red", "green", "blue", "white", "black", "grey")
DAY_MS = 86_400_000
SENTENCE = (".", ")")


def searches(count: int = 24) -> EvaluationData:
    """Searches with graded items, half of them to learn from; one item has no text, one a very long one."""
    chance = np.random.default_rng(0)
    texts = [f"{brand} {thing} {colour}" for colour in COLOURS for thing in THINGS for brand in ("Acme", "Bolt")]
    items = {f"i{place}": Document(text, text.split()[0], price=5.0 + place) for place, text in enumerate(texts)}
    items |= {"i0": Document(""), "i1": Document("very long " * 400)}
    cases = [
        Case(
            f"q{number}",
            tuple(f"i{place}" for place in chance.choice(len(texts), 8, replace=False)),
            chance.permutation([0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]),
            f"{THINGS[number % 5]} {COLOURS[number % 6]}",
            segments={"query": "head" if number % 2 else "tail"},
        )
        for number in range(2 * count)
    ]
    return EvaluationData("searches", "graded", cases[:count], cases[count:], items, (0.0, 3.0))


def feed(count: int = 30) -> EvaluationData:
    """Orders of shoppers with a past; all items are candidates."""
    chance = np.random.default_rng(1)
    items = {f"i{n}": Document(f"{THINGS[n % 5]} {COLOURS[n % 6]} {n}", price=1.0 + n, first_seen=n) for n in range(30)}
    past: dict[str, tuple[str, ...]] = {}
    train, cases = [], []
    for number in range(8 * count):
        shopper, favourite = f"s{number % count}", number % 5
        bought = tuple(f"i{5 * place + favourite}" for place in chance.choice(6, 2, replace=False))
        history, ts = past.get(shopper, ()), 400 * DAY_MS + number * DAY_MS // 4
        if number < 7 * count:
            train.append(Case(f"t{number}", bought, np.ones(2), history=history, shopper=shopper, ts=ts))
        else:
            gains = np.array([float(item in bought) for item in items])
            cases.append(Case(f"c{number}", tuple(items), gains, history=history, shopper=shopper, ts=ts))
        past[shopper] = (*bought[::-1], *history)
    return EvaluationData("feed", "feed", cases, train, items)


def measure(one: Measure) -> None:
    """A measure takes any case, changes nothing, and is best for the best order."""
    assert one.name.strip() == one.name and one.says.endswith(SENTENCE) and one.better in {"higher", "lower"}
    chance = np.random.default_rng(2)
    for size in (*range(1, 9), 30):
        for most in (1, 3):
            gains = chance.integers(0, most + 1, size).astype(float)
            gains[chance.random(size) < 0.2] = np.nan
            items = tuple(f"i{place}" for place in range(size))
            case = Case("c", items, gains, "query", history=items[::3])
            found = judged(case, chance.random(size), 0.0)
            before = found.gains.copy()
            value = one.of(found)
            assert isinstance(value, float) and not np.isinf(value), "a number, NaN where it is undefined"
            np.testing.assert_array_equal(value, one.of(found))
            np.testing.assert_array_equal(found.gains, before)
            best = one.of(judged(case, np.nan_to_num(gains, nan=-1.0), 0.0))
            sign = 1 if one.better == "higher" else -1
            assert np.isnan(value) or sign * (best - value) >= -1e-12, "no order is better than the best one"
    nobody = Case("c", ("a", "b"), np.full(2, np.nan), "query")
    assert np.isnan(one.of(judged(nobody, np.zeros(2), 0.0))), "nothing is judged: undefined"


TEXTS = ("white garden hoses 1.5 l", "x", "  ", "电视机 4K", "مرحبا", "a\x00b", "word " * 300, "Émile's 5 ft. hose")


def perturbation(one: Perturbation) -> None:
    """A perturbation takes any text or past, is decided by the seed, and empties nothing."""
    assert one.name.strip() == one.name and one.says.endswith(SENTENCE)
    for strength in STRENGTHS:
        if isinstance(one, HistoryPerturbation):
            for length in (1, 2, 7, 200):
                past = [f"i{place % 5}" for place in range(length)]
                found = one.of(past, strength, random.Random(3))
                assert found == one.of(past, strength, random.Random(3))
                assert found and not Counter(found) - Counter(past), "a past invents nothing, and is not emptied"
            continue
        for text in TEXTS:
            for query in ("", "garden hose") if isinstance(one, ListingPerturbation) else ("",):
                changed, again = (one.of(Change(text, strength, random.Random(3), LEXICON, query)) for _ in range(2))
                assert changed == again and isinstance(changed, str)
                assert changed.strip() or not text.strip(), "a text is not emptied"
        if isinstance(one, QueryPerturbation | ListingPerturbation):
            asked = Change(TEXTS[0], strength, random.Random(3), LEXICON, "garden hose")
            assert one.of(asked) != TEXTS[0], "a typical text is changed at every strength"


def contender(one: Contender, data: EvaluationData) -> None:
    """A contender gives each candidate a finite score that depends on its case alone, and changes nothing."""
    hidden = data.blind()
    before = [(case.items, case.query, case.history) for case in hidden.cases]
    one.fit(hidden)
    cases = hidden.cases
    scores = checked(one.score(cases), cases)
    assert one.score([]) == []
    _same(scores, one.score(cases), "the same again")
    _same(scores[::-1], one.score(cases[::-1]), "whatever stands beside it")
    _same(scores[:1], one.score(cases[:1]), "alone as with others")
    fewer = [replace(case, items=case.items[:3], gains=case.gains[:3]) for case in cases]
    checked(one.score(fewer), fewer)
    unknown = [replace(case, query="", history=()) for case in cases[:2]]
    checked(one.score(unknown), unknown)
    assert [(case.items, case.query, case.history) for case in cases] == before
    assert all(np.isnan(case.gains).all() for case in cases)
    if isinstance(one, TextContender) and data.task != "feed":
        _same(scores, one.score_texts(cases, [data.texts(case) for case in cases]), "by text as by id")
    if (probabilities := getattr(one, "probabilities", None)) is not None:
        for case, rows in zip(cases, probabilities(cases), strict=True):
            assert rows.shape == (len(case.items), 4) and (rows >= 0).all()
            np.testing.assert_allclose(rows.sum(1), 1, atol=1e-3)
    if isinstance(one, PaidContender):
        assert getattr(one, "costly", False) and all(took.seconds > 0 for took in one.asked(cases))


def _same(one: Sequence[Any], other: Sequence[Any], said: str) -> None:
    for left, right in zip(one, other, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-3, err_msg=said)


class Ranker:
    """A contender for dimensions: words that query and title share; else what is first in the past."""

    def fit(self, data: EvaluationData) -> None:
        self.data = data

    def score(self, cases: Sequence[Case]) -> list[Any]:
        return [np.array([self._one(case, item) for item in case.items], float) for case in cases]

    def _one(self, case: Case, item: str) -> float:
        shared = len(set(case.query.split()) & set(self.data.items[item].text.split()))
        return shared + case.history.count(item) + 0.01 * len(self.data.items[item].text) / 4_000


def dimension(one: Dimension, data: EvaluationData, draws: int = 100) -> Part:
    """A dimension gives figures with intervals under names of its own, and takes no more than it is given."""
    further = dict(one.further_items(data, 0))
    assert not further.keys() & data.items.keys() and further == dict(one.further_items(data, 0))
    widened = replace(data, items={**data.items, **further}, further=tuple(further))
    ranker, shares = Ranker(), list[float]()
    ranker.fit(widened.blind())
    scores = ranker.score(widened.cases)
    resampling = Resampling.of([case.group for case in data.cases], draws)
    bench = Bench(ranker, widened, scores, None, resampling, 0, {"fit": 0.1, "score": 0.1}, shares.append)
    part = one.measure(bench)
    assert part.readings and shares == sorted(shares) and all(0 <= share <= 1 for share in shares)
    names = [(reading.measure, reading.segment) for reading in part.readings]
    assert len(set(names)) == len(names), "no figure is told twice"
    for reading in part.readings:
        assert reading.dimension == one.name and reading.measure and reading.says.endswith(SENTENCE), reading
        assert len(reading.replicates) in {0, draws + 1} and len(reading.cases) in {0, len(data.cases)}, reading
        assert reading.better in {None, "higher", "lower"} and reading.count >= 0
    for finding in part.findings:
        assert finding.dimension == one.name and 0 <= finding.severity <= 1 and finding.sentence.endswith(SENTENCE)
    assert msgspec.json.decode(msgspec.json.encode(part, enc_hook=plain), type=Part).findings == part.findings
    return part
