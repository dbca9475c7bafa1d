"""Which method explains which contender.

Knows the contenders that have a method of their own; all others are explained by leaving parts out.
"""

import torch

from evaluator.offline.contenders.bert import MAX_TOKENS, Reranker, ServedModel
from evaluator.offline.contenders.contender import Contender
from evaluator.offline.data import EvaluationData
from evaluator.offline.explanations.ablation import Ablation
from evaluator.offline.explanations.explanation import Explainer
from evaluator.offline.explanations.matches import TermMatches
from evaluator.offline.explanations.occlusion import Occlusion
from models.cross_encoder import CrossEncoderScorer
from models.intents import INTENTS
from models.late_interaction import LateInteractionScorer
from models.training.examples import LEVELS


def explainer_of(contender: Contender, data: EvaluationData, ablation: Ablation) -> Explainer:
    """Gradients for cross-encoders, term matches for late interaction, else leaving one out; so too for every feed."""
    if data.task != "feed":
        if isinstance(contender, Reranker):
            return _of_reranker(contender, data)
        if isinstance(contender, ServedModel):
            match contender.served.scorer:
                case CrossEncoderScorer() as scorer:
                    return _of_scorer(scorer, data)
                case LateInteractionScorer() as scorer:
                    return TermMatches(contender.served.encoder, scorer.head, data)
    return Occlusion(ablation)


def _of_reranker(contender: Reranker, data: EvaluationData) -> Explainer:
    from evaluator.offline.explanations.gradients import Gradients, PairModel

    return Gradients(PairModel(contender.model, contender.tokenizer, _logit, MAX_TOKENS), data)


def _of_scorer(scorer: CrossEncoderScorer, data: EvaluationData) -> Explainer:
    from evaluator.offline.explanations.gradients import Gradients, PairModel

    return Gradients(PairModel(scorer.model, scorer.tokenizer, _level, scorer.max_tokens), data)


def _logit(logits: torch.Tensor) -> torch.Tensor:
    return logits[:, 0]


def _level(logits: torch.Tensor) -> torch.Tensor:
    """As :func:`models.training.examples.expected_level`."""
    return logits.softmax(-1) @ torch.tensor([LEVELS[intent] for intent in INTENTS])
