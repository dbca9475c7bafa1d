"""Settings of the streaming side, as plain validated values with defaults that work on one machine.

Defines each setting, its meaning and its limits. Knows nothing of where values come from (environment, file, command
line).
"""

import ipaddress
import re
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from models.conventions import PRESETS, Conventions, Pooling
from models.intents import UTILITY, Intent

TEN_YEARS_S = 10 * 365 * 86_400
"""Ten years: the longest time of any setting."""

Seconds = Annotated[float, Field(gt=0, le=TEN_YEARS_S)]
Moment = Annotated[float, Field(gt=0, le=1)]
"""Part of a second that records may wait for others."""
WholeSeconds = Annotated[int, Field(ge=1, le=TEN_YEARS_S)]
SecondsOrZero = Annotated[int, Field(ge=0, le=TEN_YEARS_S)]
Hours = Annotated[float, Field(gt=0, le=TEN_YEARS_S / 3_600)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Size = Annotated[int, Field(ge=1, le=10_000_000)]
"""A number of things that are held or done at a time."""
Few = Annotated[int, Field(ge=1, le=10_000)]
"""A number of partitions, shards or processes."""
Bytes = Annotated[int, Field(ge=1, le=2**30)]
SizeOrZero = Annotated[int, Field(ge=0, le=10_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=-1_000_000, le=1_000_000)]


class Config(BaseModel):
    """Base of all groups: unknown names are an error, so a misspelt name is reported, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaConfig(Config):
    """How to reach the broker. ``schema_registry_url`` names a registry whose schemas describe the shop's events and
    items (Avro, Protobuf, JSON Schema); a user and a password may stand in it."""

    bootstrap_servers: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    schema_registry_url: SecretStr | None = None

    @field_validator("schema_registry_url", mode="after")
    @classmethod
    def _address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("schema_registry_url is an address such as https://registry.shop.example")
        return url

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is the key of cert_file, which is not set")
        if self.security_protocol.startswith("SASL") and (self.username is None or self.password is None):
            raise ValueError(f"{self.security_protocol} needs username and password")
        return self

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
        """The credentials, by kafka-python's and aiokafka's names; empty without SASL."""
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
        from streams.redis_url import parse  # redis-py takes a while to load

        parse(url.get_secret_value())
        return url


class TopicsConfig(Config):
    """How topics are created; a prefix of their names lets several shops or tests share one broker."""

    prefix: str = ""
    partitions: Few = 8
    compacted_partitions: Few = 4
    replication_factor: Annotated[int, Field(ge=1, le=100)] = 1
    retention_hours: Hours = 72
    examples_retention_hours: Hours = 24 * 90
    max_message_bytes: Bytes = 1_048_576

    @field_validator("prefix")
    @classmethod
    def _named(cls, prefix: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]{0,150}", prefix):
            raise ValueError(
                "Kafka takes letters, digits, dots, underscores and hyphens in a topic's name, 150 of them here"
            )
        return prefix


class EventsConfig(Config):
    """Limits of events and items, and how values of another form are read: by default they are converted where that is
    unambiguous, and refused else; ``strict`` refuses whatever has not the type of the schema.

    ``earliest`` is the first day of a plausible ``ts``, ``epoch_unit`` the unit of a ``ts`` that is a number (``auto``
    tells units apart by size), ``timezone`` the zone of times that name none. ``guests`` says what a shopper's id that
    is one of ``guest_ids`` means: no id, a refusal, or an id as any other. ``unusable`` is what happens to an optional
    field of an item that cannot be used: it is left out, or cut if it is a text that is too long; or the item is
    refused.
    """

    max_bytes: Bytes = 65_536
    max_future_s: Seconds = 300
    strict: bool = False
    earliest: date = date(1995, 1, 1)
    epoch_unit: Literal["ms", "s", "us", "ns", "auto"] = "ms"
    timezone: str | None = None
    guests: Literal["absent", "refuse", "keep"] = "absent"
    guest_ids: tuple[str, ...] = ("null", "none", "nil", "undefined", "nan", "true", "false", "0", "guest", "(not set)")
    unusable: Literal["drop", "refuse"] = "drop"

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str | None) -> str | None:
        if name is not None and name not in available_timezones():
            raise ValueError(f"no time zone {name!r}; names are as in Europe/Berlin")
        return name

    @cached_property
    def earliest_ms(self) -> int:
        """``earliest`` in epoch milliseconds."""
        return int(datetime.combine(self.earliest, time(), UTC).timestamp() * 1000)

    @cached_property
    def guest_words(self) -> frozenset[str]:
        """``guest_ids``, in lower case."""
        return frozenset(word.lower() for word in self.guest_ids)


class StateConfig(Config):
    """How much of shoppers and items is stored in Redis, and for how long. ``profile_keys`` are a profile's attributes,
    ``segments`` the segments of shoppers that count in one bucket and shard; ``forgotten_s`` is for how long events
    from before a shopper was forgotten are ignored. ``seen_pages`` are the newest pages of a shopper that are
    remembered as seen, for ``seen_ttl_s`` after the last one. Touches beside expected touches of shown items weigh half
    after ``effects_half_life_s``; workers read them every ``effects_refresh_s``."""

    shards: Few = 8
    ttl_s: WholeSeconds = 30 * 86_400
    buyer_ttl_s: WholeSeconds = 400 * 86_400
    history_items: Size = 50
    own_items: Size = 400
    history_queries: Size = 10
    bought_items: Size = 200
    items: Size = 1_000_000
    together_items: Few = 50
    counted_items: Size = 100
    trend_bucket_s: WholeSeconds = 3_600
    trend_buckets: Size = 24
    trend_items: Size = 500
    profile_keys: Size = 32
    segments: Size = 64
    forgotten_s: WholeSeconds = 90 * 86_400
    seen_pages: Few = 10
    seen_ttl_s: WholeSeconds = 7 * 86_400
    trend_refresh_s: Seconds = 2.0
    effects_half_life_s: Seconds = 86_400.0
    effects_refresh_s: Seconds = 10.0


class BotsConfig(Config):
    """When a shopper is suspected to be a bot, and for how long."""

    mark: bool = True
    clicks_per_minute: Size = 60
    burst: Size = 120
    pauses: Size = 30
    spread: Share = 0.05
    pages: Size = 10
    page_items: Size = 5
    clicked_share: Share = 0.8
    forget_s: WholeSeconds = 3_600
    marked_s: WholeSeconds = 86_400


class CandidatesConfig(Config):
    """The number of candidates that a shelf is ranked from, and the most that each source gives."""

    total: Size = 100
    vector: SizeOrZero = 60
    lexical: SizeOrZero = 60
    together: SizeOrZero = 60
    trending: SizeOrZero = 20
    own: SizeOrZero = 120
    linear: SizeOrZero = 100
    week: SizeOrZero = 60
    day: SizeOrZero = 30
    new: SizeOrZero = 30


OfferAgain = Literal["never", "due", "always"]
PolicyStep = Literal["in_stock", "already_bought", "variants", "fatigue", "brand_cap", "diversity", "exploration"]


class PolicyConfig(Config):
    """The steps from scores to a shelf, their order and their strengths.

    ``offer_again`` is what the step ``already_bought`` does with what the shopper has bought: ``never`` shows it,
    ``due`` shows it once it is due by the usual interval of its buyers, ``always`` shows it. ``fatigue`` is by how many
    shelves an item moves back for each time that the shopper saw it and did not touch it since. ``click_effects`` is
    the power of the ratio of touches to expected touches that an item's utility is multiplied by; 0: none.
    """

    steps: tuple[PolicyStep, ...] = (
        *("in_stock", "already_bought", "variants", "fatigue"),
        *("diversity", "brand_cap", "exploration"),
    )
    offer_again: OfferAgain = "due"
    fatigue: Annotated[float, Field(ge=0, le=100)] = 0.5
    fatigue_half_life_s: Seconds = 86_400.0
    click_effects: Share = 1.0
    length: Size = 20
    intent_weights: dict[Intent, Weight] = UTILITY
    brand_cap: Size = 6
    diversity: Share = 0.15
    exploration: Share = 0.1
    exploration_position: SizeOrZero = 9


class ShelfConfig(Config):
    """How long shelves are stored (under a filter less long, and so many of a shopper), how large they may be, how
    often similar and popular ones are refreshed, whether similar items are of the item's own category, and the number
    of categories with a popular one. ``renewed_s`` is for how long after a shopper's last event their feed is made
    again from time to time, if they have bought; 0: never."""

    ttl_s: WholeSeconds = 7 * 86_400
    renewed_s: SecondsOrZero = 90 * 86_400
    filtered_ttl_s: WholeSeconds = 86_400
    filtered: Size = 20
    max_bytes: Bytes = 32_768
    similar_refresh_s: Seconds = 600
    popular_refresh_s: Seconds = 5
    similar_within_category: bool = False
    segments: Size = 20


class ModelConfig(Config):
    """The scorer: its architecture, its weights or version, its precision and its engine.

    ``preset`` is an encoder by a short name. ``weights`` is another one, or the folder where the preset's lies.
    ``query_prefix``, ``item_prefix``, ``pooling`` and ``centred`` say how an encoder reads texts that is no preset and
    whose folder does not say it. ``engine`` runs the encoder, ``query_engine`` that of queries, if it is another one.
    """

    architecture: Literal["late_interaction", "cross_encoder", "constant"] = "late_interaction"
    preset: Literal["english", "multilingual"] = "english"
    weights: str = "packaged"
    query_prefix: str | None = None
    item_prefix: str | None = None
    pooling: Pooling | None = None
    centred: bool | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    max_item_tokens: Size = 32
    max_query_tokens: Size = 16
    device: str = "auto"
    engine: Literal["auto", "eager", "inductor", "tensorrt", "openvino"] = "auto"
    query_engine: Literal["auto", "eager", "inductor", "tensorrt", "openvino"] | None = None
    threads: Annotated[int, Field(ge=0, le=1_024)] = 1
    store: str = ".liveshelf/models"
    version: str | None = "champion"
    watch_s: Seconds = 5.0
    standby_s: Seconds = 3_600.0
    holdback_share: Share = 0.0
    holdback_version: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        """Without weights of its own, a preset has those that it names."""
        preset = PRESETS.get(str(values.get("preset"))) if isinstance(values, dict) else None
        return values if preset is None else {"weights": preset.weights, **values}

    @property
    def said(self) -> Conventions:
        """What these settings say of how the encoder reads texts."""
        own = Conventions(self.query_prefix, self.item_prefix, self.pooling, None, self.centred)
        return own.over(PRESETS[self.preset].conventions)


class RoleConfig(Config):
    """A role that reads Kafka in a group: the group's name, how often the role reports, and its timeouts."""

    group: str
    instance: str | None = None
    session_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    metrics_every_s: Seconds = 1.0
    stall_s: Seconds = 60.0


class WorkerConfig(RoleConfig):
    """The worker: its consumer group, the size of its batches, and what it uses of a shopper's history."""

    group: str = "liveshelf"
    batch_events: Size = 64
    batch_wait_s: Moment = 0.005
    item_batch: Size = 32
    recent_items: Size = 10
    recent_queries: Size = 3
    recency_half_life_s: Seconds = 1_800.0


class CatalogueConfig(Config):
    """The folder in which the workers of a host keep snapshots of their catalogue, which all of them map; none if it is
    empty. One is written at most every ``snapshot_every_s`` if a hundredth of the items changed, and only of catalogues
    of at least ``smallest`` items."""

    folder: str = ".liveshelf/catalogue"
    snapshot_every_s: WholeSeconds = 1_800
    smallest: SizeOrZero = 10_000


class MetricsConfig(Config):
    """Where a role serves its metrics to Prometheus: nowhere without a port; port 0 takes any free one."""

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
    """Whether only this machine can reach a server that listens on this host.

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
    """All groups in one value."""

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
    catalogue: CatalogueConfig = CatalogueConfig()
    metrics: MetricsConfig = MetricsConfig()
