"""The cross-encoder: one BERT pass over context and item together. The second architecture: well known, but slow.

Knows texts and a transformer; nothing of where an item's text comes from.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from models.encoder import Precision, choose_dtype
from models.intents import INTENTS
from models.scorer import Floats, ScoreRequest
from models.weights import PACKAGED, WeightsError, quiet, resolve, version

log = logging.getLogger(__name__)

BATCH = 32


class CrossEncoderScorer:
    """``BertForSequenceClassification`` with one label per intent.

    A folder with a plain encoder gets a fresh head, which gives all candidates the same probabilities until it is
    trained; a log line says so. Of the context only ``query_text`` is read, not the history.

    Parameters
    ----------
    item_text
        Gives the text of a slot.
    weights
        As for :func:`models.weights.resolve`.
    precision, device
        As for :class:`models.encoder.Encoder`.
    max_tokens
        Word pieces of context and item together, special ones included; the item's text is cut first.

    Raises
    ------
    models.weights.WeightsError
        When the weights are missing, are no BERT model, or are a classifier whose number of labels is not four.

    Examples
    --------
    >>> texts = ["Canon inkjet printer", "Leather sofa"]
    >>> scorer = CrossEncoderScorer(texts.__getitem__)
    >>> [scores] = scorer.score([ScoreRequest(np.array([0, 1]), query_text="printer")])
    >>> scores.tolist()
    [[0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25]]
    """

    name = "cross_encoder"

    def __init__(
        self,
        item_text: Callable[[int], str],
        weights: str = PACKAGED,
        *,
        precision: Precision = "auto",
        max_tokens: int = 64,
        device: str = "cpu",
    ) -> None:
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

        folder = resolve(weights)
        config: Any = AutoConfig.from_pretrained(folder)
        if config.model_type != "bert":
            raise WeightsError(f"{weights} is a {config.model_type} model; the cross-encoder runs BERT models")
        trained = any("SequenceClassification" in name for name in config.architectures or ())
        if trained and config.num_labels != len(INTENTS):
            raise WeightsError(f"{weights} classifies into {config.num_labels} labels, not {len(INTENTS)}")
        config.num_labels = len(INTENTS)
        self.item_text = item_text
        self.max_tokens = max_tokens
        self.device = torch.device(device)
        self.version = f"{self.name}:{version(weights)}/{max_tokens}"
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        with quiet():
            self.model: Any = AutoModelForSequenceClassification.from_pretrained(
                folder, config=config, dtype=torch.float32, use_safetensors=True
            )
        if not trained:
            log.warning("%s holds no classification head: the cross-encoder is untrained, all scores equal", weights)
            torch.nn.init.zeros_(self.model.classifier.weight)
            torch.nn.init.zeros_(self.model.classifier.bias)
        self.model.to(self.device, choose_dtype(precision, self.device)).eval()  # cast as in the encoder

    @torch.inference_mode()
    def score(self, requests: Sequence[ScoreRequest]) -> list[Floats]:
        """Probabilities of the four intents, float32 [n, 4] per request."""
        if not requests:
            return []
        pairs = [(request.query_text, self.item_text(int(slot))) for request in requests for slot in request.candidates]
        order = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]) + len(pairs[place][1]))
        probabilities = np.empty((len(pairs), len(INTENTS)), np.float32)
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            batch = self.tokenizer(
                [pairs[place] for place in places],
                truncation="longest_first",
                max_length=self.max_tokens,
                padding=True,
                return_tensors="pt",
            ).to(self.device)
            probabilities[places] = self.model(**batch).logits.float().softmax(-1).cpu().numpy()
        return np.split(probabilities, np.cumsum([len(request.candidates) for request in requests])[:-1])
