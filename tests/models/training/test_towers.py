"""What is trained computes what is served: the same features, from frozen states and from token ids alike."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from models.encoded import EncodedItem
from models.encoder import Encoder
from models.late_interaction import HeadConfig, LateInteraction, LateInteractionScorer
from models.scorer import ScoreRequest
from models.training.batches import (
    Collator,
    Context,
    FrozenItems,
    FrozenQueries,
    Items,
    ItemTokenIds,
    Queries,
    QueryTokenIds,
    contexts,
)
from models.training.examples import Example
from models.training.towers import LateInteractionTowers, fresh_bert
from models.weights import PACKAGED

ASKED = ("blue fan", "red rug")


@pytest.fixture(scope="module")
def head(encoder: Encoder) -> LateInteraction:
    """A head that treats every query token and dimension differently."""
    head = LateInteraction(HeadConfig(dim=encoder.dim, token_dim=encoder.token_dim))
    chance = torch.Generator().manual_seed(1)
    for weights in (head.query_weight.weight, head.learned[-1].weight):
        torch.nn.init.normal_(weights, std=0.3, generator=chance)
    with torch.no_grad():
        head.query_map.weight += 0.02 * torch.randn(head.query_map.weight.shape, generator=chance)
        head.rarity.copy_(torch.rand(head.rarity.shape, generator=chance))
    return head.eval()


@pytest.fixture(scope="module")
def frozen(encoder: Encoder, examples: Sequence[Example]) -> FrozenItems:
    return FrozenItems(encoder, {text for one in examples for text in (one.item, *one.history)})


def served(
    encoder: Encoder, frozen: FrozenItems, head: LateInteraction, data: Sequence[Context]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and logits of all pairs, by the scorer."""
    scorer = LateInteractionScorer(frozen.item_store, head, precision="float32")
    found = []
    for one in data:
        first = one.examples[0]
        query, *asked = encoder.encode_queries([first.query, *first.asked])
        history = frozen.item_store.pooled(np.array([frozen.slots[text] for text in first.history], np.int64))
        past = np.concatenate([history.astype(np.float32), *(one.pooled[None, :] for one in asked)])
        slots = np.array([frozen.slots[example.item] for example in one.examples])
        weights = np.array(first.weights, np.float32) if first.weights else None
        popularity = np.array([example.popularity for example in one.examples], np.float32)
        found.append(
            scorer.features(ScoreRequest(slots, query if first.query else None, "", past, weights, popularity))
        )
    features = torch.cat(found)
    with torch.inference_mode():
        return features, head(features)


def remembered(examples: Sequence[Example]) -> list[Example]:
    """The same as a worker served them: some after other queries, with weights and in demand."""
    found = []
    for number, one in enumerate(examples):
        asked = ASKED if len(one.query) % 2 else ()
        weights = tuple(0.9 / (1 + place) for place in range(len(one.history) + len(asked)))
        found.append(replace(one, asked=asked, weights=weights, popularity=number % 5 / 5))
    return found


@pytest.mark.parametrize(
    ("trains_queries", "trains_items", "off"),
    [(False, False, 1e-5), (True, False, 1e-4), (False, True, 0.02), (True, True, 0.02)],
)
def test_features_are_those_that_are_served(
    encoder: Encoder,
    frozen: FrozenItems,
    head: LateInteraction,
    examples: Sequence[Example],
    trains_queries: bool,
    trains_items: bool,
    off: float,
) -> None:
    data = contexts(remembered(examples), 16)
    queries: Queries = QueryTokenIds(encoder) if trains_queries else FrozenQueries(encoder, (e.query for e in examples))
    items: Items = ItemTokenIds(encoder) if trains_items else frozen
    bert = fresh_bert(PACKAGED).eval() if trains_queries or trains_items else None
    batch = Collator(queries, items, FrozenQueries(encoder, ASKED))(data)
    tower = LateInteractionTowers(head, bert, {"cross_entropy": 1.0}).eval()
    wanted, logits = served(encoder, frozen, head, data)
    kinds = {(bool(one.examples[0].query), bool(one.examples[0].history)) for one in data}
    assert kinds == {(True, False), (True, True), (False, True)}
    found = tower._features(batch, tower._queries(batch), tower._items(batch))
    assert found.requires_grad, "as in training"
    found = found.detach()
    with torch.inference_mode():
        answer = tower(**batch)
    for column, name in enumerate(head.config.features):
        # Stored items are int8: what is trained from token ids differs by that rounding.
        np.testing.assert_allclose(found[:, column], wanted[:, column], atol=off * 3, err_msg=name)
    there = batch["labels"][..., 4] > 0
    assert int(there.sum()) == len(examples)
    np.testing.assert_allclose(answer["logits"][there], logits, atol=off * 20)
    assert (answer["logits"][~there] == -100).all()


