"""Makes tensors from contexts with their examples.

Knows texts, token ids and stored item states; nothing of what is computed from them. Each text is tokenised or encoded
only once.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from models.encoded import EncodedQuery, fold
from models.encoder import Encoder
from models.item_store import ItemStore
from models.kernels import NO_TOKEN
from models.reader import ROW_TOKENS, pack
from models.training.examples import Example, by_context
from models.training.item_cache import ENCODE, ItemCache
from models.trigrams import TrigramBits, share, trigrams

ABSENT = -100.0
"""Pads rows to the longest one; Trainer itself pads with it when it joins batches."""

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Context:
    """Examples that share a query and a history; ``number`` is unique in a data set."""

    number: int
    examples: tuple[Example, ...]


def contexts(examples: Iterable[Example], most: int) -> list[Context]:
    """Examples by context; long lists are split into pieces of at most ``most`` items.

    Examples
    --------
    >>> [len(c.examples) for c in contexts([Example(query="a", item=str(i), grade=1) for i in range(5)], most=2)]
    [2, 2, 1]
    """
    found: list[Context] = []
    for group in by_context(examples):
        for start in range(0, len(group), most):
            found.append(Context(len(found), tuple(group[start : start + most])))
    return found


def ordered(examples: Iterable[Example], most: int) -> list[Example]:
    """Examples in the order of a run's predictions: context by context."""
    return [example for one in contexts(examples, most) for example in one.examples]


class Queries(Protocol):
    """Makes a batch's tensors of queries."""

    def tensors(self, texts: Sequence[str]) -> Batch:
        """Tensors of these queries, under names that begin with ``query_``."""


class Items(Protocol):
    """Makes a batch's tensors of items."""

    def tensors(self, texts: Sequence[str]) -> Batch:
        """Tensors of these items, under names that begin with ``item_``."""


class Collator:
    """Makes a batch of contexts: pairs as the numbers of their query and item within the batch, and labels.

    Parameters
    ----------
    asked
        All past queries of the contexts, encoded; None where there are none.

    Examples
    --------
    >>> encoder = Encoder()
    >>> collate = Collator(QueryTokenIds(encoder), FrozenItems(encoder, ["Garden hose", "Tap"]))
    >>> batch = collate(contexts([Example(query="hose", item=i, grade=1) for i in ("Garden hose", "Tap")], most=8))
    >>> batch["pair_query"].tolist(), batch["pair_item"].tolist(), batch["item_pooled"].shape
    ([0, 0], [0, 1], torch.Size([2, 384]))
    """

    def __init__(self, queries: Queries, items: Items, asked: "FrozenQueries | None" = None) -> None:
        self.queries, self.items, self.asked = queries, items, asked
        self._trigrams: dict[str, TrigramBits] = {}

    def __call__(self, batch: Sequence[Context]) -> Batch:
        """See the class."""
        numbers: dict[str, int] = {}
        items: list[int] = []
        history: list[list[int]] = []
        for one in batch:
            items += [numbers.setdefault(example.item, len(numbers)) for example in one.examples]
            history.append([numbers.setdefault(text, len(numbers)) for text in one.examples[0].history])
        tensors = {**labelled(batch), "pair_item": torch.tensor(items), **self._past(batch, history)}
        tensors["pair_popularity"] = torch.tensor([example.popularity for one in batch for example in one.examples])
        queries = [one.examples[0].query for one in batch]
        of_items = self._bits(numbers)[items]
        tensors["pair_trigrams"] = torch.from_numpy(share(self._bits(queries)[tensors["pair_query"].numpy()], of_items))
        return tensors | self.queries.tensors(queries) | self.items.tensors(list(numbers))

    def _past(self, batch: Sequence[Context], history: Sequence[list[int]]) -> Batch:
        """The past of the contexts' shoppers, if any has one: ``history`` int64 [q, h], numbers of items; ``asked``
        float32 [q, a, D], pooled past queries; ``past_weights`` float32 [q, h + a], zero for padding."""
        first = [one.examples[0] for one in batch]
        most_items, most_queries = max(map(len, history)), max(len(one.asked) for one in first)
        if not most_items + most_queries:
            return {}
        weights = torch.zeros(len(batch), most_items + most_queries)
        for row, one in enumerate(first):
            past = one.weights or (1.0,) * (len(one.history) + len(one.asked))
            weights[row, : len(one.history)] = torch.tensor(past[: len(one.history)])
            weights[row, most_items : most_items + len(one.asked)] = torch.tensor(past[len(one.history) :])
        found = {
            "history": torch.tensor([row + [0] * (most_items - len(row)) for row in history], dtype=torch.int64),
            "past_weights": weights,
        }
        if most_queries:
            assert self.asked is not None
            found["asked"] = self.asked.vectors([one.asked for one in first], most_queries)
        return found

    def _bits(self, texts: Iterable[str]) -> TrigramBits:
        """Trigrams of each text, uint64 [n, 8]."""
        rows = []
        for text in texts:
            if text not in self._trigrams:
                self._trigrams[text] = trigrams(text)
            rows.append(self._trigrams[text])
        return np.stack(rows)


