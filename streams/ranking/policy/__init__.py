"""From scores to a shelf: small pure rules over one ranking, in the order settings give."""

from streams.ranking.policy.pipeline import STEPS, Policy, pipeline
from streams.ranking.policy.ranking import Ranking
from streams.ranking.policy.steps import PolicyContext, Step

__all__ = ["STEPS", "Policy", "PolicyContext", "Ranking", "Step", "pipeline"]
