"""Negatives: enough of them, hard ones first, and none that may be right after all."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from models.encoder import Encoder
from models.scorer import Floats
from models.training.batches import Collator, Context, FrozenItems, QueryTokenIds, contexts
from models.training.config import TrainConfig
from models.training.examples import Example, by_context
from models.training.negatives import MINES, POSITIVE, Guard, InBatch, Mine, Miner, Open, plain
from models.training.run import Run

THINGS = ("hose", "lamp", "drill", "chair", "kettle", "ladder", "fan", "rug")
COLOURS = ("red", "blue", "green", "black", "white")
CATALOGUE = [f"{thing} in {colour}" for thing in THINGS for colour in COLOURS]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(precision="float32")


@pytest.fixture(scope="module")
def frozen(encoder: Encoder) -> FrozenItems:
    return FrozenItems(encoder, [*CATALOGUE, "  HOSE in red "])


@pytest.fixture(scope="module")
def miner(encoder: Encoder, frozen: FrozenItems) -> Miner:
    return Miner(encoder, frozen)


def bought(query: str, *items: str, history: tuple[str, ...] = ()) -> list[Example]:
    return [Example(query=query, history=history, item=item, intent="buy") for item in items]


def negatives(mined: Sequence[Example]) -> list[str]:
    return [one.item for one in mined if one.intent == "ignore"]


@pytest.mark.parametrize("how", MINES)
def test_every_context_with_a_positive_gets_as_many_as_it_lacks(miner: Miner, how: Mine) -> None:
    examples = bought("red hose", "hose in red", "hose in blue")
    examples += [Example(query="lamp", item="lamp in red", intent="look")]
    examples += [Example(query="lamp", item=item, grade=0.1) for item in ("fan in red", "rug in red")]
    examples += [Example(query="drill", item="drill in red", intent="ignore")]
    mined = miner.mine(examples, 3, how)
    counts = {group[0].query: (len(group), len({one.item for one in group})) for group in by_context(mined)}
    assert counts == {"red hose": (5, 5), "lamp": (4, 4), "drill": (1, 1)}
    assert [one for one in mined if one in examples] == examples, "what was there stays, in its order"
    assert all(one.level < POSITIVE for one in mined if one not in examples)
    assert mined == miner.mine(examples, 3, how), "the same again for the same seed"


@pytest.mark.parametrize("how", ["lexical", "vector", "both"])
def test_mined_ones_are_harder_than_random_ones(miner: Miner, how: Mine) -> None:
    hard = negatives(miner.mine(bought("red hose", "hose in red"), 8, how))
    chance = negatives(miner.mine(bought("red hose", "hose in red"), 8, "random"))

    def alike(texts: Sequence[str]) -> int:
        return sum("hose" in text or "red" in text for text in texts)

    assert alike(hard) == 8 > alike(chance)


@pytest.mark.parametrize("how", MINES)
@pytest.mark.parametrize("guard", [None, Guard()])
def test_what_is_known_in_a_context_is_never_its_negative(miner: Miner, how: Mine, guard: Guard | None) -> None:
    known = ["hose in red", "hose in blue", "lamp in red"]
    found = negatives(miner.mine(bought("red hose", *known), 30, how, guard))
    assert found and not {plain(text) for text in found} & set(known), "nor the same text in other letters"


def test_lexical_search_finds_only_what_shares_a_word(miner: Miner) -> None:
    found = negatives(miner.mine(bought("kettle", "kettle in red"), 30, "lexical"))
    assert sorted(found) == sorted(f"kettle in {colour}" for colour in COLOURS[1:])
    assert negatives(miner.mine(bought("zzz", "kettle in red"), 30, "lexical")) == []


def test_a_history_without_a_query_is_mined_by_what_was_touched(miner: Miner) -> None:
    for how in ("lexical", "vector"):
        found = negatives(miner.mine(bought("", "rug in red", history=("ladder in blue",)), 4, how))
        assert all("ladder" in text or "blue" in text for text in found), (how, found)


def test_the_guard_skips_the_top(miner: Miner) -> None:
    examples = bought("red hose", "hose in red")
    open_ = Guard(skip=0, similarity=2)
    every = negatives(miner.mine(examples, 9, "vector", open_))
    assert negatives(miner.mine(examples, 6, "vector", Guard(skip=3, similarity=2))) == every[3:]


def test_the_guard_keeps_out_what_is_too_much_like_a_positive(miner: Miner, frozen: FrozenItems) -> None:
    examples = bought("red hose", "hose in red", "lamp in red")
    pooled = frozen.item_store.pooled(np.arange(len(frozen.slots))).astype(np.float32)
    liked = pooled[[frozen.slots[one.item] for one in examples]]
    every = negatives(miner.mine(examples, 40, "vector", Guard(skip=0, similarity=2)))
    nearest = {text: float((pooled[frozen.slots[text]] @ liked.T).max()) for text in every}
    most = sorted(nearest.values())[len(every) // 2] + 1e-4
    found = negatives(miner.mine(examples, 40, "vector", Guard(skip=0, similarity=most)))
    assert 0 < len(found) < len(every)
    assert [text for text in every if nearest[text] <= most] == found


def test_the_guard_keeps_out_what_the_scorer_puts_near_the_lowest_positive(miner: Miner) -> None:
    examples = [*bought("red hose", "hose in red", "lamp in red"), *bought("fan", "fan in red")]
    levels = {"hose in red": 0.9, "lamp in red": 0.5, "hose in blue": 0.476, "hose in green": 0.475, "fan in red": 0.1}

    def score(asked: Sequence[Example]) -> Floats:
        return np.array([levels.get(one.item, 0.09) for one in asked], np.float32)

    mined = miner.mine(examples, 40, "vector", Guard(skip=0, similarity=2, margin=0.05), score)
    first, second = (negatives(group) for group in by_context(mined))
    assert "hose in green" in first and "hose in blue" not in first
    assert not {"hose in blue", "hose in green", "hose in red", "lamp in red"} & set(second)
    assert "fan in blue" in second


def test_a_batch_lends_positives_to_its_open_contexts_only() -> None:
    examples = [*bought("a", "A"), *bought("b", "B", "C"), *bought("c", "a"), Example(query="c", item="D", grade=0.0)]
    batch = contexts(examples, 8)
    collate = InBatch(None, 5, examples)
    assert collate.filled(batch) == batch
    filled = collate.filled([Open(one.number, one.examples) for one in batch])
    assert filled == collate.filled([Open(one.number, one.examples) for one in batch])
    found = [sorted(one.item for one in context.examples if one.intent == "ignore") for context in filled]
    assert found == [["B", "C"], ["A", "a"], ["B", "C"]], "no judged negative is lent, and no text that is one's own"
    assert [
        len(one.examples) for one in InBatch(None, 1, examples).filled([Open(0, batch[0].examples), *batch[1:]])
    ] == [
        2,
        2,
        2,
    ]


def test_a_list_in_two_pieces_lends_itself_nothing() -> None:
    examples = bought("a", "A", "B", "C", "D")
    batch = [Open(one.number, one.examples) for one in contexts(examples, 2)]
    assert [len(one.examples) for one in InBatch(None, 5, examples).filled(batch)] == [2, 2]


def test_a_filled_batch_has_labels_for_all(encoder: Encoder, frozen: FrozenItems) -> None:
    examples = [*bought("red hose", "hose in red"), *bought("fan", "fan in red")]
    collate = InBatch(Collator(QueryTokenIds(encoder), frozen), 4, examples)
    batch = collate([Open(one.number, one.examples) for one in contexts(examples, 8)])
    assert batch["labels"].shape[:2] == (2, 2) and batch["pair_item"].tolist() == [0, 1, 1, 0]
    assert isinstance(contexts(examples, 8)[0], Context)


def test_in_batch_negatives_teach_where_positives_alone_do_not(tmp_path: Path, encoder: Encoder) -> None:
    colours = [(thing, colour) for thing in THINGS for colour in COLOURS]
    examples = [one for thing, colour in colours for one in bought(f"{colour} {thing}", f"{thing} in {colour}")]
    dev = [
        one
        for place, (thing, colour) in enumerate(colours)
        for one in (
            *bought(f"{thing}, {colour}", f"{thing} in {colour}"),
            Example(query=f"{thing}, {colour}", item=CATALOGUE[(place + 7) % len(CATALOGUE)], intent="ignore"),
        )
    ]

    def level(count: int) -> float:
        config = TrainConfig(
            epochs=8, contexts=8, negatives=count, folder=tmp_path, report_to=("none",), progress=False
        )
        return Run(encoder, config).train(examples, dev).metrics["uncalibrated_log_loss"]

    assert level(4) < 0.5 * level(0)
