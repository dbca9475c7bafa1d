"""The policy: small pure rules that turn scored rankings into shelves, in the order that settings give."""

from streams.ranking.policy.pipeline import STEPS, Policy, pipeline
from streams.ranking.policy.ranking import Ranking, Rankings
from streams.ranking.policy.steps import Facts, Step

__all__ = ["STEPS", "Facts", "Policy", "Ranking", "Rankings", "Step", "pipeline"]