class PairCollator:
    """Makes a batch of pairs of query and item, for a cross-encoder."""

    def __init__(self, encoder: Encoder, max_tokens: int) -> None:
        self.tokenizer = deepcopy(encoder.tokenizer)  # tokenising pairs sets its padding and truncation
        self.max_tokens = max_tokens

    def __call__(self, batch: Sequence[Context]) -> Batch:
        """Token ids of query and item together, [n, L], and the tensors of :func:`labelled`."""
        pairs = [(example.query, example.item) for one in batch for example in one.examples]
        texts = self.tokenizer(
            pairs, truncation="longest_first", max_length=self.max_tokens, padding=True, return_tensors="pt"
        )
        return {**texts, **labelled(batch)}


class QueryTokenIds:
    """Queries as token ids [q, Q] with their mask, for an encoder that is trained."""

    def __init__(self, encoder: Encoder) -> None:
        self.ids = _Ids(encoder, encoder.max_query_tokens)

    def tensors(self, texts: Sequence[str]) -> Batch:
        """``query_ids`` and ``query_mask``, int64 and bool [q, Q], special tokens included; ``query_pieces`` int16
        [q, Q - 1], of the tokens after the first special one."""
        rows = self.ids(texts)
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.arange(longest) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
        return {"query_ids": ids, "query_mask": mask, "query_pieces": _pieces(rows, longest - 1, NO_TOKEN)}


class FrozenQueries:
    """Queries as states of a frozen encoder, which encodes each once."""

    def __init__(self, encoder: Encoder, texts: Iterable[str]) -> None:
        unique = sorted(set(texts))
        self.encoded: dict[str, EncodedQuery] = {}
        for start in range(0, len(unique), ENCODE):
            some = unique[start : start + ENCODE]
            self.encoded |= dict(zip(some, encoder.encode_queries(some), strict=True))

    def vectors(self, texts: Sequence[Sequence[str]], width: int) -> torch.Tensor:
        """Pooled vectors of each row's queries, float32 [q, width, D], padded with zeros."""
        found = torch.zeros(len(texts), width, len(next(iter(self.encoded.values())).pooled))
        for row, some in enumerate(texts):
            for place, text in enumerate(some):
                found[row, place] = torch.from_numpy(self.encoded[text].pooled)
        return found

    def tensors(self, texts: Sequence[str]) -> Batch:
        """``query_states`` float32 [q, Q, D], ``query_mask`` bool and ``query_pieces`` int16 [q, Q], ``query_pooled``
        float32 [q, D]."""
        encoded = [self.encoded[text] for text in texts]
        pooled = torch.from_numpy(np.stack([query.pooled for query in encoded]))
        states = torch.zeros(len(encoded), max(1, *(len(query.tokens) for query in encoded)), pooled.shape[1])
        mask = torch.zeros(states.shape[:2], dtype=torch.bool)
        found = torch.full(states.shape[:2], NO_TOKEN, dtype=torch.int16)
        for row, query in enumerate(encoded):
            states[row, : len(query.tokens)] = torch.from_numpy(query.tokens)
            mask[row, : len(query.tokens)] = True
            found[row, : len(query.ids)] = torch.from_numpy(query.ids.view(np.int16))
        return {"query_states": states, "query_mask": mask, "query_pooled": pooled, "query_pieces": found}


