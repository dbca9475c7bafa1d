"""Settings of the evaluator, with defaults that work on one machine."""

from streams.config import Config, Count, Seconds


class EvaluatorConfig(Config):
    """How impressions and outcomes are joined, and the evaluator's rhythm."""

    group: str = "liveshelf-evaluator"
    instance: str | None = None
    session_timeout_s: Seconds = 10.0
    window_s: Seconds = 1_800.0
    grace_s: Seconds = 600.0
    idle_s: Seconds = 30.0
    batch_events: Count = 500
    batch_wait_s: Seconds = 0.005
    state_ttl_s: Count = 3 * 86_400
    watch_learn: Count = 20_000
    watch_run_length: Count = 100_000
    watch_recover: Count = 5_000
    metrics_every_s: Seconds = 1.0
    stall_s: Seconds = 60.0
