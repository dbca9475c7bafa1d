"""Settings of the trainer: what a run is trained on, how, and how much of the machine it may take."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from evaluator.gate.config import GateConfig
from evaluator.retraining.store.config import ExamplesConfig
from evaluator.retraining.trigger_config import TriggerConfig
from evaluator.rollout.config import RolloutConfig
from models.training.method import Method
from streams.config import Count, RoleConfig, Seconds, StreamsConfig

Part = Annotated[float, Field(gt=0, lt=0.5)]


class LearningConfig(RoleConfig):
    """A run takes the newest ``most_examples``, none seen more than ``window_s`` before the last one, nor before the
    drift that an alarm told of. Of their views the newest ``gate_share``, at most ``gate_views``, are the gate's; the
    ``calibration_share`` before them calibrates; of the contexts trained on, ``rehearsal`` are older ones. ``debias``
    weighs what was ignored by how often its place is looked at. ``epochs`` are the method's own unless given.

    ``threads`` cores compute, with ``niceness``; ``folder`` holds unfinished runs and encoded items.
    """

    group: str = "liveshelf-trainer"
    folder: str = ".liveshelf/learning"
    method: Method = "head"
    epochs: Annotated[float, Field(gt=0, le=10_000)] | None = None
    window_s: Seconds = 14 * 86_400.0
    most_examples: Count = 100_000
    gate_share: Part = 0.2
    gate_views: Count = 5_000
    calibration_share: Part = 0.1
    rehearsal: Annotated[float, Field(ge=0, lt=1)] = 0.2
    debias: bool = True
    threads: Annotated[int, Field(ge=1, le=1_024)] = 1
    niceness: Annotated[int, Field(ge=0, le=19)] = 10


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """All settings that the trainer goes by. ``closing_s`` is how long after it was seen an impression is closed."""

    streams: StreamsConfig
    learning: LearningConfig
    examples: ExamplesConfig
    triggers: TriggerConfig
    gate: GateConfig
    rollout: RolloutConfig
    closing_s: float