class ItemTokenIds:
    """Items as token ids, packed in rows, for an encoder that is trained."""

    def __init__(self, encoder: Encoder) -> None:
        self.ids = _Ids(encoder, encoder.max_item_tokens)

    def tensors(self, texts: Sequence[str]) -> Batch:
        """``item_ids``, ``item_owner`` and ``item_position``, int64 [rows, width], as :func:`models.reader.pack`;
        ``item_pieces`` int16 [m, L], of the tokens after the first special one."""
        ids = self.ids(texts)
        packed = map(torch.from_numpy, pack(ids, ROW_TOKENS))
        rows = dict(zip(("item_ids", "item_owner", "item_position"), packed, strict=True))
        return {**rows, "item_pieces": _pieces(ids, max(map(len, ids)) - 1, 0)}


class FrozenItems:
    """Items as they are stored for serving, so that a head is trained on the same states that it serves with.

    ``folder`` stores them for the next run.
    """

    def __init__(self, encoder: Encoder, texts: Iterable[str], folder: Path | None = None) -> None:
        self._cache = ItemCache(encoder, folder)
        self.texts: list[str] = []
        self.slots: dict[str, int] = {}
        self.item_store = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens)
        self.add(texts)

    def add(self, texts: Iterable[str]) -> None:
        """Encode those that are new, and store them in the slots behind the others."""
        new = sorted(set(texts) - self.slots.keys())
        first = len(self.texts)
        self.texts += new
        self.slots |= {text: slot for slot, text in enumerate(new, first)}
        self.item_store.put_many(range(first, len(self.texts)), self._cache.encode(new))

    def tensors(self, texts: Sequence[str]) -> Batch:
        """``item_states`` float32 [m, L, T], ``item_mask`` bool and ``item_pieces`` int16 [m, L], ``item_pooled``
        float32 [m, D]."""
        items = self.item_store.gather(np.array([self.slots[text] for text in texts]))
        mask = items.scales > 0
        longest = max(1, int(mask.sum(1).amax()))
        states = items.tokens[:, :longest].float() * items.scales[:, :longest].unsqueeze(-1)
        found = {"item_states": states, "item_mask": mask[:, :longest], "item_pooled": items.pooled}
        return {**found, "item_pieces": items.ids[:, :longest]}


def labelled(batch: Sequence[Context]) -> Batch:
    """Labels, one row for each context as Trainer gathers them, and the place of each pair in them.

    Returns
    -------
    ``labels`` float32 [contexts, longest, 10], with the columns of :class:`models.training.losses.Labels`, padded with
    :data:`ABSENT`; ``pair_query`` and ``pair_place`` int64 [n], a pair's context and its place within it.
    """
    none = (float("nan"),) * 4
    places = [(row, place) for row, one in enumerate(batch) for place in range(len(one.examples))]
    rows = [
        [*example.target().tolist(), example.weight, one.number, *(example.teacher or none)]
        for one in batch
        for example in one.examples
    ]
    query, place = torch.tensor(places).unbind(1)
    labels = torch.full((len(batch), int(place.amax()) + 1, len(rows[0])), ABSENT)
    labels[query, place] = torch.tensor(rows)
    return {"labels": labels, "pair_query": query, "pair_place": place}


def _pieces(texts: Sequence[Sequence[int]], width: int, fill: int) -> torch.Tensor:
    """Word pieces of the texts' content tokens, int16 [texts, width], from token ids between two special ones."""
    found = torch.full((len(texts), width), fill, dtype=torch.int16)
    for row, ids in enumerate(texts):
        found[row, : len(ids) - 2] = torch.from_numpy(fold(ids[1:-1]).view(np.int16))
    return found


class _Ids:
    """Token ids of texts, each tokenised once."""

    def __init__(self, encoder: Encoder, limit: int) -> None:
        self.encoder, self.limit = encoder, limit
        self.known: dict[str, list[int]] = {}

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        self.known |= dict(zip(new, self.encoder.token_ids(new, self.limit), strict=True))
        return [self.known[text] for text in texts]
