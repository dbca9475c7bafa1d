"""Settings of the streaming side, as plain validated values with defaults that work on one machine.

Where they are read from (environment, file, command line) is the front door's business; this module only says what
there is to set, what it means and what it may be.
"""

import ipaddress
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Config(BaseModel):
    """Base of all groups: unknown names are an error, so a typing slip is told, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaConfig(Config):
    """How to reach the broker."""

    bootstrap_servers: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is the key of cert_file, which is not set")
        if self.security_protocol.startswith("SASL") and (self.username is None or self.password is None):
            raise ValueError(f"{self.security_protocol} needs username and password")
        return self

    def reader(self) -> dict[str, Any]:
        """Keyword arguments for a consumer of kafka-python's that reads what comes from now on, in no group."""
        return self.client() | {
            "group_id": None,
            "auto_offset_reset": "latest",
            "isolation_level": "read_committed",
            "metadata_max_age_ms": 10_000,
        }

    def client(self) -> dict[str, Any]:
        """Keyword arguments for kafka-python's clients."""
        kwargs: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.endswith("SSL"):
            kwargs |= {
                "ssl_cafile": self.ca_file,
                "ssl_certfile": self.cert_file,
                "ssl_keyfile": self.key_file,
            }
        return kwargs | self.sasl()

    def sasl(self) -> dict[str, Any]:
        """Who we are, as kafka-python and aiokafka name it; empty where nobody asks."""
        if not self.security_protocol.startswith("SASL"):
            return {}
        return {
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password.get_secret_value() if self.password else None,
        }


class RedisConfig(Config):
    """How to reach Redis: one URL carries hosts, database, user, password and TLS (``rediss://``)."""

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")

    @field_validator("url")
    @classmethod
    def _readable(cls, url: SecretStr) -> SecretStr:
        from streams.redis_connection import parse  # redis-py takes a while to load

        parse(url.get_secret_value())
        return url


class TopicsConfig(Config):
    """Names are DESIGN's; a prefix lets several shops or tests share one broker."""

    prefix: str = ""
    partitions: Count = 8
    compacted_partitions: Count = 4
    replication_factor: Count = 1
    retention_hours: Seconds = 72
    examples_retention_hours: Seconds = 24 * 90
    max_message_bytes: Count = 1_048_576


class EventsConfig(Config):
    """What an event may be."""

    max_bytes: Count = 65_536
    max_future_s: Seconds = 300


class StateConfig(Config):
    """What is remembered of shoppers and items, in Redis."""

    shards: Count = 8
    ttl_s: Count = 30 * 86_400
    history_items: Count = 50
    history_queries: Count = 10
    bought_items: Count = 200
    together_items: Count = 50
    counted_items: Count = 100
    trend_bucket_s: Count = 3_600
    trend_buckets: Count = 24
    trend_items: Count = 500
    trend_refresh_s: Seconds = 2.0


class BotsConfig(Config):
    """When a shopper is suspected to be a bot, and for how long."""

    mark: bool = True
    clicks_per_minute: Count = 60
    burst: Count = 120
    pauses: Count = 30
    spread: Share = 0.05
    pages: Count = 10
    page_items: Count = 5
    clicked_share: Share = 0.8
    forget_s: Count = 3_600
    marked_s: Count = 86_400


class CandidatesConfig(Config):
    """How many candidates a shelf is ranked from, and at most how many of them each source may bring."""

    total: Count = 100
    vector: Annotated[int, Field(ge=0)] = 60
    lexical: Annotated[int, Field(ge=0)] = 60
    together: Annotated[int, Field(ge=0)] = 30
    trending: Annotated[int, Field(ge=0)] = 20


PolicyStep = Literal["in_stock", "already_bought", "brand_cap", "diversity", "exploration"]


class PolicyConfig(Config):
    """From scores to a shelf: which steps, in which order, and their strengths."""

    steps: tuple[PolicyStep, ...] = ("in_stock", "already_bought", "diversity", "brand_cap", "exploration")
    length: Count = 20
    intent_weights: dict[Literal["buy", "read", "look", "ignore"], float] = {
        "buy": 1.0,
        "read": 0.3,
        "look": 0.2,
        "ignore": 0.0,
    }
    brand_cap: Count = 6
    diversity: Share = 0.15
    exploration: Share = 0.1
    exploration_position: Annotated[int, Field(ge=0)] = 9


class ShelfConfig(Config):
    """How shelves are kept."""

    ttl_s: Count = 7 * 86_400
    max_bytes: Count = 32_768
    similar_refresh_s: Seconds = 600
    popular_refresh_s: Seconds = 5
    segments: Count = 20


class ModelConfig(Config):
    """Which scorer, from where, and how exact."""

    architecture: Literal["late_interaction", "cross_encoder", "constant"] = "late_interaction"
    weights: str = "packaged"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    max_item_tokens: Count = 32
    max_query_tokens: Count = 16
    device: str = "auto"
    engine: Literal["auto", "eager", "inductor", "tensorrt"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 1
    store: str = ".liveshelf/models"
    version: str | None = "champion"
    watch_s: Seconds = 5.0
    standby_s: Seconds = 3_600.0
    holdback_share: Share = 0.0
    holdback_version: str | None = None


class RoleConfig(Config):
    """A role that reads Kafka in a group: its name there, and when it reports, is taken for dead, or leaves."""

    group: str
    instance: str | None = None
    session_timeout_s: Seconds = 10.0
    metrics_every_s: Seconds = 1.0
    stall_s: Seconds = 60.0


class WorkerConfig(RoleConfig):
    """The worker's rhythm."""

    group: str = "liveshelf"
    batch_events: Count = 64
    batch_wait_s: Seconds = 0.001
    item_batch: Count = 32
    recent_items: Count = 10
    recent_queries: Count = 3
    recency_half_life_s: Seconds = 1_800.0


class MetricsConfig(Config):
    """Where a role shows its numbers to Prometheus: nowhere without a port, and 0 takes any free one."""

    port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    host: str = "127.0.0.1"
    token: Annotated[SecretStr, Field(min_length=16)] | None = None

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.port is not None and self.token is None and not loopback(self.host):
            raise ValueError(
                f"anybody who reaches {self.host} could read the metrics: set LIVESHELF_METRICS__TOKEN to 16 letters "
                "or more that Prometheus sends as a bearer token, or LIVESHELF_METRICS__HOST to 127.0.0.1"
            )
        return self


def loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there.

    Examples
    --------
    >>> [loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "", "shop.example")]
    [True, True, True, False, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class StreamsConfig(Config):
    """Everything above, in one value."""

    kafka: KafkaConfig = KafkaConfig()
    redis: RedisConfig = RedisConfig()
    topics: TopicsConfig = TopicsConfig()
    events: EventsConfig = EventsConfig()
    state: StateConfig = StateConfig()
    bots: BotsConfig = BotsConfig()
    candidates: CandidatesConfig = CandidatesConfig()
    policy: PolicyConfig = PolicyConfig()
    shelf: ShelfConfig = ShelfConfig()
    model: ModelConfig = ModelConfig()
    worker: WorkerConfig = WorkerConfig()
    metrics: MetricsConfig = MetricsConfig()
