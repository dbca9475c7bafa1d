"""BERT models as contenders: cosine of pooled vectors, our scorers untrained or from folders, versions of a store.

Know texts, models and the store; nothing of measures.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from evaluator.gate.dataset import GateRequest, Served, answers
from evaluator.offline.contenders.contender import Scores
from evaluator.offline.contenders.names import classifier, of_store, scorer_weights
from evaluator.offline.data import Case, Document, EvaluationData
from models.cross_encoder import CrossEncoderScorer
from models.encoder import Encoder
from models.scorer import ScoreRequest, utility
from models.store.parts import Parts
from models.store.store import ModelStore
from models.training.batches import FrozenItems
from models.training.examples import expected_level
from models.weights import PACKAGED, quiet, resolve

BATCH = 64

MAX_TOKENS = 256
"""Word pieces of a reranker's context and item together."""


class Cosine:
    """A bi-encoder without training: the cosine of pooled vectors of query, or of the mean of the history, and item."""

    def __init__(self, weights: str = "") -> None:
        self.encoder = Encoder(weights or PACKAGED)

    def fit(self, data: EvaluationData) -> None:
        """Encode every item that is used."""
        self._data = data
        self._vectors: dict[str, Any] = {}
        self._encode(data.used())

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """Cosines, -1 to 1."""
        self._encode(item for case in cases for item in (*case.items, *case.recent))
        texts = list(dict.fromkeys(case.query for case in cases if case.query))
        queries = {text: one.pooled for text, one in zip(texts, self.encoder.encode_queries(texts), strict=True)}
        found = []
        for case in cases:
            items = np.array([self._vectors[item] for item in case.items])
            if case.query:
                of = queries[case.query]
            elif case.history:
                of = np.mean([self._vectors[item] for item in case.recent], axis=0)
            else:
                of = np.zeros(items.shape[1], np.float32)
            found.append((items @ of).astype(np.float64))
        return found

    def _encode(self, items: Iterable[str]) -> None:
        new = list(dict.fromkeys(item for item in items if item not in self._vectors))
        encoded = self.encoder.encode_items([self._data.items[item].text for item in new])
        self._vectors |= {item: one.pooled.astype(np.float32) for item, one in zip(new, encoded, strict=True)}

    def score_texts(self, cases: Sequence[Case], texts: Sequence[Sequence[str]]) -> list[Scores]:
        """Cosines of queries and texts."""
        queries = dict.fromkeys(case.query for case in cases)
        of = dict(zip(queries, self.encoder.encode_queries(list(queries)), strict=True))
        known = dict.fromkeys(text for some in texts for text in some)
        vectors = dict(zip(known, self.encoder.encode_items(list(known)), strict=True))
        return [
            np.array([vectors[text].pooled.astype(np.float64) @ of[case.query].pooled for text in some])
            for case, some in zip(cases, texts, strict=True)
        ]


class ServedModel:
    """One of our scorers as a worker serves it: ranks by the shop's worth of the four intents, else by the expected
    level.

    Attributes
    ----------
    training
        What the training that made it took, in seconds, as its version tells; empty where it is no version.
    """

    def __init__(self, chosen: Parts, training: Mapping[str, float] | None = None) -> None:
        self.parts, self.training = chosen, training or {}
        self.costly = chosen.architecture == "cross_encoder"

    def fit(self, data: EvaluationData) -> None:
        """Encode every item that is used."""
        self._data = data
        self._encoder = Encoder(self.parts.weights, adapter=self.parts.adapter, said=self.parts.said)
        self._texts = FrozenItems(self._encoder, [data.items[item].text for item in data.used()])
        self.served = Served(self.parts, self._encoder, self._texts)

    def probabilities(self, cases: Sequence[Case]) -> list[Scores]:
        """float64 [n, 4] per case."""
        items = self._data.items
        requests = [request(case, items) for case in cases]
        self._texts.add(text for one in requests for text in (*one.items, *one.history))
        return [part.astype(np.float64) for part in answers(self.served, requests)]

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """What showing each item is worth; 0 to 1 by the expected level."""
        return self._worth(self.probabilities(cases))

    def _worth(self, probabilities: Sequence[Scores]) -> list[Scores]:
        weights = self._data.intent_weights
        worth = partial(utility, weights=weights) if weights else expected_level
        return [worth(part.astype(np.float32)).astype(np.float64) for part in probabilities]

    def score_texts(self, cases: Sequence[Case], texts: Sequence[Sequence[str]]) -> list[Scores]:
        """The same of queries and texts."""
        known = list(dict.fromkeys(text for some in texts for text in some))
        if isinstance(self.served.scorer, CrossEncoderScorer):
            return self._worth(_pairs(self.served.scorer, known, cases, texts))
        requests = [GateRequest(case.query, (), tuple(some)) for case, some in zip(cases, texts, strict=True)]
        served = Served(self.parts, self._encoder, FrozenItems(self._encoder, known))
        return self._worth([part.astype(np.float64) for part in answers(served, requests)])


