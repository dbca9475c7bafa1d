import json
import lzma
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from models.contexts import context_features
from models.encoder import Encoder
from models.item_store import ItemStore
from models.kernels import _match
from models.late_interaction import Contributions, HeadConfig, LateInteraction, LateInteractionScorer
from models.scorer import ScoreRequest, utility
from models.weights import WeightsError

WEIGHTS = {"buy": 1.0, "read": 0.3, "look": 0.2}


@pytest.fixture(scope="module")
def memory(encoder: Encoder, titles: list[str]) -> ItemStore:
    memory = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens, capacity=64)
    memory.put_many(range(len(titles)), encoder.encode_items(titles))
    return memory


@pytest.fixture(scope="module")
def requests(encoder: Encoder, memory: ItemStore, titles: list[str]) -> list[ScoreRequest]:
    """Every kind of context over all items: query, history, both, neither, popularity, an empty query."""
    slots = np.arange(len(titles))
    query, empty = encoder.encode_queries(["black toner for laser printer", ""])
    history, weights = memory.pooled(np.array([4, 1])), np.array([1.0, 0.5], np.float32)
    popularity = np.linspace(0, 1, len(slots), dtype=np.float32)
    return [
        ScoreRequest(slots, query),
        ScoreRequest(slots, None, "", history, weights),
        ScoreRequest(slots, query, "", history, weights, popularity),
        ScoreRequest(slots),
        ScoreRequest(slots, None, "", history[:0], weights[:0], popularity),
        ScoreRequest(slots, empty),
        ScoreRequest(slots[:0], query),
        ScoreRequest(slots[:1], query),
    ]


def trained_head() -> LateInteraction:
    """A head whose learned part is not zero."""
    head = LateInteraction()
    torch.nn.init.normal_(head.learned[-1].weight, generator=torch.Generator().manual_seed(1))
    return head


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_rows_are_probabilities(memory: ItemStore, requests: list[ScoreRequest], precision: str) -> None:
    scores = LateInteractionScorer(memory, trained_head(), precision=precision).score(requests)  # type: ignore[arg-type]
    for request, rows in zip(requests, scores, strict=True):
        assert rows.shape == (len(request.candidates), 4) and rows.dtype == np.float32
        assert (rows >= 0).all()
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert LateInteractionScorer(memory).score([]) == []


def test_query_and_history_rank_what_they_mean(memory: ItemStore, requests: list[ScoreRequest]) -> None:
    scores = [utility(rows, WEIGHTS) for rows in LateInteractionScorer(memory).score(requests)]
    assert scores[0].argmax() == 0  # the toner
    assert set(np.argsort(-scores[1])[:2]) == {1, 4}  # the history's own items
    assert (np.diff(scores[4]) > 0).all()  # popularity alone
    assert np.ptp(scores[3]) == 0 and np.ptp(scores[5]) == 0  # nothing known, nothing preferred


def test_untrained_utility_falls_as_the_base_score_does(memory: ItemStore, requests: list[ScoreRequest]) -> None:
    scorer = LateInteractionScorer(memory)
    for request, rows in zip(requests[:3], scorer.score(requests[:3]), strict=True):
        relevance = scorer.head.relevance(scorer.features(request)).numpy()
        np.testing.assert_array_equal(np.argsort(utility(rows, WEIGHTS)), np.argsort(relevance))


@pytest.mark.parametrize("head", [None, trained_head()], ids=["untrained", "trained"])
def test_the_fast_path_agrees_with_float32(
    memory: ItemStore, requests: list[ScoreRequest], head: LateInteraction | None
) -> None:
    slow = LateInteractionScorer(memory, head, precision="float32").score(requests)
    fast = LateInteractionScorer(memory, head).score(requests)
    for reference, rows in zip(slow, fast, strict=True):
        np.testing.assert_allclose(rows, reference, atol=0.01)


def test_a_request_scores_the_same_in_any_company(memory: ItemStore, requests: list[ScoreRequest]) -> None:
    scorer = LateInteractionScorer(memory, trained_head())
    for request, rows in zip(requests, scorer.score(requests), strict=True):
        [alone] = scorer.score([request])
        np.testing.assert_allclose(rows, alone, atol=1e-5)


def test_no_batch_waits_for_a_compiler(memory: ItemStore, requests: list[ScoreRequest]) -> None:
    def kinds() -> list[int]:
        return [len(cast(Any, compiled).signatures) for compiled in (_match, context_features)]

    scorer = LateInteractionScorer(memory)
    before = kinds()
    scorer.score(requests)
    assert before == kinds() and all(before)


