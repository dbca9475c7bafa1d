"""Integrated gradients of a cross-encoder (Sundararajan et al. 2017), by the captum library.

The path goes from all words masked to the words as they are. The sum of the attributions is the difference of the two
scores; where it is not within 1 %, the path is cut into more steps. Knows a transformer and a function of its logits.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients

from evaluator.offline.data import EvaluationData
from evaluator.offline.explanations.explanation import Explained, Explanation, Side, Target, by_word
from models.words import words

TOLERANCE = 0.01
"""Largest gap between the attributions' sum and the score's difference, as a share of this."""

STEPS = (12, 24, 48, 96, 192, 384)
"""Steps of the path; the next number where the gap is too large."""

TOGETHER = 8
"""Pairs of one call."""

ROWS = 64
"""Pairs of one pass of the model."""

NEGLIGIBLE = 1e-4
"""Differences of scores below it count as this much: of nothing, no share can be told."""


@dataclass(frozen=True, slots=True, eq=False)
class PairModel:
    """A transformer that reads a query and an item together.

    Attributes
    ----------
    score
        Logits [n, labels] to what the contender ranks by, [n].
    max_tokens
        Word pieces of both together; the longer text is cut first, as contenders do.
    """

    model: Any
    tokenizer: Any
    score: Callable[[torch.Tensor], torch.Tensor]
    max_tokens: int


class Gradients:
    """See the module."""

    name = "integrated gradients"
    most = 20

    def __init__(self, pair: PairModel, data: EvaluationData) -> None:
        self.pair, self.data = pair, data
        self._model = copy.deepcopy(pair.model).float().eval().requires_grad_(False)
        self._embed = self._model.get_input_embeddings()
        self._gradients = IntegratedGradients(self._forward)

    def explain(self, targets: Sequence[Target]) -> list[Explained]:
        """Both sides of each."""
        texts = [(target.case.query, self.data.items[target.item].text) for target in targets]
        order = sorted(range(len(targets)), key=lambda place: len(texts[place][0]) + len(texts[place][1]))
        found: dict[int, Explained] = {}
        for steps in STEPS:
            for start in range(0, len(order), TOGETHER):
                places = order[start : start + TOGETHER]
                some = self._some([targets[place] for place in places], [texts[place] for place in places], steps)
                found |= zip(places, some, strict=True)
            order = [place for place in order if found[place].gap > TOLERANCE]
        return [found[place] for place in range(len(targets))]

    def _forward(self, embedded: torch.Tensor, mask: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        out = self._model(inputs_embeds=embedded, attention_mask=mask, token_type_ids=kinds)
        return self.pair.score(out.logits)

    def _some(self, targets: Sequence[Target], texts: Sequence[tuple[str, str]], steps: int) -> list[Explained]:
        batch = self.pair.tokenizer(
            [query for query, _ in texts],
            [item for _, item in texts],
            truncation=True,
            max_length=self.pair.max_tokens,
            padding=True,
            return_tensors="pt",
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        ids = batch["input_ids"]
        masked = torch.where(batch["special_tokens_mask"].bool(), ids, self.pair.tokenizer.mask_token_id)
        further = batch["attention_mask"], batch.get("token_type_ids", torch.zeros_like(ids))
        whole, base = self._embed(ids), self._embed(masked)
        attributed = self._gradients.attribute(
            whole, base, additional_forward_args=further, n_steps=steps, internal_batch_size=ROWS
        )
        pieces = attributed.sum(-1).double().numpy()
        with torch.inference_mode():
            differences = (self._forward(whole, *further) - self._forward(base, *further)).double().numpy()
        found = []
        for row, (target, pair) in enumerate(zip(targets, texts, strict=True)):
            gap = abs(pieces[row].sum() - differences[row]) / max(abs(differences[row]), NEGLIGIBLE)
            found.append(Explained(target, _sides(batch, row, pair, pieces[row]), float(gap)))
        return found


def _sides(batch: Any, row: int, texts: tuple[str, str], pieces: np.ndarray) -> dict[Side, Explanation]:
    owners, spans = batch.sequence_ids(row), batch["offset_mapping"][row].tolist()
    found: dict[Side, Explanation] = {}
    names: tuple[Side, Side] = ("query", "item")
    for number, side in enumerate(names):
        own = [place for place, owner in enumerate(owners) if owner == number]
        text = texts[number]
        values = by_word([tuple(spans[place]) for place in own], pieces[own], text)
        found[side] = Explanation(side, words(text), values)
    return found
