"""The dimension interpretability: planted defects are named, a sound contender is explained faithfully."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.contenders.simple import Popularity, Random
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.dimensions import interpretability
from evaluator.offline.dimensions.dimension import Bench, Part
from evaluator.offline.dimensions.interpretability import DIMENSION
from evaluator.offline.explanations.explanation import Explained, Explanation, Target
from evaluator.offline.resampling import Resampling, interval

BRANDS = ["Acme", "Bolto", "Cosco", "Dexta", "Elmo"]
THINGS = ["hose", "lamp", "rug", "saw", "tap", "vase"]
LOOKS = ["red", "blue", "long", "short", "solid", "cheap"]


class WordMatch:
    """Ranks by the query's words that an item has; rarer letters count more, so that no two words are worth the same.
    It scores any text."""

    def fit(self, data: EvaluationData) -> None:
        self.data = data

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        return self.score_texts(cases, [self.data.texts(case) for case in cases])

    def score_texts(self, cases: Sequence[Case], texts: Sequence[Sequence[str]]) -> list[Scores]:
        return [np.array([self.one(case, text) for text in some]) for case, some in zip(cases, texts, strict=True)]

    def one(self, case: Case, text: str) -> float:
        wanted = case.query.casefold().split()
        return sum(worth(word) for word in text.casefold().split() if word in wanted)


class FirstWord:
    """Planted: the score is that of the item's first word only, by brand."""

    def fit(self, data: EvaluationData) -> None:
        self.data = data

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        return [
            np.array([worth(text.split()[0]) * (1 + len(case.query)) for text in self.data.texts(case)])
            for case in cases
        ]


class IgnoresQuery(WordMatch):
    """Planted: the sum of what the item's words are worth."""

    def one(self, case: Case, text: str) -> float:  # noqa: ARG002
        return sum(worth(word) for word in text.split())


class PastMatch(WordMatch):
    """For a feed: words in common with the past items."""

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        past = [" ".join(self.data.items[item].text for item in case.history) for case in cases]
        return [
            np.array([self.one(replace(case, query=query), text) for text in self.data.texts(case)])
            for case, query in zip(cases, past, strict=True)
        ]


def worth(word: str) -> float:
    return 1 + sum(map(ord, word.casefold())) % 97 / 97


def shop(count: int = 60, task: str = "graded") -> EvaluationData:
    chance = np.random.default_rng(1)
    items = {
        f"{brand}-{thing}-{number}": Document(
            " ".join([brand, *chance.choice(LOOKS, 3, replace=False), thing]), brand=brand
        )
        for brand in BRANDS
        for thing in THINGS
        for number in range(3)
    }
    names = list(items)
    cases = []
    for number in range(count):
        chosen = tuple(names[place] for place in chance.permutation(len(names))[:8])
        query = " ".join([*chance.choice(LOOKS, 2, replace=False), chance.choice(THINGS)])
        past = tuple(names[place] for place in chance.permutation(len(names))[:5])
        gains = chance.integers(0, 2, 8).astype(float)
        of = {"history": past} if task == "feed" else {"query": query}
        cases.append(Case(f"c{number}", chosen, gains, **of))  # type: ignore[arg-type]
    return EvaluationData("shop", task, cases, [], items)  # type: ignore[arg-type]


def measured(contender, data: EvaluationData) -> Part:
    items = {**data.items, **DIMENSION.further_items(data, 0)}
    data = EvaluationData(data.name, data.task, data.cases, data.train, items, data.span)
    contender.fit(data.blind())
    scores = contender.score(data.cases)
    resampling = Resampling.of([case.group for case in data.cases], 200)
    part = DIMENSION.measure(Bench(contender, data, scores, None, resampling, 0, {"score": 0.1}))
    return msgspec.json.decode(msgspec.json.encode(part), type=Part)  # as a run writes and reads it


def figures(part: Part) -> dict[str, float]:
    return {one.measure: one.value for one in part.readings if one.value is not None}


def test_a_sound_contender_has_faithful_explanations_and_no_finding() -> None:
    part = measured(WordMatch(), shop())
    assert not part.findings
    found = figures(part)
    assert found["item words: better than random"] > 0.9
    assert found["item words: deletion over length-matched"] > 0
    assert found["item words: insertion over length-matched"] > 0
    assert found["item words: comprehensiveness"] > found["item words: sufficiency"]
    assert found["query words: simulatability"] > 0.85
    assert found["stability"] == pytest.approx(1.0)
    assert found["reads the query"] > 0.9
    [accuracy] = [one for one in part.readings if one.measure == "query words: simulatability"]
    assert interval(np.array(accuracy.replicates, float)).low > 0.5
    assert accuracy.count <= 40 and "40 sampled cases" in str(accuracy.note)


