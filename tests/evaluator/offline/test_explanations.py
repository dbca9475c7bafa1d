"""Explanations by method: gradients are complete, term matches add up to MaxSim, leaving out works for all."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from evaluator.offline.contenders.bert import Cosine, Reranker, ServedModel, cross_encoder, late_interaction
from evaluator.offline.contenders.bm25 import BM25
from evaluator.offline.contenders.contender import TextContender
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.explanations.ablation import Ablation, Reduced
from evaluator.offline.explanations.choice import explainer_of
from evaluator.offline.explanations.explanation import Explained, Target, target
from evaluator.offline.explanations.faithfulness import best_first, faithfulness, length_matched, needed
from evaluator.offline.explanations.gradients import TOLERANCE, Gradients
from evaluator.offline.explanations.matches import PastMatches, TermMatches
from evaluator.offline.explanations.occlusion import Occlusion
from evaluator.offline.explanations.simulation import accuracy
from models.late_interaction import LateInteractionScorer
from models.scorer import ScoreRequest
from models.weights import PACKAGED, quiet, resolve

ITEMS = {
    "hose": Document("Flexon 5/8 in. rubber garden hose, 50 ft. (black)"),
    "saw": Document("DEWALT cordless circular saw with battery"),
    "lamp": Document("Brushed-nickel desk lamp"),
}
CASES = [
    Case("1", tuple(ITEMS), np.array([1.0, 0.0, 0.0]), "garden hose 50ft"),
    Case("2", tuple(ITEMS), np.array([0.0, 1.0, 0.0]), "cordless saw"),
]
DATA = EvaluationData("shop", "graded", CASES, [], ITEMS)
TARGETS = [target(case, item) for case in CASES for item in case.items]


def classifier(folder: Path, labels: int) -> Path:
    """The packaged BERT with a classification head drawn at random, as a folder."""
    weights = resolve(PACKAGED)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = AutoModelForSequenceClassification.from_pretrained(weights, num_labels=labels)
        torch.nn.init.normal_(model.classifier.weight, std=0.5)
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(weights).save_pretrained(folder)
    return folder


def explained(contender, method: type, targets: Sequence[Target] = TARGETS) -> list[Explained]:
    contender.fit(DATA)
    explainer = explainer_of(contender, DATA, Ablation(contender, DATA))
    assert isinstance(explainer, method)
    return explainer.explain(targets)


@pytest.mark.parametrize("labels", [1, 4])
def test_integrated_gradients_of_cross_encoders_are_complete_within_one_percent(tmp_path: Path, labels: int) -> None:
    contender = cross_encoder(str(classifier(tmp_path, labels)))
    assert isinstance(contender, Reranker if labels == 1 else ServedModel)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for one in explained(contender, Gradients, TARGETS[:2]):
        text = ITEMS[one.target.item].text
        words = one.sides["query"].parts, one.sides["item"].parts
        assert words == (tuple(one.target.case.query.split()), tuple(text.split()))
        query, item = (
            " ".join([tokenizer.mask_token] * len(tokenizer.tokenize(part))) for part in (one.target.case.query, text)
        )
        cases = [one.target.case, target(one.target.case, one.target.item, query).case]
        [whole], [masked] = contender.score_texts(cases, [[text], [item]])
        total = sum(side.attributions.sum() for side in one.sides.values())
        assert one.gap <= TOLERANCE
        rounding = 0.0 if labels == 1 else 2e-3  # of bfloat16, in which the model is served
        assert total == pytest.approx(whole - masked, rel=TOLERANCE, abs=rounding + 1e-5)


def test_term_matches_add_up_to_maxsim_and_find_the_shared_words() -> None:
    contender = ServedModel(late_interaction("").parts)
    found = explained(contender, TermMatches)
    encoder, items = contender.served.encoder, contender.served.items
    assert isinstance(contender.served.scorer, LateInteractionScorer)
    reference = LateInteractionScorer(items.item_store, contender.served.scorer.head, precision="float32")
    for one in found:
        [query] = encoder.encode_queries([one.target.case.query])
        slot = np.array([items.slots[ITEMS[one.target.item].text]])
        maxsim = reference.features(ScoreRequest(slot, query))[0, reference.head.names.index("maxsim")].item()
        for side in one.sides.values():
            assert side.attributions.sum() == pytest.approx(maxsim, abs=0.005), "but for the fast path's rounding"
    saw = next(one for one in found if one.target.case.id == "2" and one.target.item == "saw").sides["item"]
    best = {saw.parts[place] for place in np.argsort(-saw.attributions)[:2]}
    assert best == {"cordless", "saw"}


def test_past_items_add_up_to_the_features_of_the_history() -> None:
    contender = ServedModel(late_interaction("").parts)
    cases = [
        Case("f", tuple(ITEMS), np.array([1.0, 0.0, 0.0]), history=("saw", "hose", "saw")),
        Case("g", ("lamp",), np.ones(1)),
    ]
    data = EvaluationData("shop", "feed", cases, [], ITEMS)
    contender.fit(data)
    explainer = explainer_of(contender, data, Ablation(contender, data))
    assert isinstance(explainer, PastMatches)
    found = explainer.explain([target(cases[0], item) for item in ITEMS] + [target(cases[1], "lamp")])
    sides = {one.target.item: one.sides["history"] for one in found[:3]}
    assert sides["saw"].parts == ("saw", "hose") and sides["saw"].named == (0,) and sides["hose"].named == (1,)
    assert sides["lamp"].named == (), "it is like neither"
    assert (found[3].sides["history"].parts, found[3].sides["history"].named) == ((), ())
    scorer, items = contender.served.scorer, contender.served.items
    assert isinstance(scorer, LateInteractionScorer)
    slots = np.array([items.slots[ITEMS[item].text] for item in ITEMS])
    features = scorer.features(ScoreRequest(slots, history=items.item_store.pooled(slots[[1, 0]]))).numpy()
    high, mean = (features[:, scorer.head.names.index(name)] for name in ("history_max", "history_mean"))
    for place, item in enumerate(ITEMS):
        assert sides[item].attributions.sum() == pytest.approx((high[place] + mean[place]) / 2, abs=1e-5)


def test_what_a_reason_names_stands_beside_the_attributions() -> None:
    contender = ServedModel(late_interaction("").parts)
    found = {(one.target.case.id, one.target.item): one.sides for one in explained(contender, TermMatches)}
    hose, lamp = found["1", "hose"]["query"], found["1", "lamp"]["query"]
    assert hose.named is not None and {hose.parts[place] for place in hose.named} >= {"garden", "hose"}
    assert lamp.named == () and found["1", "hose"]["item"].named is None


def test_bm25_is_explained_by_leaving_out_words_of_the_query() -> None:
    found = explained(BM25(), Occlusion)
    hose = next(one for one in found if one.target.case.id == "1" and one.target.item == "hose").sides["query"]
    assert hose.parts == ("garden", "hose", "50ft") and (hose.attributions > 0).tolist() == [True, True, False]
    full = BM25()
    full.fit(DATA)
    assert hose.attributions.sum() == pytest.approx(full.score(CASES[:1])[0][0], rel=1e-5)  # a sum over words


@pytest.mark.parametrize("make", [Cosine, lambda: late_interaction("")])
def test_whole_texts_score_as_items_do(make) -> None:
    contender = make()
    contender.fit(DATA)
    assert isinstance(contender, TextContender)
    as_texts = contender.score_texts(CASES, [DATA.texts(case) for case in CASES])
    np.testing.assert_allclose(np.array(as_texts), np.array(contender.score(CASES)), atol=2e-3)


def test_a_cross_encoder_scores_whole_texts_as_it_scores_items(tmp_path: Path) -> None:
    contender = cross_encoder(str(classifier(tmp_path, 4)))
    contender.fit(DATA)
    as_texts = contender.score_texts(CASES, [DATA.texts(case) for case in CASES])
    np.testing.assert_allclose(np.array(as_texts), np.array(contender.score(CASES)), atol=2e-3)


def test_scores_are_asked_for_once() -> None:
    class Counts(Cosine):
        asked = 0

        def score_texts(self, cases, texts):
            Counts.asked += len(cases)
            return super().score_texts(cases, texts)

    contender = Counts()
    contender.fit(DATA)
    ablation = Ablation(contender, DATA)
    wanted = [Reduced(TARGETS[0], "item", (0, 1)), Reduced(TARGETS[0], "item", (0, 1))]
    first = ablation.scores(wanted)
    assert first[0] == first[1] == ablation.scores(wanted[:1])[0] and Counts.asked == 1


values = st.lists(st.floats(-5, 5).map(lambda value: round(value, 3)), min_size=2, max_size=9)


@given(values)
def test_of_a_sum_no_order_removes_more_than_the_explanations(worth: list[float]) -> None:
    numbers = np.array(worth)
    own = best_first(numbers)

    def score(kept: tuple[int, ...]) -> float:
        return float(numbers[list(kept)].sum())

    best = faithfulness(own, score)
    for seed in range(5):
        chance = np.random.default_rng(seed)
        other = faithfulness(length_matched(own, [len(str(one)) for one in worth], chance), score)
        assert best.comprehensiveness >= other.comprehensiveness - 1e-9
        assert best.sufficiency <= other.sufficiency + 1e-9
        assert best.deletion_area <= other.deletion_area + 1e-9
        assert best.insertion_area >= other.insertion_area - 1e-9


@given(values, st.integers(0, 99))
def test_a_matched_order_has_every_word_once_and_asks_for_no_empty_text(worth: list[float], seed: int) -> None:
    own = best_first(np.array(worth))
    matched = length_matched(own, list(range(len(own))), np.random.default_rng(seed))
    assert sorted(matched) == list(range(len(own)))
    assert all(needed(matched))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8, unique=True))
def test_what_is_said_right_is_told_and_what_is_said_wrong_is_not(scores: list[float]) -> None:
    numbers = np.array(scores)
    assert accuracy(scores, numbers, 20, np.random.default_rng(0)) == 1.0
    assert accuracy([-one for one in scores], numbers, 20, np.random.default_rng(0)) == 0.0
    assert accuracy([0.0] * len(scores), numbers, 20, np.random.default_rng(0)) == 0.5