def request(case: Case, items: Mapping[str, Document]) -> GateRequest:
    """A case as a worker asks for it.

    What a worker knew besides query and past counts only as long as the past is the one that it knew.
    """
    past, candidates = case.history, tuple(items[item].text for item in case.items)
    if len(case.weights) != len(past) + len(case.asked):
        past = case.recent
    weights = case.weights if len(case.weights) == len(past) + len(case.asked) else ()
    popularity = tuple(case.popularity.get(item, 0.0) for item in case.items) if case.popularity else ()
    return GateRequest(
        case.query, tuple(items[item].text for item in past), candidates, case.asked, weights, popularity
    )


def _pairs(
    scorer: CrossEncoderScorer, known: Sequence[str], cases: Sequence[Case], texts: Sequence[Sequence[str]]
) -> list[Scores]:
    """Probabilities of a cross-encoder; nothing has to be encoded first, so its own pass is all the work."""
    over = copy.copy(scorer)
    over.item_text = known.__getitem__
    slots = {text: slot for slot, text in enumerate(known)}
    requests = [
        ScoreRequest(np.array([slots[text] for text in some], np.int64), query_text=case.query)
        for case, some in zip(cases, texts, strict=True)
    ]
    return [part.astype(np.float64) for part in over.score(requests)]


class Reranker:
    """Any cross-encoder of the transformers library with one output, as a folder or a hub name: its logit is the score.

    Raises
    ------
    models.weights.WeightsError
        When there is no such model.
    """

    costly = True

    def __init__(self, weights: str) -> None:
        folder = resolve(weights)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        with quiet():
            self.model: Any = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True).eval()

    def fit(self, data: EvaluationData) -> None:
        """Nothing to learn."""
        self._data = data

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """Logits."""
        return self.score_texts(cases, [self._data.texts(case) for case in cases])

    @torch.inference_mode()
    def score_texts(self, cases: Sequence[Case], texts: Sequence[Sequence[str]]) -> list[Scores]:
        """Logits of contexts and texts."""
        if not cases:
            return []
        pairs = [(self._data.context(case), text) for case, some in zip(cases, texts, strict=True) for text in some]
        out = np.empty(len(pairs))
        order = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]) + len(pairs[place][1]))
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            batch = self.tokenizer(
                [pairs[place] for place in places],
                truncation=True,
                max_length=MAX_TOKENS,
                padding=True,
                return_tensors="pt",
            )
            out[places] = self.model(**batch).logits[:, 0].float().numpy()
        return np.split(out, np.cumsum([len(some) for some in texts])[:-1])


def late_interaction(rest: str) -> ServedModel:
    """Our late-interaction scorer: with the packaged weights and untrained, with weights of a name, or from a folder.

    Raises
    ------
    models.weights.WeightsError
        When there are no such weights.
    """
    return ServedModel(scorer_weights(rest))


def cross_encoder(rest: str) -> "ServedModel | Reranker":
    """A cross-encoder as a folder or a hub name: ours where it has the four intents, else any with one output.

    Raises
    ------
    models.weights.WeightsError, evaluator.offline.contenders.contender.ContenderError
        When there is no such model, or it has no classification head.
    """
    folder, outputs = classifier(rest)
    if outputs == 1:
        return Reranker(rest)
    return ServedModel(Parts(architecture="cross_encoder", cross_encoder=folder))


def version(rest: str) -> ServedModel:
    """A version of the model store as a worker serves it: STORE#NAME, an id, its beginning, or a slot.

    Raises
    ------
    models.store.errors.StoreError
        When there is no such version, or it cannot be read.
    """
    folder, _, name = rest.rpartition("#")
    chosen, store = of_store(rest), ModelStore(folder)
    return ServedModel(chosen, store.manifest(store.find(name)).metrics)


CONTENDERS = {
    "cosine": Cosine,
    "late_interaction": late_interaction,
    "cross_encoder": cross_encoder,
    "version": version,
}
