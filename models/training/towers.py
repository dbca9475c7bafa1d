"""The trained modules: a query side, an item side and a head; they map a batch's tensors to logits and a loss.

Knows tensors; nothing of texts, files or optimisers. The input of a frozen side is stored states, that of a trained one
token ids.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

from models.contexts import LONG_QUERY
from models.intents import INTENTS
from models.kernels import match, overlap
from models.late_interaction import LateInteraction
from models.projection import orthogonal
from models.training import calibration
from models.training.batches import ABSENT, Batch
from models.training.losses import Labels, total
from models.weights import quiet, resolve

PAIRS_PER_PASS = 16
"""Pairs of query and item in one pass of a cross-encoder."""

States = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Unit-norm token states [m, L, width], their mask [m, L], unit-norm pooled vectors [m, D]."""


class LateInteractionTowers(nn.Module):
    """The late-interaction scorer with its trained parts.

    Parameters
    ----------
    head
        Always trained.
    bert
        Encodes queries, and also items where they are token ids; None where both are stored states.
    losses
        Names of :data:`models.training.losses.LOSSES` with their weights.
    """

    narrow: torch.Tensor
    accepts_loss_kwargs = False  # for Trainer: the loss is a batch's mean, to be averaged over accumulated batches

    def __init__(self, head: LateInteraction, bert: nn.Module | None, losses: Mapping[str, float]) -> None:
        super().__init__()
        self.head, self.bert, self.losses = head, bert, dict(losses)
        matrix = torch.from_numpy(orthogonal(head.config.dim, head.config.token_dim))
        self.register_buffer("narrow", matrix, persistent=False)

    def forward(self, labels: torch.Tensor, **batch: torch.Tensor) -> Batch:
        """Logits [contexts, longest, 4] in the labels' order, and the loss."""
        queries, items = self._queries(batch), self._items(batch)
        with torch.autocast(labels.device.type, enabled=False):
            logits = self.head(self._features(batch, queries, items))
            return _answer(logits, labels, batch, self.losses)

    def _queries(self, batch: Batch) -> States:
        mask = batch["query_mask"]
        if "query_states" in batch:
            return batch["query_states"], mask, batch["query_pooled"]
        states = self._run(input_ids=batch["query_ids"], attention_mask=mask.long()).float()
        pooled = normalize((states * mask.unsqueeze(-1)).sum(1), dim=-1)
        return normalize(states, dim=-1)[:, 1:], _content(mask.sum(1), mask.shape[1]), pooled

    def _items(self, batch: Batch) -> States:
        if "item_states" in batch:
            return batch["item_states"], batch["item_mask"], batch["item_pooled"]
        owner, position = batch["item_owner"], batch["item_position"]
        mask = (owner[:, :, None] == owner[:, None, :]).unsqueeze(1)
        packed = self._run(input_ids=batch["item_ids"], position_ids=position, attention_mask=mask).float()
        there = owner >= 0
        owner, position, packed = owner[there], position[there], packed[there]
        lengths = owner.bincount()
        states = packed.new_zeros(len(lengths), int(lengths.amax()), packed.shape[-1])
        states = states.index_put((owner, position), packed)
        narrow = normalize((normalize(states, dim=-1) @ self.narrow).float(), dim=-1)
        return narrow[:, 1:], _content(lengths, states.shape[1]), normalize(states.sum(1), dim=-1)

    def _run(self, **inputs: torch.Tensor) -> torch.Tensor:
        if self.bert is None:
            raise ValueError("token ids need an encoder, and this scorer was made without one")
        output: Any = self.bert(**inputs)
        states: torch.Tensor = output.last_hidden_state
        return states

    def _features(self, batch: Batch, queries: States, items: States) -> torch.Tensor:
        """As :meth:`models.late_interaction.LateInteractionScorer.features`, for all pairs and with gradients."""
        query, item = batch["pair_query"], batch["pair_item"]
        states, mask, pooled = queries
        has_query = mask.any(1)
        # A context without words is matched as if it had its first token, and the result is set to zero.
        mask = mask | (~has_query.unsqueeze(1) & (torch.arange(mask.shape[1], device=mask.device) == 0))
        tokens = self.head.prepare(states, mask, batch["query_pieces"])
        similarity = torch.einsum("nqt,nlt->nql", tokens.states[query], items[0][item]).unsqueeze(2)
        found = match(similarity, items[1][item].unsqueeze(1), tokens.weights[query], self.head.config.kernels)
        pieces = batch["item_pieces"][item].unsqueeze(1)
        shared = overlap(tokens.ids[query], pieces, tokens.weights[query], tokens.rarity[query])
        cosine = (pooled[query] * items[2][item]).sum(-1)
        asked = has_query[query].float().unsqueeze(1)
        length = mask.sum(1)[query] / LONG_QUERY
        history = _history(batch, items[2], query, item)
        popularity = batch["pair_popularity"]
        words = torch.cat([found.squeeze(1), shared.squeeze(1), batch["pair_trigrams"]], dim=1) * asked
        topics = self.head.topics((pooled * has_query.unsqueeze(1))[query], items[2][item])
        asked = asked.squeeze(1)
        rest = [cosine * asked, *history[:2], popularity, asked, history[2], length * asked]
        return torch.cat([words, topics, torch.stack(rest, dim=1)], dim=1)


