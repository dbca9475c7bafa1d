"""Verdicts on scorers whose truth is known, and on those that fail in every other way."""

from collections.abc import Sequence
from itertools import count

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import AnswerError, GateRequest, Score
from evaluator.gate.gate import decide
from evaluator.gate.report import Verdict, decode, encode
from evaluator.gate.typing_errors import KINDS
from models.measures.names import perturbed
from models.scorer import Floats, utility
from tests.evaluator.gate.world import FEATURES, World

CONFIG = GateConfig(
    draws=200,
    latency_calls=10,
    latency_repeats=2,
    robustness_contexts=20,
    exposure_contexts=20,
    exposure_brand=0.2,
    pool=20,
)


def ticking() -> "count[int]":
    return count()


def verdict(world: World, champion: Score, challenger: Score, config: GateConfig = CONFIG) -> Verdict:
    return decide(champion, challenger, world.examples(), config, clock=ticking().__next__)


def learned(world: World, rows: int, chance: np.random.Generator, shuffled: bool = False) -> Score:
    """A logistic regression on another shop's so many impressions, with right labels or shuffled ones."""
    past = World(rows, int(chance.integers(1 << 30)))
    features, bought = past.features.reshape(-1, FEATURES), past.bought.ravel()
    model = LogisticRegression().fit(features, chance.permutation(bought) if shuffled else bought)
    return world.scorer(model.decision_function(world.features.reshape(-1, FEATURES)).reshape(world.truth.shape))


def test_a_challenger_that_learned_shuffled_labels_is_refused_twenty_times_of_twenty() -> None:
    for seed in range(20):
        world, chance = World(300, seed), np.random.default_rng(seed)
        found = verdict(world, learned(world, 10, chance), learned(world, 500, chance, shuffled=True))
        assert found.decision == "refused" and "not all of it is < 0" in found.sentence


def test_a_challenger_that_learned_more_passes_mostly() -> None:
    passed = []
    for seed in range(10):
        world, chance = World(400, seed), np.random.default_rng(seed)
        rough = world.scorer(world.truth + 0.8 * chance.normal(size=world.truth.shape))
        passed.append(verdict(world, rough, learned(world, 500, chance)).passed)
    assert sum(passed) >= 9


def test_the_same_slice_and_seed_give_the_same_verdict() -> None:
    world = World(250, 0)
    champion, challenger = world.scorer(0.5 * world.truth), world.scorer(world.truth)
    one = verdict(world, champion, challenger)
    assert one == verdict(world, champion, challenger)
    assert one.passed and one.queries == one.contexts == 250 and one.config["seed"] == 0
    assert one != verdict(world, champion, challenger, GateConfig(**CONFIG.model_dump() | {"seed": 1}))


def test_a_verdict_is_json_that_is_read_back_and_says_everything() -> None:
    world = World(250, 0)
    found = verdict(world, world.scorer(0.5 * world.truth), world.scorer(world.truth))
    assert decode(encode(found)) == found
    told = msgspec.json.decode(encode(found))
    assert [(one["measure"], one["segment"]) for one in told["figures"]] == [
        *((measure, "") for measure in ("log_loss", "ndcg@10", "mrr", "ece")),
        *((measure, perturbed(kind)) for kind in KINDS for measure in ("rank correlation", "ndcg@10")),
        *((f"exposure by {what}", "") for what in ("item", "brand")),
        *((f"latency {what}", "candidates: 20") for what in ("p50", "p99")),
    ]
    without_feeds = set(CONFIG.measured) - {("ndcg@10", "feeds")}
    assert {(one["measure"], one["segment"]) for one in told["figures"]} == without_feeds
    assert all(check["said"] and check["asked"] and check["outcome"] == "passed" for check in told["checks"])
    assert found.sentence == f"Passed all {len(found.checks)} checks."


def test_a_slice_that_is_too_small_is_not_judged() -> None:
    world = World(199, 0)
    found = verdict(world, world.scorer(0 * world.truth), world.scorer(world.truth))
    assert found.decision == "too_few" and not found.passed and found.checks[0].needed == 200
    assert decide(world.scorer(world.truth), world.scorer(world.truth), [], CONFIG).decision == "too_few"


def test_a_few_shoppers_are_too_few_however_much_they_see() -> None:
    world = World(250, 0)
    some = [msgspec.structs.replace(one, shopper=f"u{row % 31}") for row, one in enumerate(world.examples())]
    found = decide(world.scorer(0.5 * world.truth), world.scorer(world.truth), some, CONFIG)
    assert (found.decision, found.shoppers, found.queries) == ("too_few", 31, 250)
    assert found.sentence == "Not enough examples: 31 shoppers, 250 queries. 200 shoppers are needed."


