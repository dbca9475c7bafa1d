"""Planted defects are named with their figures, and sturdy contenders are not accused."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from zlib import crc32

import msgspec
import numpy as np
import pytest

from evaluator.offline.contenders.contender import Contender, Scores
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.dimensions.dimension import Bench, Part
from evaluator.offline.dimensions.robustness import DIMENSION
from evaluator.offline.perturbations.trial import Trial
from evaluator.offline.resampling import Resampling

NOUNS = ["hose", "lamp", "chair", "table", "shelf", "drill", "saw", "paint", "brush", "mirror", "faucet", "rug", "fan"]
COLOURS = ["red", "green", "white", "black", "brown"]
SHOPPER = "mary-the-shopper"


def shop(cases: int = 40) -> EvaluationData:
    """Queries of a colour and a noun; candidates have both, the noun alone, or neither."""
    chance = np.random.default_rng(0)
    items: dict[str, Document] = {}
    found = []
    for number in range(cases):
        noun, other = chance.choice(NOUNS, 2, replace=False)
        colour, wrong = chance.choice(COLOURS, 2, replace=False)
        titles = [f"{colour} {noun}", f"{wrong} {noun}", f"{colour} {other}", f"{wrong} {other}", f"plain {other}"]
        ids = [f"{number}-{place}" for place in range(len(titles))]
        tail = "for home and garden with a lifetime guarantee"
        items |= {item: Document(f"{title} {tail}") for item, title in zip(ids, titles, strict=True)}
        order = chance.permutation(len(ids))
        gains = np.array([3.0, 2.0, 1.0, 0.0, 0.0])[order]
        found.append(Case(f"q{number}", tuple(np.array(ids)[order].tolist()), gains, f"{colour} {noun}"))
    return EvaluationData("shop", "graded", found, [], items, (0.0, 3.0))


class Rule:
    """Scores a candidate by a rule of the query and the text."""

    def __init__(self, rule: Callable[[str, str], float]) -> None:
        self.rule = rule

    def fit(self, data: EvaluationData) -> None:
        self.items = data.items

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        return [np.array([self.rule(one.query, self.items[i].text) for i in one.items], np.float64) for one in cases]


class Normalised(Rule):
    """The same order, by scores that depend on the company."""

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        return [part / (1 + np.abs(part).sum()) for part in super().score(cases)]


def measured(contender: Contender, data: EvaluationData | None = None) -> Part:
    data = data or shop()
    data = replace(data, items={**data.items, **DIMENSION.further_items(data, 0)})
    contender.fit(data)
    scores = contender.score(data.cases)
    resampling = Resampling.of([case.group for case in data.cases], 200)
    return DIMENSION.measure(Bench(contender, data, scores, None, resampling, 0, {"score": 0.0}))


def named(part: Part) -> dict[str, str]:
    return {one.name: one.sentence for one in part.findings}


def value(part: Part, measure: str, segment: str = "") -> float:
    [found] = [one.value for one in part.readings if (one.measure, one.segment) == (measure, segment)]
    assert found is not None
    return found


def careful(query: str, text: str) -> float:
    """Reads the first two words of a title, in any spelling that keeps most letters."""
    head = " ".join(text.casefold().split()[:2])
    pairs = {query.casefold()[i : i + 2] for i in range(len(query) - 1)}
    return sum(pair in head for pair in pairs) / max(1, len(pairs))


def counting(query: str, text: str) -> float:
    return float(sum(text.casefold().split().count(word) for word in query.casefold().split()))


def test_who_ignores_the_query_is_named() -> None:
    part = measured(Rule(lambda _, text: crc32(text.encode()) % 1_000))
    assert "in none of 40 cases" in named(part)["ignores the query"]
    assert value(part, "another query flips") == 0 and value(part, "ndcg@10 lost") == 0
    assert value(part, "top overlap") == 1


def test_who_a_stuffed_title_fools_is_named_with_the_places() -> None:
    part = measured(Rule(counting))
    assert named(part)["stuffing"].startswith("A stuffed title fools it: an item rises ")
    assert value(part, "places gained", "listing: stuffing") > 2
    assert "instructions" not in named(part) and "ignores the query" not in named(part)


def test_who_obeys_instructions_is_named() -> None:
    part = measured(Rule(lambda query, text: careful(query, text) + 9 * ("ignore" in text.casefold())))
    assert named(part)["instructions"].startswith("Injected instructions fool it: an item rises ")
    assert "stuffing" not in named(part)


def test_who_hangs_on_case_is_named_for_it() -> None:
    part = measured(Rule(lambda query, text: float(sum(word in text.split() for word in query.split()))))
    assert value(part, "ndcg@10 lost", "perturbation: capitals") > 0.2
    assert value(part, "ndcg@10 lost", "perturbation: word order") == 0
    assert "sensitive" in named(part)


def test_who_crashes_on_empty_text_is_named_and_still_measured() -> None:
    def rule(query: str, text: str) -> float:
        return careful(query, text) / len(text.split()) * len(query.split()) / len(query.split())

    part = measured(Rule(rule))
    said = {one.name: one.sentence for one in part.findings}
    assert said["empty text"].startswith(
        "It crashes on an item without a text: ZeroDivisionError in test_robustness.py"
    )
    assert "an empty query" in said["empty query"] and "a query of spaces" in said["crashes on a query of spaces"]
    assert value(part, "ndcg@10 lost", "perturbation: swaps") > 0


def test_who_crashes_on_one_perturbation_has_the_figures_of_the_others() -> None:
    def rule(query: str, text: str) -> float:
        if not query.isascii():
            raise ValueError("cannot encode")
        return careful(query, text)

    part = measured(Rule(rule))
    assert part.details["crashes"]["mojibake"].startswith("ValueError in test_robustness.py, line ")
    segments = {one.segment for one in part.readings}
    assert "perturbation: swaps" in segments and "perturbation: mojibake" not in segments


def test_the_sturdy_are_not_accused() -> None:
    part = measured(Rule(careful))
    assert not named(part).keys() - {"sensitive"} and part.details["crashes"] == {}
    assert value(part, "ndcg@10 lost", "perturbation: capitals") == 0
    assert value(part, "places gained", "listing: stuffing") == 0


def test_whole_lists_give_the_same_as_single_items() -> None:
    alone, company = measured(Rule(counting)), measured(Normalised(counting))
    for kind in ("stuffing", "instructions", "duplicates"):
        for measure in ("places gained", "ndcg@10 lost"):
            segment = f"listing: {kind}"
            assert value(alone, measure, segment) == pytest.approx(value(company, measure, segment))


def test_a_copy_of_the_best_item_takes_a_place() -> None:
    part = measured(Rule(careful))
    losses = [value(part, "ndcg@10 lost", f"listing: duplicates, strength {n}") for n in (1, 2, 3)]
    assert 0 < losses[0] < losses[1] < losses[2]


def test_the_table_the_worst_queries_and_words_are_told() -> None:
    part = measured(Rule(counting))
    assert {(row["kind"], row["strength"]) for row in part.details["table"]} >= {("swaps", 3), ("stuffing", 1)}
    worst = part.details["worst_queries"]
    assert len(worst) == 10 and worst[0]["lost"] >= worst[-1]["lost"] > 0
    assert worst[0]["query"] != worst[0]["changed"] and set(worst[0]["before"]) == set(worst[0]["after"])
    assert part.details["harmful_words"][0]["lost"] > 0
    assert json.loads(msgspec.json.encode(part))


def test_a_sample_does_not_depend_on_the_contender() -> None:
    parts = [measured(Rule(rule)) for rule in (careful, counting)]
    rows = [[(row["kind"], row["strength"], row["cases"], row["example"]) for row in p.details["table"]] for p in parts]
    assert rows[0] == rows[1]


def test_the_costly_are_tried_on_fewer_cases() -> None:
    class Costly(Rule):
        costly = True

    data = shop(200)
    sizes = []
    for contender in (Rule(careful), Costly(careful)):
        contender.fit(data)
        scores = contender.score(data.cases)
        bench = Bench(contender, data, scores, None, Resampling.of(["a", "b"], 9), 0, {})
        sizes.append(Trial(bench).size(40))
    assert sizes == [150, 50]


class Past:
    """Ranks by how often a candidate's noun was bought."""

    def fit(self, data: EvaluationData) -> None:
        self.items = data.items

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        found = []
        for case in cases:
            words = [self.items[item].text.split()[-1] for item in case.history]
            found.append(np.array([float(sum(w in self.items[i].text for w in words)) for i in case.items]))
        return found


def test_a_feed_has_its_past_and_its_listings_perturbed() -> None:
    chance = np.random.default_rng(0)
    items = {f"i{n}": Document(f"a very fine and sturdy new {noun}") for n, noun in enumerate(NOUNS)}
    cases = []
    for number in range(30):
        past = tuple(chance.choice(list(items), 6))
        gains = np.array([float(item in past[:2]) for item in items])
        shopper = f"{SHOPPER}-{number}"
        cases.append(Case(f"{shopper}/1", tuple(items), gains, history=past, shopper=shopper))
    part = measured(Past(), EvaluationData("feed", "feed", cases, cases, items))
    segments = {one.segment for one in part.readings}
    assert "perturbation: past with gaps" in segments and "listing: duplicates" in segments
    assert "perturbation: keyboard" not in segments
    assert value(part, "ndcg@10 lost", "perturbation: past shuffled") == 0
    assert value(part, "ndcg@10 lost", "perturbation: past with gaps") > 0
    assert SHOPPER not in msgspec.json.encode(part).decode()
    assert "ignores the query" not in named(part)
