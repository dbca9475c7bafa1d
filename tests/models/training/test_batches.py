"""Contexts to tensors: nothing is lost, everything stands where it belongs."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.encoded import fold
from models.encoder import Encoder
from models.kernels import NO_TOKEN
from models.training.batches import (
    ABSENT,
    Collator,
    FrozenItems,
    FrozenQueries,
    ItemTokenIds,
    PairCollator,
    QueryTokenIds,
    contexts,
    labelled,
)
from models.training.examples import Example, context
from models.training.losses import Labels


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=1, max_size=30), st.integers(1, 5))
def test_contexts_hold_every_example_once(pairs: list[tuple[str, int]], most: int) -> None:
    examples = [Example(query=query, item=str(item), grade=1) for query, item in pairs]
    found = contexts(examples, most)
    assert [one.number for one in found] == list(range(len(found)))
    assert all(1 <= len(one.examples) <= most and len({context(e) for e in one.examples}) == 1 for one in found)
    together = [example for one in found for example in one.examples]
    assert sorted(map(repr, together)) == sorted(map(repr, examples))


def test_labels_stand_where_their_pairs_say(examples: Sequence[Example]) -> None:
    taught = Example(query="q", item="i", grade=0.25, weight=2.5, teacher=(1, 2, 3, 4))
    data = contexts([*examples[:7], taught, examples[-1]], 16)
    found = labelled(data)
    assert found["labels"].shape == (5, 3, 10)
    rows = Labels.unpack(found["labels"][found["pair_query"], found["pair_place"]])
    flat = [example for one in data for example in one.examples]
    np.testing.assert_allclose(rows.target, np.stack([example.target() for example in flat]))
    assert rows.weight.tolist() == [example.weight for example in flat]
    assert rows.group.tolist() == [one.number for one in data for _ in one.examples]
    assert rows.teacher[flat.index(taught)].tolist() == [1, 2, 3, 4]
    assert rows.teacher.isnan().all(1).sum() == len(flat) - 1
    there = found["labels"][..., 4] > 0
    assert int(there.sum()) == len(flat) and bool((found["labels"][~there] == ABSENT).all())


def test_pairs_and_histories_point_at_their_items(encoder: Encoder, examples: Sequence[Example]) -> None:
    texts = {text for one in examples for text in (one.item, *one.history)}
    items = FrozenItems(encoder, texts)
    data = contexts(examples, 16)[-6:]
    batch = Collator(QueryTokenIds(encoder), items)(data)
    pooled = batch["item_pooled"]
    flat = [(row, example) for row, one in enumerate(data) for example in one.examples]
    assert batch["pair_query"].tolist() == [row for row, _ in flat]
    for place, (_, example) in zip(batch["pair_item"].tolist(), flat, strict=True):
        np.testing.assert_array_equal(pooled[place], items.item_store.pooled(np.array([items.slots[example.item]]))[0])
    for row, weights, one in zip(batch["history"].tolist(), batch["past_weights"].tolist(), data, strict=True):
        history = one.examples[0].history
        assert weights == [1.0] * len(history) + [0.0] * (len(row) - len(history))
        for place, text in zip(row, history, strict=False):
            np.testing.assert_array_equal(pooled[place], items.item_store.pooled(np.array([items.slots[text]]))[0])
    assert len(pooled) == len({text for one in data for e in one.examples for text in (e.item, *e.history)})


def test_without_histories_there_is_none_in_the_batch(encoder: Encoder) -> None:
    data = contexts([Example(query="hose", item="Tap", grade=1)], 16)
    assert "history" not in Collator(QueryTokenIds(encoder), ItemTokenIds(encoder))(data)


def test_frozen_states_are_the_stored_ones(encoder: Encoder, titles: list[str]) -> None:
    found = FrozenItems(encoder, titles).tensors(titles)
    for row, item in enumerate(encoder.encode_items(titles)):
        count = len(item.tokens)
        assert found["item_mask"][row].tolist() == [place < count for place in range(found["item_mask"].shape[1])]
        np.testing.assert_array_equal(found["item_states"][row, :count], item.restored())
        np.testing.assert_array_equal(found["item_pooled"][row], item.pooled.astype(np.float32))
        np.testing.assert_array_equal(found["item_pieces"][row, :count].numpy().view(np.uint16), item.ids)
        assert not found["item_pieces"][row, count:].any()


def test_both_kinds_of_queries_have_the_same_pieces(encoder: Encoder, titles: list[str]) -> None:
    texts = [*titles, ""]
    frozen, ids = FrozenQueries(encoder, texts).tensors(texts), QueryTokenIds(encoder).tensors(texts)
    for row, query in enumerate(encoder.encode_queries(texts)):
        count = len(query.tokens)
        assert int(frozen["query_mask"][row].sum()) == count == int(ids["query_mask"][row].sum()) - 2
        np.testing.assert_allclose(frozen["query_states"][row, :count], query.tokens, atol=1e-6)
        for found in (frozen["query_pieces"][row], ids["query_pieces"][row]):
            np.testing.assert_array_equal(found[:count].numpy().view(np.uint16), query.ids)
            assert bool((found[count:] == NO_TOKEN).all())


def test_token_ids_of_items_lie_in_rows_with_their_owners(encoder: Encoder, titles: list[str]) -> None:
    found = ItemTokenIds(encoder).tensors(titles)
    for number, ids in enumerate(encoder.token_ids(titles, encoder.max_item_tokens)):
        mine = found["item_owner"] == number
        assert found["item_ids"][mine].tolist() == ids
        assert found["item_position"][mine].tolist() == list(range(len(ids)))
        pieces = found["item_pieces"][number, : len(ids) - 2].numpy().view(np.uint16)
        np.testing.assert_array_equal(pieces, fold(ids[1:-1]))


@pytest.mark.parametrize("most", [8, 64])
def test_pairs_are_read_together_and_cut_to_length(pair_encoder: Encoder, most: int) -> None:
    data = contexts([Example(query="red hose", item="long " * n, grade=1) for n in (1, 30)], 16)
    found = PairCollator(pair_encoder, most)(data)
    assert found["input_ids"].shape[1] <= most and len(found["input_ids"]) == 2
    first, last = pair_encoder.tokenizer.cls_token_id, pair_encoder.tokenizer.sep_token_id
    for ids, mask, kinds in zip(found["input_ids"], found["attention_mask"], found["token_type_ids"], strict=True):
        real = ids[mask.bool()].tolist()
        assert real[0] == first and real[-1] == last and real.count(last) == 2
        assert kinds[: real.index(last) + 1].sum() == 0 and bool(kinds[mask.bool()][real.index(last) + 1 :].all())
    assert torch.equal(found["pair_query"], torch.tensor([0, 0]))


def test_reading_pairs_leaves_the_encoder_alone(pair_encoder: Encoder) -> None:
    pieces = pair_encoder.tokenizer.backend_tokenizer
    pieces.no_padding()
    pieces.no_truncation()
    before = pair_encoder.token_ids(["hose", "a long garden hose"], 16)
    PairCollator(pair_encoder, 8)(contexts([Example(query="q", item="long " * 30, grade=1)], 16))
    assert pair_encoder.token_ids(["hose", "a long garden hose"], 16) == before


def test_items_that_are_added_later_stand_behind_the_others(encoder: Encoder) -> None:
    items = FrozenItems(encoder, ["Tap", "Garden hose"])
    before = items.tensors(["Tap"])["item_states"]
    items.add(["Desk lamp", "Tap", "Axe"])
    assert items.texts == ["Garden hose", "Tap", "Axe", "Desk lamp"]
    assert items.slots == {text: slot for slot, text in enumerate(items.texts)}
    assert torch.equal(items.tensors(["Tap"])["item_states"], before)
    fresh = FrozenItems(encoder, ["Desk lamp"]).tensors(["Desk lamp"])["item_pooled"]
    assert torch.allclose(items.tensors(["Desk lamp"])["item_pooled"], fresh)
