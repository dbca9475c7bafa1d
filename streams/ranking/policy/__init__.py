"""The policy: small pure rules that turn a scored ranking into a shelf, in the order that settings give."""

from streams.ranking.policy.pipeline import STEPS, Policy, pipeline
from streams.ranking.policy.ranking import Ranking
from streams.ranking.policy.steps import PolicyContext, Step

__all__ = ["STEPS", "Policy", "PolicyContext", "Ranking", "Step", "pipeline"]
