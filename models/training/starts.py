"""What training starts from: the encoder's weights in float32, as they are or under a fresh classifier.

Knows weights; nothing of data.
"""

from typing import Any

import torch
from torch import nn

from models.scorer import INTENTS
from models.weights import quiet, resolve


def fresh_bert(weights: str) -> nn.Module:
    """The encoder of these weights in float32, ready to be trained."""
    from transformers import AutoModel

    with quiet():
        bert: Any = AutoModel.from_pretrained(resolve(weights), dtype=torch.float32, use_safetensors=True)
    bert.pooler = None
    model: nn.Module = bert
    return model


def classifier(weights: str) -> nn.Module:
    """A four-intent classifier over these weights in float32, ready to be trained."""
    from transformers import AutoModelForSequenceClassification

    with quiet():
        model: nn.Module = AutoModelForSequenceClassification.from_pretrained(
            resolve(weights), num_labels=len(INTENTS), dtype=torch.float32, use_safetensors=True
        )
    return model