def test_a_batch_is_its_contexts_by_themselves(
    encoder: Encoder, frozen: FrozenItems, head: LateInteraction, examples: Sequence[Example]
) -> None:
    data = contexts(examples, 2)
    collate = Collator(QueryTokenIds(encoder), ItemTokenIds(encoder))
    tower = LateInteractionTowers(head, fresh_bert(PACKAGED).eval(), {"cross_entropy": 1.0}).eval()
    with torch.inference_mode():
        together = tower(**collate(data))["logits"]
        for row in (0, 1, 20, len(data) - 1):
            alone = tower(**collate([data[row]]))["logits"][0]
            torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-3, rtol=0)


def test_gradients_reach_everything_that_is_trained(
    encoder: Encoder, head: LateInteraction, examples: Sequence[Example]
) -> None:
    tower = LateInteractionTowers(head, fresh_bert(PACKAGED), {"cross_entropy": 1.0, "listwise": 1.0})
    tower(**Collator(QueryTokenIds(encoder), ItemTokenIds(encoder))(contexts(examples, 8)[:6]))["loss"].backward()
    without = [name for name, weights in tower.named_parameters() if weights.grad is None or not weights.grad.any()]
    assert not [name for name in without if "token_type" not in name]  # one segment is all there is
    tower.zero_grad()


def test_token_ids_need_an_encoder(encoder: Encoder, head: LateInteraction, examples: Sequence[Example]) -> None:
    batch = Collator(QueryTokenIds(encoder), ItemTokenIds(encoder))(contexts(examples, 8)[:2])
    with pytest.raises(ValueError, match="without one"):
        LateInteractionTowers(head, None, {})(**batch)


def test_an_items_states_are_those_that_are_stored_whatever_shares_its_row(
    encoder: Encoder, head: LateInteraction, titles: list[str]
) -> None:
    """To one step of int8: so much may a value at the edge of two steps differ."""
    tower = LateInteractionTowers(head, fresh_bert(PACKAGED).eval(), {}).eval()
    read = ItemTokenIds(encoder)
    together = read.tensors(titles)
    assert len(together["item_ids"]) < len(titles), "rows are shared"
    with torch.inference_mode():
        states, mask, pooled = tower._items(together)
        for number, (title, item) in enumerate(zip(titles, encoder.encode_items(titles), strict=True)):
            count = int(mask[number].sum())
            alone = tower._items(read.tensors([title]))
            torch.testing.assert_close(states[number, :count], alone[0][0, :count], atol=2e-6, rtol=0)
            torch.testing.assert_close(pooled[number], alone[2][0], atol=2e-6, rtol=0)
            stored = EncodedItem.quantise(
                states[number, :count].numpy(), pooled[number].numpy(), item.ids, item.trigrams
            )
            assert stored.tokens.shape == item.tokens.shape
            assert np.abs(stored.tokens.astype(int) - item.tokens).max() <= 1
            assert (stored.tokens != item.tokens).mean() < 0.005
            np.testing.assert_allclose(stored.pooled, item.pooled, atol=1e-4)


def test_contexts_without_words_or_history_train_all_the_same(encoder: Encoder, head: LateInteraction) -> None:
    """Blank queries and empty items give finite losses and gradients."""
    data = contexts(
        [
            Example(query=" ", history=("Tap",), item="Garden hose", intent="look"),
            Example(query="hose", item="", intent="ignore"),
            Example(query="hose", history=("",), item="Garden hose", intent="buy"),
        ],
        8,
    )
    tower = LateInteractionTowers(head, fresh_bert(PACKAGED), {"cross_entropy": 1.0, "listwise": 1.0, "graded": 1.0})
    batch = Collator(QueryTokenIds(encoder), ItemTokenIds(encoder))(data)
    loss = tower(**batch)["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(one.grad).all() for one in tower.parameters() if one.grad is not None)
    items = FrozenItems(encoder, {text for one in data for e in one.examples for text in (e.item, *e.history)})
    frozen = LateInteractionTowers(head, None, {}).eval()
    batch = Collator(FrozenQueries(encoder, ["hose", " "]), items)(data)
    with torch.inference_mode():
        found = frozen._features(batch, frozen._queries(batch), frozen._items(batch))
    wanted, _ = served(encoder, items, head, data)
    np.testing.assert_allclose(found, wanted, atol=3e-5)
    tower.zero_grad()