def test_a_head_survives_its_folder(tmp_path: Path, memory: ItemStore, requests: list[ScoreRequest]) -> None:
    head = LateInteraction(HeadConfig(hidden=8, shares=(0.2, 0.2, 0.6)))
    torch.nn.init.normal_(head.learned[-1].weight, generator=torch.Generator().manual_seed(2))
    head.save(tmp_path / "head")
    assert {file.name for file in (tmp_path / "head").iterdir()} == {"config.json", "model.safetensors"}
    again = LateInteraction.load(tmp_path / "head")
    assert again.config == head.config
    assert again.fingerprint() == head.fingerprint() != LateInteraction().fingerprint()
    for ours, theirs in zip(
        LateInteractionScorer(memory, head).score(requests),
        LateInteractionScorer(memory, again).score(requests),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_fresh_heads_are_one_head() -> None:
    assert LateInteraction().fingerprint() == LateInteraction().fingerprint()


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        LateInteraction.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "another"}))
    with pytest.raises(WeightsError, match="another architecture"):
        LateInteraction.load(tmp_path)


@pytest.mark.data
def test_it_ranks_a_real_catalogue_untrained(encoder: Encoder, data_folder: Path) -> None:
    """A product is found among 300 by its own maker and kind; and fast and exact paths agree on the top."""
    with lzma.open(data_folder / "icecat_electronics" / "products.jsonl.xz", "rt", encoding="utf-8") as lines:
        titles = [json.loads(line)["title"] for line, _ in zip(lines, range(300), strict=False)]
    memory = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens, capacity=512)
    memory.put_many(range(300), encoder.encode_items(titles))
    wanted = range(0, 300, 10)
    queries = encoder.encode_queries([" ".join(titles[slot].split()[:4]) for slot in wanted])
    requests = [ScoreRequest(np.arange(300), query) for query in queries]
    fast = [utility(rows, WEIGHTS) for rows in LateInteractionScorer(memory).score(requests)]
    slow = [utility(rows, WEIGHTS) for rows in LateInteractionScorer(memory, precision="float32").score(requests)]
    ranks = [int((scores > scores[slot]).sum()) for scores, slot in zip(fast, wanted, strict=True)]
    assert np.mean([rank < 5 for rank in ranks]) > 0.85
    for ours, reference in zip(fast, slow, strict=True):
        top = set(np.argsort(-reference)[:10]) & set(np.argsort(-ours)[:10])
        assert len(top) >= 9
        assert np.corrcoef(ours.argsort().argsort(), reference.argsort().argsort())[0, 1] > 0.999


def test_contributions_add_up_to_the_features_with_and_without_a_score_before(encoder: Encoder) -> None:
    store = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens)
    titles = ["garden hose 5 m", "hose reel", "desk lamp", ""]
    store.put_many(range(4), encoder.encode_items(titles))
    hose, lamp = encoder.encode_queries(["long garden hose", "lamp"])
    slots = np.array([3, 0, 2])
    past, weights = store.pooled(np.array([2, 1])), np.array([0.5, 1.0], np.float32)
    requests = [
        ScoreRequest(slots, hose, history=past, weights=weights),
        ScoreRequest(slots[:1], lamp, history=past),
        ScoreRequest(slots, history=past, weights=weights),
        ScoreRequest(slots[:0], hose),
        ScoreRequest(slots),
    ]
    scorer = LateInteractionScorer(store, precision="float32")
    alone = scorer.contributions(requests)
    names = scorer.head.names
    for request, found in zip(requests, alone, strict=True):
        features = scorer.features(request).numpy()
        maxsim, high, mean = (features[:, names.index(name)] for name in ("maxsim", "history_max", "history_mean"))
        np.testing.assert_allclose(found.pieces.sum(1), maxsim, atol=1e-5)
        np.testing.assert_allclose(found.past.sum(1), (high + mean) / 2, atol=1e-5)
    scorer.score([ScoreRequest(np.arange(4), hose), ScoreRequest(np.array([1]), lamp)])
    for one, again in zip(alone, scorer.contributions(requests), strict=True):
        np.testing.assert_allclose(one.pieces, again.pieces, atol=1e-6)
        np.testing.assert_array_equal(one.weights, again.weights)
        np.testing.assert_array_equal(one.past, again.past)


def test_the_past_that_adds_most_may_be_unlike() -> None:
    none = np.zeros((2, 0), np.float32)
    past = np.array([[0.1, 0.4], [0.1, 0.05]], np.float32)
    found = Contributions(none, none[0], past, np.array([[0.2, 0.6], [0.2, 0.9]], np.float32))
    row, alike = found.nearest()
    assert row.tolist() == [1, 0] and alike.tolist() == [True, False]