def test_few_queries_are_too_few_however_many_ask_them() -> None:
    world = World(100, 0)
    some = [msgspec.structs.replace(one, shopper=str(number)) for one in world.examples() for number in range(3)]
    found = decide(world.scorer(0.5 * world.truth), world.scorer(world.truth), some, CONFIG)
    assert (found.decision, found.shoppers, found.queries) == ("too_few", 3, 100)
    many = [msgspec.structs.replace(one, shopper=f"u{row % 250}") for row, one in enumerate(some)]
    found = decide(world.scorer(0.5 * world.truth), world.scorer(world.truth), many, CONFIG)
    assert found.sentence == "Not enough examples: 250 shoppers, 100 queries. 200 queries are needed."


def test_a_verdict_from_before_figures_had_names_is_read() -> None:
    """As versions in stores have it; the oldest did not count shoppers."""
    said = "Log loss: champion 1.1, challenger 1.0, difference -0.1 (-0.2 to -0.05), better."
    loss = {"name": "loss", "value": -0.1, "interval": [-0.2, -0.05], "limit": 0.0, "passed": True, "sentence": said}
    brand = {"name": "exposure_brand", "value": 0.6, "interval": None, "limit": 0.5, "passed": False, "sentence": "So."}
    words = loss | {"name": "robustness_words_order", "passed": False, "needed": 900}
    slow = loss | {"name": "latency_median"}
    told = {"decision": "refused", "sentence": "Refused. So.", "queries": 250, "contexts": 260, "config": {"seed": 0}}
    found = decode(msgspec.json.encode(told | {"checks": [loss, brand, words, slow]}))
    assert (found.decision, found.shoppers, found.queries, found.config) == ("refused", 0, 250, {"seed": 0})
    assert [one.outcome for one in found.checks] == ["passed", "failed", "too_few", "passed"]
    assert [(one.measure, one.segment, one.difference, one.difference_low) for one in found.figures] == [
        ("log_loss", "", -0.1, -0.2),
        ("exposure by brand", "", 0.6, None),
        ("rank correlation", perturbed("words left out"), -0.1, -0.2),
    ]
    assert decode(encode(found)) == found
    with pytest.raises(msgspec.DecodeError):
        decode(b'{"decision": "passed"}')


def test_a_gain_that_is_too_small_for_the_slice_asks_for_more() -> None:
    world = World(250, 1)
    rough, chance = world.truth + 0.3 * world.chance.normal(size=world.truth.shape), world.chance
    found = verdict(world, world.scorer(rough), world.scorer(world.truth + 0.29 * chance.normal(size=rough.shape)))
    assert found.decision == "too_few" and found.sentence.startswith("Not enough examples: 250 queries. ")
    assert "would decide it" in found.sentence and found.sentence.count("250") == 1


@pytest.mark.parametrize("answer", [np.nan, -1.0, 2.0, "short"])
def test_a_challenger_that_answers_no_probabilities_is_refused_and_a_champion_an_error(answer: float | str) -> None:
    world = World(220, 0)
    good = world.scorer(world.truth)

    def broken(asks: Sequence[GateRequest]) -> list[Floats]:
        found = good(asks)
        found[-1] = found[-1][1:] if answer == "short" else np.full_like(found[-1], answer)
        return found

    found = verdict(world, good, broken)
    assert found.decision == "refused" and found.checks[0].measure == "answers" and "probabilities" in found.sentence
    assert decode(encode(found)) == found
    with pytest.raises(AnswerError, match="probabilities"):
        verdict(world, broken, good)


def test_better_on_every_figure_and_yet_over_a_budget_is_refused() -> None:
    """Its items of one brand go first in wide lists, which the narrow ones of the slice do not show."""
    world = World(250, 2)
    champion, better = world.scorer(0.5 * world.truth), world.scorer(world.truth)
    brands = {item: "acme" if place % 2 else "bolt" for place, item in enumerate(world.places)}

    def boost(asks: Sequence[GateRequest]) -> list[Floats]:
        found = better(asks)
        for ask, part in zip(asks, found, strict=True):
            if len(part) > 10:
                part[[brands[item] == "bolt" for item in ask.items]] = [0.01, 0, 0, 0.99]
        return found

    found = decide(champion, boost, world.examples(), CONFIG, brands=brands, clock=ticking().__next__)
    failed = [check.measure for check in found.checks if check.outcome != "passed"]
    assert found.decision == "refused" and failed == ["exposure by brand"] and "'acme', from 'bolt'" in found.sentence


def test_items_are_ranked_by_what_they_are_worth_to_the_shop() -> None:
    """By a utility that is the other way round, a challenger with better probabilities has the worse shelves."""
    world = World(250, 3)
    found = decide(
        world.scorer(0.2 * world.truth + world.chance.normal(size=world.truth.shape)),
        world.scorer(world.truth),
        world.examples(),
        CONFIG,
        worth=lambda part: utility(part, {"ignore": 1.0}),
        clock=ticking().__next__,
    )
    outcomes = {check.measure: check.outcome for check in found.checks if not check.segment}
    assert outcomes["log_loss"] == "passed" and outcomes["ndcg@10"] != "passed"