def test_ten_examples_show_words_and_their_attributions() -> None:
    part = measured(WordMatch(), shop())
    assert part.details["method"] == "leave one out" and len(part.details["examples"]) == 10
    first = part.details["examples"][0]
    words = dict(first["items"][0]["attributions"]["item words"])
    wanted = first["query"].split()
    assert words and all((value > 0) == (word in wanted) for word, value in words.items())
    assert set(part.details["curves"]) == {"query words", "item words"}


def test_a_contender_that_reads_only_the_first_word_is_named() -> None:
    part = measured(FirstWord(), shop())
    assert figures(part)["brand share"] > 0.8
    [finding] = [one for one in part.findings if one.name == "brand only"]
    assert finding.sentence.startswith("It reads only the brand: 100% (100% to 100%)") and "20%" in finding.sentence


def test_a_contender_that_ignores_the_query_is_named() -> None:
    part = measured(IgnoresQuery(), shop())
    [finding] = part.findings
    assert finding.name == "ignores the query" and "in 100% of the cases" in finding.sentence


@pytest.mark.parametrize("contender", [Random(), Popularity()])
def test_contenders_that_read_nothing_have_no_explanations_and_no_findings(contender) -> None:
    part = measured(contender, shop())
    assert not part.findings
    assert figures(part)["explained"] == 0
    assert not any("comprehensiveness" in one.measure for one in part.readings)


def test_random_explanations_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Guesses:
        name, most = "guesses", 40

        def explain(self, targets: Sequence[Target]) -> list[Explained]:
            chance = np.random.default_rng(3)
            found = []
            for one in targets:
                words = tuple(data.items[one.item].text.split())
                found.append(Explained(one, {"item": Explanation("item", words, chance.normal(size=len(words)))}))
            return found

    data = shop()
    monkeypatch.setattr(interpretability, "explainer_of", lambda *_: Guesses())
    [finding] = measured(WordMatch(), data).findings
    assert finding.name == "random explanations"
    assert finding.sentence.startswith("Its explanations by item words are no better than random ones")


def test_a_feed_is_explained_by_past_items() -> None:
    part = measured(PastMatch(), shop(task="feed"))
    found = figures(part)
    assert found["past items: better than random"] > 0.8
    assert found["past items: simulatability"] > 0.55
    assert not part.findings
    assert part.details["examples"] == [], "a shopper's past is nobody else's to read"


def test_a_short_reason_is_measured_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Names:
        """Names the query's words that an item has, or those that it lacks."""

        name, most = "names", 40

        def __init__(self, right: bool) -> None:
            self.right = right

        def explain(self, targets: Sequence[Target]) -> list[Explained]:
            found = []
            for one in targets:
                words, text = tuple(one.case.query.split()), data.items[one.item].text.split()
                named = tuple(place for place, word in enumerate(words) if (word in text) == self.right)
                found.append(Explained(one, {"query": Explanation("query", words, np.ones(len(words)), named)}))
            return found

    data = shop()
    told = []
    for right in (True, False):
        monkeypatch.setattr(interpretability, "explainer_of", lambda *_, right=right: Names(right))
        told.append(figures(measured(WordMatch(), data)))
    true, false = told
    for name in ("comprehensiveness", "comprehensiveness over random", "sufficiency over random"):
        assert true[f"query words: reason {name}"] > false[f"query words: reason {name}"] + 0.1, name
    assert true["query words: reason simulatability"] > max(0.75, false["query words: reason simulatability"])
    assert true["query words: reason sufficiency"] == pytest.approx(0, abs=1e-9), "the words named are all that counts"
    assert false["query words: reason comprehensiveness"] == pytest.approx(0, abs=1e-9)
    assert 0 < true["query words: reason given"] <= 1


def test_explainers_without_reasons_have_no_figures_of_them() -> None:
    assert not any("reason" in name for name in figures(measured(WordMatch(), shop())))


def test_a_slow_contender_is_asked_less() -> None:
    data = shop()
    contender = WordMatch()
    contender.fit(data)
    resampling = Resampling.of([case.group for case in data.cases], 200)
    part = DIMENSION.measure(
        Bench(contender, data, contender.score(data.cases), None, resampling, 0, {"score": 60.0 * 0.3})
    )
    assert {one.count for one in part.readings if one.measure == "explained"} == {8}


def test_one_word_everywhere_is_no_error() -> None:
    items = {name: Document(name) for name in "abc"}
    cases = [Case(str(number), ("a", "b", "c"), np.array([1.0, 0.0, 0.0]), f"q{number}") for number in range(4)]
    assert measured(WordMatch(), EvaluationData("d", "graded", cases, [], items)).readings == []