class CrossEncoderTower(nn.Module):
    """A sequence classifier over query and item together, trained with the same losses."""

    accepts_loss_kwargs = False

    def __init__(self, classifier: nn.Module, losses: Mapping[str, float]) -> None:
        super().__init__()
        self.bert, self.losses = classifier, dict(losses)

    def forward(self, labels: torch.Tensor, **texts: torch.Tensor) -> Batch:
        """Logits [contexts, longest, 4] in the labels' order, and the loss."""
        places = {name: texts.pop(name) for name in ("pair_query", "pair_place")}
        logits = self._classify(texts)
        with torch.autocast(labels.device.type, enabled=False):
            return _answer(logits, labels, places, self.losses)

    def _classify(self, texts: Batch) -> torch.Tensor:
        """Logits [n, 4]; pairs of similar length share a pass, to save padding."""
        lengths = texts["attention_mask"].sum(1)
        order = lengths.argsort()
        found = []
        for start in range(0, len(order), PAIRS_PER_PASS):
            rows = order[start : start + PAIRS_PER_PASS]
            longest = int(lengths[rows[-1]])
            output: Any = self.bert(**{name: tensor[rows, :longest] for name, tensor in texts.items()})
            found.append(output.logits.float())
        return torch.cat(found)[order.argsort()]


def install(tower: nn.Module, fitted: calibration.Calibration) -> None:
    """Put a calibration into a trained tower: into the head's scale and bias, or the classifier's last layer."""
    part: Any = tower
    scale, bias = torch.tensor(fitted.scale), torch.tensor(fitted.bias)
    with torch.no_grad():
        if isinstance(tower, CrossEncoderTower):
            last = part.bert.classifier
            last.weight.mul_(scale.unsqueeze(1).to(last.weight))
            last.bias.mul_(scale.to(last.bias)).add_(bias.to(last.bias))
        else:
            part.head.bias.mul_(scale.to(part.head.bias)).add_(bias.to(part.head.bias))
            part.head.scale.mul_(scale.to(part.head.scale))


def _answer(logits: torch.Tensor, labels: torch.Tensor, batch: Batch, losses: Mapping[str, float]) -> Batch:
    """The loss of flat logits [n, 4], and the same logits at the places of their labels."""
    places = batch["pair_query"], batch["pair_place"]
    spread = logits.new_full((*labels.shape[:2], logits.shape[1]), ABSENT).index_put(places, logits.detach())
    return {"loss": total(logits, Labels.unpack(labels[places]), losses), "logits": spread}


def _content(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    """The mask of content tokens after the first special one, bool [m, longest - 1]."""
    return torch.arange(1, longest, device=lengths.device) < lengths.unsqueeze(1) - 1


def _history(batch: Batch, pooled: torch.Tensor, query: torch.Tensor, item: torch.Tensor) -> States:
    """Largest weighted cosine and weighted mean cosine of each pair's item to its context's past, and whether there is
    one, each [n]; as in :class:`models.late_interaction.LateInteractionScorer`."""
    if "past_weights" not in batch:
        none = pooled.new_zeros(len(query))
        return none, none, none
    vectors = pooled[batch["history"]]
    if "asked" in batch:
        vectors = torch.cat([vectors, batch["asked"].to(vectors)], dim=1)
    weights = batch["past_weights"].to(vectors)[query]
    cosine = torch.einsum("nhd,nd->nh", vectors[query], pooled[item])
    there = weights > 0
    has = there.any(1)
    largest = (cosine * weights).masked_fill(~there, -torch.inf).amax(1)
    mean = (cosine * weights).sum(1) / weights.sum(1).clamp_min(1e-6)
    return torch.where(has, largest, 0.0), mean, has.float()


def fresh_bert(weights: str) -> nn.Module:
    """The encoder with these weights in float32, for training."""
    from transformers import AutoModel

    with quiet():
        bert: Any = AutoModel.from_pretrained(resolve(weights), dtype=torch.float32, use_safetensors=True)
    bert.pooler = None
    model: nn.Module = bert
    return model


def classifier(weights: str) -> nn.Module:
    """A classifier into the four intents over these weights in float32, for training."""
    from transformers import AutoModelForSequenceClassification

    with quiet():
        model: nn.Module = AutoModelForSequenceClassification.from_pretrained(
            resolve(weights), num_labels=len(INTENTS), dtype=torch.float32, use_safetensors=True
        )
    return model
