"""Settings of the evaluator, with defaults that work on one machine."""

from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from evaluator.monitoring.monitor import MonitorRules
from streams.config import Config, Moment, RoleConfig, Seconds, Size, WholeSeconds, loopback


class EvaluatorConfig(RoleConfig):
    """How impressions and outcomes are joined, and the evaluator's rhythm."""

    group: str = "liveshelf-evaluator"
    window_s: Seconds = 1_800.0
    grace_s: Seconds = 600.0
    idle_s: Seconds = 30.0
    batch_events: Size = 500
    batch_wait_s: Moment = 0.005
    state_ttl_s: WholeSeconds = 3 * 86_400
    watch_learn: Size = 20_000
    watch_run_length: Size = 10_000_000
    watch_recover: Size = 5_000
    watch_scores: Size = 1_000
    watch_predictions: Size = 5_000
    watch_inputs: Size = 500
    holdback: str = ""
    holdback_minutes: Size = 100_000
    experiment_block_s: Seconds = 60.0

    def monitor_rules(self) -> MonitorRules:
        """The rules of the monitors."""
        return MonitorRules(
            self.watch_learn,
            float(self.watch_run_length),
            self.watch_recover,
            self.watch_scores,
            self.watch_predictions,
            self.watch_inputs,
            self.holdback,
            float(self.holdback_minutes),
        )


class DashboardConfig(Config):
    """Where the live page is served (port 0: any free one); anywhere but on loopback it asks for a token."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8_765
    token: Annotated[SecretStr, Field(min_length=16)] | None = None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None

    @field_validator("token", mode="before")
    @classmethod
    def _set(cls, token: object) -> object:
        return token or None  # an empty variable in the environment sets none

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.token is None and not loopback(self.host):
            raise ValueError(
                f"anybody who reaches {self.host} could see the dashboard: set LIVESHELF_DASHBOARD__TOKEN to 16 "
                "characters or more that people open it with, or LIVESHELF_DASHBOARD__HOST to 127.0.0.1"
            )
        return self


def page_address(host: str, port: int) -> str:
    """Of a server that listens everywhere, the address on this machine.

    Examples
    --------
    >>> page_address("127.0.0.1", 8765), page_address("0.0.0.0", 80), page_address("::1", 80)
    ('http://127.0.0.1:8765', 'http://127.0.0.1:80', 'http://[::1]:80')
    """
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"
