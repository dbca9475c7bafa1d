"""Which method explains which contender.

Knows the contenders that have a method of their own; all others are explained by leaving parts out, without loading
torch.
"""

import sys
from typing import TYPE_CHECKING

from evaluator.offline.contenders.contender import Contender
from evaluator.offline.data import EvaluationData
from evaluator.offline.explanations.ablation import Ablation
from evaluator.offline.explanations.explanation import Explainer
from evaluator.offline.explanations.occlusion import Occlusion
from models.intents import INTENTS
from models.training.examples import LEVELS

if TYPE_CHECKING:
    import torch

    from evaluator.offline.contenders.bert import Reranker
    from models.cross_encoder import CrossEncoderScorer

MODELS = "evaluator.offline.contenders.bert"
"""The module of contenders whose insides are known; it is loaded where one of them is."""


def explainer_of(contender: Contender, data: EvaluationData, ablation: Ablation) -> Explainer:
    """The head's own matches for late interaction, gradients for cross-encoders in a search, else leaving one out."""
    own = _of_model(contender, data) if MODELS in sys.modules else None
    return own or Occlusion(ablation)


def _of_model(contender: Contender, data: EvaluationData) -> Explainer | None:
    from evaluator.offline.contenders.bert import Reranker, ServedModel
    from evaluator.offline.explanations.matches import PastMatches, TermMatches
    from models.cross_encoder import CrossEncoderScorer
    from models.late_interaction import LateInteractionScorer

    feed = data.task == "feed"
    if isinstance(contender, Reranker):
        return None if feed else _of_reranker(contender, data)
    if isinstance(contender, ServedModel):
        match contender.served.scorer:
            case LateInteractionScorer() as scorer:
                return (PastMatches if feed else TermMatches)(contender.served.encoder, scorer.head, data)
            case CrossEncoderScorer() as scorer if not feed:
                return _of_scorer(scorer, data)
    return None


def _of_reranker(contender: "Reranker", data: EvaluationData) -> Explainer:
    from evaluator.offline.contenders.bert import MAX_TOKENS
    from evaluator.offline.explanations.gradients import Gradients, PairModel

    return Gradients(PairModel(contender.model, contender.tokenizer, _logit, MAX_TOKENS), data)


def _of_scorer(scorer: "CrossEncoderScorer", data: EvaluationData) -> Explainer:
    from evaluator.offline.explanations.gradients import Gradients, PairModel

    return Gradients(PairModel(scorer.model, scorer.tokenizer, _level, scorer.max_tokens), data)


def _logit(logits: "torch.Tensor") -> "torch.Tensor":
    return logits[:, 0]


def _level(logits: "torch.Tensor") -> "torch.Tensor":
    """As :func:`models.training.examples.expected_level`."""
    return logits.softmax(-1) @ logits.new_tensor([LEVELS[intent] for intent in INTENTS])
