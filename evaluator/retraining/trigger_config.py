"""Settings of the trigger: what is a reason to train, and what holds a run back."""

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from streams.config import TEN_YEARS_S, Config, Count, Seconds

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
"""All that evaluators raise, as :data:`evaluator.monitoring.registry.KINDS` names them; spelt out, for that takes long
to load and settings are read by every command."""


class TriggerConfig(Config):
    """Reasons and limits. Examples are labelled ones that no run was trained on yet.

    A firing alert named in ``alarms`` is a reason, and again ``alarm_again_s`` after a run if it goes on all the same;
    so are ``enough_examples``, and ``every_s`` without a run. None switches either off, no names switch alarms off.
    A run waits for ``least_examples``, for ``cooldown_s`` after the end of the last one, and for a place among
    ``runs_a_day`` in any 24 hours. A run that was not heard of for ``lease_s`` counts as over; after a quarter of it a
    trainer of the same name that has the run's folder goes on with it.
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
