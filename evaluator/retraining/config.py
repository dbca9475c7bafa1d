"""Settings of retraining: reasons to train, what a run is trained on and how, and the examples on disk."""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from evaluator.gate.config import GateConfig
from evaluator.rollout.config import RolloutConfig
from models.training.method import Update
from streams.config import TEN_YEARS_S, Config, Count, RoleConfig, Seconds, StreamsConfig


class ExamplesConfig(Config):
    """Examples of one ``span_s`` of event time make a segment. It is removed ``keep_s`` after its end, or sooner where
    all segments exceed ``keep_bytes``. Examples are held in memory until there are ``flush_rows`` or ``flush_bytes`` of
    them, or for ``flush_s``. A sample of ``rehearsal`` examples of all history is kept as well.
    """

    folder: str = ".liveshelf/examples"
    span_s: Count = 3_600
    keep_s: Seconds = 90 * 86_400.0
    keep_bytes: Count = 20_000_000_000
    flush_rows: Count = 20_000
    flush_bytes: Count = 64_000_000
    flush_s: Seconds = 60.0
    rehearsal: Count = 20_000


ALARMS = (
    "calibration_buy_drift",
    "calibration_look_drift",
    "click_rate_below_holdback",
    "click_rate_drop",
    "item_drift",
    "query_drift",
    "score_ks_drift",
    "score_psi_drift",
    "unseen_items_rise",
)
"""All alerts of evaluators, as :data:`evaluator.monitoring.registry.KINDS` names them. They are listed here because
that module takes long to load, and every command reads settings."""


class TriggerConfig(Config):
    """Reasons and limits. Examples here are labelled ones that no run was trained on yet.

    A firing alert named in ``alarms`` is a reason, and again ``alarm_again_s`` after a run if it goes on all the
    same; so are ``enough_examples``, and ``every_s`` without a run. Where the gate had too few examples to decide
    about the last run, as many new ones as it has had are a reason before there are ``enough_examples``. None
    switches either off, an empty ``alarms`` switches alarms off. A run waits for ``least_examples``, for
    ``cooldown_s`` after the end of the last one, and until fewer than ``runs_a_day`` began in the last 24 hours. A
    run without a heartbeat for ``lease_s`` counts as over; after a quarter of it a trainer of the same name that
    has the run's folder goes on with it.
    """

    alarms: tuple[str, ...] = ALARMS
    alarm_again_s: Seconds = 86_400.0
    enough_examples: Count | None = 20_000
    every_s: Seconds | None = 86_400.0
    least_examples: Count = 2_000
    cooldown_s: Annotated[float, Field(ge=0, le=TEN_YEARS_S)] = 1_800.0
    runs_a_day: Count = 6
    lease_s: Seconds = 120.0

    @field_validator("alarms")
    @classmethod
    def _known(cls, alarms: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(alarms) - set(ALARMS)):
            raise ValueError(f"no alert is called {', '.join(unknown)}; there are {', '.join(ALARMS)}")
        return alarms

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.enough_examples is not None and self.enough_examples < self.least_examples:
            raise ValueError(
                f"{self.enough_examples:,} examples cannot be enough where a run needs {self.least_examples:,}: raise "
                "enough_examples or lower least_examples"
            )
        return self


Part = Annotated[float, Field(gt=0, lt=0.5)]


class LearningConfig(RoleConfig):
    """A run takes the newest ``most_examples``, none seen more than ``window_s`` before the last one, nor before the
    drift that an alarm reports. Of their views the newest ``gate_share``, at most ``gate_views``, go to the gate; the
    ``calibration_share`` before them is for calibration. Of the contexts trained on, the share ``rehearsal`` is older.
    ``debias`` weights ignored items by the propensity of their position. ``epochs`` is the method's own unless given.

    A run fits the item-to-item model anew once the champion's is ``item_model_s`` old; None leaves it as it is. It is
    of the ``item_model_items`` items with most buyers, and of at most ``item_model_shoppers`` shoppers.

    Training uses ``threads`` cores with ``niceness``; ``folder`` holds unfinished runs and encoded items.
    """

    group: str = "liveshelf-trainer"
    folder: str = ".liveshelf/learning"
    method: Update = "head"
    epochs: Annotated[float, Field(gt=0, le=10_000)] | None = None
    window_s: Seconds = 14 * 86_400.0
    most_examples: Count = 100_000
    gate_share: Part = 0.2
    gate_views: Count = 5_000
    calibration_share: Part = 0.1
    rehearsal: Annotated[float, Field(ge=0, lt=1)] = 0.2
    debias: bool = True
    item_model_s: Seconds | None = 86_400.0
    item_model_items: Annotated[int, Field(ge=20, le=20_000)] = 8_000
    item_model_shoppers: Count = 500_000
    threads: Annotated[int, Field(ge=1, le=1_024)] = 1
    niceness: Annotated[int, Field(ge=0, le=19)] = 10


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """All settings of the trainer. ``closing_s`` is how long after it was seen an impression is attributed."""

    streams: StreamsConfig
    learning: LearningConfig
    examples: ExamplesConfig
    triggers: TriggerConfig
    gate: GateConfig
    rollout: RolloutConfig
    closing_s: float
